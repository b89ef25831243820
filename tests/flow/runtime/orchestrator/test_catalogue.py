"""Tests of `orchestrator.catalogue`: what is announced, and the workflows made of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from brokers.memory import MemoryBroker
from flow import codec
from flow.catalogue import Announcement, OpenDefinition
from flow.errors import (
    CyclicRequirement,
    FlowError,
    InvalidInput,
    MissingSteps,
    StepConflict,
    StoreUnavailable,
    TooLarge,
    UnknownStep,
    UnknownWorkflow,
)
from flow.names import BODY_LIMIT
from flow.ports import Broker, Clock, Envelope, Namespace, Publication, Settlement, StepRecord
from flow.runtime.addresses import Addresses
from flow.runtime.orchestrator.answering import Answering
from flow.runtime.orchestrator.catalogue import Catalogue
from flow.runtime.orchestrator.definitions import Definitions
from flow.runtime.protocol import ANNOUNCE, Answer, Request
from flow.runtime.publisher import Publisher, Told
from flow.step import StepDefinition, StepKind
from flow.workflow import WorkflowDefinition
from store.memory import MemoryDatabase, MemoryStore
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle


def announced(id: str, *requires: str, service: str = "work", **values: Any) -> Announcement:
    """Return what a service announces."""
    target = f"{service}.{id}"
    step = StepDefinition(id=id, kind=StepKind.CALL, target=target, requires=requires, **values)
    return Announcement(step=step, input={"type": "integer"})


def opened(id: str, *names: str, steps: tuple[StepDefinition, ...] = ()) -> OpenDefinition:
    """Return a workflow that names steps."""
    return OpenDefinition(WorkflowDefinition(id=id, steps=steps), names)


class Post:
    """A message that arrived, and what became of it."""

    def __init__(self, body: bytes, reply_to: str = "shop.reply.me", kind: str = ANNOUNCE) -> None:
        self.envelope = Envelope(kind, body, "m", "c", reply_to)
        self.routing_key = ""
        self.redelivered = False
        self.settled = ""

    def ack(self) -> None:
        """Note it."""
        self.settled += "ack"

    def requeue(self) -> None:
        """Note it."""
        self.settled += "requeue"

    def reject(self) -> None:
        """Note it."""
        self.settled += "reject"


class Sender(Publisher):
    """A publisher that keeps what it is given, and has it confirmed."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        super().__init__(broker, clock)
        self.sent: list[Publication] = []

    def post(self, publication: Publication, told: Told) -> None:
        """Keep it."""
        self.sent.append(publication)
        told(Settlement.CONFIRMED, None)


class CountingStore(MemoryStore):
    """A store that counts how often its steps are read and definitions are saved."""

    reads = 0
    saves = 0
    announcements = 0
    is_away = False

    async def steps(self) -> Any:
        """Return the steps, or fail."""
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable(self.url, "it is gone")
        return await super().steps()

    async def save_step(self, record: StepRecord) -> StepRecord:
        """Save a step."""
        self.announcements += 1
        return await super().save_step(record)

    async def save_definition(self, record: Any) -> None:
        """Save a definition."""
        self.saves += 1
        await super().save_definition(record)


