"""Tests of `flow.runtime.publisher`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from brokers.memory.broker import MemoryBroker
from flow.errors import BrokerUnavailable, InvalidInput, Overloaded
from flow.ports import Envelope, Publication, Queue, Settlement, Topology
from flow.runtime.bundles import Bundler
from flow.runtime.publisher import Publisher, PublisherSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.trouble import TroubleNote
from tests.flow.runtime.clocks import ManualClock, settle
from tests.flow.runtime.letters import bundler
from tests.flow.runtime.worker_bench import OddBroker


def to(queue: str = "q", body: bytes = b"x") -> Publication:
    """Return a message for a queue."""
    return Publication("", queue, Envelope("t", body))


class Press:
    """A publisher that runs, on a broker that does as the test says."""

    def __init__(
        self, settings: PublisherSettings | None = None, packs: Bundler | None = None
    ) -> None:
        self.clock = ManualClock()
        self.broker = OddBroker(MemoryBroker())
        self.publisher = Publisher(self.broker, self.clock, settings, packs)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Publisher]:
        """Run the publisher for as long as the block lasts."""
        await self.broker.open()
        await self.broker.declare(Topology(queues=(Queue("q"),)))
        async with TaskGroup() as group:
            group.start(self.publisher.run(), "publisher")
            yield self.publisher
        await self.broker.close()


async def test_what_waits_is_published_in_one_call() -> None:
    """Messages that are sent together reach the broker together, and keep their order."""
    press = Press()
    async with press.open() as publisher:
        futures = [publisher.send(to(body=b"%d" % number)) for number in range(10)]
        assert len(publisher) == 10
        assert await asyncio.gather(*futures) == [Settlement.CONFIRMED] * 10
        assert (press.broker.batches, len(publisher)) == ([10], 0)
        assert press.broker.inner.hub.depth("q") == 10


async def test_what_waits_for_one_queue_travels_together() -> None:
    """With a bundler, ten messages for one queue are one for the broker, and each is settled."""
    press = Press(packs=bundler())
    async with press.open() as publisher:
        futures = [publisher.send(to(body=b"%d" % number)) for number in range(10)]
        elsewhere = publisher.send(to("nowhere"))
        assert await asyncio.gather(*futures) == [Settlement.CONFIRMED] * 10
        assert await elsewhere is Settlement.UNROUTABLE
        assert (press.broker.batches, len(publisher)) == ([2], 0)
        assert press.broker.inner.hub.depth("q") == 1
        assert await publisher.publish(to()) is Settlement.CONFIRMED
        assert press.broker.inner.hub.depth("q") == 2


async def test_one_that_is_wrong_spoils_no_bundle() -> None:
    """A message that the broker refuses fails alone; those that would travel with it arrive."""
    press = Press(packs=bundler())
    async with press.open() as publisher:
        wrong = Publication("", "q", Envelope("t" * 300, b"x"))
        futures = [publisher.send(each) for each in (to(), wrong, to())]
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert isinstance(found[1], InvalidInput)
        assert (found[0], found[2]) == (Settlement.CONFIRMED, Settlement.CONFIRMED)


async def test_each_learns_what_became_of_its_own() -> None:
    """A message that reaches nobody is told so, whatever became of the others."""
    async with Press().open() as publisher:
        futures = [publisher.send(to("q")), publisher.send(to("nowhere"))]
        assert await asyncio.gather(*futures) == [Settlement.CONFIRMED, Settlement.UNROUTABLE]
        assert await publisher.publish(to("q")) is Settlement.CONFIRMED


async def test_what_comes_meanwhile_makes_the_next_call() -> None:
    """While all lanes are busy messages gather, and then go out together."""
    press = Press(PublisherSettings(lanes=2))
    async with press.open() as publisher:
        press.broker.gate.clear()
        futures = list[asyncio.Future[Settlement]]()
        for _ in range(2):
            futures.append(publisher.send(to()))
            await settle()
        futures += [publisher.send(to()) for _ in range(5)]
        await settle()
        assert press.broker.batches == [1, 1]
        press.broker.gate.set()
        await asyncio.gather(*futures)
        assert press.broker.batches == [1, 1, 5]


async def test_a_call_has_a_bound() -> None:
    """More messages than one call may have are shared by several calls."""
    press = Press(PublisherSettings(batch_max=4))
    async with press.open() as publisher:
        await asyncio.gather(*(publisher.send(to()) for _ in range(10)))
        assert press.broker.batches == [4, 4, 2]


async def test_messages_wait_for_the_publisher_to_run() -> None:
    """What is sent before `run` is published by it."""
    press = Press()
    future = press.publisher.send(to())
    async with press.open():
        assert await future is Settlement.CONFIRMED


@pytest.mark.parametrize(
    "settings", [PublisherSettings(items_max=2), PublisherSettings(bytes_max=2 * 513)]
)
async def test_it_refuses_more_than_it_may_hold(settings: PublisherSettings) -> None:
    """Over its bounds sending raises at once, and works again when there is room."""
    press = Press(settings)
    first, second = press.publisher.send(to()), press.publisher.send(to())
    with pytest.raises(Overloaded, match="the publisher"):
        await press.publisher.publish(to())
    async with press.open() as publisher:
        await asyncio.gather(first, second)
        await publisher.publish(to())


async def test_an_outage_fails_the_whole_call() -> None:
    """When the outcome is unknown each one gets an error of its own, and the next call works."""
    press = Press()
    async with press.open() as publisher:
        press.broker.down = True
        results = await asyncio.gather(
            *(publisher.send(to()) for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [BrokerUnavailable] * 3
        assert len({id(result) for result in results}) == 3
        assert len(publisher) == 0
        press.broker.down = False
        assert await publisher.publish(to()) is Settlement.CONFIRMED


async def test_a_wrong_message_does_not_spoil_the_others() -> None:
    """A message that no broker takes fails alone."""
    async with Press().open() as publisher:
        futures = [publisher.send(to()), publisher.send(to("q" * 256)), publisher.send(to())]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert results[0] is results[2] is Settlement.CONFIRMED
        assert isinstance(results[1], InvalidInput)


async def test_a_silent_broker_is_given_up() -> None:
    """A call that is not confirmed within the deadline counts as an outage."""
    press = Press(PublisherSettings(deadline_s=10))
    async with press.open() as publisher:
        press.broker.gate.clear()
        future = publisher.send(to())
        await press.clock.advance(9.9)
        assert not future.done()
        await press.clock.advance(0.1)
        with pytest.raises(BrokerUnavailable, match="within 10 s"):
            await future
        assert press.clock.armed == 0


async def test_stopping_fails_what_is_unsettled() -> None:
    """What waits, what is on its way and what comes later gets an error, and nothing hangs."""
    press = Press(PublisherSettings(lanes=1))
    async with press.open() as publisher:
        press.broker.gate.clear()
        futures = [publisher.send(to())]
        await settle()
        futures.append(publisher.send(to()))
    futures.append(press.publisher.send(to()))
    for future in futures:
        with pytest.raises(BrokerUnavailable, match="has stopped"):
            await future
    assert len(press.publisher) == 0


async def test_whoever_stops_waiting_is_forgotten() -> None:
    """A future that was cancelled meanwhile disturbs neither the call nor the count."""
    press = Press()
    async with press.open() as publisher:
        kept, gone = publisher.send(to()), publisher.send(to())
        gone.cancel()
        assert await kept is Settlement.CONFIRMED
        press.broker.down = True
        lost = publisher.send(to())
        lost.cancel()
        await settle()
        assert len(publisher) == 0


async def test_an_idle_publisher_has_no_timer() -> None:
    """Nothing polls: without messages no timer waits."""
    press = Press()
    async with press.open() as publisher:
        await settle()
        assert press.clock.armed == 0
        await publisher.publish(to())
        assert press.clock.armed == 0


async def test_a_silent_broker_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The log says once that nothing is confirmed, and once that it is again."""
    press = Press(PublisherSettings(deadline_s=3))
    async with press.open() as publisher:
        for number in range(2):
            press.broker.gate.clear()
            futures = [publisher.send(to()) for _ in range(2)]
            await settle()
            futures.append(publisher.send(to()))
            await press.clock.advance(4)
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
            assert all(isinstance(each, BrokerUnavailable) for each in outcomes)
            assert len(caplog.records) == number * 2 + 1
            press.broker.gate.set()
            await publisher.publish(to())
            await publisher.publish(to())
            assert caplog.messages[-1].endswith("confirms again, after 4.0 s")
    assert len(caplog.records) == 4


