"""Tests of `brokers.rabbitmq.native_intake`; with a real broker, `test_consuming` proves it."""

from __future__ import annotations

import asyncio
import struct
from types import SimpleNamespace
from typing import Any

import pamqp.frame
import pytest

from brokers.rabbitmq.multiplexer import Multiplexer
from brokers.rabbitmq.native_intake import NativeIntake
from flow.ports import Delivery
from tests.brokers.memory.waiting import turns
from tests.brokers.rabbitmq.sockets import FakeSocket, delivery, method, multiplexed


class Bench:
    """An intake on channel 1, and what is around it."""

    def __init__(self) -> None:
        self.multiplexer: Multiplexer
        self.socket: FakeSocket
        self.multiplexer, self.socket, _ = multiplexed()
        self.received: list[Delivery] = []
        self.dropped: list[object] = []
        self.ends: list[object] = []
        channel: Any = SimpleNamespace(number=1)
        link: Any = SimpleNamespace(drop=self.dropped.append)
        self.intake = NativeIntake(link, channel, self.receive, self.ends.append, self.multiplexer)

    def receive(self, each: Delivery) -> None:
        """Keep a delivery, unless it is a bad one."""
        if each.envelope.body == b"bad":
            raise ValueError(each)
        self.received.append(each)

    def told(self) -> list[str]:
        """Return what the broker was told."""
        found = [
            pamqp.frame.unmarshal(
                struct.pack(">BHI", *frame[:2], len(frame[2])) + frame[2] + b"\xce"
            )
            for frame in self.socket.frames()
        ]
        return [f"{each[2].name} {dict(each[2])}" for each in found]  # type: ignore[arg-type] # pyright: ignore[reportAttributeAccessIssue, reportArgumentType, reportUnknownMemberType] - all of them are methods


@pytest.fixture
async def bench() -> Bench:
    """Give an intake."""
    return Bench()


async def test_deliveries_are_handed_out_at_once(bench: Bench) -> None:
    """A delivery is received in the call that brings its last byte, with all that it has."""
    data = delivery(1, b"one") + delivery(2, b"", b"k\xff", redelivered=True)
    bench.multiplexer.data_received(data[:-1])
    assert [each.envelope.body for each in bench.received] == [b"one"]
    bench.multiplexer.data_received(data[-1:])
    first, second = bench.received
    assert (first.routing_key, first.redelivered) == ("key", False)
    assert (second.routing_key, second.redelivered, second.envelope.body) == ("k\ufffd", True, b"")
    assert bench.intake.unsettled == 2


async def test_settlements_of_a_turn_leave_together(bench: Bench) -> None:
    """What is settled in a turn is told in one write, each delivery once and as it was settled."""
    bench.multiplexer.data_received(b"".join(delivery(tag, b"x") for tag in range(1, 7)))
    one, two, three, four, five, six = bench.received
    for each in (one, two, four, one):
        each.ack()
    three.requeue()
    five.reject()
    five.ack()
    await turns(2)
    assert len(bench.socket.writes) == 1
    assert bench.told() == [
        "Basic.Reject {'delivery_tag': 3, 'requeue': True}",
        "Basic.Reject {'delivery_tag': 5, 'requeue': False}",
        "Basic.Ack {'delivery_tag': 4, 'multiple': True}",
    ]
    six.ack()
    await turns(2)
    assert bench.told() == ["Basic.Ack {'delivery_tag': 6, 'multiple': False}"]


async def test_a_receiver_that_raises_hurts_nobody_else(bench: Bench) -> None:
    """Its message goes back, it is reported, and the deliveries after it are received."""
    reports = list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reports.append(context["message"]))
    bench.multiplexer.data_received(delivery(1, b"bad") + delivery(2, b"good"))
    assert [each.envelope.body for each in bench.received] == [b"good"]
    await turns(2)
    assert bench.told() == ["Basic.Reject {'delivery_tag': 1, 'requeue': True}"]
    assert reports == ["a receiver raised; the message goes back"]


async def test_a_closed_channel_voids_its_deliveries(bench: Bench) -> None:
    """Nothing is said on a channel that the broker has closed, whatever is settled."""
    bench.multiplexer.data_received(delivery(1, b"x") + delivery(2, b"x"))
    bench.received[0].ack()
    bench.multiplexer.data_received(method(b"\0\x14\0\x28", b"\x01\x94\x04gone\0\0\0\0"))
    bench.received[1].ack()
    await turns(2)
    assert bench.told() == []
    assert bench.intake.unsettled == 0


async def test_it_lives_until_all_is_settled(bench: Bench) -> None:
    """An intake that receives no more closes its channel after the last settlement."""
    bench.multiplexer.data_received(delivery(1, b"x") + delivery(2, b"x"))
    running = asyncio.gather(bench.intake.run())
    bench.intake._cancelled(None)
    assert bench.ends == [bench.intake]
    bench.received[0].ack()
    await turns()
    assert not running.done()
    bench.received[1].ack()
    await running
    assert len(bench.dropped) == 1
    assert bench.intake.has_ended
    bench.multiplexer.data_received(delivery(3, b"late"))
    assert len(bench.received) == 2


async def test_what_was_settled_is_told_before_the_rest_is_let_go(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An intake that is finished tells what was settled, and nothing of what was not."""
    monkeypatch.setattr("brokers.rabbitmq.intake.CLOSE_S", 0.0)
    bench.multiplexer.data_received(b"".join(delivery(tag, b"x") for tag in (1, 2, 3)))
    bench.received[0].ack()
    bench.received[2].ack()
    await bench.intake.finish()
    bench.received[1].ack()
    await turns(2)
    assert bench.told() == [
        "Basic.Ack {'delivery_tag': 1, 'multiple': False}",
        "Basic.Ack {'delivery_tag': 3, 'multiple': False}",
    ]


async def test_a_server_that_counts_backwards_is_given_up(bench: Bench) -> None:
    """Numbers that were there before end the connection, and no delivery is settled by them."""
    bench.multiplexer.data_received(delivery(2, b"x") + delivery(1, b"x"))
    assert bench.socket.is_aborted
    assert len(bench.received) == 1
