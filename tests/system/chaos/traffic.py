"""The client of a chaos run: starts executions at a steady rate, and notes what was answered.

What happens to which execution (which workflow it is, what it refuses, whether it is suspended,
aborted, or left alone) follows from the seed and its number.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio
import anyio.abc

from flow import Execution, Flow, FlowError, UnavailableError, Workflow
from flow.clock import SystemClock
from flow.errors import NotPossible
from tests.system.chaos.evidence import Command, Start
from tests.system.chaos.programs import WORKFLOWS

__all__ = ["Plan", "Traffic"]

MOST: Final = 600
"""So many executions are looked after at the same time; a start that comes too many is left out."""
TRIES: Final = 3
PAUSE_S: Final = 1.0

_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to happen to an execution.

    Args:
        workflow: Which one it is of.
        refusals: How many first attempts its flaky step refuses.
        fails: Whether that step then fails for good.
        verb: `suspend`, `abort`, or an empty string.
        after_s: Seconds from the accepted start until that.
        for_s: Seconds until it is resumed.
    """

    workflow: str
    refusals: int
    fails: bool
    verb: str
    after_s: float
    for_s: float

    @classmethod
    def of(cls, seed: int, number: int) -> "Plan":
        """Return the plan for an execution.

        Args:
            seed: The seed of the run.
            number: The number of the execution.
        """
        chance = random.Random(f"{seed}/{number}")
        return cls(
            workflow=chance.choice(WORKFLOWS),
            refusals=chance.choice((0, 0, 0, 1, 1, 2)),
            fails=chance.random() < 0.03,
            verb=chance.choices(("", "suspend", "abort"), (80, 10, 10))[0],
            after_s=chance.uniform(0.0, 1.5),
            for_s=chance.uniform(0.5, 8.0),
        )


class Traffic:
    """Starts, suspends, resumes and aborts; all until each is answered or refused.

    Args:
        broker: The client's way to the broker.
        namespace: The name of the flow.
        seed: The seed of the run.
        rate: Executions in a second.

    Attributes:
        starts: The starts that were asked for, by execution.
        commands: What else was asked for.
        left_out: How many starts were left out, because too many waited.
    """

    def __init__(self, broker: str, namespace: str, seed: int, rate: float) -> None:
        self.starts: dict[str, Start] = {}
        self.commands: list[Command] = []
        self.left_out = 0
        self._app = Flow(namespace, broker=broker).play()
        self._seed = seed
        self._rate = rate
        self._number = 0
        self._present = 0
        self._workflows: dict[str, Workflow[Any]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self._present

    async def run(self, seconds: float, ready: anyio.Event, healed: anyio.Event) -> None:
        """Start executions for a while, and look after them until it is cancelled.

        Args:
            seconds: For how long executions are started.
            ready: Set when the first one is about to be started.
            healed: Set by others when everything is mended.
        """
        async with self._app:
            for name in WORKFLOWS:
                self._workflows[name] = await self._app.workflows.load(name)
            ready.set()
            async with anyio.create_task_group() as group:
                await self._start_all(group, seconds)
                await healed.wait()
                await self._tidy()

    async def _tidy(self) -> None:
        """Do what a person does in the end: resume what is suspended, abort what has incidents.

        A client does not know what became of a command that nobody has answered.
        """
        while True:
            for status in ("SUSPENDING", "SUSPENDED"):
                await self._for_all({"status": [status]}, self._resume)
            await self._for_all({"status": ["RUNNING", "SUSPENDING"]}, self._abort, incidents=True)
            await anyio.sleep(PAUSE_S)

    async def _for_all(
        self,
        query: dict[str, Any],
        act: Callable[[Execution[Any], str], Awaitable[None]],
        *,
        incidents: bool = False,
    ) -> None:
        try:
            rows = await self._app.executions.list(**query, limit=1_000)
        except UnavailableError:
            return
        for row in rows:
            if not incidents or (row["incident"] and row["ended_ms"] is None):
                await act(self._app.executions.get(row["id"]), row["id"])

    # ------------------------------------------------------------------------- executions

    async def _start_all(self, group: anyio.abc.TaskGroup, seconds: float) -> None:
        end = _CLOCK.monotonic() + seconds
        due = _CLOCK.monotonic()
        while _CLOCK.monotonic() < end:
            due += 1.0 / self._rate
            await anyio.sleep(max(0.0, due - _CLOCK.monotonic()))
            if self._present >= MOST:
                self.left_out += 1
                continue
            self._number += 1
            self._present += 1
            group.start_soon(self._look_after, self._number)

    async def _look_after(self, number: int) -> None:
        try:
            plan = Plan.of(self._seed, number)
            execution = await self._start(f"{plan.workflow}-{number:06}", plan)
            if execution is None or not plan.verb:
                return
            await anyio.sleep(plan.after_s)
            if plan.verb == "abort":
                await self._abort(execution, execution.id)
            elif await self._command(execution, "suspend", execution.suspend):
                await anyio.sleep(plan.for_s)
                await self._resume(execution, execution.id)
        finally:
            self._present -= 1

    async def _start(self, name: str, plan: Plan) -> Execution[Any] | None:
        self.starts[name] = start = Start(
            name, plan.workflow, plan.refusals, plan.fails, asked_ms=_CLOCK.now_ms()
        )
        body = {"refusals": plan.refusals, "fails": plan.fails}
        for _ in range(TRIES):
            try:
                execution = await self._workflows[plan.workflow].execute(body, id=name)
            except UnavailableError:
                continue
            except FlowError as error:
                self.starts[name] = replace(start, refusal=repr(error))
                return None
            self.starts[name] = replace(start, accepted_ms=_CLOCK.now_ms())
            return execution
        return None

    async def _abort(self, execution: Execution[Any], _name: str) -> None:
        await self._command(execution, "abort", execution.abort)

    async def _resume(self, execution: Execution[Any], _name: str) -> None:
        await self._command(execution, "resume", execution.resume)

    async def _command(
        self, execution: Execution[Any], verb: str, ask: Callable[..., Awaitable[Any]]
    ) -> bool:
        """Ask until it is answered; return whether it was obeyed."""
        while True:
            reason = f"command {len(self.commands)}"
            command = Command(execution.id, verb, reason, asked_ms=_CLOCK.now_ms())
            place = len(self.commands)
            self.commands.append(command)
            try:
                await ask(reason=reason)
            except UnavailableError:
                await anyio.sleep(PAUSE_S)
                continue
            except NotPossible:
                return False
            except FlowError as error:
                self.commands[place] = replace(command, refusal=repr(error))
                return False
            self.commands[place] = replace(command, answered_ms=_CLOCK.now_ms())
            return True
