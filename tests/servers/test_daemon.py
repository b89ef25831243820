"""A server's process ends with whoever started it, and takes its children with it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.daemon import Account, Daemon, ServerFailed, until

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
# It speaks once the server has become `sleep`: before that, `setpriv` has not asked the kernel yet.
ORPHANING = """\
import asyncio, pathlib, signal, sys
from tests.servers.daemon import Account, Daemon, until
daemon = Daemon(Account("postgres"), ["sleep", "600"], {}, pathlib.Path(sys.argv[1]))
daemon.start()
name = pathlib.Path(f"/proc/{daemon.pid}/comm")
assert asyncio.run(until(lambda: name.read_text() == "sleep\\n")), "setpriv hangs"
print(daemon.pid, flush=True)
signal.pause()
"""


def lives(pid: int) -> bool:
    """Return whether a process runs: one that has ended may stay in the list for a while."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def orphan(printed: Path) -> int:
    """Return the id of a server whose starter was killed and could not clean up."""
    command = [sys.executable, "-c", ORPHANING, str(printed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lives(pid)
        parent.send_signal(signal.SIGKILL)
    return pid


async def test_an_orphan_ends(tmp_path: Path) -> None:
    """A server ends when the process that started it was killed and could not clean up."""
    pid = await asyncio.to_thread(orphan, tmp_path / "printed")
    assert await until(lambda: not lives(pid), 10)


async def test_children_are_killed_too(tmp_path: Path) -> None:
    """Killing a server leaves none of its children behind, even if they are paused."""
    script = "sleep 600 & echo $!; wait"
    printed = tmp_path / "printed"
    daemon = Daemon(Account("postgres"), ["sh", "-c", script], dict(os.environ), printed)
    daemon.start()
    assert await until(lambda: daemon.printed.endswith("\n"), 10)
    child = int(daemon.printed)
    daemon.signal(signal.SIGSTOP, everyone=True)
    assert lives(child)
    await daemon.kill()
    assert not daemon.runs
    assert not lives(child)


def test_a_failing_command_is_an_error() -> None:
    """A command that fails raises an error with what it printed."""
    with pytest.raises(ServerFailed, match=r"exit code 3: .*\nno luck"):
        Account("postgres").run(["sh", "-c", "echo no luck; exit 3"], dict(os.environ))


def test_a_folder_belongs_to_the_account() -> None:
    """The account may write into the folders it gets; a server never runs as root."""
    account = Account("postgres")
    folder = account.folder("test")
    try:
        account.run(["touch", str(folder / "file")], dict(os.environ))
        owner = (folder / "file").stat().st_uid
        assert owner == folder.stat().st_uid
        assert os.geteuid() != 0 or owner != 0
    finally:
        (folder / "file").unlink()
        folder.rmdir()
