"""The catalogue, when several processes change it at once; what it does is conformance."""

import asyncio
from dataclasses import replace

import pytest

from flow.errors import StoreUnavailable
from flow.ports import DefinitionRecord, StepRecord
from store.postgres import PostgresStore, catalogue

STEP = StepRecord("ship", "shop", "h1", b"{}", 1)


async def test_one_service_gets_the_step(store: PostgresStore, other: PostgresStore) -> None:
    """Of services that announce a step at once one gets it, and all are told the same."""
    stores = (store, other) * 4
    records = [replace(STEP, service=f"s{n}", hash=f"h{n}") for n in range(8)]
    stand = await asyncio.gather(
        *(each.save_step(record) for each, record in zip(stores, records, strict=True))
    )
    assert len(set(stand)) == 1
    assert await store.steps() == [stand[0]]
    assert await store.revision() == 1


async def test_every_change_counts(store: PostgresStore, other: PostgresStore) -> None:
    """Changes at the same time each change the revision."""
    stores = (store, other) * 5
    await asyncio.gather(*(each.pause(f"w{n}", "c") for n, each in enumerate(stores)))
    assert await store.revision() == 10
    assert len(await other.pauses()) == 10


async def test_definitions_saved_at_once(store: PostgresStore, other: PostgresStore) -> None:
    """The same definition saved by many at once is there once."""
    record = DefinitionRecord("checkout", "h1", "", b"1", 1)
    await asyncio.gather(*(each.save_definition(record) for each in (store, other) * 4))
    assert await store.definitions() == [record]
    assert await store.revision() == 1


async def test_one_incarnation_stands(store: PostgresStore, other: PostgresStore) -> None:
    """Of those who replace the same incarnation at once, one does, and all learn which."""
    answers = await asyncio.gather(
        *(each.incarnate("", f"i{n}") for n, each in enumerate((store, other) * 4))
    )
    assert len(set(answers)) == 1
    assert await store.incarnate("unknown", "x") == answers[0]


async def test_endless_race_has_an_end(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that is gone each time it is looked for is not looked for for ever."""

    async def nothing(connection: object, record: StepRecord) -> None:
        return None

    monkeypatch.setattr(catalogue, "_save_step", nothing)
    with pytest.raises(StoreUnavailable, match="'ship' changes all the time"):
        await store.save_step(STEP)