class Room:
    """The catalogue of one orchestrator."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self.clock = ManualClock()
        self.store = CountingStore(self.clock.now_ms, database or MemoryDatabase())
        self.definitions = Definitions(self.store, self.clock)
        self.publisher = Sender(MemoryBroker(), self.clock)
        self.answering = Answering(self.publisher, Addresses("shop"), self.clock, CountingChance())
        self.catalogue = Catalogue(self.store, self.definitions, self.clock)

    async def open(self, *workflows: OpenDefinition, own: tuple[Announcement, ...] = ()) -> Room:
        """Begin."""
        await self.store.open(Namespace("shop", 1))
        await self.definitions.load()
        await self.catalogue.start(workflows, own)
        return self

    def steps(self, workflow: str) -> list[str]:
        """Return the ids of the steps that a workflow has now."""
        return [step.id for step in self.definitions.current(workflow).definition.steps]

    async def ask(self, verb: str, **arguments: Any) -> Any:
        """Ask for something."""
        return await self.catalogue.verbs[verb](Request(verb=verb, arguments=arguments))

    async def take(self, message: Post) -> Any:
        """Have a message taken, and return what is answered, or what is buried."""
        self.publisher.sent.clear()
        await self.catalogue.take(message, self.answering)
        await settle()
        if not self.publisher.sent:
            return None
        (publication,) = self.publisher.sent
        if publication.exchange == "shop.dead":
            return publication
        assert (publication.exchange, publication.routing_key) == ("", message.envelope.reply_to)
        assert publication.envelope.correlation_id == "c"
        answer = Answer.read(publication.envelope)
        return answer.error or answer.value


# ------------------------------------------------------------------------------ announcing


async def test_what_is_announced_is_kept() -> None:
    """A step is in the store with its service and hash, and is described in full."""
    room = await Room().open()
    record = await room.catalogue.announce(announced("ship", "reserve", timeout_ms=5_000))
    body = codec.encode_announcement(announced("ship", "reserve", timeout_ms=5_000))
    assert record.hash == codec.definition_hash(body)
    (row,) = await room.ask("steps")
    assert row == await room.ask("step.get", step="ship")
    assert row["policy"].pop("timeout_ms") == 5_000
    assert row["policy"].pop("retry") is None
    assert row["policy"].keys() >= {"start_within_ms", "fallback", "optional", "labels"}
    assert {name: row[name] for name in row if name != "policy"} == {
        "id": "ship",
        "service": "work",
        "endpoint": "work.ship",
        "requires": ["reserve"],
        "input": {"type": "integer"},
        "output": None,
        "hash": record.hash,
        "announced_ms": room.clock.now_ms(),
    }


async def test_a_service_may_replace_its_step() -> None:
    """The same service may announce another declaration; `announced_ms` says since when."""
    room = await Room().open()
    first = await room.catalogue.announce(announced("ship"))
    await room.clock.advance(5)
    assert await room.catalogue.announce(announced("ship")) == first
    second = await room.catalogue.announce(announced("ship", timeout_ms=1))
    assert second.hash != first.hash
    assert second.announced_ms == first.announced_ms + 5_000
    (row,) = await room.ask("steps")
    assert row["hash"] == second.hash


async def test_others_hear_of_what_changes() -> None:
    """Each change of the catalogue is told once; what was known already is not."""
    room = await Room().open()
    told: list[str] = []
    room.catalogue.on_change(lambda: told.append("news"))
    await room.catalogue.announce(announced("ship"))
    await room.clock.advance(1)
    await room.catalogue.announce(announced("ship"))
    assert len(told) == 1
    await room.catalogue.announce(announced("ship", timeout_ms=5))
    assert len(told) == 2
    await room.ask("step.forget", step="ship")
    assert len(told) == 3


async def test_another_service_is_refused() -> None:
    """A different step of the same id by another service is refused, and both are named."""
    room = await Room().open()
    first = await room.catalogue.announce(announced("ship"))
    with pytest.raises(StepConflict, match=r"'other'.*'ship'.*'work'") as caught:
        await room.catalogue.announce(announced("ship", service="other"))
    assert caught.value.other_hash == first.hash
    assert (await room.ask("step.get", step="ship"))["service"] == "work"


async def test_messages_are_answered_and_settled() -> None:
    """An announcement that arrives is answered with what is kept, or with what is wrong."""
    room = await Room().open()
    good = Post(codec.encode_announcement(announced("ship")))
    answer = await room.take(good)
    record = (await room.store.steps())[0]
    assert answer == {"step": "ship", "service": "work", "hash": record.hash}
    assert good.settled == "ack"
    other = Post(codec.encode_announcement(announced("ship", service="other")))
    assert isinstance(await room.take(other), StepConflict)
    assert isinstance(await room.take(Post(b"{}")), FlowError)
    assert isinstance(await room.take(Post(b'"' + b" " * BODY_LIMIT + b'"')), TooLarge)
    assert isinstance(await room.take(Post(b"{}", kind="step.reply")), InvalidInput)
    room.store.save_step = None  # type: ignore[method-assign,assignment]
    poison = Post(codec.encode_announcement(announced("x")))
    assert "announcement failed" in str(await room.take(poison))
    assert poison.settled == "ack"


async def test_what_nobody_waits_for_goes_to_the_dead() -> None:
    """A good announcement needs no answer; what cannot be answered, or may not be, is buried."""
    room = await Room().open()
    good = Post(codec.encode_announcement(announced("ship")), reply_to="")
    assert await room.take(good) is None
    for bad in (
        Post(b"{}", reply_to=""),
        Post(codec.encode_announcement(announced("x")), reply_to="shop.mailbox.0"),
    ):
        buried = await room.take(bad)
        assert (buried.envelope.body, bad.settled) == (bad.envelope.body, "ack")
    assert good.settled == "ack"
    assert [step.id for step in await room.store.steps()] == ["ship"]


async def test_own_steps_are_kept_at_the_start() -> None:
    """A process that orchestrates announces its own steps without a message, and once only."""
    database = MemoryDatabase()
    room = await Room(database).open(own=(announced("ship"), announced("pay")))
    assert [step.id for step in await room.store.steps()] == ["pay", "ship"]
    assert room.store.announcements == 2
    again = await Room(database).open(own=(announced("ship"), announced("pay", timeout_ms=1)))
    assert again.store.announcements == 1
    with pytest.raises(StepConflict):
        await Room(database).open(own=(announced("ship", service="other"),))


async def test_who_declares_nothing_reads_nothing() -> None:
    """A process without steps and open workflows costs the store nothing."""
    room = await Room().open()
    await room.catalogue.refresh()
    assert room.store.reads == 0


# -------------------------------------------------------------------------- open workflows


async def test_a_workflow_is_closed_once_all_is_there(caplog: pytest.LogCaptureFixture) -> None:
    """Until every step is announced a start is refused with those that are missing."""
    room = await Room().open(opened("checkout", "ship"))
    for known, missing in (("ship", {"ship": ()}), ("reserve", {"reserve": ("ship",)})):
        with pytest.raises(MissingSteps) as caught:
            room.definitions.current("checkout")
        assert caught.value.missing == missing
        assert "checkout" in caplog.text
        requires = ("reserve",) if known == "ship" else ()
        await room.catalogue.announce(announced(known, *requires))
    assert room.steps("checkout") == ["reserve", "ship"]
    with pytest.raises(UnknownWorkflow):
        room.definitions.current("other")


async def test_a_workflow_is_closed_at_the_start() -> None:
    """A program that comes after its steps has its workflow from the beginning."""
    database = MemoryDatabase()
    first = await Room(database).open()
    await first.catalogue.announce(announced("ship"))
    room = await Room(database).open(opened("checkout", "ship"))
    assert room.steps("checkout") == ["ship"]


async def test_own_steps_close_a_workflow_too() -> None:
    """What is given comes first; the rest is found."""
    own = announced("mail", "ship").step
    room = await Room().open(opened("w", "ship", steps=(own,)), own=(announced("ship"),))
    assert room.steps("w") == ["mail", "ship"]


async def test_a_deploy_changes_the_workflow() -> None:
    """A step that changes makes a new definition, which is current for what starts now."""
    room = await Room().open(opened("checkout", "ship"))
    await room.catalogue.announce(announced("ship"))
    before = room.definitions.current("checkout")
    await room.catalogue.announce(announced("other"))
    assert room.definitions.current("checkout") is before
    await room.catalogue.announce(announced("ship", timeout_ms=5))
    after = room.definitions.current("checkout")
    assert after.definition.steps[0].timeout_ms == 5
    assert (await room.definitions.by_hash(before.hash)).definition == before.definition


async def test_only_what_concerns_a_workflow_is_looked_at() -> None:
    """Steps that no open workflow needs, and those that are known already, cost no read."""
    room = await Room().open(opened("checkout", "ship"))
    await room.catalogue.announce(announced("ship"))
    assert room.store.reads == 2
    await room.catalogue.announce(announced("other"))
    await room.catalogue.announce(announced("ship"))
    assert (room.store.reads, room.store.saves) == (2, 1)


async def test_what_makes_no_workflow_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Steps that require each other are logged and answered, with all of them named."""
    room = await Room().open(opened("checkout", "a"))
    await room.catalogue.announce(announced("a", "b"))
    await room.catalogue.announce(announced("b", "a"))
    with pytest.raises(CyclicRequirement, match="a -> b -> a") as caught:
        room.definitions.current("checkout")
    with pytest.raises(CyclicRequirement) as other:
        room.definitions.current("checkout")
    assert caught.value is not other.value
    assert caplog.messages[-1].endswith("until then it cannot be started")
    await room.catalogue.announce(announced("b"))
    assert room.steps("checkout") == ["a", "b"]


