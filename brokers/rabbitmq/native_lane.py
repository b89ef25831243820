"""A channel to publish on, past the client library.

Theory of operation
-------------------
To publish is to leave the frames of all messages of a call with the multiplexer, and to wait for
one future. Nothing else is waited for, unless the socket takes no more. Confirms and returned
messages come in as frames, and are settled there and then (`brokers.rabbitmq.confirms`).

The library has opened the channel, and closes it. When the channel ends in any way, all calls on
it are woken at once; what is not known by then, never will be.
"""

import asyncio
import struct
from collections.abc import Callable, MutableSequence, Sequence
from typing import Final

import aiormq

from brokers.rabbitmq.confirms import Call, Confirms
from brokers.rabbitmq.contents import Contents
from brokers.rabbitmq.frames import ACK, METHOD, NACK, RETURN, content_parts, publish_frame
from brokers.rabbitmq.lane import Outcome, Refused
from brokers.rabbitmq.multiplexer import Multiplexer
from brokers.rabbitmq.properties import properties_at, wire_id_at
from flow.ports import Publication, Settlement

__all__ = ["NativeLane"]

OVERHEAD_BYTES: Final = 200
"""About how many bytes a message has besides its body. Only the sum of many matters."""
FRAME_BYTES: Final = 128 * 1024
"""Bytes of the largest frame of a broker that sets no limit."""

_CONFIRM: Final = struct.Struct(">QB")
_CONFIRM_AT: Final = 4
_MULTIPLE: Final = 1


class NativeLane:
    """A channel to publish on; satisfies `brokers.rabbitmq.lane.Lane`.

    Args:
        multiplexer: The owner of the socket.
        channel: The channel, on which the broker confirms, and nothing was published yet.
        new_id: Makes ids.
    """

    def __init__(
        self, multiplexer: Multiplexer, channel: aiormq.Channel, new_id: Callable[[], str]
    ) -> None:
        self.channel = channel
        self.load = 0
        self.is_retired = False
        self._events = asyncio.get_running_loop()
        self._multiplexer = multiplexer
        self._number = channel.number
        self._frame_max = channel.connection.connection_tune.frame_max or FRAME_BYTES
        self._confirms = Confirms(new_id)
        self._contents = Contents()
        self._calls: dict[Call, None] = {}
        self._closed_for: str | None = None
        multiplexer.take_over(channel.number, self)

    @property
    def is_open(self) -> bool:
        """Whether it can be published on."""
        return not self.is_retired and self._closed_for is None

    @property
    def has_ended(self) -> bool:
        """Whether the channel is closed, or is being closed."""
        return self._closed_for is not None

    @property
    def trouble(self) -> Exception:
        """Why it is not known what became of messages: the end of the channel."""
        return Refused(self._closed_for) if self._closed_for else ConnectionError()

    def begin(
        self, publications: Sequence[Publication], outcomes: MutableSequence[Settlement | None]
    ) -> Call:
        """Publish as many messages as there is room for, all of them as a rule.

        Args:
            publications: What to publish.
            outcomes: As many places, in which it is written as soon as it is known.

        Returns:
            What is waited for, and given back with `finish` in any case.
        """
        call = Call(outcomes, self._events.create_future())
        multiplexer, number = self._multiplexer, 0
        for publication in publications:
            if not multiplexer.has_room:
                break
            self._send(call, number, publication)
            number += 1
        self.load += number
        self._calls[call] = None
        call.start(number)
        return call

    def finish(self, call: Call) -> None:
        """Take note that a call is not waited for any longer.

        Args:
            call: What `begin` has returned.
        """
        self.load -= call.count
        del self._calls[call]

    async def publish(
        self, publications: Sequence[Publication], outcomes: list[Outcome | None]
    ) -> None:
        """Publish, and write down what became of each publication.

        Args:
            publications: What to publish.
            outcomes: As many places, in which it is written as soon as it is known; an error if
                it never will be. Right even if this is cancelled.
        """
        done = 0
        while done < len(publications):
            await self._multiplexer.room()
            if self._closed_for is not None:
                break
            found: list[Settlement | None] = [None] * (len(publications) - done)
            call = self.begin(publications[done:], found)
            try:
                await call.future
            finally:
                self.finish(call)
                outcomes[done:] = found
            done += call.count if call.is_settled else 0
        unknown = self.trouble
        outcomes[:] = [unknown if outcome is None else outcome for outcome in outcomes]

    def take(self, kind: int, payload: bytes) -> bool:
        """Take a frame; return whether it was a confirm, or of a returned message.

        Args:
            kind: What it has.
            payload: What is in it.
        """
        if kind == METHOD:
            method = payload[:4]
            if method == ACK:
                self._settle(payload, Settlement.CONFIRMED)
            elif method == NACK:
                self._settle(payload, Settlement.REFUSED)
            elif method == RETURN:
                self._contents.begin(payload)
            else:
                return False
        elif self._contents.take(kind, payload):
            self._confirms.returned(wire_id_at(self._contents.header))
            self._contents.clear()
        return True

    def parts(self) -> list[bytes]:
        """Return nothing: all is sent when it is published."""
        return []

    def end(self, reason: str) -> None:
        """Wake all calls: nothing more is confirmed.

        Args:
            reason: Why the broker has closed the channel, or an empty string.
        """
        self._closed_for = reason
        for call in self._calls:
            call.end()

    def _send(self, call: Call, number: int, publication: Publication) -> None:
        envelope = publication.envelope
        wire_id = self._confirms.expect(call, number, envelope.message_id)
        announced = publish_frame(
            self._number, publication.exchange, publication.routing_key, publication.mandatory
        )
        properties = properties_at(envelope, wire_id)
        body = envelope.body
        contents = content_parts(self._number, properties, body, self._frame_max)
        self._multiplexer.write((announced, *contents), len(body) + OVERHEAD_BYTES)

    def _settle(self, payload: bytes, settlement: Settlement) -> None:
        tag, flags = _CONFIRM.unpack_from(payload, _CONFIRM_AT)
        self._confirms.settle(tag, settlement, multiple=bool(flags & _MULTIPLE))
