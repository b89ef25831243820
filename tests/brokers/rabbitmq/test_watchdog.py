"""A consumer that the broker has forgotten comes back; one that is merely idle is left alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from brokers.rabbitmq import RabbitBroker, watchdog as watchdog_module
from brokers.rabbitmq.declaring import declare
from brokers.rabbitmq.link import Link, connect
from brokers.rabbitmq.tasks import Tasks
from brokers.rabbitmq.watchdog import QUIET_S, STALE_S, SURE_S, Gauge, Reading, Watchdog
from flow.errors import BrokerUnavailable, ConfigurationError, FlowError
from flow.ports import Queue, Topology
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.peers import (
    connected,
    depose_leader,
    forget_consumers,
    queue_on,
    send,
)
from tests.brokers.rabbitmq.test_link import dial_of
from tests.conformance.broker_bench import Inbox, bodies_of
from tests.flow.runtime.clocks import CountingChance, ManualClock
from tests.servers.rabbitmq import RabbitServer

FINE = Reading(consumers=1)
GONE = Reading(exists=False)
NOBODY = Reading(consumers=0)
WAITING = Reading(consumers=2, ready=1)


class FakeConsumer:
    """A consumer as a watchdog sees it."""

    def __init__(self) -> None:
        self.queue = "q"
        self.received = 0
        self.has_room = True
        self.is_idle = True
        self.refreshed = 0
        self.cannot: FlowError | None = None

    async def refresh(self) -> None:
        """Note it, or fail."""
        self.refreshed += 1
        if self.cannot is not None:
            raise self.cannot


class Kennel:
    """A watchdog, and what it asks and does."""

    def __init__(self, *answers: Reading | FlowError) -> None:
        self.clock = ManualClock()
        self.tasks = Tasks()
        self.consumer = FakeConsumer()
        self.asked = 0
        self.restarted = list[FakeConsumer]()
        self._answers = list(answers)
        self.arrives_meanwhile = False
        self.watchdog = Watchdog[FakeConsumer](
            self.tasks, self.clock, CountingChance(), self._read, self._restart
        )
        self.watchdog.watch(self.consumer)

    async def _read(self, queue: str) -> Reading:
        assert queue == self.consumer.queue
        self.asked += 1
        self.consumer.received += self.arrives_meanwhile
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, FlowError):
            raise answer
        return answer

    async def _restart(self, consumer: FakeConsumer) -> None:
        self.restarted.append(consumer)


@pytest.mark.parametrize("answer", [GONE, NOBODY, WAITING])
async def test_a_forgotten_consumer_is_restarted_when_that_is_sure(answer: Reading) -> None:
    """Nothing is done before a minute, or after one answer; it is done after the second one."""
    kennel = Kennel(answer)
    await kennel.clock.advance(QUIET_S - 1)
    assert kennel.asked == 0
    await kennel.clock.advance(1)
    assert (kennel.asked, kennel.restarted) == (1, [])
    await kennel.clock.advance(SURE_S)
    assert (kennel.asked, kennel.restarted) == (2, [kennel.consumer])
    await kennel.tasks.stop()


@pytest.mark.parametrize("answers", [(FINE,), (NOBODY, FINE), (WAITING, FINE)])
async def test_an_idle_consumer_costs_a_question_a_minute(answers: tuple[Reading, ...]) -> None:
    """A consumer that the queue knows is left alone, also if one answer was a passing moment."""
    kennel = Kennel(*answers)
    await kennel.clock.advance(10 * QUIET_S + SURE_S)
    assert 10 <= kennel.asked <= 11
    assert kennel.restarted == []
    await kennel.tasks.stop()


async def test_who_receives_is_not_asked_for() -> None:
    """A consumer that something has reached since the last look costs nothing."""
    kennel = Kennel(GONE)
    for _ in range(5):
        kennel.consumer.received += 1
        await kennel.clock.advance(QUIET_S)
    assert kennel.asked == 0
    await kennel.clock.advance(QUIET_S + SURE_S)
    assert len(kennel.restarted) == 1
    await kennel.tasks.stop()


async def test_who_has_no_room_is_not_asked_for() -> None:
    """A consumer that has as much as it may have, or does not run, cannot be neglected."""
    kennel = Kennel(GONE)
    kennel.consumer.has_room = False
    await kennel.clock.advance(5 * QUIET_S)
    assert kennel.asked == 0
    await kennel.tasks.stop()


async def test_what_arrives_meanwhile_is_an_answer() -> None:
    """A delivery that comes while the question is out shows that the consumer is known."""
    kennel = Kennel(WAITING)
    kennel.arrives_meanwhile = True
    await kennel.clock.advance(QUIET_S + SURE_S)
    assert (kennel.asked, kennel.restarted) == (1, [])
    await kennel.tasks.stop()


@pytest.mark.parametrize(
    "error", [BrokerUnavailable("amqp://host", "away"), ConfigurationError("queue", "no right")]
)
async def test_a_question_that_fails_is_asked_again_later(error: FlowError) -> None:
    """Without an answer nothing is done, and the next question is that of the next minute."""
    kennel = Kennel(error, NOBODY)
    await kennel.clock.advance(QUIET_S + SURE_S)
    assert (kennel.asked, kennel.restarted) == (1, [])
    await kennel.clock.advance(QUIET_S)
    assert kennel.restarted == [kennel.consumer]
    await kennel.tasks.stop()


async def test_it_sleeps_until_somebody_is_due() -> None:
    """One timer is all that it has, and without consumers not even a task."""
    kennel = Kennel(FINE)
    kennel.watchdog.watch(FakeConsumer())
    await kennel.clock.advance(1)
    assert (kennel.clock.armed, len(kennel.tasks)) == (1, 1)
    kennel.watchdog.unwatch_all()
    await kennel.clock.advance(QUIET_S)
    assert (kennel.clock.armed, len(kennel.tasks), kennel.asked) == (0, 0, 0)
    kennel.watchdog.watch(kennel.consumer)
    kennel.watchdog.unwatch(kennel.consumer)
    kennel.watchdog.watch(kennel.consumer)
    await kennel.clock.advance(QUIET_S)
    assert (len(kennel.tasks), kennel.asked) == (1, 1)
    await kennel.tasks.stop()


@pytest.mark.parametrize("cannot", [None, BrokerUnavailable("amqp://host", "away")])
async def test_long_silence_moves_an_idle_consumer(cannot: FlowError | None) -> None:
    """Once in five minutes of silence a consumer moves, though its queue looks fine."""
    kennel = Kennel(FINE)
    kennel.consumer.cannot = cannot
    await kennel.clock.advance(STALE_S - 1)
    assert kennel.consumer.refreshed == 0
    await kennel.clock.advance(QUIET_S)
    assert kennel.consumer.refreshed == 1
    kennel.consumer.received += 1
    await kennel.clock.advance(STALE_S)
    assert kennel.consumer.refreshed == 1
    kennel.consumer.is_idle = False
    await kennel.clock.advance(10 * STALE_S)
    assert (kennel.consumer.refreshed, kennel.restarted) == (1, [])
    await kennel.tasks.stop()


async def test_who_left_between_two_questions_is_left_alone() -> None:
    """A consumer that was cancelled while the watchdog made sure is not started again."""
    kennel = Kennel(GONE)
    await kennel.clock.advance(QUIET_S)
    kennel.watchdog.unwatch(kennel.consumer)
    await kennel.clock.advance(SURE_S)
    assert (kennel.asked, kennel.restarted) == (1, [])
    await kennel.tasks.stop()


@pytest.fixture
async def link(broker_url: str) -> AsyncGenerator[Link, None]:
    """Give a connection with a queue `q`."""
    link = await connect(dial_of(broker_url))
    await declare(link, Topology(queues=(Queue("q"),)))
    yield link
    await link.close()


async def test_questions_share_a_channel(link: Link, broker_url: str) -> None:
    """A queue is looked up on one channel, until a refusal costs it; the connection goes on."""
    gauge = Gauge(lambda: link)
    channels = set[int]()
    for _ in range(3):
        assert await gauge.read("q") == Reading(consumers=0, ready=0)
        channels.update(number for number, each in link.raw.channels.items() if each is not None)
    # Number 0 is the connection, and one was used to declare the queue.
    assert len(channels - {0}) <= 2
    assert await gauge.read("nowhere") == GONE
    async with connected(broker_url) as other:
        await other.declare(Topology(queues=(Queue("own", exclusive=True),)))
        assert await gauge.read("own") == GONE
    async with connected(broker_url) as other:
        await send(other, "q", b"1", b"2")
    assert await gauge.read("q") == Reading(consumers=0, ready=2)
    assert link.is_up
    await link.close()
    with pytest.raises(BrokerUnavailable):
        await gauge.read("q")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make watchdogs look soon."""
    monkeypatch.setattr(watchdog_module, "QUIET_S", 0.4)
    monkeypatch.setattr(watchdog_module, "SURE_S", 0.1)
    monkeypatch.setattr(watchdog_module, "STALE_S", 0.5)


