"""`flow start`."""

import asyncio
import json
import threading
from pathlib import Path

import pytest

from flow.cli.loading import load, locate
from flow.cli.output import Output
from flow.cli.starting import StartOptions
from tests.flow.cli.console import SHOP, expect_golden, flow, transcript
from tests.flow.cli.processes import Process


async def test_waiting_prints_the_result(store: Path) -> None:
    """With --wait the result is printed; a failure is a report, an error and a code."""
    (store / "in.json").write_text('{"bad": true}')
    commands = [
        ("start", "checkout", "--input", '{"total": 9}', "--wait"),
        ("start", "checkout", "--input", '{"bad": true}', "--id", "order-8", "--wait"),
        ("start", "checkout", "--skip", "ship", "--input", "{}", "--wait"),
        (
            "start",
            "checkout",
            "--start-at",
            "charge",
            "--result",
            "reserve={}",
            "--input",
            "@in.json",
            "--wait",
        ),
        ("start", "notice", "--wait", "--json", "--id", "notice-1"),
    ]
    async with load(locate("shop.py:app")):
        ended = [await asyncio.to_thread(flow, *command) for command in commands]
    pairs = zip(ended, commands, strict=True)
    expect_golden("page-start", "".join(transcript(done, *typed) for done, typed in pairs))


async def test_waiting_is_not_silent(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody serves an endpoint, --wait says which, and ends when it is aborted."""
    told = threading.Event()
    note = Output.note

    def overheard(output: Output, text: str) -> None:
        note(output, text)
        told.set()

    monkeypatch.setattr(Output, "note", overheard)
    app = load(locate("shop.py:app"))

    async def abort() -> None:
        assert await asyncio.to_thread(told.wait, 20)
        await app.executions.abort("lost-1", "enough")

    async with app:
        arguments = ("start", "lost", "--id", "lost-1", "--wait")
        ended, _ = await asyncio.gather(asyncio.to_thread(flow, *arguments), abort())
    assert ended.code == 1
    assert "lost-1 waits: nobody serves nobody.there; run `flow worker FILE:APP`" in ended.err
    assert "error: execution 'lost-1' was aborted: enough" in ended.err


def test_options_become_those_of_a_program() -> None:
    """Every option is passed on under the name that programs know it by."""
    options = StartOptions(
        start_at=("b",),
        reverse=True,
        barrier=False,
        timeout=5,
        skip=("a",),
        optional=("c",),
        retry=("b=3",),
        fallback=("b=d",),
        output="b",
        result=("a=1",),
        results_from="order-1",
        header=("x=1",),
        label=("y=2",),
    )
    assert options.options() == {
        "headers": {"x": "1"},
        "labels": {"y": "2"},
        "start": ("b",),
        "results": {"a": 1},
        "results_from": "order-1",
        "reverse": True,
        "barrier": False,
        "timeout": 5,
        "skip": ("a",),
        "optional": ("c",),
        "max_attempts": {"b": 3},
        "fallback": {"b": "d"},
        "output": "b",
    }
    assert "barrier" not in StartOptions().options()


def test_a_start_without_a_process_waits_for_one(shop: Path) -> None:
    """A start is kept though nobody runs the flow, and says so."""
    ended = flow("start", "checkout", "--app", "shop.py:app", "--id", "order-1", "--json")
    assert json.loads(ended.out) == {"execution": "order-1"}
    assert "no process runs this flow" in json.loads(ended.err)["note"]
    assert json.loads(flow("show", "order-1", "--json").out)["status"] == "RUNNING"


@pytest.mark.system
def test_interrupting_leaves_the_execution(tmp_path: Path) -> None:
    """Ctrl-C ends the waiting and not the execution, which is told in one line."""
    (tmp_path / "shop.py").write_text(SHOP)
    arguments = ("start", "checkout", "--app", "shop.py:app", "--id", "order-1", "--wait")
    with Process(tmp_path, arguments) as process:
        process.expect("order-1 waits: nobody serves shop.reserve")
        process.interrupt()
        assert process.expect_end() == 130
    told = process.text.splitlines()[1:]
    assert told == ["execution order-1 goes on: flow show order-1", "error: interrupted"]
