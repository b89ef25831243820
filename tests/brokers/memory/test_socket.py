"""Tests of `brokers.memory.socket`, beyond those that every broker has to pass."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from brokers.memory.frames import (
    FRAME_MAX,
    VERSION,
    Answer,
    Consume,
    Declare,
    Deliver,
    Find,
    Frame,
    Goodbye,
    Hello,
    Publish,
    Settle,
    Verdict,
    Welcome,
    encode,
)
from brokers.memory.hub import Hub
from brokers.memory.link import Link
from brokers.memory.server import SocketServer
from brokers.memory.socket import SocketBroker
from flow.errors import BrokerUnavailable, ConfigurationError, TooLarge
from flow.ports import (
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Envelope,
    Publication,
    Queue,
    Settlement,
    Topology,
)
from tests.brokers.memory.waiting import DEADLINE_S, turns, until

TOPOLOGY = Topology(queues=(Queue("q"),))


class Actor:
    """A server that says what it is told to say."""

    def __init__(self, script: dict[type[Frame], bytes]) -> None:
        self.script = script
        self.heard: list[Frame] = []
        self.links: list[Link] = []

    def opened(self, link: Link) -> None:
        """Take note of a client."""
        self.links.append(link)

    def received(self, frame: Frame) -> None:
        """Answer a frame as the script says."""
        self.heard.append(frame)
        self.links[-1].send(self.script.get(type(frame), b""))

    def stalled(self, is_stalled: bool) -> None:  # noqa: FBT001 - see LinkOwner
        """Do not mind."""

    def closed(self, reason: str) -> None:
        """Do not mind."""


@asynccontextmanager
async def acting(path: Path, script: dict[type[Frame], bytes]) -> AsyncGenerator[Actor, None]:
    """Run a server by a script."""
    actor, loop = Actor(script), asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: Link(actor, loop), str(path))
    try:
        yield actor
    finally:
        server.close()
        for link in actor.links:
            link.abort("the play is over")
        await turns()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place for a socket."""
    return tmp_path / "s"


@pytest.fixture
async def server(path: Path) -> AsyncGenerator[SocketServer, None]:
    """A real server that is running."""
    server = SocketServer(Hub(), path, DEADLINE_S)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def broker(server: SocketServer) -> AsyncGenerator[SocketBroker, None]:
    """A connection to the real server, with a queue `q`."""
    broker = SocketBroker(server.path, deadline_s=DEADLINE_S)
    await broker.open()
    await broker.declare(TOPOLOGY)
    yield broker
    await broker.close()


def publication(body: bytes = b"x") -> Publication:
    """Return a message to the queue `q`."""
    return Publication("", "q", Envelope("t", body))


async def test_nobody_there(path: Path) -> None:
    """To connect where no server is says so."""
    broker = SocketBroker(path, url="unix://the-flow")
    with pytest.raises(BrokerUnavailable, match=r"unix://the-flow.*No such file"):
        await broker.open()
    await broker.close()


async def test_long_paths_are_refused() -> None:
    """A path that no socket can have is refused before anything is tried."""
    with pytest.raises(ConfigurationError, match="107"):
        await SocketBroker("x" * 108).open()


async def test_a_server_that_hangs_is_given_up(path: Path) -> None:
    """A server that takes connections and says nothing is given up after the deadline."""
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()
        broker = SocketBroker(path, deadline_s=0.05)
        with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.05 s"):
            await broker.open()
        with pytest.raises(BrokerUnavailable, match="not open"):
            await broker.publish([publication()])