async def test_an_outage_is_told_whatever_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Calls that fail at once are told once they do so for seconds, in the log and in health."""
    press = Press()
    async with press.open() as publisher:
        press.broker.down = True
        for _ in range(5):
            with pytest.raises(BrokerUnavailable):
                await publisher.publish(to())
            assert publisher.trouble == TroubleNote()
            await press.clock.advance(0.5)
        await press.clock.advance(0.5)
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(to())
        assert (publisher.trouble.for_s, publisher.trouble.failures) == (3.0, 6)
        press.broker.down = False
        await publisher.publish(to())
        assert publisher.trouble == TroubleNote()
    assert [text.rpartition(" ")[0] for text in caplog.messages] == [
        f"the broker {press.broker.url} cannot be reached: the connection is not",
        "the broker confirms again, after 3.0",
    ]


async def test_a_lane_outlives_what_an_adapter_lets_through() -> None:
    """A cancellation that nobody asked for fails the call, and no lane ends by it."""
    press = Press(PublisherSettings(lanes=1))
    async with press.open() as publisher:
        for _ in range(3):
            press.broker.gate = Leaking()
            with pytest.raises(BrokerUnavailable, match="was cancelled"):
                await publisher.publish(to())
        press.broker.gate = asyncio.Event()
        press.broker.gate.set()
        assert await publisher.publish(to()) is Settlement.CONFIRMED


async def test_two_deadlines_at_once_end_no_lane() -> None:
    """Calls whose own deadline is over at the same moment as the publisher's end no lane."""
    press = Press(PublisherSettings(deadline_s=10, lanes=2))
    async with press.open() as publisher:
        for _ in range(6):
            press.broker.gate = gate = Impatient()
            outcomes = [publisher.send(to()) for _ in range(3)]
            await settle()
            gate.ring()
            press.clock.block(10)
            await asyncio.wait(outcomes)
            assert {type(each.exception()) for each in outcomes} == {BrokerUnavailable}
        press.broker.gate = asyncio.Event()
        press.broker.gate.set()
        async with asyncio.timeout(10):
            assert await publisher.publish(to()) is Settlement.CONFIRMED


