"""The reader: the same answers as an orchestrator's, from the file alone."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flow import Flow
from flow.clock import SystemClock
from flow.errors import (
    ConfigurationError,
    CorruptRecord,
    FlowError,
    NotPossible,
    StoreUnavailable,
    UnknownExecution,
    UnknownStep,
    UnknownWorkflow,
)
from flow.runtime.orchestrator.reader import Reader
from store.sqlite import SqliteStore

CLOCK = SystemClock()

QUESTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("namespace", {}, ""),
    ("list", {"limit": 5, "labels": {"kind": "small"}}, ""),
    ("list", {"statuses": ["FAILURE"]}, ""),
    ("show", {}, "sum-1"),
    ("report", {}, "sum-1"),
    ("step", {"step": "double"}, "sum-1"),
    ("watch", {"after": 0}, "sum-1"),
    ("history", {}, "sum-1"),
    ("history", {"after": 1, "limit": 1}, "sum-1"),
    ("history", {"after": 99}, "sum-1"),
    ("workflow.list", {}, ""),
    ("workflow.load", {"workflow": "sum"}, ""),
]


def reader(path: Path, name: str = "shop") -> Reader:
    """Return a reader of a file."""
    return Reader(SqliteStore(path, CLOCK.now_ms, read_only=True), CLOCK, name)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Flow]:
    """Return a flow in which an execution has ended; it runs."""
    flow = Flow("shop", broker="memory://", store=f"sqlite:///{tmp_path}/shop.db")

    @flow.step
    async def double(number: int) -> int:
        return number * 2

    flow.workflow("sum", double, output=double)
    async with flow:
        assert await flow.defined["sum"].run(4, id="sum-1", labels={"kind": "small"}) == 8
        yield flow


async def test_it_answers_like_an_orchestrator(app: Flow, tmp_path: Path) -> None:
    """Every verb that changes nothing has the answer that a running process gives."""
    told = [await app.client.ask(*question) for question in QUESTIONS]
    await app.__aexit__(None, None, None)
    reading = reader(tmp_path / "shop.db")
    await reading.open()
    try:
        assert [await reading.ask(*question) for question in QUESTIONS] == told
    finally:
        await reading.close()


@pytest.mark.parametrize(
    ("verb", "arguments", "execution", "error"),
    [
        ("show", {}, "sum-9", UnknownExecution),
        ("history", {}, "sum-9", UnknownExecution),
        ("step", {"step": "duble"}, "sum-1", UnknownStep),
        ("workflow.load", {"workflow": "sun"}, "", UnknownWorkflow),
        ("suspend", {}, "sum-1", NotPossible),
        ("result", {}, "sum-1", NotPossible),
    ],
)
async def test_it_refuses_like_an_orchestrator(
    app: Flow,
    tmp_path: Path,
    verb: str,
    arguments: dict[str, Any],
    execution: str,
    error: type[FlowError],
) -> None:
    """What is not there is not found, and nothing can be changed."""
    reading = reader(tmp_path / "shop.db")
    await reading.open()
    try:
        with pytest.raises(error):
            await reading.ask(verb, arguments, execution)
    finally:
        await reading.close()


async def test_it_needs_the_right_file(app: Flow, tmp_path: Path) -> None:
    """A file that is not there, or of another namespace, cannot be read."""
    wrong = [(tmp_path / "no.db", "shop"), (tmp_path / "shop.db", "orders")]
    for (path, name), error in zip(wrong, (StoreUnavailable, ConfigurationError), strict=True):
        reading = reader(path, name)
        with pytest.raises(error):
            await reading.open()
        await reading.close()


async def test_a_record_that_cannot_be_used_is_named(app: Flow, tmp_path: Path) -> None:
    """An execution whose definition is gone is an error that names the execution."""
    await app.__aexit__(None, None, None)
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("UPDATE execution SET definition = 'gone'")
    connection.close()
    reading = reader(tmp_path / "shop.db")
    await reading.open()
    try:
        with pytest.raises(CorruptRecord, match="execution 'sum-1'"):
            await reading.ask("show", {}, "sum-1")
    finally:
        await reading.close()
