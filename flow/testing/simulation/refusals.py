"""Nothing real inside a simulation: no thread, no socket, no other program, no real waiting.

The interpreter announces all of these as audit events. One hook listens; it can never be removed
again, and it says no only to threads that simulate, for as long as they do.

Before 3.13, Python announces neither new threads nor `time.sleep`. Threads are caught where all of
them begin, in `threading.Thread.start`, and `time.sleep` is replaced in its module. Whoever has
said `from time import sleep` before the first simulation wastes real time, and nothing else.
"""

import functools
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from flow.errors import SimulationRefused

__all__ = ["REFUSED", "refuse_the_real_world"]

_THREAD: Final = "_thread.start_new_thread"
_SLEEP: Final = "time.sleep"
_LATER: Final = "answers would come whenever they like; put a function of the test in its place"
_PROGRAM: Final = "another program would run whenever it likes; use a simulated process"

REFUSED: Final = {
    _THREAD: "it would run whenever it likes; use asyncio.to_thread, and run flows in a cluster",
    "os.exec": "it would end the simulation",
    "os.fork": _PROGRAM,
    "os.forkpty": _PROGRAM,
    "os.posix_spawn": _PROGRAM,
    "os.spawn": _PROGRAM,
    "os.system": _PROGRAM,
    "socket.bind": _LATER,
    "socket.connect": _LATER,
    "socket.getaddrinfo": _LATER,
    "socket.gethostbyaddr": _LATER,
    "socket.gethostbyname": _LATER,
    "socket.sendmsg": _LATER,
    "socket.sendto": _LATER,
    "subprocess.Popen": _PROGRAM,
    _SLEEP: "time is simulated here; await asyncio.sleep instead",
}
"""What is refused, by the name of its audit event, and why."""


class _Guard:
    """Knows which threads simulate."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self._is_listening = False

    def listen(self) -> None:
        """Hear of audit events from now on, until the interpreter ends."""
        if self._is_listening:
            return
        self._is_listening = True
        sys.addaudithook(self._hear)
        start = threading.Thread.start

        @functools.wraps(start)
        def start_elsewhere(thread: threading.Thread) -> None:
            self._hear(_THREAD, ())
            start(thread)

        setattr(threading.Thread, "start", start_elsewhere)  # noqa: B010 - it is no method for mypy
        self._catch_sleep()

    def _catch_sleep(self) -> None:
        if sys.version_info >= (3, 13):
            return
        sleep = time.sleep  # noqa: TID251 - nobody sleeps here

        @functools.wraps(sleep)
        def sleep_elsewhere(seconds: float) -> None:
            self._hear(_SLEEP, ())
            sleep(seconds)

        setattr(time, "sleep", sleep_elsewhere)  # noqa: B010 - a module's function is no variable

    def _hear(self, event: str, _: Any) -> None:
        if event in REFUSED and threading.get_ident() in self.threads:
            raise SimulationRefused(event, REFUSED[event])


_GUARD: Final = _Guard()


@contextmanager
def refuse_the_real_world() -> Generator[None]:
    """Have this thread start no thread, open no socket, run no program and not sleep.

    Raises:
        SimulationRefused: In the block, wherever something of the kind is tried.
    """
    _GUARD.listen()
    thread = threading.get_ident()
    if thread in _GUARD.threads:
        yield
        return
    _GUARD.threads.add(thread)
    try:
        yield
    finally:
        _GUARD.threads.discard(thread)
