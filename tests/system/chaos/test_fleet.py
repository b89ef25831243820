"""Processes of a chaos run are real ones: they can be killed, stopped, and end by themselves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.system.chaos.fleet import Fleet, Place, Servers

pytestmark = [pytest.mark.system]

POLL_S = 0.02
DEADLINE_S = 60.0


async def until(look: Callable[[], object]) -> None:
    """Wait until something is so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DEADLINE_S
    while not look():
        assert loop.time() < end
        await asyncio.sleep(POLL_S)


def state(pid: int) -> str:
    """Return the state of a process as the kernel has it, or an empty string if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@asynccontextmanager
async def a_fleet(folder: Path, *, is_there: bool) -> AsyncGenerator[tuple[Fleet, Place]]:
    """Run a fleet of one worker; its servers are not there, or take connections and say nothing."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if is_there:
            nobody.listen()
        port = nobody.getsockname()[1]
        servers = Servers(f"amqp://127.0.0.1:{port}/", f"postgresql://127.0.0.1:{port}/d")
        async with Fleet(folder, servers, {"worker": 1}) as fleet:
            yield fleet, fleet.places["worker-0"]


async def test_processes_are_killed_and_stopped(tmp_path: Path) -> None:
    """A process stands still and goes on as it is told, and is gone when it was killed."""
    async with a_fleet(tmp_path, is_there=True) as (fleet, place):
        await fleet.start(place)
        pid = place.pid
        assert fleet.pause(place) == pid
        await until(lambda: state(pid) == "T")
        fleet.go_on(place, pid)
        await until(lambda: state(pid) in {"R", "S"})
        assert fleet.kill(place) == pid
        await until(lambda: not state(pid))
        await fleet.start(place)
        other = place.pid
        assert (place.generation, state(other) != "") == (2, True)
    assert not state(other)
    assert (fleet.ends.crashes, fleet.ends.gave_up) == ([], 0)


async def test_who_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    """A process that finds no broker ends, is counted, and is followed by another one."""
    async with a_fleet(tmp_path, is_there=False) as (fleet, place):
        await fleet.start(place)
        await until(lambda: place.generation > 1 and place.pid)
        assert fleet.ends.gave_up > 0
        assert fleet.ends.crashes == []
        printed = (tmp_path / "output" / "worker-0-001.txt").read_text()
        assert "BrokerUnavailable" in printed


async def test_a_process_that_took_part_and_ends_has_crashed(tmp_path: Path) -> None:
    """The end of a process that had said that it takes part is a crash, unless it was killed."""
    async with a_fleet(tmp_path, is_there=True) as (fleet, place):
        await fleet.start(place)
        pid = place.pid
        output = tmp_path / "output" / "worker-0-001.txt"
        await until(output.exists)
        with output.open("a") as file:
            file.write("ready\n")
        fleet._note_end(pid, 3)
        place.is_wanted = False
        assert [crash.partition(" ended")[0] for crash in fleet.ends.crashes] == [
            f"worker-0-001 (process {pid})"
        ]
