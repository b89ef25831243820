"""Processes that are started and told, and what their families use."""

import os
import sys

import pytest

from benchmarks.processes import Child, Children, Meter, ProcessFailed, cpu_seconds, family_of

ECHO = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print(line, flush=True)"
BUSY = """
import subprocess, sys, time
def burn():
    while time.process_time() < 0.2: pass
if sys.argv[1:]:
    burn()
else:
    subprocess.run([sys.executable, __file__, "again"], check=True)
    print('{"burnt": 1}', flush=True)
    sys.stdin.read()
"""


def test_a_child_is_told_and_answers() -> None:
    """A process answers in lines of JSON what it was told, and ends with the block."""
    with Children() as children:
        child = children.python("echo", "-c", ECHO)
        child.says("ready")
        child.tell({"count": 3})
        assert child.answers() == {"count": 3}
        assert children.groups == {"echo": [child.pid]}
    assert child.pid not in family_of([os.getpid()])[1:]


def test_a_child_ends_in_its_own_way() -> None:
    """A process that is told that nothing more comes has the time to end; else it is an error."""
    with Children() as children:
        echo = children.python("echo", "-c", ECHO)
        echo.end()
        assert cpu_seconds(echo.pid) == 0.0


def test_a_child_that_goes_on_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends a process that does not is told so, and it is ended with the block."""
    monkeypatch.setattr("benchmarks.processes.END_S", 0.05)
    with Children() as children:
        child = children.python("deaf", "-c", "import time; time.sleep(60)")
        with pytest.raises(ProcessFailed, match="goes on"):
            child.end()
        monkeypatch.undo()


def test_a_child_that_ends_says_why() -> None:
    """Who waits for a process that has ended is told what that has printed."""
    child = Child([sys.executable, "-c", "raise SystemExit('no such thing')"])
    with pytest.raises(ProcessFailed, match="no such thing"):
        child.says("ready")
    child.close()


def test_a_child_that_is_silent_is_given_up() -> None:
    """Who waits for a process that says nothing is told so when the time is over."""
    with Children() as children:
        child = children.python("silent", "-c", "import sys; sys.stdin.read()")
        with pytest.raises(ProcessFailed, match="too long"):
            child.says("ready", deadline_s=0.05)


def test_children_of_children_count(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The time that a group uses includes that of processes which it has started and ended."""
    program = tmp_path_factory.mktemp("busy") / "busy.py"
    program.write_text(BUSY)
    with Children() as children:
        child = children.python("busy", str(program))
        meter = Meter(children.groups)
        child.answers()
        assert 0.15 < meter.cores(seconds=1.0)["busy"] < 5.0


def test_a_process_that_is_gone_has_used_nothing() -> None:
    """The time of a process that does not exist is none."""
    assert cpu_seconds(2**22 + 1) == 0.0
    assert cpu_seconds(os.getpid()) > 0.0