async def test_a_server_that_stops_answering_is_given_up(path: Path) -> None:
    """Every question that waits fails after the deadline, and the owner is told once."""
    lost: list[bool] = []
    async with acting(path, {Hello: encode(Welcome()), Find: encode(Answer(b"\1"))}):
        broker = SocketBroker(path, deadline_s=0.05, on_close=lambda: lost.append(True))
        await broker.open()
        assert await broker.has_exchange("any")
        outcomes = await asyncio.gather(
            broker.publish([publication()]),
            broker.declare(TOPOLOGY),
            broker.consume("q", 1, lambda _: None),
            return_exceptions=True,
        )
        assert [type(each) for each in outcomes] == [BrokerUnavailable] * 3
        assert "no answer within 0.05 s" in str(outcomes[0])
        assert lost == [True]
        with pytest.raises(BrokerUnavailable, match="no answer within"):
            await broker.has_exchange("any")
        await broker.close()
        assert lost == [True]


async def test_the_deadline_is_of_each_question(path: Path) -> None:
    """The watch that one question started does not cut a later one short."""
    async with acting(path, {Hello: encode(Welcome()), Find: encode(Answer(b"\1"))}) as actor:
        broker = SocketBroker(path, deadline_s=0.2)
        await broker.open()
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        while loop.time() - began < 0.15:
            assert await broker.has_exchange("any")
        actor.script.clear()
        asked = loop.time()
        with pytest.raises(BrokerUnavailable):
            await broker.has_exchange("any")
        assert loop.time() - asked > 0.19
        await broker.close()


async def test_closing_does_not_wait_for_a_server_that_hangs(path: Path) -> None:
    """A goodbye that is not answered ends after the deadline, without an error."""
    async with acting(path, {Hello: encode(Welcome())}) as actor:
        broker = SocketBroker(path, deadline_s=0.05)
        await broker.open()
        await broker.close()
        assert actor.heard == [Hello(), Goodbye()]


async def test_other_versions_are_refused(path: Path) -> None:
    """A server of another version is refused with both versions, and what to do."""
    async with acting(path, {Hello: encode(Welcome(VERSION + 1))}):
        with pytest.raises(ConfigurationError, match=r"version 2 .* version 1; use the same"):
            await SocketBroker(path).open()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad", encode(Answer()), encode(Find("x")), (FRAME_MAX + 1).to_bytes(4)],
)
async def test_what_is_no_welcome_is_refused(path: Path, answer: bytes) -> None:
    """A server that answers the hello with anything else is no broker."""
    async with acting(path, {Hello: answer}):
        broker = SocketBroker(path, deadline_s=DEADLINE_S)
        with pytest.raises(BrokerUnavailable):
            await broker.open()


@pytest.mark.parametrize(
    "answer", [encode(Answer(b"")), encode(Answer(b"\0\0")), encode(Answer(b"\7"))]
)
async def test_answers_have_to_fit(path: Path, answer: bytes) -> None:
    """An answer with too few, too many or unknown settlements leaves the outcome unknown."""
    async with acting(path, {Hello: encode(Welcome()), Publish: answer}):
        broker = SocketBroker(path, deadline_s=0.05)
        await broker.open()
        with pytest.raises(BrokerUnavailable, match="does not fit"):
            await broker.publish([publication()])
        await broker.close()


async def test_answers_without_a_question_end_the_connection(path: Path) -> None:
    """A server that answers what nobody asked is given up."""
    script: dict[type[Frame], bytes] = {
        Hello: encode(Welcome()),
        Find: encode(Answer(b"\1")) + encode(Answer()),
    }
    lost = asyncio.Event()
    async with acting(path, script):
        broker = SocketBroker(path, on_close=lost.set)
        await broker.open()
        assert await broker.has_exchange("any")
        async with asyncio.timeout(DEADLINE_S):
            await lost.wait()
        with pytest.raises(BrokerUnavailable, match="Answer answers nothing"):
            await broker.has_exchange("any")
        await broker.close()


