"""Processes of their own: started, watched and killed by the tests of this folder.

Everything that a process does is written into files of one temporary folder: what it prints, its
database, its sockets, and the effects of its handlers. A process is only ever ended by its own id.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from flow import Flow

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"
DEADLINE_S = 60.0
POLL_S = 0.004

ValueT = TypeVar("ValueT")


async def eventually(
    probe: Callable[[], ValueT],
    what: str,
    deadline_s: float = DEADLINE_S,
) -> ValueT:
    """Return what a probe returns as soon as that is true.

    Args:
        probe: Looks; it is asked again and again.
        what: What is waited for, for the error.
        deadline_s: Seconds until the test fails.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    while True:
        found = probe()
        if found:
            return found
        assert loop.time() < until, f"{what}: not within {deadline_s:g} s"
        await asyncio.sleep(POLL_S)


class Child:
    """A process that was started here.

    Args:
        command: What it runs.
        environment: Its environment.
        output: The file that takes what it prints.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], output: Path
    ) -> None:
        self._output = output
        with output.open("wb") as target:
            self._process = subprocess.Popen(
                list(command),
                cwd=output.parent,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=target,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has printed."""
        return self._output.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def tell(self, line: str) -> None:
        """Write a line into its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    async def says(self, word: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait until it prints a line that begins with a word; return the rest of that line."""

        def find() -> list[str]:
            lines = self.output.splitlines(keepends=True)
            whole = [line.rstrip("\n") for line in lines if line.endswith("\n")]
            found = [line for line in whole if line.split(" ")[0] == word]
            assert found or not self.has_ended, f"it ended before it said {word!r}:\n{self.output}"
            return found

        lines = await eventually(find, f"the line {word!r} of {self._output.name}", deadline_s)
        return lines[0].removeprefix(word).strip()

    async def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait until it has ended; return its exit code, negative for a signal."""
        try:
            await eventually(lambda: self.has_ended, "the end of a process", deadline_s)
        except AssertionError:
            raise AssertionError(f"it goes on, and has printed:\n{self.output}") from None
        return int(self._process.returncode)

    async def kill(self) -> None:
        """End it with SIGKILL, and wait for that."""
        self._process.send_signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL, self.output

    def stop(self) -> None:
        """Let it stand still: nothing of it is closed, but nobody is there."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after `stop`."""
        self._process.send_signal(signal.SIGCONT)

    async def terminate(self) -> None:
        """End it with SIGTERM; it has to drain and exit without an error."""
        self._process.send_signal(signal.SIGTERM)
        assert await self.ended() == 0, self.output

    def clear_away(self) -> None:
        """End it if it still runs, so that nothing of it is left."""
        if not self.has_ended:
            self._process.kill()
            self._process.wait(DEADLINE_S)
        if self._process.stdin is not None:
            # What was not read any more is of no interest.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()


class Crew:
    """The processes of one test, and the folder that they share.

    Args:
        folder: An empty folder with a short name, because sockets are made inside.

    Attributes:
        store: The URL of the store that processes find in their environment.
        broker: The URL of their broker; empty for the one that is embedded.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "flow.db"
        self.effects = folder / "effects.jsonl"
        self.store = f"sqlite:///{self.database}"
        self.broker = ""
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        """Begin without a process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what still runs."""
        for child in self._children:
            child.clear_away()

    @property
    def environment(self) -> dict[str, str]:
        """What processes find in their environment."""
        broker = {"FLOW_BROKER": self.broker} if self.broker else {}
        return {
            **os.environ,
            **broker,
            "FLOW_STORE": self.store,
            "FLOW_TEST_EFFECTS": str(self.effects),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "XDG_RUNTIME_DIR": str(self.folder),
        }

    def start(self, program: str, *arguments: str) -> Child:
        """Start a program of the folder `programs`.

        Args:
            program: Its name.
            arguments: What it is told.
        """
        return self.run(str(PROGRAMS / f"{program}.py"), *arguments)

    def run(self, *arguments: str) -> Child:
        """Start Python.

        Args:
            arguments: What it is told.
        """
        return self.execute(sys.executable, *arguments)

    def execute(self, *command: str) -> Child:
        """Start anything.

        Args:
            command: What to run.
        """
        output = self.folder / f"output-{len(self._children)}.txt"
        child = Child(command, self.environment, output)
        self._children.append(child)
        return child

    @asynccontextmanager
    async def joined(self, namespace: str) -> AsyncGenerator[Flow, None]:
        """Take part as a client that neither works nor orchestrates.

        Args:
            namespace: The name of the flow.
        """
        app = Flow(namespace, store=self.store).play()
        async with app:
            assert app.joined
            yield app
