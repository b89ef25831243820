"""The processes that a benchmark starts, and the processor time that each group of them uses.

A process tells in lines on its standard output, and is told in lines on its standard input. It is
ended with its whole family; if this process dies first, the kernel ends it.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import orjson

__all__ = ["Child", "Children", "Meter", "ProcessFailed", "cpu_seconds", "family_of"]

ROOT: Final = Path(__file__).resolve().parents[1]
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
DEADLINE_S: Final = 300.0
READY_S: Final = 60.0
END_S: Final = 20.0


class ProcessFailed(Exception):
    """A process ended, or did not answer in time; the message holds what it has printed."""


class Child:
    """A process that was started here.

    Args:
        command: What it runs.
        environment: What it finds in its environment besides ours.
        folder: Where it runs; by default in the project.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:
        self._trouble: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._read = b""
        guard = shutil.which("setpriv")
        words = [guard, "--pdeathsig", "KILL", "--", *command] if guard else list(command)
        self._process = subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._trouble,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def printed(self) -> str:
        """The end of what it has printed to its standard error."""
        self._trouble.seek(0)
        return self._trouble.read()[-4_000:].decode(errors="replace")

    def tell(self, value: object) -> None:
        """Write a line of JSON into its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(value) + b"\n")
        self._process.stdin.flush()

    def says(self, word: str, deadline_s: float = READY_S) -> str:
        """Wait for a line that holds a word, and return that line.

        Args:
            word: The word.
            deadline_s: Seconds that this may take.

        Raises:
            ProcessFailed: It ended, or the time did.
        """
        end = time.monotonic() + deadline_s
        while True:
            line = self._line(end).decode(errors="replace")
            if word in line:
                return line

    def answers(self, deadline_s: float = DEADLINE_S) -> dict[str, float]:
        """Wait for a line of JSON, and return its numbers.

        Args:
            deadline_s: Seconds that this may take.

        Raises:
            ProcessFailed: It ended, or the time did.
        """
        found: dict[str, float] = orjson.loads(self.says("{", deadline_s))
        return found

    def end(self) -> None:
        """Tell it that nothing more comes, and wait until it has ended in its own way.

        Raises:
            ProcessFailed: It goes on.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailed(f"it goes on: {self._process.args!r}\n{self.printed}") from error

    def close(self) -> None:
        """End it in order; after a while, kill it and all that it has started."""
        family = family_of([self.pid])
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            for pid in family:
                _kill(pid)
            self._process.wait(END_S)
        for stream in (self._process.stdin, self._process.stdout, self._trouble):
            if stream is not None:
                stream.close()

    def _line(self, end: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._read:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
            chunk = os.read(descriptor, 65_536) if ready else b""
            if not chunk:
                why = "it ended" if ready else "it took too long"
                raise ProcessFailed(f"{why}: {self._process.args!r}\n{self.printed}")
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line


class Children:
    """The processes of one measurement, by group; all of them end with the block."""

    def __init__(self) -> None:
        self.groups: dict[str, list[int]] = {}
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
        """End all of them, the youngest first; after a failure, say what each has printed."""
        for child in reversed(self._children):
            if error is not None and child.printed:
                error.add_note(f"process {child.pid} has printed:\n{child.printed}")
            child.close()

    def start(
        self,
        group: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> Child:
        """Start a process.

        Args:
            group: What its processor time counts for.
            command: What it runs.
            environment: What it finds in its environment besides ours.
            folder: Where it runs.
        """
        child = Child(command, environment, folder)
        self._children.append(child)
        self.groups.setdefault(group, []).append(child.pid)
        return child

    def python(
        self, group: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start this Python.

        Args:
            group: What its processor time counts for.
            arguments: What it is told.
            environment: What it finds in its environment besides ours.
        """
        return self.start(group, [sys.executable, *arguments], environment)


class Meter:
    """Measures the processor time of groups of processes, from its making on.

    Args:
        groups: The first process of each family, by group.
    """

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        self._groups = {name: list(pids) for name, pids in groups.items()}
        self._before = self._read()
        self._began = time.perf_counter()

    def cores(self, seconds: float = 0.0) -> dict[str, float]:
        """Return the processor cores that each group has used.

        Args:
            seconds: How long that took; by default the time since it was made.
        """
        seconds = seconds or time.perf_counter() - self._began
        after = self._read()
        return {name: (after[name] - self._before[name]) / seconds for name in after}

    def _read(self) -> dict[str, float]:
        return {
            name: sum(cpu_seconds(pid) for pid in family_of(pids))
            for name, pids in self._groups.items()
        }


def family_of(pids: Sequence[int]) -> list[int]:
    """Return processes and all their descendants.

    Args:
        pids: Their ids.
    """
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _fields(int(path.parent.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    family = list(pids)
    for pid in family:
        family += [child for child in children.get(pid, ()) if child not in family]
    return family


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its ended children have used; 0 if it is gone.

    Args:
        pid: Its id.
    """
    fields = _fields(pid)
    return sum(map(int, fields[11:15])) / TICKS_PER_S if fields else 0.0


def _fields(pid: int) -> list[str]:
    """Return what the kernel says of a process from its state on, behind the name in brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
