"""Pausing: no new attempts for a whole workflow.

Theory of operation
-------------------
A pause is a flag in the store, and a suspension of every execution that runs:

1. The flag is set.
2. The owner of each partition reads the flags, and then commits something that only the owner of
   the partition can commit. From then on it holds every start of the workflow: the execution is
   suspended from the beginning, in the same decision. What it had decided before stands in the
   store by then.
3. All executions of the workflow that run are suspended. The pause is answered when every owner
   has committed that.

So no start slips through. One that was decided before step 2 is in the store at step 3, and is
suspended there. One that was decided after it is held. An owner that comes later has taken its
lease after the commit of step 2, and reads the flags before it decides about anything.

While the flag is set, owners refuse to resume executions of the workflow. So none comes back, and
attempts are only made by executions that run.

Unpausing goes the same way: the flag is cleared, every owner reads the flags, and whatever is
suspended by nothing but pauses is resumed. What a person has suspended, before the pause or during
it, stays suspended: the commands that an execution has obeyed are in its tree.

Every part may be done twice. If whoever does it dies, the request is delivered to another, or the
client asks again, and it is done from the beginning.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from flow.clock import cancel_after, sleep
from flow.errors import (
    DeadlineExceeded,
    NotPossible,
    UnavailableError,
    UnknownWorkflow,
)
from flow.names import check_name
from flow.ports import ExecutionQuery
from flow.runtime.asking import Asker
from flow.runtime.orchestrator.bulk import Joint, Order, carry_out
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.lookups import number_in
from flow.runtime.orchestrator.members import REVISION, Members
from flow.runtime.protocol import Request
from flow.runtime.tasks import TaskGroup
from flow.status import Status

__all__ = ["Pausing"]

TRIES: Final = 60
RETRY_S: Final = 1.0
"""An owner is asked for so long at least: longer than a partition goes without one."""
FENCE_S: Final = 15.0
"""Seconds within which an owner has to commit."""

_RUNNING: Final = (Status.PENDING, Status.RUNNING)
_SUSPENDED: Final = (Status.SUSPENDING, Status.SUSPENDED)


class Pausing:
    """Answers the verbs of pauses.

    Args:
        engine: The orchestrator's state.
        asker: Asks the owners of partitions and executions.
        members: The other orchestrators.

    Attributes:
        verbs: What can be asked for, by verb.
    """

    def __init__(self, engine: Engine, asker: Asker, members: Members) -> None:
        """Begin with nothing under way."""
        self._engine = engine
        self._asker = asker
        self._members = members
        self._joint = Joint()
        self.verbs: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "workflow.pause": self._pause,
            "workflow.unpause": self._unpause,
            "workflow.pauses": self._list,
            "partition.refresh": self._refresh,
        }

    async def _list(self, _request: Request) -> Any:
        return dict(await self._engine.store.pauses())

    async def _pause(self, request: Request) -> Any:
        workflow, command = await self._check(request)
        arguments = {"command": command, "pause": True, "reason": _reason(request)}
        order = Order("suspend", arguments, request.actor, None)

        async def pause() -> Any:
            await self._set(workflow, command)
            query = ExecutionQuery(statuses=_RUNNING, workflow=workflow)
            tally = await carry_out(self._engine, self._asker, query, order)
            return {"workflow": workflow, "paused": True, **tally.document()}

        return await self._joint.run(f"pause {command}", pause)

    async def _unpause(self, request: Request) -> Any:
        workflow, command = await self._check(request)
        arguments = {"command": command, "only_paused": True, "reason": _reason(request)}
        order = Order("resume", arguments, request.actor, None)

        async def unpause() -> Any:
            await self._set(workflow, "")
            query = ExecutionQuery(statuses=_SUSPENDED, workflow=workflow)
            tally = await carry_out(self._engine, self._asker, query, order)
            return {"workflow": workflow, "paused": False, **tally.document()}

        return await self._joint.run(f"unpause {command}", unpause)

    async def _check(self, request: Request) -> tuple[str, str]:
        """Return which workflow is meant, and the id of the command."""
        engine, arguments = self._engine, request.arguments
        workflow = check_name("workflow", arguments.get("workflow"))
        command = check_name("command", arguments.get("command") or request.correlation)
        if engine.definitions.hash_of(workflow):
            return workflow, command
        # It may have been removed while executions of it run on.
        if not await engine.store.list(ExecutionQuery(workflow=workflow, limit=1)):
            raise UnknownWorkflow(
                workflow, [known.definition.id for known in engine.definitions.all()]
            )
        return workflow, command

    async def _set(self, workflow: str, command: str) -> None:
        """Set or clear the flag, and return when every owner knows of it."""
        await self._engine.store.pause(workflow, command)
        self._members.tell(REVISION)
        async with TaskGroup() as group:
            telling = [
                group.start(self._tell(partition), f"pause in partition {partition}")
                for partition in range(self._engine.partitions)
            ]
            await asyncio.wait(telling)

    async def _tell(self, partition: int) -> None:
        """Have the owner of a partition read the flags."""
        engine = self._engine
        request = Request(verb="partition.refresh", arguments={"partition": partition})
        tries = TRIES
        while True:
            tries -= 1
            try:
                await self._asker.ask(request, engine.addresses.mailbox, str(partition))
            except (UnavailableError, NotPossible):
                # It is just changing hands, or its owner cannot reach the store.
                if not tries:
                    raise
                await sleep(engine.clock, RETRY_S * (0.5 + engine.chance.random()))
            else:
                return

    # ------------------------------------------------------------------ the owner's side

    async def _refresh(self, request: Request) -> Any:
        engine = self._engine
        partition = number_in(request.arguments, "partition", -1)
        await engine.pauses.load()
        if not engine.holdings.is_open(partition):
            status = "somebody else's by now"
            raise NotPossible("refresh", f"partition {partition}", status, "ask its owner")
        await self._fence(partition)
        return {"partition": partition}

    async def _fence(self, partition: int) -> None:
        """Commit what only the owner of a partition can commit, after all that was decided."""
        engine = self._engine
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def note() -> None:
            if not committed.done():
                committed.set_result(None)

        # There is no row of this number: it is written for the sake of the lease alone.
        engine.committer.batch.settled.append((partition, 0))
        engine.committer.batch.after(note, partition)
        engine.committer.notify()
        with cancel_after(engine.clock, FENCE_S):
            await committed
            return
        raise DeadlineExceeded(f"a commit for partition {partition}", FENCE_S)


def _reason(request: Request) -> str:
    workflow = request.arguments.get("workflow")
    verb = request.verb.removeprefix("workflow.")
    reason = str(request.arguments.get("reason") or "")
    return f"{verb} of workflow {workflow}" + (f": {reason}" if reason else "")
