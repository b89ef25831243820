"""Who has the database: an exclusive flock on a side file.

SQLite would let several processes write, but versions that are still in use can damage a file when
two connections write and checkpoint. So one process has it all, and others have to ask that one.

The side file is never removed, because removing a locked file lets two processes lock two files of
the same name. What stands in it is for messages only; the lock is what counts.
"""

import fcntl
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flow.errors import StoreLocked, StoreUnavailable

_SUFFIX = ".lock"
_HINT = "stop it first, or send the request to it"

# Someone who only looks holds the lock for some microseconds; an owner waits for that to pass.
_PROBE_PAUSE_S = 0.005
_PROBE_TRIES = 100


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a database.

    Args:
        pid: Its process id, or 0 if it has not said so yet.
        host: The name of its machine.
    """

    pid: int
    host: str

    def __str__(self) -> str:
        """Name the process for a message."""
        return f"process {self.pid} on {self.host}" if self.pid else "another process"


class FileLock:
    """The right to be the only process that opens a database for writing.

    Args:
        path: The database. Links are followed, so that two names of a file mean one lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            StoreLocked: Another process, or another store of this one, has it.
            StoreUnavailable: The side file cannot be opened or locked.
        """
        try:
            descriptor = os.open(side_file(self._path), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unavailable(self._path, error) from error
        try:
            _lock(descriptor, self._path)
            _write_holder(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise _unavailable(self._path, error) from error
        except StoreLocked:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # Closing gives the lock back. A note that stays on a broken disk misleads nobody.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def side_file(path: Path) -> Path:
    """Return the file that is locked for a database.

    Args:
        path: The database.
    """
    real = path.resolve()
    return real.with_name(real.name + _SUFFIX)


def holder(path: Path) -> Holder | None:
    """Return who has a database, or None while nobody has it.

    Args:
        path: The database. It need not exist.

    Raises:
        StoreUnavailable: The side file is there and cannot be opened.
    """
    try:
        descriptor = os.open(side_file(path), os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unavailable(path, error) from error
    try:
        return None if _is_shareable(descriptor) else _read_holder(descriptor)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process has a database.

    Args:
        path: The database. It need not exist.

    Raises:
        StoreUnavailable: The side file is there and cannot be opened.
    """
    return holder(path) is not None


def _lock(descriptor: int, path: Path) -> None:
    pause = threading.Event()
    for _ in range(_PROBE_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _is_shareable(descriptor):
                break
            pause.wait(_PROBE_PAUSE_S)
        else:
            return
    raise StoreLocked(str(path), str(_read_holder(descriptor)), _HINT)


def _is_shareable(descriptor: int) -> bool:
    """Return whether no owner holds the lock, others who look notwithstanding."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _write_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def _read_holder(descriptor: int) -> Holder:
    pid, _, host = os.pread(descriptor, 1024, 0).decode(errors="replace").strip().partition(" ")
    return Holder(int(pid), host) if pid.isdecimal() else Holder(0, "")


def _unavailable(path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"sqlite:///{path}", f"{side_file(path)}: {error.strerror}")
