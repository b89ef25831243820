"""Announcements of steps as canonical JSON."""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from typing import Any

from flow.catalogue import Announcement
from flow.codec.definitions import step_document, step_of
from flow.codec.json import canonical, loads
from flow.errors import CorruptRecord, InvalidInput, InvalidOption

__all__ = ["decode_announcement", "encode_announcement"]


def encode_announcement(announcement: Announcement) -> bytes:
    """Return an announcement as canonical JSON: the same bytes for the same announcement.

    Args:
        announcement: What a service announces.
    """
    document: dict[str, Any] = {"step": step_document(announcement.step)}
    if announcement.input is not None:
        document["input"] = announcement.input
    if announcement.output is not None:
        document["output"] = announcement.output
    return canonical(document)


def decode_announcement(text: bytes) -> Announcement:
    """Return the announcement that JSON describes.

    Args:
        text: What `encode_announcement` made.

    Raises:
        CorruptRecord: It is not an announcement.
    """
    try:
        document = loads(text, "the announcement")
        step = step_of(document["step"])
        return Announcement(step=step, input=document.get("input"), output=document.get("output"))
    except (InvalidInput, InvalidOption) as error:
        raise CorruptRecord("the announcement", str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptRecord("the announcement", repr(error)) from error
