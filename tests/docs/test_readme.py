"""The README's code does what the README says."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_blocks_are_those_that_are_proved_here() -> None:
    """A new block of Python in the README needs a test here."""
    assert len(BLOCKS) == 3


@pytest.mark.system
def test_the_first_program_runs_and_runs_again(tmp_path: Path) -> None:
    """The first example prints its receipt, and again what was recorded the first time."""
    program = tmp_path / "shop.py"
    program.write_text(BLOCKS[0])
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(program)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "Receipt(id='receipt-1', hold='hold-5')\n"
    assert (tmp_path / ".flow" / "shop.db").exists()


def test_the_step_options_are_real() -> None:
    """The second example declares what it says."""
    names: dict[str, Any] = {"__name__": "options"}
    exec(compile(BLOCKS[1], "README.md", "exec"), names)
    assert names["charge"].target == "payments.charge"
    assert names["ship"].requires == ("charge",)
    assert names["note"].requires == ("charge",)


def test_the_unit_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of a user's test runs against the first example's program."""
    (tmp_path / "shop.py").write_text(BLOCKS[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    names: dict[str, Any] = {"__name__": "test_shop"}
    try:
        exec(compile(BLOCKS[2], "README.md", "exec"), names)
        asyncio.run(names["test_checkout"]())
    finally:
        sys.modules.pop("shop", None)
    assert not (tmp_path / ".flow").exists()
