"""Tests of `flow.testing.simulation.refusals`: nothing real happens in a simulation."""

from __future__ import annotations

import _thread
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from flow.errors import SimulationRefused
from flow.testing import simulate
from flow.testing.simulation import Simulation
from flow.testing.simulation.refusals import REFUSED, refuse_the_real_world


def with_socket(use: Callable[[socket.socket], object]) -> None:
    """Use a datagram socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        use(one)


DISCARD = ("127.0.0.1", 9)
TRUE = "/bin/true"
DEEDS: dict[str, Callable[[], object]] = {
    "_thread.start_new_thread": lambda: threading.Thread(target=int).start(),
    "os.exec": lambda: os.execv("/nowhere", ["nowhere"]),
    "os.fork": os.fork,
    "os.forkpty": os.forkpty,
    "os.posix_spawn": lambda: os.posix_spawn(TRUE, [TRUE], {}),
    "os.spawn": lambda: sys.audit("os.spawn", 0, TRUE, [], None),  # only Windows has it
    "os.system": lambda: os.system("true"),  # pyright: ignore[reportDeprecated]
    "socket.bind": lambda: with_socket(lambda one: one.bind(("127.0.0.1", 0))),
    "socket.connect": lambda: with_socket(lambda one: one.connect(DISCARD)),
    "socket.getaddrinfo": lambda: socket.getaddrinfo("127.0.0.1", 9),
    "socket.gethostbyaddr": lambda: socket.gethostbyaddr("127.0.0.1"),
    "socket.gethostbyname": lambda: socket.gethostbyname("127.0.0.1"),
    "socket.sendmsg": lambda: with_socket(lambda one: one.sendmsg([b""], [], 0, DISCARD)),
    "socket.sendto": lambda: with_socket(lambda one: one.sendto(b"", DISCARD)),
    "subprocess.Popen": lambda: subprocess.run([TRUE], check=True),
    "time.sleep": lambda: time.sleep(0),  # noqa: TID251 - it is refused
}


def test_every_refusal_is_tried() -> None:
    """The table of this file has a deed for each event that is refused."""
    assert DEEDS.keys() == REFUSED.keys()


@pytest.mark.parametrize("event", sorted(REFUSED))
def test_the_real_world_is_refused(event: str) -> None:
    """In a simulation the deed is refused, with the reason."""

    async def main(_: Simulation) -> None:
        DEEDS[event]()

    with pytest.raises(SimulationRefused) as refused:
        simulate(main)
    assert refused.value.what == event
    assert refused.value.reason == REFUSED[event]


def test_pools_of_threads_are_refused() -> None:
    """A thread pool cannot start its threads either."""
    with (
        ThreadPoolExecutor() as pool,
        refuse_the_real_world(),
        pytest.raises(SimulationRefused, match="thread"),
    ):
        pool.submit(int)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="it is not announced")
def test_bare_threads_are_refused() -> None:
    """Not even the lowest way to start a thread is left, where the interpreter announces it."""
    with refuse_the_real_world(), pytest.raises(SimulationRefused, match="thread"):
        _thread.start_new_thread(int, ())


def test_other_threads_do_as_they_like() -> None:
    """While one thread simulates another one may start threads, programs and sockets."""
    done: list[object] = []
    go_on, started = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert go_on.wait(10)
        inner = threading.Thread(target=done.append, args=("thread",))
        inner.start()
        inner.join(10)
        done.append(subprocess.run([TRUE], check=True).returncode)
        DEEDS["socket.bind"]()

    other = threading.Thread(target=work)
    other.start()
    assert started.wait(10)
    with refuse_the_real_world():
        go_on.set()
        other.join(10)
    assert done == ["thread", 0]


def test_afterwards_everything_is_allowed_again() -> None:
    """The thread that simulated can do everything again, after an error too."""
    with pytest.raises(ZeroDivisionError), refuse_the_real_world():
        raise ZeroDivisionError
    done: list[int] = []
    thread = threading.Thread(target=done.append, args=(1,))
    thread.start()
    thread.join(10)
    with_socket(lambda one: one.bind(("127.0.0.1", 0)))
    assert subprocess.run([TRUE], check=True).returncode == 0
    assert done == [1]


def test_an_inner_block_ends_nothing() -> None:
    """A block inside another one leaves the outer one as it was."""
    with refuse_the_real_world():
        with refuse_the_real_world():
            pass
        with pytest.raises(SimulationRefused):
            DEEDS["socket.getaddrinfo"]()


def test_two_threads_can_simulate() -> None:
    """When one of two threads ends its simulation, the other one is still refused."""
    left, entered = threading.Event(), threading.Event()
    refused: list[bool] = []

    def simulate_elsewhere() -> None:
        with refuse_the_real_world():
            entered.set()
            assert left.wait(10)
            with pytest.raises(SimulationRefused):
                DEEDS["socket.getaddrinfo"]()
            refused.append(True)

    other = threading.Thread(target=simulate_elsewhere)
    other.start()
    assert entered.wait(10)
    with refuse_the_real_world():
        pass
    left.set()
    other.join(10)
    assert refused == [True]
