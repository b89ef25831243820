"""The zygote: a process that has imported everything, and forks the processes of a chaos run.

A process that starts from nothing spends a second of a processor on imports; a fork spends
milliseconds. The zygote is told what to do in lines of JSON on its standard input, and tells in
lines of JSON on its standard output:

    {"start": number, "role", "arguments", "environment", "output"}  ->  {"started": number, "pid"}
    {"signal": pid, "number"}                                           nothing
                                                                     ->  {"ended": pid, "code"}

It is the parent of all of them, so that an id that it signals cannot belong to anybody else yet.
When its standard input ends, it ends all of them and itself. If it is killed, they die with it.
"""

import asyncio
import ctypes
import gc
import json
import logging
import os
import selectors
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, Final

# Imported for the children: what they would import one by one when they begin.
import brokers.rabbitmq
import store.postgres
from tests.system.chaos import programs

__all__ = ["Zygote"]

IMPORTED: Final = (brokers.rabbitmq, store.postgres)
SET_DEATH_SIGNAL: Final = 1
CHUNK: Final = 65_536
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def _tell(message: Mapping[str, Any]) -> None:
    os.write(1, f"{json.dumps(message)}\n".encode())


def _note_signal(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor tells that the signal came."""


class Zygote:
    """Forks, signals and reaps."""

    def __init__(self) -> None:
        self._children: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffer = b""

    def run(self) -> None:
        """Do as told until the standard input ends."""
        signal.signal(signal.SIGCHLD, _note_signal)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        self._selector.register(0, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        gc.collect()
        gc.freeze()
        _tell({"ready": os.getpid()})
        while self._turn():
            pass
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)

    def _turn(self) -> bool:
        for key, _ in self._selector.select():
            if key.fd == self._wake:
                os.read(self._wake, CHUNK)
                self._reap()
            elif not self._read():
                return False
        return True

    def _read(self) -> bool:
        data = os.read(0, CHUNK)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, order: dict[str, Any]) -> None:
        if "start" in order:
            pid = self._fork(order)
            self._children.add(pid)
            _tell({"started": order["start"], "pid": pid})
        elif order["signal"] in self._children:
            os.kill(order["signal"], order["number"])

    def _reap(self) -> None:
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._children.discard(pid)
                _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})

    def _fork(self, order: dict[str, Any]) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        with suppress(BaseException):
            self._leave_home(order)
            code = _play(order)
        os._exit(code)

    def _leave_home(self, order: dict[str, Any]) -> None:
        """Become a process of its own, with its own output and its own environment."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, int(signal.SIGKILL))
        self._selector.close()
        os.close(self._wake)
        os.close(self._woken)
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(old, new)
        os.environ.update(order["environment"])


def _play(order: dict[str, Any]) -> int:
    """Play a role to its end; return the exit code."""
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    logging.basicConfig(level=logging.INFO, format=FORMAT, stream=sys.stderr)
    for noisy in ("aiormq", "aio_pika", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        asyncio.run(programs.main(order["role"], *order["arguments"]))
    except Exception:
        logging.getLogger("tests.system").exception("it ends by itself")
        return 1
    return 0


if __name__ == "__main__":
    Zygote().run()
