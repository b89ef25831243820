"""JSON: bodies, records, definitions and errors as bytes, and back. The only user of orjson."""

from flow.codec.announcements import decode_announcement, encode_announcement
from flow.codec.bodies import assemble
from flow.codec.definitions import (
    decode_definition,
    decode_options,
    definition_hash,
    encode_definition,
    encode_options,
)
from flow.codec.documents import decode_error, decode_failure, encode_error, encode_failure
from flow.codec.fingerprints import fingerprint
from flow.codec.json import check_body, dumps, expect_finite, fragment, loads, same
from flow.codec.records import Cause, Record, decode_record, encode_record

__all__ = [
    "Cause",
    "Record",
    "assemble",
    "check_body",
    "decode_announcement",
    "decode_definition",
    "decode_error",
    "decode_failure",
    "decode_options",
    "decode_record",
    "definition_hash",
    "dumps",
    "encode_announcement",
    "encode_definition",
    "encode_error",
    "encode_failure",
    "encode_options",
    "encode_record",
    "expect_finite",
    "fingerprint",
    "fragment",
    "loads",
    "same",
]
