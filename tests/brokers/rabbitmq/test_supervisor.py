"""Tests of `brokers.rabbitmq.supervisor`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from brokers.rabbitmq import supervisor as supervisor_module
from brokers.rabbitmq.supervisor import LONGEST_BACKOFF_S, Pair, Supervisor, backoff_s
from flow.clock import SystemChance, SystemClock
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import BrokerEvent
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.peers import DEADLINE_S, silent_server
from tests.brokers.rabbitmq.test_link import dial_of


def test_waiting_is_spread_and_bounded() -> None:
    """Each attempt waits for any time up to a limit that doubles, and stops growing at 10 s."""
    limits = [backoff_s(attempt, 1.0) for attempt in range(100)]
    assert limits[:3] == [0.1, 0.2, 0.4]
    assert limits == sorted(limits)
    assert max(limits) == LONGEST_BACKOFF_S == 10.0
    assert [backoff_s(attempt, 0.0) for attempt in (0, 5, 50)] == [0.0, 0.0, 0.0]
    assert backoff_s(3, 0.25) == pytest.approx(0.2)


class Told:
    """A watcher that can be waited for."""

    def __init__(self) -> None:
        self.events: list[BrokerEvent] = []
        self._news = asyncio.Event()

    def __call__(self, event: BrokerEvent) -> None:
        """Note an event."""
        self.events.append(event)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds that changes with events only."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


class Restoring:
    """Counts what is restored, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.pairs: list[Pair] = []
        self._failures = failures

    async def __call__(self, pair: Pair) -> None:
        """Restore, or fail."""
        self.pairs.append(pair)
        if len(self.pairs) <= self._failures:
            raise ConfigurationError("queue 'q'", "it is another one")


def supervisor_of(url: str, restoring: Restoring) -> Supervisor:
    """Return a supervisor with the system's clock and chance."""
    return Supervisor(dial_of(url), SystemClock(), SystemChance(), restoring)


@pytest.mark.parametrize("which", ["publisher", "consumer"])
async def test_a_pair_stands_and_falls_together(broker_url: str, which: str) -> None:
    """When one link is lost both are replaced, restored before they are used, and told of once."""
    restoring, told = Restoring(failures=2), Told()
    supervisor = supervisor_of(broker_url, restoring)
    stop = supervisor.watch(told)
    await supervisor.open()
    before = supervisor.pair()
    link = before.publisher if which == "publisher" else before.consumer
    await link.raw.close()
    await told.until(lambda: BrokerEvent.CONNECTED in told.events)
    after = supervisor.pair()
    assert told.events == [BrokerEvent.LOST, BrokerEvent.CONNECTED]
    assert not before.publisher.is_up
    assert not before.consumer.is_up
    assert after.is_up
    assert restoring.pairs[-1] is after
    assert len(restoring.pairs) == 3
    assert not any(pair.is_up for pair in restoring.pairs[:2])
    assert supervisor.health.generation == 2
    assert not supervisor.is_current(before.consumer)
    assert supervisor.is_current(after.consumer)
    stop()
    await supervisor.close()


async def test_the_first_attempt_is_the_only_one() -> None:
    """What could not be opened is not tried again, and nothing runs on behind it."""
    before = asyncio.all_tasks()
    async with silent_server(b"AMQP\x00\x01\x00\x00") as server:
        supervisor = supervisor_of(server.url, Restoring())
        with pytest.raises(BrokerUnavailable):
            await supervisor.open()
        assert not supervisor.is_wanted
        assert len(supervisor.tasks) == 0
        assert server.count == 1
    await eventually(lambda: not asyncio.all_tasks() - before)


async def test_opening_can_be_cancelled() -> None:
    """Whoever is cancelled while opening leaves nothing that goes on connecting."""
    before = asyncio.all_tasks()
    async with silent_server() as server:
        supervisor = supervisor_of(server.url, Restoring())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await supervisor.open()
        await eventually(lambda: not asyncio.all_tasks() - before)
        assert (server.count, supervisor.is_wanted) == (1, False)


async def test_closing_ends_reconnecting(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is being made again is not any more once it was closed."""
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF_S", 0.0)
    restoring, told = Restoring(failures=1_000_000), Told()
    supervisor = supervisor_of(broker_url, restoring)
    supervisor.watch(told)
    await supervisor.open()
    await supervisor.pair().consumer.raw.close()
    await eventually(lambda: len(restoring.pairs) >= 3)
    assert "it is another one" in supervisor.health.trouble
    with pytest.raises(BrokerUnavailable, match="it is another one"):
        supervisor.pair()
    await supervisor.close()
    tried = len(restoring.pairs)
    assert len(supervisor.tasks) == 0
    assert not any(pair.is_up for pair in restoring.pairs)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(restoring.pairs) == tried
    assert told.events == [BrokerEvent.LOST]
