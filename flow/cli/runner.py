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
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from flow.app import Flow, Role, holder_of
from flow.cli.failures import Exit
from flow.cli.output import Output, aligned
from flow.cli.shapes import level_ids
from flow.cli.target import Target
from flow.clock import SystemClock, sleep
from flow.errors import BrokerUnavailable, StoreLocked
from flow.runtime.tasks import TaskGroup

__all__ = ["Runner", "Supervised"]

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
    """What `flow dev` tells the process that it starts.

    Args:
        lifeline: The descriptor of a pipe whose end is the end of this process too.
        again: Whether it has been started before.
    """

    lifeline: int = -1
    again: Annotated[bool, Parameter(negative="")] = False


class Runner:
    """Runs a program until a signal stops it.

    Args:
        program: What was typed.
        app: The program.
        roles: What it plays.
        output: What to print with.
        supervised: What `flow dev` has told.
    """

    def __init__(
        self,
        program: str,
        app: Flow,
        roles: tuple[Role, ...],
        output: Output,
        supervised: Supervised | None = None,
    ) -> None:
        """Prepare; nothing runs before `run`."""
        self._program = program
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
            async with TaskGroup() as tasks:
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
        if not self._is_inside and self._part is not None:
            self._part.cancel()

    @property
    def _is_supervised(self) -> bool:
        return self._supervised is not None and self._supervised.lifeline >= 0

    def _say(self, text: str) -> None:
        self._output.note(text)

    async def _take_part(self) -> None:
        clock = SystemClock()
        pause, begun = _FIRST_PAUSE_S, clock.monotonic()
        while not self._stopping.is_set():
            try:
                await self._app.play(*self._present_roles()).__aenter__()
            except BrokerUnavailable as error:
                self._tell_waiting(error, is_late=clock.monotonic() - begun > _JOIN_WITHIN_S)
                await sleep(clock, pause)
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
        is_lost = False
        try:
            self._tell_ready()
            is_lost = await self._wait()
        finally:
            self._is_inside = False
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

    def _tell_waiting(self, error: BrokerUnavailable, *, is_late: bool) -> None:
        file = self._target.file
        if file is None:
            text = f"{error}; trying again"
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
        if output.is_json:
            output.data({"ready": app.name, "roles": list(self._roles), "joined": app.joined})
            return
        self._was_told = False
        if self._was_ready:
            self._say(f"{app.name} is ready again")
            return
        self._was_ready = True
        output.lines([app.name, *_facts(app, self._roles)])
        output.lines(["ready; Ctrl-C stops"])


def _facts(app: Flow, roles: tuple[Role, ...]) -> list[str]:
    store = app.settings.store
    rows: list[tuple[str, str]] = []
    if app.joined:
        rows.append(("joined", str(store or app.settings.broker)))
    else:
        rows += [("broker", str(app.settings.broker)), ("store", str(store))]
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
    levels = level_ids(app.defined[workflow].definition)
    steps = sum(map(len, levels))
    if steps > _SHOWN_STEPS:
        return f"{steps} steps in {len(levels)} levels"
    return " → ".join(" + ".join(level) for level in levels)


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