async def test_who_is_told_is_told_once() -> None:
    """Whoever gives a function is told by it of a settlement, of an error, and of an end."""
    press = Press()
    told: list[tuple[Settlement | None, type[Exception] | None]] = []

    def tell(outcome: Settlement | None, error: Exception | None) -> None:
        told.append((outcome, None if error is None else type(error)))

    async with press.open() as publisher:
        publisher.post(to(), tell)
        publisher.post(to("nowhere"), tell)
        publisher.post(to("q" * 256), tell)
        assert not told
        await settle()
    publisher.post(to(), tell)
    assert told == [
        (Settlement.CONFIRMED, None),
        (Settlement.UNROUTABLE, None),
        (None, InvalidInput),
        (None, BrokerUnavailable),
    ]
    assert len(publisher) == 0


async def test_who_fails_to_be_told_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    """An error of whoever is told is logged, and ends no lane and no other message."""

    def fail(_: Settlement | None, error: Exception | None) -> None:
        raise ValueError("no ears") from error

    async with Press(PublisherSettings(lanes=1)).open() as publisher:
        publisher.post(to(), fail)
        assert await publisher.publish(to()) is Settlement.CONFIRMED
        assert await publisher.publish(to()) is Settlement.CONFIRMED
        assert len(publisher) == 0
    assert "no ears" in caplog.text


async def test_what_is_too_much_for_a_call_does_not_wait_for_it() -> None:
    """One lane is woken for what comes together, and another for what its call may not have."""
    press = Press(PublisherSettings(batch_max=2, lanes=4))
    async with press.open() as publisher:
        # Now all lanes wait for something to do.
        await settle()
        press.broker.gate.clear()
        futures = [publisher.send(to()) for _ in range(5)]
        await settle()
        assert press.broker.batches == [2, 2, 1]
        futures += [publisher.send(to()) for _ in range(2)]
        await settle()
        assert press.broker.batches == [2, 2, 1, 2]
        press.broker.gate.set()
        assert await asyncio.gather(*futures) == [Settlement.CONFIRMED] * 7


async def test_a_lane_that_ends_is_no_secret() -> None:
    """If a lane is gone the publisher fails, so that its process is restarted."""
    publisher = Press().publisher
    ending = asyncio.gather(publisher.run(), return_exceptions=True)
    await settle()
    (lane,) = [each for each in asyncio.all_tasks() if each.get_name() == "publisher 2"]
    lane.cancel()
    (error,) = await ending
    assert isinstance(error, RuntimeError)
    assert publisher.has_stopped


class Leaking(asyncio.Event):
    """What a call waits for that ends in a cancellation by nobody."""

    async def wait(self) -> Literal[True]:
        """Raise it."""
        raise asyncio.CancelledError


class Impatient(asyncio.Event):
    """What calls wait for that have a deadline of their own."""

    def __init__(self) -> None:
        super().__init__()
        self._scopes: list[asyncio.Timeout] = []

    async def wait(self) -> Literal[True]:
        """Wait until the deadline is over."""
        try:
            async with asyncio.timeout(None) as scope:
                self._scopes.append(scope)
                # As adapters do. To cancel many takes a while, in which the next one may cancel.
                return (await asyncio.gather(super().wait()))[0]
        except TimeoutError as error:
            raise BrokerUnavailable("memory://", "no confirm in 10 s") from error

    def ring(self) -> None:
        """Have the deadline be over."""
        for scope in self._scopes:
            scope.reschedule(0)
