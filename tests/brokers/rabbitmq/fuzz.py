"""Fuzzes what comes in from a broker, guided by coverage: `make fuzz SECONDS=60`.

An input is taken in three ways. As a stream of bytes, and as the content of frames that are put
together around it: each is given to an owner of a socket, with a consumer on channel 1 and a
publisher on channel 2, once as a whole and once in pieces. Both must come to the same, and nothing
may be raised into the event loop. And as the properties of a message, which must be read as the
library reads them. The fuzzer begins with a few good messages.

The same is tried with hypothesis in `test_multiplexer` and `test_properties`; here it goes on for
as long as one likes. The fuzzer (atheris) is no dependency; `make fuzz` installs it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import struct
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from brokers.rabbitmq.frames import (
    ACK,
    CHANNEL_CLOSE,
    HEADER,
    NACK,
    RETURN,
    FrameParser,
    frame_of,
)
from brokers.rabbitmq.multiplexer import Multiplexer
from brokers.rabbitmq.native_intake import NativeIntake
from brokers.rabbitmq.native_lane import NativeLane
from brokers.rabbitmq.properties import envelope_at, properties_at, wire_id_at
from brokers.rabbitmq.wire import MALFORMED, trouble_of
from flow.ports import Delivery, Envelope, Publication
from tests.brokers.rabbitmq.sockets import delivery, message, method, multiplexed
from tests.brokers.rabbitmq.test_properties import as_the_library

HEAD_BYTES = 3
MESSAGE = Publication("", "q", Envelope("t", b"{}", "m"))


def handlers_on(multiplexer: Multiplexer, seen: list[object]) -> NativeLane:
    """Take channels 1 and 2 over; note in *seen* what is received. Return what publishes on 2."""

    def receive(delivery: Delivery) -> None:
        seen.append((delivery.routing_key, delivery.redelivered, delivery.envelope))
        delivery.ack()

    link: Any = SimpleNamespace()
    channels: list[Any] = [
        SimpleNamespace(
            number=number,
            connection=SimpleNamespace(connection_tune=SimpleNamespace(frame_max=4096)),
        )
        for number in (1, 2)
    ]
    NativeIntake(link, channels[0], receive, seen.append, multiplexer)
    return NativeLane(multiplexer, channels[1], lambda: "made")


async def hear(pieces: list[bytes]) -> list[object]:
    """Return what comes of a stream: deliveries, settlements, and what is left for the library."""
    seen: list[object] = []
    multiplexer, socket, library = multiplexed()
    lane = handlers_on(multiplexer, seen)
    outcomes: list[Any] = [None] * 3
    call = lane.begin([MESSAGE] * 3, outcomes)
    multiplexer._next_pulse = float("inf")
    for piece in pieces:
        multiplexer.data_received(piece)
    multiplexer.flush()
    lane.finish(call)
    parser = multiplexer._parser
    left = bytes(library._buffer)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType] - nobody reads it here
    return [*seen, outcomes, str(parser.trouble), left, b"".join(socket.writes)]


def framed(data: bytes) -> bytes:
    """Return frames whose kinds, channels, sizes and payloads the input says."""
    frames: list[bytes] = []
    while len(data) > HEAD_BYTES:
        kind, channel, size = 1 + data[0] % 3, data[1] % 4, data[2]
        payload, data = data[3 : 3 + size], data[3 + size :]
        frames.append(frame_of(kind, channel, payload))
    return b"".join(frames)


def unframed(stream: bytes) -> bytes:
    """Return the input that says these frames."""
    frames = FrameParser().feed(stream)
    return b"".join(
        bytes([kind - 1, channel, len(payload)]) + payload for kind, channel, payload in frames
    )


def seeds() -> list[bytes]:
    """Return inputs that are good messages."""
    envelope = Envelope("t", b"{}", "m", "c", "r", {"name": "value"})
    properties = properties_at(envelope, "m")
    confirms = method(ACK, struct.pack(">QB", 2, 1), 2) + method(NACK, struct.pack(">QB", 3, 0), 2)
    returned = message(RETURN, b"\1\x38\0\0\0", properties, b"{}", 2)
    closing = method(CHANNEL_CLOSE, struct.pack(">H", 404) + b"\4gone" + bytes(4))
    streams = [delivery(1, b"one") + delivery(2, b""), confirms, returned, closing]
    whole = b"".join(streams)
    return [properties, *(b"\x07" + each for each in map(unframed, [*streams, whole])), whole]


def check_stream(step: int, stream: bytes) -> None:
    """Make sure that a stream means the same in pieces of any size."""
    pieces = [stream[start : start + step] for start in range(0, len(stream), step)]
    whole, cut = (asyncio.run(hear(each)) for each in ([stream], pieces))
    # Acknowledgements of one turn are the same ones, and so is all that is found.
    assert whole == cut, (whole, cut)


def check_properties(data: bytes) -> None:
    """Make sure that properties mean what the library takes them for."""
    header = b"\0\x3c\0\0" + bytes(8) + data
    assert envelope_at(header, b"") == as_the_library(header, b"")
    wire_id_at(header)
    if trouble_of(frame_of(HEADER, 1, header)):
        assert MALFORMED in envelope_at(header, b"").headers


def check(data: bytes) -> None:
    """Take an input in each way. Its first byte says how large the pieces are."""
    step = 1 + data[0] % 64 if data else 1
    check_stream(step, data[1:])
    check_stream(step, framed(data[1:]))
    check_properties(data)


def main() -> None:
    """Fuzz for some seconds; a fault ends it, and its input is printed and kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    atheris: Any = importlib.import_module("atheris")
    for checked in (check, *_parsers()):
        atheris.instrument_func(checked)
    folder = Path(tempfile.mkdtemp(prefix="flow-fuzz-"))
    for number, seed in enumerate(seeds()):
        (folder / str(number)).write_bytes(seed)
    options = [f"-max_total_time={arguments.seconds}", "-max_len=512", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder)], check)
    atheris.Fuzz()


def _parsers() -> list[Any]:
    """Return what the fuzzer looks into, to find its way."""
    owners: list[type] = [Multiplexer, NativeIntake, NativeLane]
    names = [name.removesuffix(".py") for name in ("frames.py", "contents.py", "properties.py")]
    modules = [importlib.import_module(f"brokers.rabbitmq.{name}") for name in names]
    found: list[Any] = [
        value
        for module in modules
        for value in vars(module).values()
        if getattr(value, "__module__", "") == module.__name__ and hasattr(value, "__code__")
    ]
    return found + [
        value for owner in owners for value in vars(owner).values() if hasattr(value, "__code__")
    ]


if __name__ == "__main__":
    main()
