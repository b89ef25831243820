"""Bags: what a handler keeps for others by name, checked where it is written."""

import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final, cast

from flow import codec
from flow.codec.values import decode_value, encode_value
from flow.errors import InvalidInput, TooLarge
from flow.kept import METADATA_LIMIT, SHARED_LIMIT, STATE_LIMIT, VALUE_LIMIT, Kept

__all__ = ["Bag", "Bags", "read_object", "write_object"]

_NAME_LIMIT: Final = 200
_STATE: Final = "the state"
_SHARED: Final = "the shared state"
_UNDO: Final = "an undo can only read it"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Bag(MutableMapping[str, Any]):
    """Values by name. What is put in is checked at once; what is taken out is a copy.

    So `bag["tries"] = bag.get("tries", 0) + 1` is kept, and `bag["list"].append(1)` is not.

    Args:
        what: What it is called in errors.
        limit: Bytes that all names and values may have together.
        values: What is in it at first: JSON texts by name.
        refusal: Why nothing can be put in, or an empty string if it can.

    Attributes:
        written: What was put in since then: JSON texts by name.
    """

    __slots__ = ("_given", "_limit", "_refusal", "_size", "_values", "_what", "written")

    def __init__(
        self, what: str, limit: int, values: Mapping[str, bytes] | None = None, refusal: str = ""
    ) -> None:
        """Begin with what is there."""
        self._what = what
        self._limit = limit
        self._values = dict(values or {})
        self._size = sum(_weigh(*each) for each in self._values.items())
        self._given = frozenset(self._values)
        self._refusal = refusal
        self.written: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> Any:
        """Return a copy of a value. Raises KeyError if there is none."""
        value: Any = codec.loads(self._values[name], f"{self._what} {name!r}")
        return decode_value(value, f"{self._what} {name!r}")

    def __setitem__(self, name: str, value: Any) -> None:
        """Keep a value: JSON, or bytes.

        Args:
            name: Any text of up to 200 characters.
            value: The value. Integers have at most 64 bits.

        Raises:
            InvalidInput: The name is no such text, JSON has no form for the value, or an undo
                tries to write.
            TooLarge: The value is too large, or all values are together.
        """
        self._expect_open(name)
        what = f"{self._what} {name!r}"
        if not isinstance(name, str) or not 0 < len(name) <= _NAME_LIMIT:
            raise InvalidInput(what, f"a name is a text of 1 to {_NAME_LIMIT} characters")
        if _SURROGATE.search(name):
            raise InvalidInput(what, "the name has no form in UTF-8")
        text = codec.dumps(encode_value(value, what))
        if len(text) > VALUE_LIMIT:
            raise TooLarge(what, len(text), VALUE_LIMIT)
        before = self._values.get(name)
        size = self._size + _weigh(name, text)
        if before is not None:
            size -= _weigh(name, before)
        if size > self._limit:
            raise TooLarge(f"{what} with all others", size, self._limit)
        self._values[name] = self.written[name] = text
        self._size = size

    def __delitem__(self, name: str) -> None:
        """Take back what was put in here. Raises KeyError if there is no such value.

        Raises:
            InvalidInput: It was kept before, and others may have seen it; or an undo tries it.
        """
        self._expect_open(name)
        if name in self._given:
            reason = "it was kept before and cannot be taken back; None can be kept in its place"
            raise InvalidInput(f"{self._what} {name!r}", reason)
        text = self._values.pop(name)
        del self.written[name]
        self._size -= _weigh(name, text)

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return how many values there are."""
        return len(self._values)

    def __repr__(self) -> str:
        """Return what is in it."""
        return f"<{self._what}: {dict(self)!r}>"

    def _expect_open(self, name: object) -> None:
        if self._refusal:
            raise InvalidInput(f"{self._what} {name!r}", self._refusal)


class Bags:
    """What the handlers of one step keep. A bag that nobody looks at is not made.

    Args:
        state: The step's own state, as a JSON object; nothing if it is empty.
        shared: What the steps before have shared, likewise.
        is_undo: Whether it is for an undo, which sees both and can write neither.

    Raises:
        InvalidInput: What came is no JSON object.
        TooLarge: It is larger than it may be.
    """

    __slots__ = ("_metadata", "_refusal", "_shared", "_state")

    def __init__(self, state: str = "", shared: str = "", *, is_undo: bool = False) -> None:
        """Begin with what came along with the request."""
        self._refusal = _UNDO if is_undo else ""
        self._state: Bag | None = None
        self._shared: Bag | None = None
        self._metadata: Bag | None = None
        if state:
            self._state = self._bag(_STATE, STATE_LIMIT, state)
        if shared:
            self._shared = self._bag(_SHARED, SHARED_LIMIT, shared)

    @property
    def state(self) -> Bag:
        """What later attempts of the step see, and its undo."""
        if self._state is None:
            self._state = self._bag(_STATE, STATE_LIMIT)
        return self._state

    @property
    def shared(self) -> Bag:
        """What the steps that depend on it see, and undos."""
        if self._shared is None:
            self._shared = self._bag(_SHARED, SHARED_LIMIT)
        return self._shared

    @property
    def metadata(self) -> Bag:
        """What is attached for the report."""
        if self._metadata is None:
            self._metadata = Bag("the metadata", METADATA_LIMIT)
        return self._metadata

    def kept(self, *, with_shared: bool) -> Kept | None:
        """Return what was written, or None if nothing was.

        Args:
            with_shared: Whether what was shared counts: that of a failed attempt does not.
        """
        if self._state is self._shared is self._metadata is None:
            # Hardly any handler keeps something.
            return None
        state, metadata = _written(self._state), _written(self._metadata)
        shared = _written(self._shared) if with_shared else {}
        return Kept(state, shared, metadata) if state or shared or metadata else None

    def _bag(self, what: str, limit: int, text: str = "") -> Bag:
        return Bag(what, limit, read_object(text, what, limit), self._refusal)


def _written(bag: Bag | None) -> dict[str, bytes]:
    return {} if bag is None else dict(bag.written)


def read_object(text: str, what: str, limit: int) -> dict[str, bytes]:
    """Return the JSON texts of an object's fields by name.

    Args:
        text: The object as JSON, or an empty string for none.
        what: What it is, for the error.
        limit: Bytes that all names and values may have together.

    Raises:
        InvalidInput: It is no JSON object.
        TooLarge: It is too large.
    """
    if not text:
        return {}
    # There may be blanks in it, and characters that need not be escaped.
    document: Any = codec.loads(codec.check_body(text.encode(), what, 4 * limit), what)
    if not isinstance(document, dict):
        raise InvalidInput(what, "it is no JSON object")
    fields = cast("dict[str, Any]", document)
    values = {name: codec.dumps(value) for name, value in fields.items()}
    size = sum(_weigh(name, value) for name, value in values.items())
    if size > limit:
        raise TooLarge(what, size, limit)
    return values


def write_object(values: Mapping[str, bytes]) -> str:
    """Return JSON texts by name as an object, in one line.

    Args:
        values: What `read_object` returns.
    """
    fields = [f"{codec.dumps(name).decode()}:{value.decode()}" for name, value in values.items()]
    return "{" + ",".join(fields) + "}"


def _weigh(name: str, value: bytes) -> int:
    # With what stands around them in the object, or many small ones would not fit into a header.
    return len(codec.dumps(name)) + len(value) + 2
