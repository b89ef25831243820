"""Flows and stores that the tests of the runtime share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow import Flow, RetryPolicy, Step, Workflow
from flow.errors import StoreUnavailable
from flow.ports import Clock, Commit, CommitResult, ExecutionSummary, Lease
from flow.testing import FlowHarness
from store.memory import MemoryStore

RETRY = RetryPolicy(max_attempts=3, initial=1.0, factor=2.0, jitter=0.0)


def chain(length: int = 3, **options: Any) -> tuple[Flow, Workflow[Any]]:
    """Return a flow with a workflow `chain` of the endpoints `work.s1`, `work.s2` and so on."""
    app = Flow("world", broker="memory://", store="memory://")
    steps: list[Step[Any]] = []
    for number in range(1, length + 1):
        steps.append(Step.call(f"work.s{number}", requires=steps[-1:], **options))
    return app, app.workflow("chain", *steps, output=steps[-1])


def single(**options: Any) -> tuple[Flow, Workflow[Any]]:
    """Return a flow with a workflow `single` of the endpoint `work.s1`."""
    app = Flow("world", broker="memory://", store="memory://")
    step: Step[Any] = Step.call("work.s1", **options)
    return app, app.workflow("single", step, output=step)


def stub_chain(test: FlowHarness, length: int = 3) -> None:
    """Have every endpoint of a chain answer with its own number."""
    for number in range(1, length + 1):
        test.stub(f"work.s{number}", number)


class UnsteadyStore(MemoryStore):
    """A store that counts what is asked of it, and fails when a test says so."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.now_ms)
        self.reads = 0
        self.loaded: list[str] = []
        self.commits: list[Commit] = []
        self.before: list[BaseException | CommitResult | None] = []
        self.after: list[BaseException | None] = []
        self.outbox_faults: list[BaseException] = []

    async def load(self, executions: Sequence[str]) -> Any:
        """Load executions."""
        self.reads += 1
        self.loaded += executions
        return await super().load(executions)

    async def due(self, partition: int, before_ms: int, limit: int) -> Any:
        """Return what is due."""
        self.reads += 1
        return await super().due(partition, before_ms, limit)

    async def active(self, partition: int, wake_by_ms: int, after: str, limit: int) -> Any:
        """Return ids of executions that have not ended."""
        self.reads += 1
        return await super().active(partition, wake_by_ms, after, limit)

    async def outbox(self, partition: int, after: int, limit: int) -> Any:
        """Return what waits to be published."""
        if self.outbox_faults:
            raise self.outbox_faults.pop(0)
        return await super().outbox(partition, after, limit)

    async def list(self, query: Any) -> Sequence[ExecutionSummary]:
        """Return executions."""
        self.reads += 1
        return await super().list(query)

    async def renew(self, owner: str, leases: Sequence[Lease], ttl_ms: int) -> Any:
        """Extend leases."""
        self.reads += 1
        return await super().renew(owner, leases, ttl_ms)

    async def commit(self, commit: Commit) -> CommitResult:
        """Commit, unless the next entry of `before` or `after` has something else in store."""
        fault = self.before.pop(0) if self.before else None
        if isinstance(fault, CommitResult):
            return fault
        if fault is not None:
            raise fault
        result = await super().commit(commit)
        self.commits.append(commit)
        fault = self.after.pop(0) if self.after else None
        if fault is not None:
            raise fault
        return result


def away() -> StoreUnavailable:
    """Return the error of a store whose answer was lost."""
    return StoreUnavailable("memory://", "the test says so")


class Unsteady:
    """Makes a store for a harness, and keeps hold of it."""

    store: UnsteadyStore

    def __call__(self, clock: Clock) -> UnsteadyStore:
        """Make the store."""
        self.store = UnsteadyStore(clock)
        return self.store


def statuses(report: dict[str, Any]) -> dict[str, str]:
    """Return the status of every step in a report, by id."""
    return {step["id"]: step["status"] for step in report["steps"]}


def echo(body: Any) -> Any:
    """Answer with what came."""
    return body
