"""What attempts leave behind, in the headers of their replies."""

from collections.abc import Mapping
from typing import Final

from flow.bags import read_object, write_object
from flow.kept import METADATA_LIMIT, SHARED_LIMIT, STATE_LIMIT, Kept

__all__ = ["METADATA_HEADER", "SHARED_HEADER", "STATE_HEADER", "kept_of", "with_kept"]

STATE_HEADER: Final = "flow-state"
SHARED_HEADER: Final = "flow-shared"
METADATA_HEADER: Final = "flow-metadata"

_HEADERS: Final = (STATE_HEADER, SHARED_HEADER, METADATA_HEADER)


def with_kept(headers: Mapping[str, str], kept: Kept | None) -> Mapping[str, str]:
    """Return headers, with those that say what an attempt has left behind.

    Args:
        headers: The user's.
        kept: What was left behind, or None.
    """
    if kept is None:
        return headers
    objects = zip(_HEADERS, kept, strict=True)
    return {**headers, **{name: write_object(values) for name, values in objects if values}}


def kept_of(headers: Mapping[str, str]) -> Kept | None:
    """Return what headers say that an attempt has left behind, or None if they say nothing.

    Args:
        headers: What arrived, or was saved.

    Raises:
        InvalidInput: One of them is no JSON object.
        TooLarge: One of them says too much.
    """
    if not headers or headers.keys().isdisjoint(_HEADERS):
        return None
    return Kept(
        read_object(headers.get(STATE_HEADER, ""), f"the header {STATE_HEADER}", STATE_LIMIT),
        read_object(headers.get(SHARED_HEADER, ""), f"the header {SHARED_HEADER}", SHARED_LIMIT),
        read_object(
            headers.get(METADATA_HEADER, ""), f"the header {METADATA_HEADER}", METADATA_LIMIT
        ),
    )
