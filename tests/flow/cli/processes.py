"""Helpers: commands as real processes, whose output is waited for with a deadline."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

WITHIN_S = 30.0


class Process:
    """A command in a session of its own, so that it can be sent what a terminal sends.

    Args:
        folder: Where it runs.
        arguments: What would be typed behind `flow`.
    """

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-m", "flow", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.text = ""

    @property
    def pid(self) -> int:
        """The process id of the command, not of its children."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(WITHIN_S)
        self._reader.join(WITHIN_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def expect(self, text: str) -> str:
        """Return the next line that holds a text, or fail."""
        while True:
            try:
                line = self._lines.get(timeout=WITHIN_S)
            except queue.Empty:
                raise AssertionError(f"no {text!r} in time, only:\n{self.text}") from None
            if line is None:
                raise AssertionError(f"it ended without {text!r}:\n{self.text}")
            self.text += line
            if text in line:
                return line

    def expect_end(self) -> int:
        """Return the exit code; all that holds the output has ended then, children too."""
        while (line := self._lines.get(timeout=WITHIN_S)) is not None:
            self.text += line
        return self._process.wait(WITHIN_S)

    def interrupt(self) -> None:
        """Send what Ctrl-C in a terminal sends: SIGINT to the process and its children."""
        os.killpg(self._process.pid, signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._process.send_signal(number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def ended(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code, and all it printed."""
    with Process(folder, arguments) as process:
        return process.expect_end(), process.text
