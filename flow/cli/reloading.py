"""`flow dev`: runs a program in a child process, and starts that anew when a file has changed.

The child is `flow serve`. It holds the end of a pipe whose other end is here, and ends when that
is closed: so no child is left behind, not even by kill -9.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flow.cli.failures import Exit
from flow.cli.health import HealthOptions
from flow.cli.loading import Location
from flow.cli.options import Place, Program, output_of
from flow.cli.output import Output
from flow.cli.running import place_words
from flow.cli.target import location_of
from flow.runtime.tasks import TaskGroup

__all__ = ["Supervisor", "dev"]

_RESTART_WITHIN_S: Final = 10.0
"""Seconds that a child may drain before a changed program is started all the same."""
_QUICK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Changed:
    file: str


@dataclass(frozen=True, slots=True)
class _Stopped:
    number: signal.Signals


@dataclass(frozen=True, slots=True)
class _Exited:
    child: asyncio.subprocess.Process


@dataclass(frozen=True, slots=True)
class _Overdue:
    child: asyncio.subprocess.Process


_Event = _Changed | _Stopped | _Exited | _Overdue


def dev(
    program: Program = "",
    /,
    *,
    health: HealthOptions | None = None,
    place: Place | None = None,
) -> int:
    """Run a program, and start it anew when a file changes.

    Args:
        program: The program: FILE:APP, such as shop.py:app; by default that of flow.toml.
        health: Where probes are answered.
        place: Where its broker and store are, and how to print.
    """
    location = location_of(program)
    words = [*([program] if program else []), *place_words(place)]
    words += (health or HealthOptions()).words()
    return asyncio.run(Supervisor(location, words, output_of(place)).run())


class Supervisor:
    """Keeps a child running.

    Args:
        location: The program.
        words: What is passed on to the child.
        output: What to print with.
    """

    def __init__(self, location: Location, words: list[str], output: Output) -> None:
        """Prepare; nothing runs before `run`."""
        self._location = location
        self._words = words
        self._output = output
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._child: asyncio.subprocess.Process | None = None
        self._started = 0
        self._is_stopping = False
        self._is_restarting = False

    async def run(self) -> int:
        """Keep the program running until a signal comes.

        Returns:
            The exit code.
        """
        loop = asyncio.get_running_loop()
        ours, theirs = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._events.put_nowait, _Stopped(number))
        try:
            async with TaskGroup() as tasks:
                tasks.start(self._watch(), "watch")
                return await self._supervise(tasks, ours)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            os.close(ours)
            os.close(theirs)

    async def _supervise(self, tasks: TaskGroup, lifeline: int) -> int:
        code: int | None = None
        await self._start(tasks, lifeline)
        while code is None:
            event = await self._events.get()
            match event:
                case _Changed():
                    self._change(event)
                case _Exited():
                    code = self._exit(event)
                case _Stopped():
                    code = self._stop(event)
                case _Overdue():
                    self._kill(event.child)
            if code is None and self._is_restarting and self._child is None:
                self._is_restarting = False
                await self._start(tasks, lifeline)
        return code

    async def _start(self, tasks: TaskGroup, lifeline: int) -> None:
        # -P keeps the present folder from hiding the packages of flowmq.
        command = ["-P", "-m", "flow", "serve", *self._words]
        command += ["--lifeline", str(lifeline), *(["--again"] if self._started else [])]
        child = await asyncio.create_subprocess_exec(sys.executable, *command, pass_fds=[lifeline])
        self._started += 1
        self._child = child
        tasks.start(self._wait(child), "child")

    async def _wait(self, child: asyncio.subprocess.Process) -> None:
        await child.wait()
        self._events.put_nowait(_Exited(child))

    async def _watch(self) -> None:
        # It is not small, and no other command needs it.
        import watchfiles

        folder, only = self._folder(), watchfiles.PythonFilter()
        # Its type mentions an event of trio, which is not installed.
        changes = watchfiles.awatch(folder, watch_filter=only)  # pyright: ignore[reportUnknownMemberType]
        async for found in changes:
            file = min(path for _, path in found)
            self._events.put_nowait(_Changed(Path(file).name))

    def _folder(self) -> Path:
        file = self._location.file
        return self._location.root if file is None else file.parent

    def _change(self, event: _Changed) -> None:
        if self._is_stopping or self._is_restarting:
            return
        self._output.note(f"{event.file} has changed; starting again")
        self._is_restarting = True
        if self._child is not None:
            self._signal(self._child, signal.SIGTERM)
            overdue = _Overdue(self._child)
            loop = asyncio.get_running_loop()
            loop.call_later(_RESTART_WITHIN_S, self._events.put_nowait, overdue)

    def _exit(self, event: _Exited) -> int | None:
        if event.child is not self._child:
            return None
        self._child = None
        if self._is_stopping:
            self._output.note("stopped")
            return Exit.OK
        if not self._is_restarting:
            # Why has been said by the child itself, unless a signal ended it.
            code = event.child.returncode or 0
            how = f" after signal {-code}" if code < 0 else ""
            self._output.note(f"the program has ended{how}; waiting for a change")
        return None

    def _stop(self, event: _Stopped) -> int | None:
        if self._child is None:
            self._output.note("stopped")
            return Exit.OK
        if self._is_stopping and event.number is signal.SIGINT:
            self._kill(self._child)
            self._output.note("stopped at once")
            return Exit.INTERRUPTED
        if not self._is_stopping:
            self._is_stopping = True
            self._signal(self._child, signal.SIGTERM)
            asyncio.get_running_loop().call_later(_QUICK_S, self._tell_draining)
        return None

    def _tell_draining(self) -> None:
        if self._child is not None:
            self._output.note("finishing what runs; Ctrl-C again stops at once")

    def _kill(self, child: asyncio.subprocess.Process) -> None:
        if child is self._child:
            self._signal(child, signal.SIGKILL)

    @staticmethod
    def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
        # It may have ended this very moment.
        with suppress(ProcessLookupError):
            child.send_signal(number)
