"""The closer: a client that brings everything to its end once nothing goes wrong any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from flow import Execution, Flow, Status
from flow.errors import NotPossible, StepsUndone, UnavailableError, UnknownExecution
from flow.runtime.tasks import TaskGroup
from flow.testing.simulation.cluster import Member
from tests.simulation.clients import answered, failed_undos, resolve_one
from tests.simulation.crew import Crew
from tests.simulation.world import NAMESPACE, World

__all__ = ["Closer"]

RESUMING: Final = frozenset({"resume", "retry", "undo", "undo step", "resolve"})
"""What starts an execution again that has ended."""
UNDOING: Final = frozenset({"compensate", "undo", "undo step", "resolve"})
"""What leads to an end in COMPENSATED, although nothing has failed."""
MENDS: Final = ("leave it", "resolve", "undo", "undo and resolve")
"""What a person does about undos that have failed."""
GIVEN_UP_UNDONE: Final = 0.5
"""How often what is given up is undone."""
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
        self._mended: dict[str, None] = {}
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
        self._open.remove(id)

    def _judge(self, id: str, status: Status, failed: Sequence[str], failure: str) -> None:
        """Object to an end that nothing in the scenario can have led to."""
        scenario = self._world.scenario
        start, program = scenario.start_of(id), scenario.program_of(id)
        may_fail = program.may_fail(scenario.seed_of(id), spared=start.optional)
        verbs = {each.verb for each in scenario.controls if each.target == id}
        was_undone = bool(verbs & UNDOING) or id in self._mended or id in self._given_up
        match status:
            case Status.FAILURE:
                in_part = was_undone and failure.endswith(StepsUndone.__name__)
                is_planned = may_fail or in_part or bool(failed)
            case Status.ABORTED:
                is_planned = "abort" in verbs or id in self._given_up
            case Status.COMPENSATED:
                is_planned = may_fail or was_undone
            case _:
                is_planned = True
        if not is_planned:
            self._world.object_to(f"an innocent {_NOUNS[status]}", f"{id} ended in {status.value}")

    async def _look(self, app: Flow, member: Member, id: str) -> Status | None:
        """Return how an execution has ended, or None if somebody has to look again."""
        ledger, execution = self._world.ledger, app.executions.get(id)
        report = await execution.report()
        status = report.status
        if status in {Status.SUSPENDED, Status.SUSPENDING}:
            # A pause that a client has asked for long ago may arrive late.
            await self._unpause(app)
            ledger.wants(id, "resume")
            ledger.controlled(id, "resume", (await execution.resume()).value)
        elif report.incident and not status.ended:
            await self._give_up(execution)
        try:
            async with asyncio.timeout(LOOK_S):
                await answered(self._world, member, id, execution.result())
        except TimeoutError:
            return None
        return await self._mend(execution)

    async def _give_up(self, execution: Execution[Any]) -> None:
        """Abort what nobody else can end; every other one with compensation."""
        ledger, name = self._world.ledger, execution.id
        compensates = self._chance(name).random() < GIVEN_UP_UNDONE
        verb = "compensate" if compensates else "abort"
        self._world.counts["an incident"] += 1
        self._given_up[name] = None
        ledger.wants(name, verb)
        ledger.controlled(name, verb, (await execution.abort(compensate=compensates)).value)

    async def _mend(self, execution: Execution[Any]) -> Status | None:
        """Do something about undos that have failed.

        Returns:
            How the execution has ended, or None if that has to be waited for again.
        """
        report, name = await execution.report(), execution.id
        failed = list(failed_undos(report))
        mend = self._chance(name).choice(MENDS)
        if not failed or mend == MENDS[0] or report.status is not Status.FAILURE:
            failure = "" if report.failure is None else report.failure.type
            self._judge(name, report.status, failed, failure)
            return report.status if report.status.ended else None
        ledger, is_new = self._world.ledger, name not in self._mended
        self._mended[name] = None
        if mend.startswith("undo") and is_new:
            ledger.wants(name, "undo")
            ledger.controlled(name, "undo", (await execution.undo()).value)
            self._world.counts["undone by hand"] += 1
        elif "resolve" in mend:
            ledger.wants(name, "resolve")
            ledger.controlled(name, "resolve", (await resolve_one(execution)).value)
            self._world.counts["resolved by hand"] += 1
        else:
            return report.status
        return None

    def _chance(self, id: str) -> Random:
        return Random(f"{self._world.scenario.seed} {id} in the end")


_NOUNS: Final = {
    Status.FAILURE: "failure",
    Status.ABORTED: "abort",
    Status.COMPENSATED: "compensation",
}
