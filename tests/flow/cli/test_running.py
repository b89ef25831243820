"""`flow serve`, `flow worker` and `flow orchestrator`, as real processes."""

import os
import queue
import signal
from pathlib import Path

import pytest

from flow.cli import running
from flow.cli.options import Place
from flow.cli.running import place_words
from tests.flow.cli.console import SHOP, flow
from tests.flow.cli.processes import Process, ended


def test_an_orchestrator_needs_a_store(shop: Path) -> None:
    """A program with a broker of its own and no store has nothing to orchestrate."""
    text = 'from flow import Flow\napp = Flow("shop", broker="unix:///a.sock")\n'
    (shop / "remote.py").write_text(text)
    done = flow("orchestrator", "remote.py:app")
    assert (done.code, "an orchestrator needs one" in done.err) == (2, True)


def test_options_are_passed_on() -> None:
    """A child is started with the options that its parent was started with."""
    place = Place(name="shop", store="sqlite:///a.db", json=True, debug=True)
    passed = ["--name", "shop", "--store", "sqlite:///a.db", "--json", "--debug"]
    assert place_words(place) == passed
    assert place_words(None) == []


def test_the_end_of_the_pipe_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the other end of the pipe is closed, the process ends without further ado."""
    codes: queue.SimpleQueue[int] = queue.SimpleQueue()
    monkeypatch.setattr("os._exit", codes.put)
    ours, theirs = os.pipe()
    os.set_inheritable(ours, True)
    running._follow(ours)
    assert not os.get_inheritable(ours)
    assert codes.empty()
    os.close(theirs)
    assert codes.get(timeout=20) == 130
    os.close(ours)


@pytest.mark.system
def test_signals_drain_a_program(tmp_path: Path) -> None:
    """SIGTERM and Ctrl-C let a program end by itself, with one line and code 0."""
    (tmp_path / "shop.py").write_text(SHOP)
    for number in (signal.SIGTERM, signal.SIGINT):
        with Process(tmp_path, ["serve", "shop.py:app"]) as process:
            process.expect("ready; Ctrl-C stops")
            process.send(number)
            assert process.expect_end() == 0
        assert process.text.splitlines()[-2:] == ["ready; Ctrl-C stops", "stopped"]


@pytest.mark.system
def test_a_broken_program_ends_with_one_line(tmp_path: Path) -> None:
    """A program that cannot be imported is one line with its place, and code 1."""
    (tmp_path / "bad.py").write_text("import nowhere_at_all\n")
    code, text = ended(tmp_path, "serve", "bad.py:app")
    assert code == 1
    problem = "ModuleNotFoundError: No module named 'nowhere_at_all'"
    assert text == f"error: cannot load bad.py:app: bad.py:1: {problem}\n"
