"""Tests of `worker.stepping`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.stepping import run_apart, run_until_waiting
from tests.flow.runtime.clocks import settle


class Noted:
    """Notes in which order things happen."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def run(self, body: Awaitable[Any]) -> Any:
        """Run a body, and note when it waits."""
        return await run_until_waiting(body, lambda: self.lines.append("waits"))

    async def sleeper(self, result: int) -> int:
        """Wait twice, and note what happens."""
        self.lines.append("begins")
        for _ in range(2):
            await asyncio.sleep(0)
            self.lines.append("goes on")
        return result


async def test_a_body_that_never_waits_tells_nothing() -> None:
    """What ends at once, well or badly, has not waited."""
    noted = Noted()

    async def good() -> int:
        return 5

    async def bad() -> int:
        raise ValueError("no")

    assert await noted.run(good()) == 5
    with pytest.raises(ValueError, match="no"):
        await noted.run(bad())
    assert noted.lines == []


async def test_the_first_wait_is_told_once() -> None:
    """It is told after the body has begun, before it goes on, and never again."""
    noted = Noted()
    assert await noted.run(noted.sleeper(5)) == 5
    assert noted.lines == ["begins", "waits", "goes on", "goes on"]


async def test_what_is_no_coroutine_tells_at_once() -> None:
    """Of a future nobody knows whether it waits, so it counts as if it did."""
    noted = Noted()
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(5)
    assert (await noted.run(future), noted.lines) == (5, ["waits"])


async def test_a_cancellation_reaches_the_body() -> None:
    """Wherever it waits it is cancelled; it may clean up, and it may even return."""
    noted = Noted()

    async def stubborn() -> int:
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                noted.lines.append("cancelled")
                await asyncio.sleep(0)
        return 7

    async def note() -> None:
        noted.lines.append(str(await noted.run(stubborn())))

    async with TaskGroup() as group:
        task = group.start(note(), "note")
        for _ in range(2):
            await settle()
            task.cancel()
        await settle()
        assert noted.lines == ["waits", "cancelled", "cancelled", "7"]


@pytest.mark.parametrize("result", ["", "3"])
async def test_an_error_at_the_first_wait_is_the_body_s(result: str) -> None:
    """What is thrown in while it waits for the first time may end it at once."""
    noted = Noted()

    async def body() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not result:
                raise
        return result

    async def note() -> None:
        noted.lines.append(await noted.run(body()))

    async with TaskGroup() as group:
        task = group.start(note(), "note")
        await settle()
        task.cancel()
        await settle()
        assert noted.lines == (["waits", result] if result else ["waits"])
        assert task.cancelled() is not bool(result)


async def test_cancel_scopes_inside_of_the_body_work() -> None:
    """Scopes of anyio and timeouts of asyncio see the task that they expect."""
    noted = Noted()

    async def body(wait: Callable[[], Awaitable[object]]) -> str:
        with anyio.move_on_after(0) as scope:
            await wait()
        return "cut" if scope.cancelled_caught else "whole"

    assert await noted.run(body(asyncio.Event().wait)) == "cut"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await noted.run(asyncio.Event().wait())


def test_a_body_that_is_abandoned_is_closed() -> None:
    """Closing what runs the body closes the body, so that its finally clauses run."""
    noted = Noted()

    async def body() -> None:
        try:
            await asyncio.Future(loop=loop)
        finally:
            noted.lines.append("closed")

    loop = asyncio.new_event_loop()
    running = noted.run(body())
    running.send(None)
    running.close()
    loop.close()
    assert noted.lines == ["waits", "closed"]


class Apart:
    """A body that is run apart, and what it does."""

    def __init__(self, waits: int, end: BaseException | None = None) -> None:
        self.lines: list[str] = []
        self._waits = waits
        self._end = end

    async def body(self) -> None:
        """Wait so often, and end."""
        try:
            for _ in range(self._waits):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.lines.append("cancelled")
            raise
        except GeneratorExit:
            self.lines.append("closed")
            raise
        if self._end is not None:
            raise self._end
        self.lines.append("ends")

    async def run(self) -> bool:
        """Run it."""
        return await run_apart(self.body(), lambda: self.lines.append("waits"))


@pytest.mark.parametrize("waits", [0, 1, 3])
async def test_who_runs_apart_says_whether_it_has_waited(waits: int) -> None:
    """It is told once that the body waits, and in the end whether it has."""
    apart = Apart(waits)
    assert await apart.run() is bool(waits)
    assert apart.lines == [*["waits"][:waits], "ends"]


@pytest.mark.parametrize("waits", [0, 2])
async def test_what_is_raised_apart_is_raised(waits: int) -> None:
    """An error of the body leaves it, whether it has waited or not."""
    with pytest.raises(ValueError, match="bad"):
        await Apart(waits, ValueError("bad")).run()


async def test_who_runs_apart_can_be_cancelled_and_closed() -> None:
    """A cancellation reaches the body, and so does the end of whoever runs it."""
    apart = Apart(9)
    async with TaskGroup() as group:
        task = group.start(_forget(apart.run()), "apart")
        await asyncio.sleep(0)
        task.cancel()
    assert apart.lines == ["waits", "cancelled"]
    closed = Apart(9)
    running = closed.run()
    running.send(None)
    running.close()
    assert closed.lines == ["waits", "closed"]


async def _forget(body: Awaitable[object]) -> None:
    await body
