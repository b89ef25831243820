"""The runner: plays a program's roles until a signal stops it.

The first SIGTERM or Ctrl-C drains: what runs is finished and recorded. A second Ctrl-C stops at
once, which loses nothing but time. A process that has joined another one enters the program again
when the connection is lost, for as long as it takes.
"""

import asyncio
import os
import signal
import sys
import textwrap
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from flow.app import Flow, Role, holder_of
from flow.catalogue import OpenDefinition
from flow.cli.failures import Exit
from flow.cli.health import Health, HealthOptions
from flow.cli.output import Output, aligned
from flow.cli.shapes import level_ids
from flow.cli.target import Target
from flow.clock import SystemChance, SystemClock, sleep
from flow.config import MEMORY
from flow.errors import BrokerUnavailable, FlowError, StoreLocked, StoreUnavailable
from flow.runtime.tasks import TaskGroup

__all__ = ["Runner", "Supervised", "facts"]

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_LEAVE_WITHIN_S: Final = 1.0
"""Seconds that a drain may take whose results nobody can receive any more."""
_JOIN_WITHIN_S: Final = 3.0
_SHOWN_STEPS: Final = 30
_WIDTH: Final = 80


@Parameter(name="*", show=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """What `flow dev`, or a crew of processes, tells the process that it starts.

    Args:
        lifeline: The descriptor of a pipe whose end is the end of this process too.
        again: Whether it has been started before.
        number: Which process of a crew it is, from 1; 0 for none.
    """

    lifeline: int = -1
    again: Annotated[bool, Parameter(negative="")] = False
    number: int = 0


class Runner:
    """Runs a program until a signal stops it.

    Args:
        program: What was typed.
        app: The program.
        roles: What it plays.
        output: What to print with.
        supervised: What the process that started this one has told.
        probes: Where probes are answered, if anywhere.
    """

    def __init__(
        self,
        program: str,
        app: Flow,
        roles: tuple[Role, ...],
        output: Output,
        supervised: Supervised | None = None,
        probes: HealthOptions | None = None,
    ) -> None:
        """Prepare; nothing runs before `run`."""
        self._program = program
        self._probes = probes or HealthOptions()
        self.health = Health(app, roles)
        self._app = app
        self._roles: tuple[Role, ...] = roles
        self._output = output
        self._supervised = supervised
        self._target = Target(app.name, app.settings, app)
        self._stopping = asyncio.Event()
        self._part: asyncio.Task[None] | None = None
        self._is_inside = False
        self._is_interrupted = False
        self._was_told = False
        self._was_ready = supervised is not None and supervised.again

    async def run(self) -> int:
        """Take part until a signal comes, then drain.

        Returns:
            The exit code.

        Raises:
            FlowError: The program cannot run.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop, number)
        try:
            async with AsyncExitStack() as stack:
                tasks = await stack.enter_async_context(TaskGroup())
                if self._probes.health_port is not None:
                    await self._answer_probes(stack)
                self._part = tasks.start(self._take_part(), "program")
                await asyncio.wait([self._part])
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        if not self._is_supervised:
            self._say("stopped")
        return Exit.OK

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Drain; or stop at once if Ctrl-C comes a second time.

        Args:
            number: The signal that came.
        """
        if number is signal.SIGINT and self._is_interrupted:
            sys.stdout.flush()
            os._exit(Exit.INTERRUPTED)
        self._is_interrupted = self._is_interrupted or number is signal.SIGINT
        if self._stopping.is_set():
            return
        self._stopping.set()
        self.health.is_stopping = True
        if not self._is_inside and self._part is not None:
            self._part.cancel()

    @property
    def _is_supervised(self) -> bool:
        return self._supervised is not None and self._supervised.lifeline >= 0

    @property
    def _prefix(self) -> str:
        number = 0 if self._supervised is None else self._supervised.number
        return f"process {number}: " if number else ""

    def _say(self, text: str) -> None:
        self._output.note(f"{self._prefix}{text}")

    async def _answer_probes(self, stack: AsyncExitStack) -> None:
        server = await stack.enter_async_context(self.health.serve(self._probes))
        if not self._prefix:
            # A free port that was chosen here has to be told.
            self._say(f"health: http://{self._probes.health_host}:{server.port}/health")

    async def _take_part(self) -> None:
        clock = SystemClock()
        pause, begun = _FIRST_PAUSE_S, clock.monotonic()
        while not self._stopping.is_set():
            try:
                await self._app.play(*self._present_roles()).__aenter__()
            except (BrokerUnavailable, StoreUnavailable) as error:
                self._check_worth_waiting(error)
                self.health.trouble = str(error)
                self._tell_waiting(error, is_late=clock.monotonic() - begun > _JOIN_WITHIN_S)
                await sleep(clock, pause * (0.5 + SystemChance().random() / 2))
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                continue
            pause = _FIRST_PAUSE_S
            await self._stay()
            begun = clock.monotonic()

    def _present_roles(self) -> tuple[Role, ...]:
        """Return what there is to play, now that another process may orchestrate already.

        Raises:
            StoreLocked: Nothing is left.
        """
        file = self._target.file
        holder = holder_of(file) if file is not None else ""
        if file is None or not holder or "orchestrator" not in self._roles:
            return self._roles
        if "worker" not in self._roles:
            hint = "only one process at a time can orchestrate it, so stop that one first"
            raise StoreLocked(file.path, holder, hint)
        return ("worker",)

    async def _stay(self) -> None:
        """Take part until the end, or until the connection is lost."""
        app = self._app
        self._is_inside = True
        self.health.trouble = ""
        is_lost = False
        try:
            self._tell_ready()
            is_lost = await self._wait()
        finally:
            self._is_inside = False
            self.health.trouble = "it is waiting for the process that runs the flow"
            await self._leave(is_lost=is_lost)
        if is_lost and not self._stopping.is_set():
            self._was_told = True
            self._say(f"lost the process that runs {app.name}; waiting for it")

    async def _wait(self) -> bool:
        async with TaskGroup() as waits:
            stopping = waits.start(_wait_for(self._stopping), "stopping")
            lost = waits.start(self._app.lost(), "lost")
            await asyncio.wait([stopping, lost], return_when=asyncio.FIRST_COMPLETED)
            return lost.done()

    async def _leave(self, *, is_lost: bool) -> None:
        if not is_lost:
            await self._app.__aexit__(None, None, None)
            return
        try:
            async with asyncio.timeout(_LEAVE_WITHIN_S):
                await self._app.__aexit__(None, None, None)
        except (TimeoutError, BrokerUnavailable):
            # What was being done is done again by whoever comes next.
            return

    def _check_worth_waiting(self, error: FlowError) -> None:
        """Raise an error that time does not mend: a file that cannot be opened stays like that."""
        if isinstance(error, StoreUnavailable) and self._target.file is not None:
            raise error

    def _tell_waiting(self, error: FlowError, *, is_late: bool) -> None:
        file = self._target.file
        if file is None:
            text = f"{error}; trying until it can be"
        elif "orchestrator" in self._roles and not self._was_told:
            # Who has the file may not listen yet. If it never does, it is no flow of ours.
            if is_late:
                raise StoreLocked(
                    file.path, holder_of(file), "it cannot be joined, so stop it first"
                )
            return
        else:
            text = (
                f"no process runs {self._app.name} ({file}); waiting for one: "
                f"flow serve {self._program}"
            )
        if not self._was_told:
            self._was_told = True
            self._say(text)

    def _tell_ready(self) -> None:
        app, output = self._app, self._output
        number = 0 if self._supervised is None else self._supervised.number
        if output.is_json:
            told = {"ready": app.name, "roles": list(self._roles), "joined": app.joined}
            output.data({**told, "process": number} if number else told)
            return
        self._was_told = False
        if number:
            self._say(f"{app.name} is ready")
            return
        if self._was_ready:
            self._say(f"{app.name} is ready again")
            return
        self._was_ready = True
        output.lines([app.name, *facts(app, self._roles)])
        output.lines(["ready; Ctrl-C stops"])


def facts(app: Flow, roles: tuple[Role, ...]) -> list[str]:
    """Return what a program is about to do, in lines.

    Args:
        app: The program.
        roles: What it plays.
    """
    store = app.settings.store
    rows: list[tuple[str, str]] = []
    if app.joined and app.settings.broker.scheme == MEMORY:
        rows.append(("joined", str(store)))
    else:
        rows.append(("broker", str(app.settings.broker)))
        rows += [("store", str(store))] if "orchestrator" in roles else []
    if "orchestrator" in roles:
        shapes = [f"{name}: {_shape(app, name)}" for name in sorted(app.defined)]
        rows += _listing("workflows", shapes)
    if "worker" in roles:
        rows += _listing(
            "endpoints", textwrap.wrap(", ".join(sorted(app.functions.endpoints)), _WIDTH)
        )
    return [f"  {line}" for line in aligned(rows)]


def _listing(title: str, items: list[str]) -> list[tuple[str, str]]:
    if not items:
        items = ["none"]
    return [("" if number else title, item) for number, item in enumerate(items)]


def _shape(app: Flow, workflow: str) -> str:
    """Return the levels of a workflow in one line, if they fit there."""
    declared = app.defined[workflow].declared
    if isinstance(declared, OpenDefinition):
        return f"made of the announced steps {', '.join(declared.names)}"
    levels = level_ids(declared)
    steps = sum(map(len, levels))
    if steps > _SHOWN_STEPS:
        return f"{steps} steps in {len(levels)} levels"
    return " → ".join(" + ".join(level) for level in levels)


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
