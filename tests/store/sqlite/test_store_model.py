"""The store in a file does what the store in memory does, whatever is asked of the two."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from flow.errors import FlowError
from flow.ports import (
    Commit,
    CommitResult,
    DefinitionRecord,
    ExecutionQuery,
    ExecutionSummary,
    ExecutionWrite,
    JournalRecord,
    Lease,
    Namespace,
    OutboxRow,
    Store,
)
from flow.status import Status
from store.memory import MemoryStore
from store.sqlite import SqliteStore

NAMESPACE = Namespace("model", 3)
TTL_MS = 1_000
SETTINGS = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

partitions = st.integers(0, NAMESPACE.partitions - 1)
ids = st.sampled_from([f"{name}{number}" for name in ("a", "B", "c-") for number in range(3)])
times = st.integers(-2, 12)
limits = st.integers(1, 6)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
labels = st.dictionaries(st.sampled_from(["team", "size"]) | texts, texts, max_size=3)
owners = st.sampled_from(["one", "two"])


def partition_of(id: str) -> int:
    """Return the partition of an execution, which never changes."""
    return sum(id.encode()) % NAMESPACE.partitions


summaries = st.builds(
    ExecutionSummary,
    id=ids,
    partition=st.just(0),
    workflow=st.sampled_from(["checkout", "refund"]),
    definition=st.sampled_from(["d1", "d2"]),
    status=st.sampled_from([Status.RUNNING, Status.FAILURE, Status.SUCCESS]),
    created_ms=times,
    updated_ms=times,
    ended_ms=st.none() | times,
    wake_ms=st.none() | times,
    incident=st.just("") | texts,
    labels=labels,
).map(lambda summary: replace(summary, partition=partition_of(summary.id)))
queries = st.builds(
    ExecutionQuery,
    statuses=st.lists(st.sampled_from([Status.RUNNING, Status.FAILURE, Status.ABORTED])).map(tuple),
    workflow=st.sampled_from(["", "checkout", "refund"]),
    labels=labels,
    incidents=st.booleans(),
    before=st.just("") | ids,
    limit=limits,
)


class TwoStores(RuleBasedStateMachine):
    """Two stores that are asked the same."""

    commits = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.time_ms = 1_000
        self.runner = asyncio.Runner()
        self.model = MemoryStore(self.now_ms)
        self.store = SqliteStore(Path(self.folder) / "flow.db", self.now_ms)
        self.leases: list[Lease] = []
        self.seqs: dict[str, int] = {}
        self.number = 0

    def now_ms(self) -> int:
        """Return the time of both."""
        return self.time_ms

    def teardown(self) -> None:
        """Close the store and remove its file."""
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def both(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        """Ask both stores and return the answer, which has to be the same."""
        expected = self.runner.run(answer(ask, self.model))
        assert self.runner.run(answer(ask, self.store)) == expected
        return expected

    def write_of(self, row: ExecutionSummary, *, is_snapshot: bool, slip: int) -> ExecutionWrite:
        """Return the write of the next record, or of a wrong one."""
        seq = self.seqs.get(row.id, 0) + 1
        record = f"{row.id}/{seq}".encode()
        return ExecutionWrite(row, seq + slip, record, is_snapshot or seq == 1)

    def outbox_row(self, data: st.DataObject, id: str) -> OutboxRow:
        """Return an outbox row with a new number, or sometimes with an old one."""
        self.number += data.draw(st.sampled_from([1] * 12 + [0]))
        return OutboxRow(partition_of(id), self.number, id, id.encode())

    def current_leases(self) -> tuple[Lease, ...]:
        """Return the last lease of each partition, which mostly stands."""
        return tuple({lease.partition: lease for lease in self.leases}.values())

    def some_leases(self, data: st.DataObject) -> tuple[Lease, ...]:
        """Return some of the leases that there ever were."""
        return tuple(data.draw(st.lists(st.sampled_from(self.leases), max_size=4, unique=True)))

    def apply(self, data: st.DataObject, leases: tuple[Lease, ...], slip: int) -> None:
        """Commit under some leases the next records, or wrong ones."""
        rows = {each.id: each for each in data.draw(st.lists(summaries, min_size=1, max_size=5))}
        commit = Commit(
            leases,
            tuple(
                self.write_of(each, slip=slip, is_snapshot=data.draw(st.booleans()))
                for each in rows.values()
            ),
            tuple(self.outbox_row(data, each) for each in rows),
            tuple(data.draw(st.lists(st.tuples(partitions, st.integers(1, 20)), max_size=3))),
            tuple(data.draw(st.lists(ids, max_size=1))),
            tuple(data.draw(st.lists(st.tuples(ids, st.none() | times), max_size=2))),
        )
        result = self.both(lambda store: store.commit(commit))
        TwoStores.commits += result == CommitResult()
        named = (*rows, *commit.deletes)
        loaded = self.both(lambda store: store.load(named))
        self.seqs.update({each: loaded[each].seq if each in loaded else 0 for each in named})


class StoreComparison(TwoStores):
    """What is asked of the two."""

    @initialize()
    def open(self) -> None:
        """Open both, and hold every partition."""
        self.both(lambda store: store.open(NAMESPACE))
        for partition in range(NAMESPACE.partitions):
            self.acquire(partition, "one", 0)

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """Commit as an owner does."""
        self.apply(data, self.current_leases(), 0)

    @rule(data=st.data(), slip=st.sampled_from([-1, 0, 1]))
    def interfere(self, data: st.DataObject, slip: int) -> None:
        """Commit as one who has lost something."""
        self.apply(data, self.some_leases(data), slip)

    @rule(partition=partitions, owner=owners, elapsed_ms=st.sampled_from([0, 500, TTL_MS]))
    def acquire(self, partition: int, owner: str, elapsed_ms: int) -> None:
        """Try to take a partition after some time."""
        self.time_ms += elapsed_ms
        lease = self.both(lambda store: store.acquire(partition, owner, TTL_MS))
        if lease:
            self.leases.append(lease)

    @rule(data=st.data(), release=st.booleans())
    def renew(self, data: st.DataObject, *, release: bool) -> None:
        """Renew or release some leases, stale ones too."""
        some = self.some_leases(data)
        self.both(lambda store: store.release(some) if release else store.renew(some, TTL_MS))

    @rule(some=st.lists(ids, max_size=9), after=st.integers(0, 5), limit=limits)
    def load(self, some: list[str], after: int, limit: int) -> None:
        """Load executions, and read their histories."""
        self.both(lambda store: store.load(some))
        for each in some:
            self.both(partial(history_of, each, after, limit))

    @rule(partition=partitions, before_ms=times, after=st.just("") | ids, limit=limits)
    def page(self, partition: int, before_ms: int, after: str, limit: int) -> None:
        """Ask what is due, what has not ended, and what waits in a partition."""
        self.both(lambda store: store.due(partition, before_ms, limit))
        self.both(lambda store: store.active(partition, after, limit))
        self.both(lambda store: store.outbox(partition, before_ms, limit))

    @rule(query=queries)
    def list(self, query: ExecutionQuery) -> None:
        """List executions."""
        self.both(lambda store: store.list(query))
        self.both(lambda store: store.list(replace(query, before="")))

    @rule(id=st.sampled_from("xyz"), hash=st.sampled_from("hij"), remove=st.booleans())
    def define(self, id: str, hash: str, *, remove: bool) -> None:
        """Save or remove a definition, and ask for all of them."""
        record = DefinitionRecord(id, hash, "", hash.encode(), len(self.leases))
        self.both(
            lambda store: store.remove_definition(id) if remove else store.save_definition(record)
        )
        self.both(lambda store: store.definitions())
        self.both(lambda store: store.definitions(id=id))
        self.both(lambda store: store.definitions(hash=hash))

    @rule(expected=st.sampled_from(["", "x", "y"]), new=st.sampled_from(["x", "y"]))
    def incarnate(self, expected: str, new: str) -> None:
        """Swap the incarnation, and open the stores again."""
        self.both(lambda store: store.incarnate(expected, new))
        self.both(lambda store: store.close())
        self.both(lambda store: store.open(NAMESPACE))


async def history_of(id: str, after: int, limit: int, store: Store) -> Sequence[JournalRecord]:
    """Return a page of a history."""
    return await store.history(id, after, limit)


async def answer(ask: Callable[[Store], Awaitable[Any]], store: Store) -> Any:
    """Return what a store answers, or the type of the error that it raises."""
    try:
        answered = await ask(store)
    except FlowError as error:
        return type(error)
    return [*answered] if isinstance(answered, Sequence) else answered


def test_stores_do_the_same() -> None:
    """Whatever is asked of the two stores in whatever order, they answer the same."""
    run_state_machine_as_test(StoreComparison, settings=SETTINGS)
    assert TwoStores.commits > 0