async def test_a_lost_connection_can_be_opened_again(path: Path) -> None:
    """After a loss the owner is told, questions fail, old deliveries do nothing, open works."""
    hub, lost, taken = Hub(), asyncio.Event(), list[Delivery]()
    server = SocketServer(hub, path, DEADLINE_S)
    await server.start()
    broker, told = SocketBroker(path, deadline_s=DEADLINE_S, on_close=lost.set), list[BrokerEvent]()
    broker.watch(told.append)
    await broker.open()
    await broker.declare(TOPOLOGY)
    subscription = await broker.consume("q", 10, taken.append)
    await broker.publish([publication()])
    await until(lambda: len(taken) == 1)
    await server.stop()
    async with asyncio.timeout(DEADLINE_S):
        await lost.wait()
    with pytest.raises(BrokerUnavailable, match="closed the connection"):
        await broker.publish([publication()])
    assert "closed the connection" in broker.health.trouble
    await subscription.cancel()
    await server.start()
    await broker.open()
    # To connect again is the owner's business, and so is to know of it.
    assert told == [BrokerEvent.LOST]
    assert broker.health == BrokerHealth(is_connected=True, generation=2)
    taken[0].ack()
    await broker.consume("q", 10, taken.append)
    await until(lambda: len(taken) == 2)
    assert taken[1].redelivered
    await broker.close()
    await server.stop()


async def test_opening_twice_is_harmless(server: SocketServer, broker: SocketBroker) -> None:
    """To open a connection that is open changes nothing."""
    taken: list[Delivery] = []
    await broker.consume("q", 1, taken.append)
    await broker.open()
    await broker.publish([publication()])
    await until(lambda: len(taken) == 1)
    assert not taken[0].redelivered


async def test_closing_is_no_loss(server: SocketServer) -> None:
    """The owner who closes is not told that the connection was lost."""
    lost: list[bool] = []
    broker = SocketBroker(server.path, on_close=lambda: lost.append(True))
    await broker.open()
    await broker.close()
    await broker.open()
    await broker.close()
    assert lost == []


async def test_what_was_acked_before_the_close_is_done(
    server: SocketServer, broker: SocketBroker
) -> None:
    """Settlements reach the server before the goodbye, even in the same turn."""
    other, taken, rest = SocketBroker(server.path), list[Delivery](), list[Delivery]()
    await other.open()
    await other.consume("q", 10, taken.append)
    await broker.publish([publication(b"1"), publication(b"2")])
    await until(lambda: len(taken) == 2)
    taken[0].ack()
    await other.close()
    await broker.consume("q", 10, rest.append)
    await until(lambda: len(rest) == 1)
    assert rest[0].envelope.body == b"2"


async def test_settlements_of_a_turn_are_one_frame(path: Path) -> None:
    """What is settled in one turn of the event loop travels together, each message once."""
    deliveries = b"".join(
        encode(Deliver(1, tag, False, "q", Envelope("t", b""))) for tag in range(3)
    )
    script: dict[type[Frame], bytes] = {
        Hello: encode(Welcome()),
        Consume: encode(Answer()) + deliveries,
        Goodbye: encode(Answer()),
    }
    taken: list[Delivery] = []
    async with acting(path, script) as actor:
        broker = SocketBroker(path)
        await broker.open()
        await broker.consume("q", 10, taken.append)
        await until(lambda: len(taken) == 3)
        taken[0].ack()
        taken[1].requeue()
        taken[2].reject()
        taken[0].reject()
        await until(lambda: len(actor.heard) == 3)
        await broker.close()
        taken[1].ack()
        verdicts = ((0, Verdict.ACK), (1, Verdict.REQUEUE), (2, Verdict.REJECT))
        assert actor.heard[2:] == [Settle(verdicts), Goodbye()]


async def test_deliveries_for_nobody_go_back(path: Path) -> None:
    """What comes for a consumer that does not exist is given back, and nobody hears of it."""
    stray = encode(Deliver(7, 1, False, "q", Envelope("t", b"")))
    async with acting(path, {Hello: encode(Welcome()), Find: encode(Answer()) + stray}) as actor:
        broker = SocketBroker(path, deadline_s=0.05)
        await broker.open()
        assert not await broker.has_exchange("any")
        await until(lambda: len(actor.heard) == 3)
        assert actor.heard[2] == Settle(((1, Verdict.REQUEUE),))
        await broker.close()


