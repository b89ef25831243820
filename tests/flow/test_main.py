"""`python -m flow`, as a real process."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.system
def test_the_command_runs_as_a_module(tmp_path: Path) -> None:
    """The module runs the command line, and ends with its exit code and without a traceback."""
    command = [sys.executable, "-P", "-m", "flow", "list"]
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: cannot tell which flow is meant: ")
    assert len(ended.stderr.splitlines()) == 1
