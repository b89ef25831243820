"""The frames that two processes exchange over a socket.

A frame is a length (4 bytes, counting what follows), a kind (1 byte) and the fields of that
kind, in the order of the class (`brokers.memory.layout` has the layout of a field).

The client begins with a `Hello`. Its answer is a `Welcome` with the version of the server; if
that differs, the connection ends there. All other frames may change from version to version.
Then the client asks, and the server answers each question with an `Answer` or a `Refusal`, in
the order of the questions. `Deliver` and `Settle` are one-way and expect no answer.

Bytes that do not follow this raise `CorruptRecord`, and nothing else.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final, Literal, Protocol, Self, get_args

from brokers.memory.layout import Reader, pack_message, pack_texts, unpack_message
from flow.errors import CorruptRecord, InvalidInput, TooLarge
from flow.ports import Binding, Envelope, Exchange, Publication, Queue, Topology

__all__ = [
    "FRAME_MAX",
    "VERSION",
    "Answer",
    "Cancel",
    "Consume",
    "Declare",
    "Deliver",
    "Find",
    "Frame",
    "Goodbye",
    "Hello",
    "Publish",
    "Refusal",
    "Settle",
    "Verdict",
    "Welcome",
    "decode",
    "encode",
    "encode_publications",
]

VERSION: Final = 1
"""The version of the protocol. It changes whenever a frame does."""
FRAME_MAX: Final = 4 * 1024 * 1024
"""Bytes of one frame, its length not counted."""
BATCH_BYTES: Final = 256 * 1024
"""Bytes of publications after which the next ones go into another frame."""
MAGIC: Final = b"flowmq"

_HEAD: Final = struct.Struct(">IB")
_VERSION: Final = struct.Struct(">H")
_COUNTS: Final = struct.Struct(">III")
_FLAG: Final = struct.Struct(">?")
_CONSUMER: Final = struct.Struct(">I")
_CONSUMING: Final = struct.Struct(">II")
_DELIVERY: Final = struct.Struct(">IQ?")
_VERDICT: Final = struct.Struct(">QB")

_Kind = Literal["direct", "topic", "fanout"]
_KINDS: Final[tuple[_Kind, ...]] = get_args(_Kind)


class Verdict(IntEnum):
    """How a delivery was settled."""

    ACK = 0
    REQUEUE = 1
    REJECT = 2


class Frame(Protocol):
    """One kind of frame."""

    code: ClassVar[int]

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        ...

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        ...


@dataclass(frozen=True, slots=True)
class Hello:
    """The client's first words. Later versions may add to it, and only at the end.

    Args:
        version: The version that the client speaks.
    """

    code: ClassVar[int] = 1
    version: int = VERSION

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return MAGIC + _VERSION.pack(self.version)

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        return cls(_greeting(reader))


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer to a `Hello`, with the same promise.

    Args:
        version: The version that the server speaks.
    """

    code: ClassVar[int] = 2
    version: int = VERSION

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return MAGIC + _VERSION.pack(self.version)

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        return cls(_greeting(reader))


@dataclass(frozen=True, slots=True)
class Declare:
    """Asks for exchanges, queues and bindings."""

    code: ClassVar[int] = 3
    topology: Topology

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        topology = self.topology
        texts: list[str] = []
        for exchange in topology.exchanges:
            texts += (exchange.name, exchange.kind)
        for queue in topology.queues:
            texts += (queue.name, "exclusive" if queue.exclusive else "", queue.dead_letter)
        for binding in topology.bindings:
            texts += (binding.queue, binding.exchange, binding.routing_key)
        counts = (len(topology.exchanges), len(topology.queues), len(topology.bindings))
        return _COUNTS.pack(*counts) + pack_texts(texts)

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        exchanges, queues, bindings = reader.numbers(_COUNTS)
        texts = reader.texts()
        if len(texts) != 2 * exchanges + 3 * queues + 3 * bindings:
            raise CorruptRecord("a frame", "its counts do not match its strings")
        each = iter(texts)
        return cls(
            Topology(
                tuple(Exchange(next(each), _kind(next(each))) for _ in range(exchanges)),
                tuple(
                    Queue(next(each), next(each) == "exclusive", next(each)) for _ in range(queues)
                ),
                tuple(Binding(next(each), next(each), next(each)) for _ in range(bindings)),
            )
        )


@dataclass(frozen=True, slots=True)
class Find:
    """Asks whether an exchange exists."""

    code: ClassVar[int] = 4
    exchange: str

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return pack_texts([self.exchange])

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        return cls(_one_text(reader))


@dataclass(frozen=True, slots=True)
class Publish:
    """Asks to publish; the answer has one byte for each publication."""

    code: ClassVar[int] = 5
    publications: tuple[Publication, ...]

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return b"".join(map(_pack_publication, self.publications))

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        return cls(tuple(_unpack_publications(reader)))


