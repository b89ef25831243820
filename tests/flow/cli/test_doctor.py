"""`flow doctor`."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from flow.cli.doctor import Section, page
from flow.cli.loading import load, locate
from flow.ports import Finding, Level
from tests.flow.cli.console import Ended, expect_golden, flow, transcript


def plain(ended: Ended, *arguments: str) -> str:
    """Return a transcript without what differs between machines."""
    text = transcript(ended, *arguments).replace(str(Path(sys.executable)), "PYTHON")
    text = re.sub(r"\b\d+\.\d+(\.\d+)?\b", "VERSION", text)
    text = re.sub(r".*WAL-reset bug.*\n", "", text)
    return re.sub(r"(open files +)[\d,]+", r"\1MANY", text)


def test_findings_are_a_page() -> None:
    """Each finding is a line with what to do below it, and the last line counts them."""
    fine = Finding(Level.FINE, "version", "3.10.8")
    warning = Finding(Level.WARNING, "clock", "2 s ahead", "synchronise the clocks")
    problem = Finding(Level.PROBLEM, "permissions", "it may not\ndeclare", "grant configure")
    pages = [
        page([Section("broker amqp://mq", [fine, warning]), Section("store none", [problem])]),
        page([Section("broker amqp://mq", [fine])]),
    ]
    expect_golden("page-doctor", "".join(f"{line}\n" for lines in pages for line in lines))


def test_a_folder_without_a_flow(shop: Path) -> None:
    """Without a flow the machine is looked at, and what is missing is said."""
    ended = flow("doctor")
    assert ended.code == 1
    expect_golden("page-doctor-nothing", plain(ended, "doctor"))


def test_an_embedded_flow_that_nobody_runs(store: Path) -> None:
    """A file that nobody uses is looked at, and how to run the flow is said."""
    (store / ".flow" / "shop.db").chmod(0o600)
    ended = flow("doctor")
    assert ended.code == 0
    expect_golden("page-doctor-embedded", plain(ended, "doctor"))


async def test_a_flow_that_runs(store: Path) -> None:
    """A process that runs the flow answers, and is named as the one that has the file."""
    async with load(locate("shop.py:app")):
        ended = await asyncio.to_thread(flow, "doctor", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["problems"]) == (0, 0)
    found = {(each["section"], each["subject"]): each for each in told["findings"]}
    answers = found["flow shop", "orchestrator"]
    assert (answers["level"], "8 partitions" in answers["detail"]) == ("fine", True)
    user = found["store sqlite:///.flow/shop.db", "used by"]
    assert f"process {os.getpid()}" in user["detail"]


@pytest.mark.parametrize("name", ["flow.toml", "shop.db"])
def test_what_is_broken_is_a_finding(store: Path, name: str) -> None:
    """A broken flow.toml and a broken store are findings, not tracebacks."""
    file = store / name if name == "flow.toml" else store / ".flow" / name
    file.write_bytes(b"nonsense = = =" * 1000)
    ended = flow("doctor")
    assert ended.code == 1
    assert ended.err == ""
    assert name in ended.out
    assert "problem" in ended.out


def test_a_broker_that_is_down(shop: Path) -> None:
    """With everything down, each thing that is down is named, without secrets, and with a code."""
    down = ("--broker", "amqp://user:secret@127.0.0.1:1", "--name", "shop")
    ended = flow("doctor", *down, "--store", "postgresql://user:secret@127.0.0.1:1/shop")
    assert ended.code == 1
    assert ended.err == ""
    assert "secret" not in ended.out
    lines = [line.split() for line in ended.out.splitlines()]
    subjects = [words[1] for words in lines if words[:1] == ["problem"]]
    assert subjects == ["reachable", "reachable", "orchestrator"]
