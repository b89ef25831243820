"""`flow list`, `flow show` and `flow history`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flow.cli.loading import load, locate
from tests.flow.cli.console import expect_golden, flow, transcript

PAGES: list[tuple[str, tuple[str, ...]]] = [
    ("list", ("list",)),
    ("list-failures", ("list", "--status", "failed", "--workflow", "checkout")),
    ("list-label", ("list", "--label", "shop=north", "--limit", "1")),
    ("list-nothing", ("list", "--status", "running")),
    ("show-success", ("show", "order-1")),
    ("show-failure", ("show", "order-2")),
    ("show-sub-workflow", ("show", "order-3")),
    ("show-watch-ended", ("show", "order-1", "--watch")),
    ("history", ("history", "order-1")),
]


@pytest.mark.parametrize(("name", "arguments"), PAGES, ids=[name for name, _ in PAGES])
def test_pages(store: Path, name: str, arguments: tuple[str, ...]) -> None:
    """What is printed about executions is as in the golden file."""
    ended = flow(*arguments)
    assert ended.code == 0
    expect_golden(f"page-{name}", transcript(ended, *arguments))


def test_documents_for_programs(store: Path) -> None:
    """With --json the documents of the orchestrator are printed as they are."""
    rows = json.loads(flow("list", "--json").out)
    assert [row["id"] for row in rows] == ["order-3", "order-2", "order-1"]
    assert json.loads(flow("show", "order-1", "--json").out)["output"] == {"paid": 5}
    assert json.loads(flow("history", "order-1", "--json").out)[0]["seq"] == 1


def test_an_empty_store_has_no_executions(shop: Path) -> None:
    """A store in which nothing has run says so, beside an empty result."""

    async def enter() -> None:
        async with load(locate("shop.py:app")):
            pass

    asyncio.run(enter())
    ended = flow("list")
    assert (ended.code, ended.out, ended.err) == (0, "", "no executions yet\n")


async def test_a_running_flow_answers_itself(store: Path) -> None:
    """While a process has the store, it is asked, and knows what nobody serves."""
    app = load(locate("shop.py:app"))
    async with app:
        await app.defined["lost"].execute(id="lost-1")
        while "waiting_for" not in (await app.executions.get("lost-1").describe())["steps"][0]:
            continue
        ended = await asyncio.to_thread(flow, "show", "lost-1")
    assert ended.code == 0
    assert "waits: nobody serves nobody.there" in ended.out
    assert ended.err == ""


async def test_watching_prints_changes(store: Path) -> None:
    """Watched without a terminal, each change of a status is a line, and the end is the last."""
    app = load(locate("shop.py:app"))
    async with app:
        checkout: Any = app.defined["checkout"]
        await checkout.execute({"slow": 0.4}, id="order-4")
        ended = await asyncio.to_thread(flow, "show", "order-4", "--watch")
    words = [line.split()[1:3] for line in ended.out.splitlines()]
    assert ["charge", "SUCCESS"] in words
    assert ["order-4", "SUCCESS"] in words[-3:]


async def test_watching_on_a_terminal_draws(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watched on a terminal, the page is drawn again until the execution has ended."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    app = load(locate("shop.py:app"))
    async with app:
        checkout: Any = app.defined["checkout"]
        await checkout.execute({"slow": 0.4}, id="order-4")
        ended = await asyncio.to_thread(flow, "show", "order-4", "--watch")
    assert "\x1b[" in ended.out
    assert ended.out.count("order-4") > 1
    assert "paid" in ended.out


def test_what_nobody_runs_does_not_change(shop: Path) -> None:
    """An execution that nobody works on says so, and is not watched for ever."""
    started = flow("start", "checkout", "--app", "shop.py:app", "--id", "order-5")
    assert (started.code, started.out) == (0, "order-5\n")
    ended = flow("show", "order-5", "--watch")
    assert ended.code == 0
    expect_golden("page-show-not-running", transcript(ended, "show", "order-5", "--watch"))
