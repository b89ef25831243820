"""The closer: a client that brings everything to its end once nothing goes wrong any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from flow import Flow, Status
from flow.errors import NotPossible, UnavailableError, UnknownExecution
from flow.runtime.tasks import TaskGroup
from flow.testing.simulation.cluster import Member
from tests.simulation.clients import answered
from tests.simulation.crew import Crew
from tests.simulation.world import NAMESPACE, World

__all__ = ["Closer"]

RESUMING: Final = ("resume", "retry")
"""What starts an execution again that has ended."""
LOOK_S: Final = 30.0
SHORT_S: Final = 1.0


class Closer:
    """Unpauses workflows, resumes executions, and waits for all of them.

    Args:
        world: The world.
        crew: The processes, whose clients have to get their answers too.
    """

    def __init__(self, world: World, crew: Crew) -> None:
        """Begin with everything open."""
        self._world = world
        self._crew = crew
        self._all = [start.id for start in world.scenario.executions]
        self._open: list[str] = []
        self._given_up: dict[str, None] = {}
        self._is_done = asyncio.Event()

    async def close(self) -> None:
        """Return when every execution has ended and every client has its answers."""
        member = self._world.cluster.start("closer", self._main, has_store=False)
        await self._is_done.wait()
        self._world.cluster.kill(member.name)

    def describe(self) -> str:
        """Return what has not come to an end."""
        parts = [f"not ended: {', '.join(self._open)}"] if self._open else []
        parts += [f"not answered: {', '.join(self._unanswered())}"] if self._unanswered() else []
        return "; ".join(parts) or "nothing"

    def _unanswered(self) -> list[str]:
        drivers = self._crew.drivers.values()
        return [f"{driver.name}: {each}" for driver in drivers for each in driver.left]

    async def _main(self, member: Member) -> None:
        app = Flow(NAMESPACE, broker="memory://", store="memory://")
        app.use(member.adapters)
        app.play()
        async with app:
            member.ready.set()
            await self._end_all(app, member, self._all)
            for driver in self._crew.drivers.values():
                await driver.is_served.wait()
            # A resume that was asked for long ago may have arrived after the end of an execution.
            await self._end_all(app, member, self._resumed())
            self._is_done.set()
            await asyncio.Event().wait()

    def _resumed(self) -> list[str]:
        """Return the executions that a client may have resumed."""
        resuming = [each for each in self._world.scenario.controls if each.verb in RESUMING]
        targets = {each.target for each in resuming}
        return [each for each in self._all if each in targets]

    async def _end_all(self, app: Flow, member: Member, ids: Sequence[str]) -> None:
        self._open = list(ids)
        async with TaskGroup() as tasks:
            started = [tasks.start(self._end(app, member, each), each) for each in ids]
            await asyncio.gather(*started)

    async def _unpause(self, app: Flow) -> None:
        for workflow in await app.workflows.paused():
            self._world.ledger.wants(workflow, "unpause")
            await app.workflows.unpause(workflow)
            self._world.ledger.controlled(workflow, "unpause")

    async def _end(self, app: Flow, member: Member, id: str) -> None:
        status: Status | None = None
        while status is None:
            try:
                status = await self._look(app, member, id)
            except (UnknownExecution, UnavailableError, NotPossible):
                await asyncio.sleep(SHORT_S)
        self._world.counts[f"ended in {status.value}"] += 1
        self._judge(id, status)
        self._open.remove(id)

    def _judge(self, id: str, status: Status) -> None:
        """Object to an end that nothing in the scenario can have led to."""
        scenario = self._world.scenario
        start, program = scenario.start_of(id), scenario.program_of(id)
        seed = scenario.seed_of(id)
        if status is Status.FAILURE and not program.may_fail(seed, spared=start.optional):
            self._world.object_to("an innocent failure", f"{id} ended in FAILURE")
        asked = any(each.verb == "abort" and each.target == id for each in scenario.controls)
        if status is Status.ABORTED and not asked and id not in self._given_up:
            self._world.object_to("an innocent abort", f"{id} ended in ABORTED")

    async def _look(self, app: Flow, member: Member, id: str) -> Status | None:
        """Return how an execution has ended, or None if somebody has to look again."""
        ledger, execution = self._world.ledger, app.executions.get(id)
        report = await execution.report()
        status = Status.parse(report["status"])
        if status in {Status.SUSPENDED, Status.SUSPENDING}:
            # A pause that a client has asked for long ago may arrive late.
            await self._unpause(app)
            ledger.wants(id, "resume")
            ledger.controlled(id, "resume", (await execution.resume()).value)
        elif report["incident"] and not status.ended:
            self._world.counts["an incident"] += 1
            self._given_up[id] = None
            ledger.wants(id, "abort")
            ledger.controlled(id, "abort", (await execution.abort()).value)
        try:
            async with asyncio.timeout(LOOK_S):
                return await answered(self._world, member, id, execution.result())
        except TimeoutError:
            return None
