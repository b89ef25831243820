"""The floor's client: what it writes is AMQP, and it understands what comes, however it is cut."""

import asyncio
from functools import partial

import pytest
from pamqp import body, commands, frame, header

from benchmarks.floor.wire import Message, Wire, route_to, short


class Transport(asyncio.WriteTransport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += bytes(data)


def parse(data: bytes) -> list[object]:
    """Return the frames that a library for AMQP finds in some bytes."""
    found: list[object] = []
    while data:
        count, _, value = frame.unmarshal(data)
        found.append(value)
        data = data[count:]
    return found


def delivered(tag: int, text: bytes, properties: commands.Basic.Properties) -> bytes:
    """Return the frames by which a broker delivers a message."""
    method = commands.Basic.Deliver("floor", tag, redelivered=False, exchange="", routing_key="q")
    head = header.ContentHeader(body_size=len(text), properties=properties)
    return b"".join(frame.marshal(each, 1) for each in (method, head, body.ContentBody(text)))


async def wire_and_transport() -> tuple[Wire, Transport]:
    """Return a client, and what it writes to."""
    wire, transport = Wire(), Transport()
    wire.connection_made(transport)
    transport.written = b""
    return wire, transport


async def test_a_publication_is_amqp() -> None:
    """A library for AMQP reads what was published, in one send for a turn of the event loop."""
    wire, transport = await wire_and_transport()
    wire.publish(route_to("queue"), b"body", "name", short("answers"))
    wire.ack(7, multiple=True)
    assert transport.written == b""
    await asyncio.sleep(0)
    method, head, content, ack = parse(transport.written)
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == ("", "queue", False)
    assert isinstance(head, header.ContentHeader)
    properties = head.properties
    assert (head.body_size, properties.delivery_mode) == (4, 2)
    assert (properties.correlation_id, properties.reply_to) == ("name", "answers")
    assert isinstance(content, body.ContentBody)
    assert content.value == b"body"
    assert isinstance(ack, commands.Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (7, True)


@pytest.mark.parametrize("size", [1, 7, 50, 1_000])
async def test_deliveries_are_understood_however_they_are_cut(size: int) -> None:
    """Messages come out the same, in whatever pieces the bytes come in."""
    wire, _ = await wire_and_transport()
    found: list[Message] = []
    wire.receive = found.append
    properties = commands.Basic.Properties
    data = delivered(1, b"one", properties(correlation_id="a", reply_to="b", headers={"x": "y"}))
    data += delivered(2, b"two", properties("text", priority=1, correlation_id="c"))
    for start in range(0, len(data), size):
        wire.data_received(data[start : start + size])
    assert found == [(1, "a", "b", b"one"), (2, "c", "", b"two")]


async def test_confirms_are_told_once() -> None:
    """A confirm of many tells all before it that were not told yet, and nobody twice."""
    wire, _ = await wire_and_transport()
    told: list[int] = []
    for number in range(1, 6):
        wire.publish(route_to("q"), b"", "n", b"", partial(told.append, number))
    for tag, multiple in ((2, False), (4, True), (5, True)):
        wire.data_received(frame.marshal(commands.Basic.Ack(tag, multiple), 1))
    assert told == [2, 1, 3, 4, 5]


async def test_an_unexpected_method_is_an_error() -> None:
    """What the floor was not made for ends it loudly: a second answer that nobody asked for."""
    wire, _ = await wire_and_transport()
    answer = frame.marshal(commands.Queue.DeclareOk("q", 0, 0), 1)
    wire.data_received(answer)
    with pytest.raises(ConnectionError, match="DeclareOk"):
        wire.data_received(answer)
