"""What a handler leaves behind besides its result: a value that travels with its reply."""

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["METADATA_LIMIT", "SHARED_LIMIT", "STATE_LIMIT", "VALUE_LIMIT", "Kept"]

VALUE_LIMIT: Final = 16 * 1024
"""Bytes of one value."""
STATE_LIMIT: Final = 16 * 1024
"""Bytes of a step's own state, names and values together."""
SHARED_LIMIT: Final = 48 * 1024
"""Bytes of the shared state that one step sees, names and values together."""
METADATA_LIMIT: Final = 16 * 1024
"""Bytes of a step's metadata, names and values together."""

_NONE: Final[Mapping[str, bytes]] = {}


class Kept(NamedTuple):
    """What an attempt has written, by name; the values are JSON texts.

    Args:
        state: For later attempts of the step, and for its undo.
        shared: For the steps that depend on it, and for undos.
        metadata: For the report.
    """

    state: Mapping[str, bytes] = _NONE
    shared: Mapping[str, bytes] = _NONE
    metadata: Mapping[str, bytes] = _NONE
