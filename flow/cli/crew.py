"""The crew: several processes of one program on this machine, and who looks after them.

Each process is a child that was started with the same command. One that dies is started again,
after a pause that grows as long as it keeps dying. The first SIGTERM or Ctrl-C is passed on, and
the children drain; a second Ctrl-C, or the end of the time that draining may take, kills them.
They hold the end of a pipe whose other end is here: none is left behind, not even by kill -9.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from flow.cli.failures import Exit
from flow.cli.health import HealthOptions, server_of
from flow.cli.output import Output
from flow.cli.web import Answer, Route, fetch
from flow.clock import SystemChance, SystemClock, sleep
from flow.errors import FlowError
from flow.runtime.tasks import TaskGroup

__all__ = ["Crew"]

_log = logging.getLogger("flow.crew")

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""Seconds after which a process counts as one that runs, so that the next pause is short again."""
DRAIN_S: Final = 60.0
"""Seconds that the children have to end by themselves."""
_ASK_S: Final = 2.0


@dataclass(slots=True)
class _Member:
    """A place in the crew.

    Args:
        number: Which, from 1.
        child: The process that fills it, or None.
        deaths: How often it has died without having run for long.
    """

    number: int
    child: asyncio.subprocess.Process | None = None
    deaths: int = 0


class Crew:
    """Keeps several processes running.

    Args:
        command: What they are started with, behind `python -m flow`.
        size: How many.
        health: Where probes are answered: here on the port itself, by each child on one of the
            ports behind it.
        output: What to print with.
    """

    def __init__(
        self, command: Sequence[str], size: int, health: HealthOptions, output: Output
    ) -> None:
        """Prepare; nothing runs before `run`."""
        self._command = tuple(command)
        self._members = [_Member(number) for number in range(1, size + 1)]
        self._health = health
        self._output = output
        self._stopping = asyncio.Event()
        self._code = Exit.OK
        self._clock = SystemClock()
        self._chance = SystemChance()
        self._lifeline = -1
        self._known: set[int] = set()

    async def run(self) -> int:
        """Keep them running until a signal comes, then wait for all of them.

        Returns:
            The exit code.
        """
        loop = asyncio.get_running_loop()
        self._lifeline, theirs = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            await self._run()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            os.close(self._lifeline)
            os.close(theirs)
        self._output.note("stopped")
        return self._code

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(TaskGroup())
            if self._health.health_port is not None:
                await stack.enter_async_context(server_of(self._health, self._routes()))
            kept = [tasks.start(self._keep(each), "process") for each in self._members]
            try:
                await asyncio.wait(kept)
            finally:
                # Only a fault of ours comes here with children that still run.
                self._send(signal.SIGKILL)

    # ---------------------------------------------------------------------------- one place

    async def _keep(self, member: _Member) -> None:
        while not self._stopping.is_set():
            begun = self._clock.monotonic()
            code = await self._run_child(member)
            if self._stopping.is_set():
                return
            if code == Exit.USAGE:
                # It would end like this again, and has said why.
                self._code = Exit.USAGE
                self._stop(signal.SIGTERM)
                return
            is_steady = self._clock.monotonic() - begun >= STEADY_S
            member.deaths = 1 if is_steady else member.deaths + 1
            pause = _pause(member.deaths, self._chance.random())
            how = f"signal {-code}" if code < 0 else f"code {code}"
            self._output.note(
                f"process {member.number} has ended with {how}; starting it again in {pause:.1f} s"
            )
            await self._rest(pause)

    async def _run_child(self, member: _Member) -> int:
        # -P keeps the present folder from hiding the packages of flowmq.
        command = ["-P", "-m", "flow", *self._command, "--lifeline", str(self._lifeline)]
        command += ["--number", str(member.number), *self._health.for_child(member.number)]
        child = await asyncio.create_subprocess_exec(
            sys.executable, *command, pass_fds=[self._lifeline]
        )
        member.child = child
        if self._stopping.is_set():
            self._tell(child, signal.SIGTERM)
        try:
            return await child.wait()
        finally:
            member.child = None

    async def _rest(self, pause: float) -> None:
        async with TaskGroup() as waits:
            stopping = waits.start(_wait_for(self._stopping), "stopping")
            rested = waits.start(sleep(self._clock, pause), "pause")
            await asyncio.wait([stopping, rested], return_when=asyncio.FIRST_COMPLETED)

    # ------------------------------------------------------------------------------ the end

    def _stop(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            if number is signal.SIGINT:
                self._code = Exit.INTERRUPTED
                self._send(signal.SIGKILL)
            return
        self._stopping.set()
        self._send(signal.SIGTERM)
        asyncio.get_running_loop().call_later(DRAIN_S, self._give_up)

    def _give_up(self) -> None:
        late = [member.number for member in self._members if member.child is not None]
        if late:
            numbers = ", ".join(map(str, late))
            self._output.note(f"processes that did not end within {DRAIN_S:g} s: {numbers}")
            self._code = Exit.FAILED
            self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for member in self._members:
            if member.child is not None:
                self._tell(member.child, number)

    @staticmethod
    def _tell(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
        # It may have ended this very moment.
        with suppress(ProcessLookupError):
            child.send_signal(number)

    # --------------------------------------------------------------------------- their health

    def _routes(self) -> dict[str, Route]:
        return {"/live": self._live, "/ready": self._ready, "/health": self._tell_all}

    async def _live(self) -> Answer:
        """Answer that all is well unless a child that has answered before does not any more."""
        asked = {member.number: member.child for member in self._members}
        found = await self._ask_all()
        hung = [
            number
            for number, child in asked.items()
            if child is not None and child.pid in self._known and found[number] is None
        ]
        self._known |= {
            child.pid for number, child in asked.items() if child is not None and found[number]
        }
        return _answer("live", [f"process {number} does not answer" for number in hung])

    async def _ready(self) -> Answer:
        found = await self._ask_all()
        missing = [number for number, told in found.items() if not told or not told.get("ready")]
        return _answer("ready", [f"process {number} is not ready" for number in missing])

    async def _tell_all(self) -> Answer:
        found = await self._ask_all()
        is_ready = all(told is not None and told.get("ready") for told in found.values())
        processes = [{"process": number, **(told or {})} for number, told in found.items()]
        document = {"ready": is_ready, "processes": processes}
        return Answer(HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, document)

    async def _ask_all(self) -> dict[int, Mapping[str, Any] | None]:
        found: dict[int, Mapping[str, Any] | None] = dict.fromkeys(
            member.number for member in self._members
        )
        async with TaskGroup() as tasks:
            asking = [
                tasks.start(self._ask(member, found), "ask")
                for member in self._members
                if member.child is not None
            ]
            if asking:
                await asyncio.wait(asking)
        return found

    async def _ask(self, member: _Member, found: dict[int, Mapping[str, Any] | None]) -> None:
        port = (self._health.health_port or 0) + member.number
        try:
            answer = await fetch("127.0.0.1", port, "/health", _ASK_S)
        except (OSError, TimeoutError, FlowError) as error:
            _log.debug("process %d does not tell how it is: %s", member.number, error)
            return
        found[member.number] = answer.document


def _answer(what: str, trouble: Sequence[str]) -> Answer:
    status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
    return Answer(status, {what: not trouble, "trouble": list(trouble)})


def _pause(deaths: int, chance: float) -> float:
    """Return how long to wait after so many deaths: twice as long each time, and never alike."""
    longest = min(FIRST_PAUSE_S * 2 ** (min(deaths, 16) - 1), LONGEST_PAUSE_S)
    spread: float = longest * (0.5 + chance / 2)
    return spread


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
