"""The lock on the side file."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from flow.errors import StoreLocked, StoreUnavailable
from store.sqlite.lock import FileLock, Holder, holder, is_locked, side_file


def test_lock_is_held_until_released(tmp_path: Path) -> None:
    """One lock at a time, which names its owner; releasing it twice does no harm."""
    path = tmp_path / "flow.db"
    first, second = FileLock(path), FileLock(path)
    first.acquire()
    assert is_locked(path)
    assert holder(path) == Holder(os.getpid(), os.uname().nodename)
    with pytest.raises(StoreLocked, match=f"process {os.getpid()} on ") as caught:
        second.acquire()
    assert caught.value.path == str(path)
    first.release()
    first.release()
    assert not is_locked(path)
    second.acquire()
    second.release()


def test_side_file_stays_and_is_private(tmp_path: Path) -> None:
    """The side file is for its owner only, and stays, empty, when the lock is released."""
    path = tmp_path / "flow.db"
    held = FileLock(path)
    held.acquire()
    held.release()
    assert side_file(path) == path.with_name("flow.db.lock")
    assert side_file(path).stat().st_mode & 0o777 == 0o600
    assert side_file(path).read_bytes() == b""


def test_looking_makes_no_file(tmp_path: Path) -> None:
    """Asking about a database that does not exist leaves nothing behind."""
    assert not is_locked(tmp_path / "folder" / "flow.db")
    assert not is_locked(tmp_path / "flow.db")
    assert list(tmp_path.iterdir()) == []


def test_links_are_followed(tmp_path: Path) -> None:
    """A database is locked under all its names."""
    (tmp_path / "real.db").touch()
    (tmp_path / "link.db").symlink_to("real.db")
    held = FileLock(tmp_path / "real.db")
    held.acquire()
    assert is_locked(tmp_path / "link.db")
    with pytest.raises(StoreLocked):
        FileLock(tmp_path / "link.db").acquire()
    held.release()


def test_stale_note_is_no_lock(tmp_path: Path) -> None:
    """What a killed process left in the side file keeps nobody out."""
    path = tmp_path / "flow.db"
    side_file(path).write_text("123 elsewhere and much longer than what replaces it\n")
    assert not is_locked(path)
    held = FileLock(path)
    held.acquire()
    assert holder(path) == Holder(os.getpid(), os.uname().nodename)
    held.release()


@pytest.mark.parametrize("note", ["", "gibberish", "x y", "\x00"])
def test_owner_may_be_unknown(tmp_path: Path, note: str) -> None:
    """A side file that says nothing sensible is locked by another process all the same."""
    path = tmp_path / "flow.db"
    side_file(path).write_text(note)
    with side_file(path).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holder(path) == Holder(0, "")
        with pytest.raises(StoreLocked, match="in use by another process"):
            FileLock(path).acquire()


class _Pause:
    """Stands for the waiting of an owner: something may happen meanwhile."""

    def __init__(self, happens: list[int]) -> None:
        self._happens = happens

    def wait(self, seconds: float) -> None:
        """Unlock the files that are given."""
        while self._happens:
            fcntl.flock(self._happens.pop(), fcntl.LOCK_UN)


def test_owner_waits_for_who_only_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that looks whether the lock is held does not keep an owner out."""
    path = tmp_path / "flow.db"
    with side_file(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        monkeypatch.setattr(threading, "Event", lambda: _Pause([file.fileno()]))
        held = FileLock(path)
        held.acquire()
        assert is_locked(path)
        held.release()


def test_owner_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone who looks for too long is an error in the end."""
    path = tmp_path / "flow.db"
    with side_file(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        monkeypatch.setattr(threading, "Event", lambda: _Pause([]))
        with pytest.raises(StoreLocked):
            FileLock(path).acquire()


def test_unusable_side_file_is_reported(tmp_path: Path) -> None:
    """A side file that cannot be opened is an error that names it."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "flow.db"
    with pytest.raises(StoreUnavailable, match=r"flow\.db\.lock: Not a directory"):
        FileLock(path).acquire()
    with pytest.raises(StoreUnavailable, match=r"flow\.db\.lock: Not a directory"):
        is_locked(path)


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def test_refused_lock_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot lock is an error, and no file stays open."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = open_files()
    with pytest.raises(StoreUnavailable, match="Operation not supported"):
        FileLock(tmp_path / "flow.db").acquire()
    assert open_files() == before