@dataclass(frozen=True, slots=True)
class Consume:
    """Asks to receive from a queue.

    Args:
        consumer: A number that the client chooses; deliveries carry it.
        queue: The queue's name.
        prefetch: How many unsettled messages at most.
    """

    code: ClassVar[int] = 6
    consumer: int
    queue: str
    prefetch: int

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return _CONSUMING.pack(self.consumer, self.prefetch) + pack_texts([self.queue])

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        consumer, prefetch = reader.numbers(_CONSUMING)
        return cls(consumer, _one_text(reader), prefetch)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Asks to receive nothing more for a consumer."""

    code: ClassVar[int] = 7
    consumer: int

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return _CONSUMER.pack(self.consumer)

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        return cls(*reader.numbers(_CONSUMER))


@dataclass(frozen=True, slots=True)
class Settle:
    """Settles deliveries, each named by its tag."""

    code: ClassVar[int] = 8
    verdicts: tuple[tuple[int, Verdict], ...]

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return b"".join([_VERDICT.pack(tag, verdict) for tag, verdict in self.verdicts])

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        data = reader.rest()
        if len(data) % _VERDICT.size:
            raise CorruptRecord("a frame", "its last verdict is cut short")
        try:
            return cls(
                tuple((tag, _VERDICTS[verdict]) for tag, verdict in _VERDICT.iter_unpack(data))
            )
        except KeyError as error:
            raise CorruptRecord("a frame", "it has an unknown verdict") from error


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Asks to end the session."""

    code: ClassVar[int] = 9

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return b""

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        return cls()


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers a question.

    Args:
        values: One byte for each publication, or for whether an exchange exists; else nothing.
    """

    code: ClassVar[int] = 10
    values: bytes = b""

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return self.values

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        return cls(reader.rest())


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answers a question with a `ConfigurationError`."""

    code: ClassVar[int] = 11
    what: str
    reason: str

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        return pack_texts([self.what, self.reason])

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        texts = reader.texts()
        if len(texts) != len(("what", "reason")):
            raise CorruptRecord("a frame", f"a refusal has 2 strings, not {len(texts)}")
        return cls(*texts)


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hands out a message.

    Args:
        consumer: Whose it is.
        tag: What it is settled by.
        redelivered: Whether it may have been delivered before.
        routing_key: The key that it was published with.
        envelope: The message.
    """

    code: ClassVar[int] = 12
    consumer: int
    tag: int
    redelivered: bool
    routing_key: str
    envelope: Envelope

    def pack(self) -> bytes:
        """Return the fields as bytes."""
        head = _DELIVERY.pack(self.consumer, self.tag, self.redelivered)
        return head + pack_message([self.routing_key], self.envelope)

    @classmethod
    def unpack(cls, reader: Reader) -> Self:
        """Return the frame whose fields *reader* is at."""
        consumer, tag, redelivered = reader.numbers(_DELIVERY)
        (routing_key,), envelope = unpack_message(reader, 1)
        return cls(consumer, tag, redelivered, routing_key, envelope)


_FRAMES: Final[dict[int, type[Frame]]] = {
    kind.code: kind
    for kind in (
        Hello,
        Welcome,
        Declare,
        Find,
        Publish,
        Consume,
        Cancel,
        Settle,
        Goodbye,
        Answer,
        Refusal,
        Deliver,
    )
}
_VERDICTS: Final = {int(verdict): verdict for verdict in Verdict}


def encode(frame: Frame) -> bytes:
    """Return a frame as bytes, its length included.

    Raises:
        InvalidInput: A number is too large, or a string cannot be written in UTF-8.
        TooLarge: It has more than `FRAME_MAX` bytes.
    """
    return _framed(frame.code, _packed(frame))


def encode_publications(publications: Sequence[Publication]) -> Iterator[bytes]:
    """Yield `Publish` frames that hold all of *publications*, in their order.

    Raises:
        InvalidInput: A string cannot be written in UTF-8.
        TooLarge: One of them is larger than a frame may be.
    """
    parts: list[bytes] = []
    size = 0
    for publication in publications:
        part = _packed(Publish((publication,)))
        if parts and size + len(part) > BATCH_BYTES:
            yield _framed(Publish.code, b"".join(parts))
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        yield _framed(Publish.code, b"".join(parts))


def decode(data: bytes) -> Frame:
    """Return the frame that *data* is, which begins with its kind.

    Raises:
        CorruptRecord: It is none.
    """
    kind = _FRAMES.get(data[0]) if data else None
    if kind is None:
        raise CorruptRecord("a frame", f"there is no kind {data[:1].hex() or 'of nothing'}")
    reader = Reader(data, 1)
    frame = kind.unpack(reader)
    if not reader.is_done:
        raise CorruptRecord("a frame", "it goes on after its end")
    return frame


def _packed(frame: Frame) -> bytes:
    try:
        return frame.pack()
    except (struct.error, UnicodeEncodeError) as error:
        raise InvalidInput("a message for another process", str(error)) from error


def _framed(code: int, data: bytes) -> bytes:
    length = len(data) + 1
    if length > FRAME_MAX:
        raise TooLarge("a message for another process", length, FRAME_MAX)
    return _HEAD.pack(length, code) + data


def _greeting(reader: Reader) -> int:
    if reader.take(len(MAGIC)) != MAGIC:
        raise CorruptRecord("a frame", "the other side speaks another protocol")
    (version,) = reader.numbers(_VERSION)
    reader.rest()
    return int(version)


def _one_text(reader: Reader) -> str:
    texts = reader.texts()
    if len(texts) != 1:
        raise CorruptRecord("a frame", f"it should have 1 string, not {len(texts)}")
    return texts[0]


def _kind(text: str) -> _Kind:
    for kind in _KINDS:
        if text == kind:
            return kind
    raise CorruptRecord("a frame", f"there is no exchange of kind {text!r}")


def _pack_publication(publication: Publication) -> bytes:
    places = (publication.exchange, publication.routing_key)
    return _FLAG.pack(publication.mandatory) + pack_message(places, publication.envelope)


def _unpack_publications(reader: Reader) -> Iterator[Publication]:
    while not reader.is_done:
        (mandatory,) = reader.numbers(_FLAG)
        (exchange, routing_key), envelope = unpack_message(reader, 2)
        yield Publication(exchange, routing_key, envelope, mandatory)