async def test_nothing_is_received_after_the_goodbye(path: Path) -> None:
    """What still arrives while the connection closes is left to the server to give back."""
    late = encode(Deliver(1, 1, False, "q", Envelope("t", b"")))
    script: dict[type[Frame], bytes] = {
        Hello: encode(Welcome()),
        Consume: encode(Answer()),
        Goodbye: late + encode(Answer()),
    }
    taken: list[Delivery] = []
    async with acting(path, script):
        broker = SocketBroker(path, deadline_s=DEADLINE_S)
        await broker.open()
        await broker.consume("q", 1, taken.append)
        await broker.close()
        assert taken == []


async def test_receivers_that_raise_are_reported(broker: SocketBroker) -> None:
    """What a receiver raises is reported, and the message comes again."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    taken: list[Delivery] = []

    def receive(delivery: Delivery) -> None:
        taken.append(delivery)
        if len(taken) == 1:
            raise ValueError("no")

    await broker.consume("q", 1, receive)
    await broker.publish([publication()])
    await until(lambda: len(taken) == 2)
    assert taken[1].redelivered
    assert [type(report["exception"]) for report in reports] == [ValueError]


async def test_a_large_message_is_refused_whole(broker: SocketBroker) -> None:
    """If one message of a call fits into no frame, none of them is published."""
    taken: list[Delivery] = []
    await broker.consume("q", 10, taken.append)
    with pytest.raises(TooLarge):
        await broker.publish([publication(b"small"), publication(bytes(FRAME_MAX))])
    await broker.publish([publication(b"next")])
    await until(lambda: len(taken) == 1)
    assert taken[0].envelope.body == b"next"


async def test_large_batches_go_through_a_window(broker: SocketBroker) -> None:
    """A call with many megabytes is settled completely and in order."""
    outcome = await broker.publish([publication(bytes(200_000)) for _ in range(50)])
    assert list(outcome) == [Settlement.CONFIRMED] * 50


async def test_a_question_that_is_cancelled_does_not_shift_the_answers(
    broker: SocketBroker,
) -> None:
    """When somebody stops waiting, the others still get their own answers."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await broker.has_exchange("missing")
    assert await broker.has_exchange("")


async def test_a_cancelled_consume_leaves_no_consumer(path: Path) -> None:
    """When somebody stops waiting for a subscription, its messages go to the others."""
    hub, nobody, somebody = Hub(), list[Delivery](), list[Delivery]()
    server = SocketServer(hub, path, DEADLINE_S)
    await server.start()
    broker = SocketBroker(path, deadline_s=DEADLINE_S)
    await broker.open()
    await broker.declare(TOPOLOGY)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await broker.consume("q", 10, nobody.append)
    await broker.consume("q", 10, somebody.append)
    await broker.publish([publication(), publication()])
    await until(lambda: len(somebody) == 2)
    assert nobody == []
    assert hub.stats().queues[0].consumers == 1
    await broker.close()
    await server.stop()


async def test_closing_may_be_cancelled(path: Path) -> None:
    """A close that is given up still leaves nothing open."""
    async with acting(path, {Hello: encode(Welcome()), Declare: encode(Answer())}):
        broker = SocketBroker(path, deadline_s=DEADLINE_S)
        await broker.open()
        await broker.declare(TOPOLOGY)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await broker.close()
        await turns()
        with pytest.raises(BrokerUnavailable):
            await broker.declare(TOPOLOGY)


async def test_cancelling_survives_the_loss_of_the_connection(path: Path) -> None:
    """A subscription whose connection is lost while it is cancelled has stopped."""
    async with acting(path, {Hello: encode(Welcome()), Consume: encode(Answer())}):
        broker = SocketBroker(path, deadline_s=0.05)
        await broker.open()
        subscription = await broker.consume("q", 1, lambda _: None)
        await subscription.cancel()
        with pytest.raises(BrokerUnavailable, match="no answer"):
            await broker.has_exchange("any")
        await subscription.cancel()
