"""A store does what the store in memory does, whatever is asked of the two.

An adapter has a subclass of `StoreComparison` that makes its store, and a test that runs it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
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
    Renewal,
    StepRecord,
    Store,
)
from flow.status import Status
from store.memory import MemoryDatabase, MemoryStore

NAMESPACE = Namespace("model", 3)
TTL_MS = 1_000_000
"""So long that real time, which some stores have, makes no difference."""
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
    fingerprint=st.sampled_from(["", "f1", "f2"]),
).map(lambda summary: summary._replace(partition=partition_of(summary.id)))
queries = st.builds(
    ExecutionQuery,
    statuses=st.lists(st.sampled_from([Status.RUNNING, Status.FAILURE, Status.ABORTED])).map(tuple),
    workflow=st.sampled_from(["", "checkout", "refund"]),
    labels=labels,
    incidents=st.booleans(),
    before=st.just("") | ids,
    limit=limits,
    partition=st.none() | partitions,
)
steps = st.builds(
    StepRecord,
    id=st.sampled_from("xyz"),
    service=st.sampled_from(["shop", "billing"]),
    hash=st.sampled_from("hij"),
    body=st.binary(max_size=3),
    announced_ms=times,
)


class TwoStores(RuleBasedStateMachine):
    """Two stores that are asked the same."""

    commits = 0

    def __init__(self) -> None:
        super().__init__()
        self.time_ms = 1_000
        self.runner = asyncio.Runner()
        self.namespace = NAMESPACE
        self.model: Store = MemoryStore(self.now_ms, self.database())
        self.store = self.make()
        self.leases: list[Lease] = []
        self.seqs: dict[str, int] = {}
        self.number = 0

    def now_ms(self) -> int:
        """Return the time of both."""
        return self.time_ms

    def database(self) -> MemoryDatabase | None:
        """Return what the model works on: None if the store that is tested is exclusive."""
        raise NotImplementedError

    def make(self) -> Store:
        """Return the store that is tested."""
        raise NotImplementedError

    async def elapse(self, milliseconds: int) -> None:
        """Let time pass for the store that is tested, unless `now_ms` is its clock."""

    def teardown(self) -> None:
        """Close the store."""
        self.runner.run(self.store.close())
        self.runner.close()

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
        type(self).commits += result == CommitResult()
        named = (*rows, *commit.deletes)
        loaded = self.both(lambda store: store.load(named))
        self.seqs.update({each: getattr(loaded.get(each), "seq", 0) for each in named})


class StoreComparison(TwoStores):
    """What is asked of the two."""

    @initialize()
    def open(self) -> None:
        """Open both, and hold every partition."""
        self.both(lambda store: store.open(self.namespace))
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

    @rule(partition=partitions, owner=owners, elapsed_ms=st.sampled_from([0, TTL_MS // 2, TTL_MS]))
    def acquire(self, partition: int, owner: str, elapsed_ms: int) -> None:
        """Try to take a partition after some time."""
        self.time_ms += elapsed_ms
        self.runner.run(self.elapse(elapsed_ms))
        lease = self.both(lambda store: store.acquire(partition, owner, TTL_MS))
        if lease:
            self.leases.append(lease)

    @rule(data=st.data(), owner=owners, verb=st.sampled_from(["renew", "release", "note", "leave"]))
    def own(self, data: st.DataObject, owner: str, verb: str) -> None:
        """Renew, release or mark some leases, stale ones too; or leave."""
        some = self.some_leases(data)
        verbs: dict[str, Callable[[Store], Awaitable[Any]]] = {
            "renew": lambda store: store.renew(owner, some, TTL_MS),
            "release": lambda store: store.release(some),
            "note": lambda store: store.note_incarnation(some, f"{owner}/{len(some)}"),
            "leave": lambda store: store.leave(owner),
        }
        self.both(verbs[verb])

    @rule(ended=times, forget=times, limit=limits)
    def prune(self, ended: int, forget: int, limit: int) -> None:
        """Prune, and forget."""
        self.both(lambda store: store.prune(ended, forget, limit))
        # What has become a tombstone, or nothing, begins with record 1, if at all.
        loaded = self.both(lambda store: store.load(list(self.seqs)))
        self.seqs = {each: getattr(loaded.get(each), "seq", 0) for each in self.seqs}

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
        self.both(lambda store: store.active(partition, before_ms, after, limit))
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

    @rule(record=steps, remove=st.booleans())
    def announce(self, record: StepRecord, *, remove: bool) -> None:
        """Save or remove a step, and ask for all of them."""
        self.both(lambda store: store.remove_step(record.id) if remove else store.save_step(record))
        self.both(lambda store: store.steps())
        self.both(lambda store: store.revision())

    @rule(workflow=st.sampled_from("xyz"), command=st.sampled_from(["", "c1", "c2"]))
    def pause(self, workflow: str, command: str) -> None:
        """Pause a workflow, or end that."""
        self.both(lambda store: store.pause(workflow, command))
        self.both(lambda store: store.pauses())

    @rule(expected=st.sampled_from(["", "x", "y"]), new=st.sampled_from(["x", "y"]))
    def incarnate(self, expected: str, new: str) -> None:
        """Swap the incarnation, and open the stores again."""
        self.both(lambda store: store.incarnate(expected, new))
        self.both(lambda store: store.close())
        self.both(lambda store: store.open(self.namespace))


async def history_of(id: str, after: int, limit: int, store: Store) -> Sequence[JournalRecord]:
    """Return a page of a history."""
    return await store.history(id, after, limit)


async def answer(ask: Callable[[Store], Awaitable[Any]], store: Store) -> Any:
    """Return what a store answers, or the type of the error that it raises."""
    try:
        answered = await ask(store)
    except FlowError as error:
        return type(error)
    if isinstance(answered, Renewal):
        # Each has a clock of its own.
        return replace(answered, now_ms=0)
    return [*answered] if isinstance(answered, Sequence) else answered