async def test_a_bad_deploy_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A workflow that was one stays what it was when its steps make none any more."""
    room = await Room().open(opened("checkout", "a"))
    await room.catalogue.announce(announced("a"))
    before = room.definitions.current("checkout")
    with caplog.at_level(logging.WARNING):
        await room.catalogue.announce(announced("a", "lost"))
        await room.catalogue.refresh()
    assert room.definitions.current("checkout") is before
    assert caplog.text.count("stays what it was") == 1
    await room.catalogue.announce(announced("lost"))
    assert room.steps("checkout") == ["a", "lost"]


async def test_what_somebody_else_made_current_stays() -> None:
    """A step that changes does not undo what a client, or a newer orchestrator, has saved."""
    room = await Room().open(opened("checkout", "ship"))
    await room.catalogue.announce(announced("ship"))
    saved = WorkflowDefinition(id="checkout", steps=(announced("other").step,))
    await room.definitions.save([saved])
    await room.catalogue.announce(announced("ship", timeout_ms=5))
    assert room.steps("checkout") == ["other"]
    await room.definitions.remove("checkout")
    await room.catalogue.announce(announced("ship", timeout_ms=6))
    with pytest.raises(UnknownWorkflow):
        room.steps("checkout")


async def test_two_orchestrators_agree() -> None:
    """What one is told the other finds in the store; both close to the same definition."""
    database = MemoryDatabase()
    one = await Room(database).open(opened("checkout", "ship"))
    two = await Room(database).open(opened("checkout", "ship"))
    await one.catalogue.announce(announced("ship", "reserve"))
    await two.catalogue.announce(announced("reserve"))
    assert two.steps("checkout") == ["reserve", "ship"]
    await one.definitions.load()
    await one.catalogue.refresh()
    assert one.steps("checkout") == ["reserve", "ship"]
    await one.catalogue.announce(announced("ship", "reserve", timeout_ms=5))
    await two.definitions.load()
    await two.catalogue.refresh()
    assert two.definitions.hash_of("checkout") == one.definitions.hash_of("checkout")
    await two.catalogue.announce(announced("ship", timeout_ms=6))
    assert two.steps("checkout") == ["ship"]


async def test_announcements_at_once_close_in_order() -> None:
    """However many arrive at once, the last state of the store is what becomes current."""
    room = await Room().open(opened("w", "a"))
    chain = [announced("a", "b"), announced("b", "c"), announced("c")]
    await asyncio.gather(*(room.catalogue.announce(each) for each in chain))
    assert room.steps("w") == ["a", "b", "c"]


async def test_a_store_that_goes_away_is_told_of_and_asked_again() -> None:
    """A step that is kept, but could not close its workflow, does so when it is announced again."""
    room = await Room().open(opened("checkout", "ship"))
    message = Post(codec.encode_announcement(announced("ship")))
    room.store.is_away = True
    assert isinstance(await room.take(message), StoreUnavailable)
    room.store.is_away = False
    assert (await room.take(message))["step"] == "ship"
    assert room.steps("checkout") == ["ship"]


async def test_a_client_may_close_a_workflow_once() -> None:
    """What a client saves is made of the steps as they are now."""
    room = await Room().open()
    await room.catalogue.announce(announced("ship"))
    closed = await room.catalogue.close(opened("w", "ship"))
    assert [step.id for step in closed.steps] == ["ship"]
    with pytest.raises(MissingSteps, match="'lost'"):
        await room.catalogue.close(opened("w", "lost"))


# --------------------------------------------------------------------------------- looking


async def test_a_step_is_forgotten() -> None:
    """A step that is forgotten may be another service's; workflows keep what they are made of."""
    room = await Room().open(opened("checkout", "ship"))
    await room.catalogue.announce(announced("ship"))
    assert await room.ask("step.forget", step="ship") == {"forgotten": "ship"}
    for verb in ("step.forget", "step.get"):
        with pytest.raises(UnknownStep, match="the catalogue has no step 'ship'"):
            await room.ask(verb, step="ship")
    await room.catalogue.refresh()
    assert room.steps("checkout") == ["ship"]
    record = await room.catalogue.announce(announced("ship", service="other"))
    assert record.service == "other"


