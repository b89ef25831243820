"""The processes of a chaos run: each has a place, with its own ways to the servers.

A place outlives its processes: whoever is killed is followed by another process in the same place,
with the same proxies in front of the broker and the database. Whoever ends by itself is started
again, as a supervisor would do it.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
import anyio.abc

from tests.servers.proxy import Proxy, proxied
from tests.system.processes import ROOT

__all__ = ["Fleet", "Place", "Servers"]

AGAIN_S: Final = 1.0
ANSWER_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are.

    Args:
        broker: The URL of the broker.
        store: The URL of the database.
    """

    broker: str
    store: str


@dataclass(slots=True)
class Place:
    """The place of one process.

    Args:
        name: Its name, such as `worker-1`.
        role: `worker` or `orchestrator`.
        broker: Its way to the broker.
        store: Its way to the database.
        pid: The process that is there, or 0.
        is_wanted: Whether there is to be one: it is started again if it ends by itself.
        is_paused: Whether it stands still.
        is_starting: Whether a process is about to be there.
        generation: How many processes were there.
    """

    name: str
    role: str
    broker: Proxy
    store: Proxy
    pid: int = 0
    is_wanted: bool = False
    is_paused: bool = False
    is_starting: bool = False
    generation: int = 0


class Zygote:
    """The process that forks all others, and what it has told."""

    def __init__(self, process: asyncio.subprocess.Process, on_end: Callable[[int, int], None]):
        self._process = process
        self._on_end = on_end
        self._started: dict[int, Callable[[int], None]] = {}
        self._count = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def hear(self) -> None:
        """Take what it tells, for as long as it lives."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "started" in message:
                self._started.pop(message["started"])(message["pid"])
            elif "ended" in message:
                self._on_end(message["ended"], message["code"])

    async def start(self, order: Mapping[str, Any], on_start: Callable[[int], None]) -> None:
        """Have a process forked.

        Args:
            order: What it is to do.
            on_start: Gets its id, before anything else is heard of it.
        """
        self._count += 1
        started = anyio.Event()

        def note(pid: int) -> None:
            on_start(pid)
            started.set()

        self._started[self._count] = note
        self._tell({"start": self._count, **order})
        with anyio.fail_after(ANSWER_S):
            await started.wait()

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Have a process signalled, if it has not ended."""
        self._tell({"signal": pid, "number": int(number)})

    async def end(self) -> None:
        """End it, and with it all that it has started."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            with anyio.fail_after(ANSWER_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _tell(self, order: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(order)}\n".encode())


@dataclass(slots=True)
class _Ends:
    """How processes ended that nobody has killed."""

    crashes: list[str] = field(default_factory=list[str])
    gave_up: int = 0


class Fleet:
    """All processes, each in its place.

    Args:
        folder: Where everything that they write goes.
        servers: The servers, without proxies.
        roles: How many places there are, by role.

    Attributes:
        places: The places, by name.
        ends: How processes ended that nobody has killed.
    """

    def __init__(self, folder: Path, servers: Servers, roles: Mapping[str, int]) -> None:
        self.folder = folder
        self.places: dict[str, Place] = {}
        self.ends = _Ends()
        self.lives = folder / "lives.jsonl"
        self.effects = folder / "effects"
        self._servers = servers
        self._roles = roles
        self._exits = AsyncExitStack()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._zygote: Zygote | None = None

    async def __aenter__(self) -> Self:
        """Start the zygote, and open all ways."""
        for each in (self.effects, self.folder / "output"):
            each.mkdir()
        self._tasks = await self._exits.enter_async_context(anyio.create_task_group())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.system.chaos.zygote"),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._zygote = Zygote(process, self._note_end)
        self._exits.push_async_callback(self._zygote.end)
        self._tasks.start_soon(self._zygote.hear)
        for role, count in self._roles.items():
            for number in range(count):
                name = f"{role}-{number}"
                broker = await self._exits.enter_async_context(proxied(self._servers.broker))
                store = await self._exits.enter_async_context(proxied(self._servers.store))
                self.places[name] = Place(name, role, broker, store)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all processes."""
        for place in self.places.values():
            place.is_wanted = False
        await self._exits.__aexit__(kind, error, traceback)

    def of(self, role: str) -> Sequence[Place]:
        """Return the places of a role."""
        return [place for place in self.places.values() if place.role == role]

    async def start(self, place: Place) -> None:
        """Put a process into a place, unless there is one."""
        place.is_wanted = True
        if place.pid or place.is_starting or self._zygote is None:
            return
        place.is_starting = True
        place.generation += 1
        name = f"{place.name}-{place.generation:03}"
        arguments = [str(self.lives)]
        if place.role == "worker":
            arguments.append(place.store.url)
        order = {
            "role": place.role,
            "arguments": arguments,
            "environment": self._environment(place, name),
            "output": str(self.folder / "output" / f"{name}.txt"),
        }

        def settle(pid: int) -> None:
            place.pid, place.is_starting = pid, False

        await self._zygote.start(order, settle)

    def _environment(self, place: Place, name: str) -> Mapping[str, str]:
        environment = {
            "FLOW_BROKER": place.broker.url,
            "FLOW_TEST_EFFECTS": str(self.effects / f"{name}.jsonl"),
        }
        if place.role == "orchestrator":
            environment["FLOW_STORE"] = place.store.url
        return environment

    def kill(self, place: Place) -> int:
        """Kill the process in a place, which stays empty; return its id, or 0."""
        pid, place.pid = place.pid, 0
        place.is_wanted = place.is_paused = False
        if pid:
            self._signal(pid, signal.SIGKILL)
        return pid

    def pause(self, place: Place) -> int:
        """Let the process in a place stand still; return its id, or 0."""
        if place.pid:
            place.is_paused = True
            self._signal(place.pid, signal.SIGSTOP)
        return place.pid

    def go_on(self, place: Place, pid: int) -> None:
        """Let a process go on after a pause, if it is still there."""
        if place.pid == pid and place.is_paused:
            place.is_paused = False
            self._signal(pid, signal.SIGCONT)

    def ask_all(self) -> None:
        """Have all processes print how they are, and where their tasks wait."""
        for place in self.places.values():
            if place.pid:
                self._signal(place.pid, signal.SIGUSR1)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        assert self._zygote is not None
        self._zygote.signal(pid, number)

    def _note_end(self, pid: int, code: int) -> None:
        for place in self.places.values():
            if place.pid == pid:
                place.pid, place.is_paused = 0, False
                self._note_unwanted_end(place, pid, code)

    def _note_unwanted_end(self, place: Place, pid: int, code: int) -> None:
        name = f"{place.name}-{place.generation:03}"
        printed = (self.folder / "output" / f"{name}.txt").read_text(errors="replace")
        if "ready\n" in printed:
            last = printed.strip().splitlines()[-1:]
            self.ends.crashes.append(f"{name} (process {pid}) ended with {code}: {last}")
        else:
            self.ends.gave_up += 1
        if self._tasks is not None:
            self._tasks.start_soon(self._start_again, place)

    async def _start_again(self, place: Place) -> None:
        await asyncio.sleep(AGAIN_S)
        if place.is_wanted:
            await self.start(place)