async def consuming(broker: RabbitBroker, *, exclusive: bool) -> Inbox:
    """Consume a queue `q`."""
    inbox = Inbox()
    await broker.declare(Topology(queues=(Queue("q", exclusive=exclusive),)))
    await broker.consume("q", 10, inbox)
    return inbox


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_consumer_that_the_queue_forgot_comes_back(
    broker_url: str, rabbitmq: RabbitServer, *, exclusive: bool
) -> None:
    """RabbitMQ loses a consumer without a word: it is there again soon, and the others go on."""
    async with connected(broker_url) as broker:
        other = Inbox()
        await broker.consume(await queue_on(broker, "other"), 10, other)
        inbox = await consuming(broker, exclusive=exclusive)
        for body in (b"1", b"2"):
            await forget_consumers(rabbitmq, broker_url, "q")
            await send(broker, "q", body)
            (delivery,) = await inbox.take()
            assert delivery.envelope.body == body
            delivery.ack()
        await send(broker, "other", b"3")
        assert bodies_of(await other.take()) == [b"3"]
        assert broker.health.generation == 1


@pytest.mark.usefixtures("hurried")
async def test_a_queue_that_was_replaced_is_consumed_again(
    broker_url: str, rabbitmq: RabbitServer
) -> None:
    """However a queue is deleted and declared anew in one go, its consumer comes back."""
    vhost = broker_url.rpartition("/")[2]
    name = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"q">>)'
    replace = (
        f'Name = {name}, User = <<"guest">>, {{ok, Queue}} = rabbit_amqqueue:lookup(Name),'
        " {ok, _} = rabbit_amqqueue:delete(Queue, false, false, User), {new, _} = "
        "rabbit_amqqueue:declare(Name, true, false, amqqueue:get_arguments(Queue), none, User),"
        " ok."
    )
    async with connected(broker_url) as broker:
        inbox = await consuming(broker, exclusive=False)
        for turn in range(6):
            body = b"%d" % turn
            await rabbitmq.evaluate(replace)
            await send(broker, "q", body)
            (delivery,) = await inbox.take()
            assert delivery.envelope.body == body
            delivery.ack()


@pytest.mark.usefixtures("hurried")
async def test_a_queue_that_lost_its_leader_is_named(
    broker_url: str, rabbitmq: RabbitServer
) -> None:
    """A consumer of a queue that loses its leader is silent too, and does not cost the others."""
    async with connected(broker_url) as broker:
        inbox = Inbox()
        await broker.consume(await queue_on(broker, "other"), 10, inbox)
        await consuming(broker, exclusive=False)
        await depose_leader(rabbitmq, broker_url, "q")
        await eventually(lambda: "'q' cannot be consumed" in broker.health.trouble)
        await send(broker, "other", b"1")
        assert bodies_of(await inbox.take()) == [b"1"]
        assert (broker.health.generation, broker.health.is_connected) == (1, True)
