"""Bundles: several small messages for one queue that travel as one.

A broker works nearly as long for a small message as for a larger one: it writes it to its log, has
other replicas confirm it, hands it out and takes its acknowledgement. So whatever waits to be
published to the same queue at the same moment becomes one message, if that queue is read by our own
programs. Nothing waits for a bundle to become full.

The body of a bundle is one line of JSON, which has for each message its type, message id,
correlation id, reply address, headers, content type and the size of its body; the bodies follow.

Each message of a bundle is settled by itself, and the bundle as soon as all of them are. It is
given back if one of them was: the others come again with it, and are known by then.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from flow import codec
from flow.errors import CorruptRecord, FlowError
from flow.ports import Delivery, Envelope, Publication, Settlement
from flow.ports.limits import check_publication

__all__ = [
    "BUNDLE",
    "BYTES_MAX",
    "MESSAGES_MAX",
    "Bundler",
    "Packed",
    "messages_of",
    "unpacked",
]

BUNDLE: Final = "bundle"
"""The type of a message that is a bundle."""
MESSAGES_MAX: Final = 32
BYTES_MAX: Final = 64 * 1024
"""Bytes of the messages in a bundle. A message that is larger travels alone."""

_OVERHEAD_BYTES: Final = 32
_NEWLINE: Final = b"\n"

_Destination = tuple[str, str, bool]


class Packed:
    """What is published in the place of some messages.

    Args:
        publications: What is published.
        places: For each message, the place of what it travels in.
    """

    __slots__ = ("_places", "publications")

    def __init__(self, publications: Sequence[Publication], places: Sequence[int]) -> None:
        """Keep who travels where."""
        self.publications = publications
        self._places = places

    def of_each(self, settlements: Sequence[Settlement | None]) -> list[Settlement | None]:
        """Return what became of each message.

        Args:
            settlements: What became of each that was published.
        """
        return [settlements[place] for place in self._places]


class Bundler:
    """Puts messages for the same queue into bundles.

    Args:
        reads_bundles: Says of an exchange and a routing key whether bundles are known where they
            lead to.
        new_id: Makes message ids.
    """

    __slots__ = ("_new_id", "_reads_bundles")

    def __init__(
        self, reads_bundles: Callable[[str, str], bool], new_id: Callable[[], str]
    ) -> None:
        """Begin; nothing is remembered from one call to the next."""
        self._reads_bundles = reads_bundles
        self._new_id = new_id

    def pack(self, publications: Sequence[Publication]) -> Packed | None:
        """Return what to publish in the place of messages, or None if each has to travel alone.

        What does not travel in a bundle keeps its order, and a bundle comes when its first message
        would have come.

        Args:
            publications: The messages, in their order.
        """
        bundles = self._bundles(publications)
        if not bundles:
            return None
        places = [-1] * len(publications)
        packed: list[Publication] = []
        for place, publication in enumerate(publications):
            if places[place] >= 0:
                continue
            bundle = bundles.get(place)
            if bundle is None:
                places[place] = len(packed)
                packed.append(publication)
                continue
            for each in bundle:
                places[each] = len(packed)
            body = _body([publications[each].envelope for each in bundle])
            packed.append(publication._replace(envelope=Envelope(BUNDLE, body, self._new_id())))
        return Packed(packed, places)

    def _bundles(self, publications: Sequence[Publication]) -> dict[int, list[int]]:
        """Return which messages travel together: their places, by that of the first of them."""
        together: dict[_Destination, list[int]] = {}
        for place, (exchange, key, _, mandatory) in enumerate(publications):
            together.setdefault((exchange, key, mandatory), []).append(place)
        if len(together) == len(publications):
            return {}
        parts: list[list[int]] = []
        for (exchange, key, _), group in together.items():
            if len(group) > 1 and self._reads_bundles(exchange, key):
                parts += _parted(publications, group)
        return {part[0]: part for part in parts if len(part) > 1}


def _parted(publications: Sequence[Publication], group: Sequence[int]) -> list[list[int]]:
    """Part messages for one queue, so that each part fits into a bundle."""
    parts: list[list[int]] = []
    present: list[int] = []
    room = 0
    for place in group:
        size = _size(publications[place])
        if size > room or len(present) == MESSAGES_MAX:
            present, room = [], BYTES_MAX
            parts.append(present)
        present.append(place)
        room -= size
    return parts


def _size(publication: Publication) -> int:
    """Return what a message takes in a bundle; more than there is if it must travel alone."""
    try:
        size = check_publication(publication)
    except FlowError:
        # The broker refuses it, and nobody else has to suffer.
        return BYTES_MAX + 1
    return size + len(publication.envelope.body) + _OVERHEAD_BYTES


def _body(envelopes: Sequence[Envelope]) -> bytes:
    heads = [
        (kind, message_id, correlation, reply_to, headers, content_type, len(body))
        for kind, body, message_id, correlation, reply_to, headers, content_type in envelopes
    ]
    bodies = [envelope.body for envelope in envelopes]
    return b"".join((codec.dumps(heads), _NEWLINE, *bodies))


def unpacked(delivery: Delivery) -> Sequence[Delivery]:
    """Return the messages of a bundle, each of which has to be settled.

    Args:
        delivery: The bundle.

    Raises:
        CorruptRecord: It is none, and has to be settled itself.
    """
    envelopes = messages_of(delivery.envelope)
    bundle = _Bundle(delivery, len(envelopes))
    return [_Part(bundle, envelope) for envelope in envelopes]


def messages_of(bundle: Envelope) -> Sequence[Envelope]:
    """Return the messages of a bundle, of which there is at least one.

    Args:
        bundle: The bundle.

    Raises:
        CorruptRecord: It is none.
    """
    head, _, bodies = bundle.body.partition(_NEWLINE)
    envelopes: list[Envelope] = []
    start = 0
    try:
        for fields in cast("list[Any]", codec.loads(head, "the bundle")):
            envelope, start = _read(fields, bodies, start)
            envelopes.append(envelope)
    except (FlowError, TypeError, ValueError) as error:
        raise CorruptRecord("the bundle", str(error)) from error
    if not envelopes or start != len(bodies):
        raise CorruptRecord("the bundle", f"{len(envelopes)} messages, {len(bodies)} bytes")
    return envelopes


def _read(fields: Any, bodies: bytes, start: int) -> tuple[Envelope, int]:
    """Return a message, and where its body ends; whatever is wrong is a TypeError or ValueError."""
    kind, message_id, correlation, reply_to, given, content_type, size = fields
    if not isinstance(given, dict) or type(size) is not int or size < 0:
        raise ValueError("it does not say what its messages are")
    headers = cast("dict[str, str]", given)
    # Raises TypeError for whatever is no text.
    "".join([kind, message_id, correlation, reply_to, content_type, *headers.values()])
    end = start + size
    body = bodies[start:end]
    text = (kind, body, message_id, correlation, reply_to, headers, content_type)
    return Envelope._make(text), end


_DONE: Final = 0
_REJECTED: Final = 1
_GIVEN_BACK: Final = 2


class _Bundle:
    """Settles a delivery once all of its messages are settled.

    Args:
        delivery: The delivery.
        unsettled: How many messages it has.
    """

    __slots__ = ("_end", "_unsettled", "delivery")

    def __init__(self, delivery: Delivery, unsettled: int) -> None:
        self.delivery = delivery
        self._unsettled = unsettled
        self._end = _DONE

    def settle(self, end: int) -> None:
        """Take note of the end of one more message: the gravest decides."""
        self._end = max(self._end, end)
        self._unsettled -= 1
        if self._unsettled:
            return
        if self._end == _DONE:
            self.delivery.ack()
        elif self._end == _REJECTED:
            self.delivery.reject()
        else:
            self.delivery.requeue()


class _Part:
    """A message of a bundle; see `flow.ports.Delivery`."""

    __slots__ = ("_bundle", "_is_settled", "envelope")

    def __init__(self, bundle: _Bundle, envelope: Envelope) -> None:
        self._bundle = bundle
        self._is_settled = False
        self.envelope = envelope

    @property
    def routing_key(self) -> str:
        return self._bundle.delivery.routing_key

    @property
    def redelivered(self) -> bool:
        return self._bundle.delivery.redelivered

    def ack(self) -> None:
        self._settle(_DONE)

    def requeue(self) -> None:
        self._settle(_GIVEN_BACK)

    def reject(self) -> None:
        self._settle(_REJECTED)

    def _settle(self, end: int) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._bundle.settle(end)
