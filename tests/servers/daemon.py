"""A server process: started as a user of its own, watched, stopped, paused and killed.

Servers refuse to run as root, and a folder of pytest is closed to everybody else. So the folder
is a temporary one that belongs to the account, and `setpriv` changes to that account. It also
asks the kernel to end the server if the process that started it dies, whatever it died of.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Account", "Daemon", "ServerFailed", "until"]

DEADLINE_S = 90.0
POLL_S = 0.01


class ServerFailed(Exception):
    """A server did not start, stop or answer; the message holds the end of its log."""


async def until(probe: Callable[[], object], deadline_s: float = DEADLINE_S) -> bool:
    """Wait until a probe returns something true.

    Args:
        probe: Looks; it is asked again and again.
        deadline_s: Seconds after which nobody waits any more.

    Returns:
        Whether it did so in time.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while not probe():
        if loop.time() > end:
            return False
        await asyncio.sleep(POLL_S)
    return True


class Account:
    """The user as whom servers of one kind run: its own one if we are root, else we ourselves.

    Args:
        name: The name of the user that the server's package has made.
    """

    def __init__(self, name: str) -> None:
        self._name = name if os.geteuid() == 0 else None

    def command(self, words: Sequence[str], farewell: signal.Signals | None = None) -> list[str]:
        """Return the command that runs something as this user.

        Args:
            words: What is to be run.
            farewell: The signal that it is to get if we die.
        """
        setpriv = shutil.which("setpriv")
        if setpriv is None and self._name is None:
            return list(words)
        options: list[str] = []
        if self._name is not None:
            options += ["--reuid", self._name, "--regid", self._name, "--init-groups"]
        if farewell is not None:
            options += ["--pdeathsig", farewell.name.removeprefix("SIG")]
        return [setpriv or "setpriv", *options, "--", *words]

    def own(self, *paths: Path) -> None:
        """Give files and folders to this user."""
        if self._name is not None:
            entry = pwd.getpwnam(self._name)
            for path in paths:
                os.chown(path, entry.pw_uid, entry.pw_gid)

    def folder(self, kind: str) -> Path:
        """Return a new folder that belongs to this user."""
        path = Path(tempfile.mkdtemp(prefix=f"flow-{kind}-", dir="/tmp"))
        self.own(path)
        return path

    def run(self, words: Sequence[str], environment: Mapping[str, str], told: str = "") -> str:
        """Run a command to its end, and return what it printed.

        Args:
            words: The command.
            environment: Its environment.
            told: What it reads from its standard input.

        Raises:
            ServerFailed: It failed or took too long.
        """
        try:
            done = subprocess.run(
                self.command(words),
                env=dict(environment),
                cwd="/",
                input=told.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(f"it takes too long: {' '.join(words)}") from error
        output = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            raise ServerFailed(f"exit code {done.returncode}: {' '.join(words)}\n{output}")
        return output


class Daemon:
    """One process of a server, which may be started again after it has ended.

    Args:
        account: As whom it runs.
        command: What it runs; it has to stay in the foreground.
        environment: Its whole environment.
        output: The file that takes what it prints.
        farewell: The signal that ends it if we die.
    """

    def __init__(
        self,
        account: Account,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        farewell: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._command = account.command(command, farewell)
        self._environment = dict(environment)
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def printed(self) -> str:
        """The last of what it has printed."""
        with contextlib.suppress(OSError):
            return self._output.read_text(errors="replace")[-4_000:]
        return ""

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C is meant for the tests alone.

        The kernel ends it along with the thread that starts it, so that this has to be one which
        lives as long as the tests: the main thread.
        """
        assert not self.runs, "it runs already"
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals, *, everyone: bool) -> None:
        """Send a signal.

        Args:
            number: The signal.
            everyone: Whether its children get it too.
        """
        for pid in self._family() if everyone else (self.pid,):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def ended(self, deadline_s: float = DEADLINE_S) -> bool:
        """Wait until it has ended; return whether it did."""
        return await until(lambda: not self.runs, deadline_s)

    async def kill(self) -> None:
        """End it and its children with SIGKILL, and wait until they are gone."""
        if self.runs:
            family = self.slay()
            assert await until(lambda: not any(map(_lives, family))), "SIGKILL ended it not"

    def slay(self) -> list[int]:
        """End it and its children with SIGKILL; return all their ids."""
        if self._process is None or not self.runs:
            return []
        family = self._family()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(DEADLINE_S)
        return family

    def _family(self) -> list[int]:
        """Return the process and all its descendants, it itself first."""
        children: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(path.parent.name))
        family = [self.pid]
        for pid in family:
            family += children.get(pid, [])
        return family


def _lives(pid: int) -> bool:
    """Return whether a process exists and is no zombie that its parent forgets to reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2][1] != "Z"
    except OSError:
        return False
