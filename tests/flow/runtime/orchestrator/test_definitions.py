"""Tests of `orchestrator.definitions`: which workflows there are, and their plans."""

from __future__ import annotations

import pytest

from flow.errors import CorruptRecord, DefinitionError, UnknownStep, UnknownWorkflow
from flow.ports import DefinitionRecord, Namespace
from flow.runtime.orchestrator import definitions
from flow.runtime.orchestrator.definitions import Definitions, definition_record
from flow.step import StepDefinition, StepKind
from flow.testing import VirtualClock
from flow.workflow import WorkflowDefinition
from store.memory import MemoryStore


def workflow(name: str = "w", steps: int = 1) -> WorkflowDefinition:
    """Return a definition."""
    made = [
        StepDefinition(id=f"s{n}", kind=StepKind.CALL, target=f"work.s{n}") for n in range(steps)
    ]
    return WorkflowDefinition(id=name, steps=tuple(made))


async def make_store() -> MemoryStore:
    """Return an open store."""
    store = MemoryStore(lambda: 0)
    await store.open(Namespace("shop", 1))
    return store


async def test_what_is_saved_is_known() -> None:
    """A saved definition is current for its id, and found by its hash."""
    store = await make_store()
    known = Definitions(store, VirtualClock())
    (first,) = await known.save([workflow()])
    (second,) = await known.save([workflow(steps=2)])
    assert known.current("w").hash == second
    assert (await known.by_hash(first)).definition == workflow()
    other = Definitions(store, VirtualClock())
    await other.load()
    assert [each.hash for each in other.all()] == [second]
    assert (await other.by_hash(first)).definition == workflow()


async def test_what_is_current_is_not_written_again() -> None:
    """Saving the current definition again touches no store."""
    store = await make_store()
    known = Definitions(store, VirtualClock())
    (first,) = await known.save([workflow()])
    await store.close()
    assert await known.save([workflow()]) == (first,)


async def test_what_is_removed_is_unknown() -> None:
    """A removed workflow is unknown, with the nearest name in the error, but keeps its plan."""
    known = Definitions(await make_store(), VirtualClock())
    (hash_,) = await known.save([workflow("first")])
    await known.save([workflow("second")])
    await known.remove("first")
    with pytest.raises(UnknownWorkflow, match=r"no workflow 'first'.*known: 'second'"):
        known.current("first")
    assert (await known.by_hash(hash_)).definition.id == "first"


async def test_a_hash_that_nobody_has_is_an_error() -> None:
    """An execution whose definition is gone from the store cannot be loaded."""
    known = Definitions(await make_store(), VirtualClock())
    with pytest.raises(CorruptRecord, match="not in the store"):
        await known.by_hash("nothing")


async def test_plans_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same definition under the same options has one plan, and old plans go first."""
    monkeypatch.setattr(definitions, "PLANS_LIMIT", 2)
    known = Definitions(await make_store(), VirtualClock())
    await known.save([workflow(steps=3)])
    current = known.current("w")
    plain = known.plan(current, {})
    assert known.plan(current, {}) is plain
    assert known.plan(current, {"skip": ["s0"]}) is not plain
    assert known.plan(current, {}) is plain
    known.plan(current, {"skip": ["s1"]})
    assert known.plan(current, {}) is plain
    with pytest.raises(UnknownStep):
        known.plan(current, {"skip": ["s9"]})


def test_a_record_is_validated() -> None:
    """What is no workflow is refused before it is stored."""
    assert definition_record(workflow(), 7).saved_ms == 7
    with pytest.raises(DefinitionError):
        definition_record(WorkflowDefinition(id="w", steps=()), 7)


async def test_a_definition_that_cannot_be_read_harms_no_other() -> None:
    """What a newer version has saved is unknown here, with the reason; all others are known."""
    store = await make_store()
    known = Definitions(store, VirtualClock())
    await known.save([workflow("good"), workflow("newer")])
    newer = DefinitionRecord("newer", "f" * 32, "2", b'{"shape": "of tomorrow"}', 5)
    await store.save_definition(newer)
    await known.refresh()
    assert [each.definition.id for each in known.all()] == ["good"]
    with pytest.raises(CorruptRecord, match="the workflow's definition"):
        known.current("newer")
    # It is what it was as soon as somebody saves what can be read.
    await known.save([workflow("newer")])
    await known.refresh()
    assert known.current("newer").definition == workflow("newer")
