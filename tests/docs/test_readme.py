"""The README's code does what the README says."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from flow import Flow

README = Path(__file__).parents[2] / "README.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_blocks_are_those_that_are_proved_here() -> None:
    """A new block of Python in the README needs a test here."""
    assert len(BLOCKS) == 6


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


async def test_effects_happen_as_the_example_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The third example books once, also when it is run again, and its subscriber hears of it."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "ledger"}
    text = BLOCKS[2].replace("postgresql://postgres@localhost:5432/postgres", database_url)
    assert text != BLOCKS[2]
    exec(compile(text, "README.md", "exec"), names)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TABLE bookings (total int)")
        async with asyncio.timeout(30), names["app"]:
            for _ in range(2):
                assert await names["close"].run(5, id="month-1") == "archived 5"
        assert await connection.fetchval("SELECT count(*) FROM bookings") == 1
        assert await connection.fetchval("SELECT count(*) FROM flow_inbox") == 1
    finally:
        await connection.close()
    assert capsys.readouterr().out == "heard of 5: month-1:steps/ledger.archived\n"


@pytest.mark.system
def test_the_trip_is_taken_back(tmp_path: Path) -> None:
    """The fourth example prints what the README says that it prints."""
    program = tmp_path / "trip.py"
    program.write_text(BLOCKS[3])
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = re.findall(r"```text\n(.*?)```", README.read_text(), re.DOTALL)
    assert done.stdout in printed


async def test_a_plain_message_starts_a_workflow(
    broker_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fifth example, which knows AMQP only, is told how its execution has ended."""
    app = Flow("delivery", broker=broker_url, store="memory://")

    @app.step
    async def tell(order: dict[str, Any]) -> str:
        return f"{order['customer']} eats {len(order['dishes'])} dish"

    app.workflow("supper", tell, output=tell)
    names: dict[str, Any] = {"__name__": "trigger"}
    text = BLOCKS[4].replace("amqp://guest:guest@localhost:5672/", broker_url)
    assert text != BLOCKS[4]
    exec(compile(text, "README.md", "exec"), names)
    async with asyncio.timeout(30), app:
        for _ in range(2):
            await names["main"]()
    ending = {"execution": "supper-ada", "status": "SUCCESS", "output": "Ada eats 1 dish"}
    assert list(map(json.loads, capsys.readouterr().out.splitlines())) == [ending] * 2


def test_the_unit_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of a user's test runs against the first example's program."""
    (tmp_path / "shop.py").write_text(BLOCKS[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    names: dict[str, Any] = {"__name__": "test_shop"}
    try:
        exec(compile(BLOCKS[5], "README.md", "exec"), names)
        asyncio.run(names["test_checkout"]())
    finally:
        sys.modules.pop("shop", None)
    assert not (tmp_path / ".flow").exists()