async def test_long_lists_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer holds as many steps as fit, one at least, and goes on behind an id."""
    room = await Room().open()
    for name in "abcd":
        await room.catalogue.announce(announced(name))
    size = len((await room.store.steps())[0].body)
    monkeypatch.setattr("flow.runtime.orchestrator.catalogue.PAGE_BYTES", 2 * size)
    assert [row["id"] for row in await room.ask("steps")] == ["a", "b"]
    assert [row["id"] for row in await room.ask("steps", after="b")] == ["c", "d"]
    assert await room.ask("steps", after="d") == []
    monkeypatch.setattr("flow.runtime.orchestrator.catalogue.PAGE_BYTES", 1)
    assert [row["id"] for row in await room.ask("steps", after="a")] == ["b"]


async def test_a_record_that_cannot_be_read_is_shown_as_such() -> None:
    """A step that a newer version has written is listed with what is wrong, and not used."""
    room = await Room().open(opened("w", "odd"))
    await room.store.save_step(StepRecord("odd", "work", "h", b'{"step": 7}', 5))
    (row,) = await room.ask("steps")
    assert (row["id"], row["service"]) == ("odd", "work")
    assert "cannot be decoded" in row["trouble"]
    await room.catalogue.refresh()
    with pytest.raises(MissingSteps, match="'odd'"):
        room.definitions.current("w")
