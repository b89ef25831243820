"""Several processes of one program, with small programs in their place."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from flow.cli import crew as module
from flow.cli.crew import Crew, _pause
from flow.cli.health import HealthOptions
from flow.cli.web import Answer, WebServer
from flow.runtime.tasks import TaskGroup
from tests.flow.cli.overheard import Overheard

NO_PROBES = HealthOptions()


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of the program that is run instead of Python."""
    file = tmp_path / "child.sh"
    file.touch(mode=0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(file))
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    return file


def write(child: Path, text: str) -> None:
    """Let the program be a shell script."""
    child.write_text(text)


def is_trapping(child: Path) -> bool:
    """Return whether the program has said that it is ready for signals."""
    return bool(list(child.parent.glob("ready.*")))


def told(child: Path) -> str:
    """Return what the program was started with, once it has said so."""
    file = child.parent / "told"
    return file.read_text().strip() if file.exists() else ""


async def until(probe: Callable[[], object]) -> None:
    """Return when a probe returns what is true."""
    async with asyncio.timeout(20):
        while not probe():
            await checkpoint()


@asynccontextmanager
async def expect_running(size: int, code: int = 0) -> AsyncGenerator[tuple[Crew, Overheard]]:
    """Run a crew until the block ends, and compare its exit code."""
    output = Overheard()
    crew = Crew(["worker", "shop.py:app"], size, NO_PROBES, output)
    codes: list[int] = []

    async def run() -> None:
        codes.append(await crew.run())

    async with TaskGroup() as tasks:
        task = tasks.start(run(), "crew")
        await until(lambda: all(member.child for member in crew._members) or task.done())
        yield crew, output
        crew._stop(signal.SIGTERM)
        await asyncio.wait([task])
    assert codes == [code]


def is_alive(pid: int) -> bool:
    """Return whether there is a process with this id."""
    return Path(f"/proc/{pid}").exists()


async def test_all_end_together(child: Path) -> None:
    """Every place is filled, and at the end no process is left."""
    write(child, "#!/bin/sh\nexec sleep 100\n")
    async with expect_running(3) as (crew, _):
        pids = [member.child.pid for member in crew._members if member.child is not None]
        assert len(set(pids)) == 3
    assert not any(map(is_alive, pids))


async def test_one_that_dies_is_started_again(child: Path) -> None:
    """A process that is killed is replaced, and the others are left alone."""
    write(child, "#!/bin/sh\nexec sleep 100\n")
    async with expect_running(2) as (crew, output):
        first, second = (member.child for member in crew._members)
        assert first is not None
        first.send_signal(signal.SIGKILL)
        said = await output.expect("process 1 has ended with signal 9; starting it again in")
        assert said.endswith("0.0 s")
        await until(lambda: crew._members[0].child not in (None, first))
        assert crew._members[1].child is second
        assert crew._members[0].deaths == 1


async def test_what_cannot_run_is_not_tried_for_ever(child: Path) -> None:
    """A process that says that it was started wrongly ends them all, with its code."""
    write(child, "#!/bin/sh\nexit 2\n")
    async with expect_running(2, code=2) as (crew, _):
        await crew._stopping.wait()


async def test_the_time_to_end_is_limited(child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not end after SIGTERM is killed in the end, which is told and is a failure."""
    monkeypatch.setattr(module, "DRAIN_S", 0.1)
    write(child, "#!/bin/sh\ntrap '' TERM\n: > ready.$$\nexec sleep 100\n")
    async with expect_running(1, code=1) as (crew, output):
        await until(lambda: is_trapping(child))
        crew._stop(signal.SIGTERM)
        await output.expect("processes that did not end within 0.1 s: 1")


async def test_a_second_interruption_kills(child: Path) -> None:
    """Ctrl-C for the second time waits no longer."""
    write(child, "#!/bin/sh\ntrap '' TERM INT\n: > ready.$$\nexec sleep 100\n")
    async with expect_running(1, code=130) as (crew, _):
        await until(lambda: is_trapping(child))
        crew._stop(signal.SIGINT)
        crew._stop(signal.SIGINT)


async def test_children_are_told_their_part(child: Path) -> None:
    """Each child gets the command, its number, the pipe, and a port of its own."""
    write(child, '#!/bin/sh\necho "$@" > "told.tmp" && mv told.tmp told\nexec sleep 100\n')
    async with expect_running(1) as (crew, _):
        await until(lambda: told(child))
        lifeline = crew._lifeline
    words = f"-P -m flow worker shop.py:app --lifeline {lifeline} --number 1"
    assert told(child) == words
    options = HealthOptions(health_port=8000, health_host="0.0.0.0")
    assert options.for_child(2) == ["--health-port", "8002", "--health-host", "127.0.0.1"]


def test_pauses_grow() -> None:
    """The pause doubles with each death up to a limit, and chance spreads it."""
    assert [_pause(deaths, 1.0) for deaths in (1, 2, 3, 50)] == [0.5, 1.0, 2.0, 30.0]
    assert _pause(1, 0.0) == 0.25


# ------------------------------------------------------------------------------------ probes


class _Child:
    pid = 42


async def _told(crew: Crew) -> list[Answer]:
    return [await crew._live(), await crew._ready(), await crew._tell_all()]


async def test_the_health_of_all_is_that_of_each() -> None:
    """All are ready once each is; one that does not answer any more is not alive."""
    status = HTTPStatus.OK
    document: dict[str, Any] = {"ready": True, "trouble": []}

    async def route() -> Answer:
        return Answer(status, document)

    async with WebServer("127.0.0.1", 0, {"/health": route}) as server:
        crew = Crew([], 1, HealthOptions(health_port=server.port - 1), Overheard())
        away = [answer.status for answer in await _told(crew)]
        assert away == [200, 503, 503]
        child: Any = _Child()
        crew._members[0].child = child
        found = await _told(crew)
        assert [answer.status for answer in found] == [200, 200, 200]
        assert found[2].document["processes"] == [{"process": 1, **document}]
        status, document = HTTPStatus.SERVICE_UNAVAILABLE, {"ready": False, "trouble": ["x"]}
        assert [answer.status for answer in await _told(crew)] == [200, 503, 503]
    hung = await _told(crew)
    assert [answer.status for answer in hung] == [503, 503, 503]
    assert hung[0].document["trouble"] == ["process 1 does not answer"]
