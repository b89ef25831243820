"""The page about testing: its examples are run, and its tables name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from flow.testing import LoopSettings, SimulatedCluster

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()
FILES: dict[str, str] = {
    name: text for text, name in re.findall(r"```python\n(# (\w+\.py)\n.*?)```", PAGE, re.DOTALL)
}
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


def run(folder: Path, *command: str) -> str:
    """Write the examples into a folder, run a command there, and return what it prints."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "pytest.ini").write_text(SETTINGS)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}", "PYTHONHASHSEED": "random"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_block_is_a_file() -> None:
    """A block of Python on the page that has no name, and so is not run, is found."""
    assert PAGE.count("```python") == len(FILES) == 5


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """The examples that are tests pass, as many as the page shows."""
    tests = [name for name in FILES if name.startswith("test_")]
    said = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert f"{1 + 2 + 20 + 1} passed" in said


def test_the_search_finds_nothing_and_replays(tmp_path: Path) -> None:
    """The script finds no error in the example, and replays a seed with the same trace twice."""
    assert run(tmp_path, "search.py", "100", "105") == ""
    first, second = (run(tmp_path, "search.py", "42", "42") for _ in range(2))
    assert first == second
    assert len(first.splitlines()) == 31
    assert re.fullmatch("[0-9a-f]{48}", first.splitlines()[-1])


def test_the_tables_name_what_there_is() -> None:
    """The page names every call of a cluster, and every setting of a run."""
    named = set(re.findall(r"`(?:await )?(\w+)\(", PAGE.split("What can happen to it:")[1]))
    public = {
        name
        for name, value in vars(SimulatedCluster).items()
        if callable(value) and not name.startswith("_")
    }
    assert public <= named
    assert all(f"`{name}`" in PAGE for name in LoopSettings.__slots__)
