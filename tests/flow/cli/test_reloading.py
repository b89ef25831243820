"""`flow dev`, with real processes: the children, the signals and the changes are the point."""

import json
import signal
from pathlib import Path

import pytest

from flow.cli.reloading import dev
from flow.errors import ConfigurationError
from tests.flow.cli.console import SHOP, expect_golden, folder
from tests.flow.cli.processes import Process, ended

HOLD = """\
import asyncio

from flow import Flow

app = Flow("hold")


@app.step
async def hold(number: int) -> int:
    print("holding", flush=True)
    await asyncio.sleep(60)
    return number


app.workflow("hold", hold)
"""


def test_a_missing_file_is_not_waited_for(shop: Path) -> None:
    """A file that does not exist is an error at once: nothing could change."""
    with pytest.raises(ConfigurationError, match="there is no such file"):
        dev("nowhere.py:app")


@pytest.mark.system
def test_a_second_terminal_controls_it(tmp_path: Path) -> None:
    """What another terminal asks is answered by the flow that `dev` runs; Ctrl-C ends it."""
    (tmp_path / "shop.py").write_text(SHOP)
    with Process(tmp_path, ["dev", "shop.py:app"]) as process:
        process.expect("ready; Ctrl-C stops")
        started = ["start", "checkout", "--input", '{"slow": 50}', "--id", "order-1"]
        assert ended(tmp_path, *started) == (0, "order-1\n")
        assert ended(tmp_path, "suspend", "order-1") == (0, "order-1  SUSPENDING\n")
        assert json.loads(ended(tmp_path, "show", "order-1", "--json")[1])["id"] == "order-1"
        assert ended(tmp_path, "resume", "order-1") == (0, "order-1  RUNNING\n")
        assert ended(tmp_path, "abort", "order-1") == (0, "order-1  ABORTED\n")
        assert "ABORTED" in ended(tmp_path, "list")[1]
        process.interrupt()
        assert process.expect_end() == 0
    with folder(tmp_path):
        expect_golden("dev", process.text)


@pytest.mark.system
def test_changes_start_it_anew(tmp_path: Path) -> None:
    """A change starts the program anew; a broken one is one line, and the next change mends it."""
    (tmp_path / "shop.py").write_text(SHOP)
    with Process(tmp_path, ["dev", "shop.py:app"]) as process:
        process.expect("ready; Ctrl-C stops")
        (tmp_path / "shop.py").write_text(f"{SHOP}\nbroken\n")
        process.expect("shop.py has changed")
        process.expect("error: cannot load shop.py:app: shop.py:34: NameError")
        process.expect("waiting for a change")
        (tmp_path / "shop.py").write_text(SHOP)
        process.expect("shop is ready again")
        process.send(signal.SIGTERM)
        assert process.expect_end() == 0
    assert process.text.endswith("stopped\n")


@pytest.mark.system
def test_no_child_is_left_behind(tmp_path: Path) -> None:
    """When `dev` is killed, its child ends at once, and the flow can be run again."""
    (tmp_path / "shop.py").write_text(SHOP)
    with Process(tmp_path, ["dev", "shop.py:app"]) as process:
        process.expect("ready; Ctrl-C stops")
        process.send(signal.SIGKILL)
        # The end of the output means that the child, which holds it too, has ended.
        assert process.expect_end() == -signal.SIGKILL
    code, text = ended(tmp_path, "start", "checkout", "--id", "order-1")
    assert (code, text.splitlines()[0]) == (0, "order-1")


@pytest.mark.system
def test_a_second_interruption_stops_at_once(tmp_path: Path) -> None:
    """Ctrl-C waits for what runs and says so; a second one does not wait."""
    (tmp_path / "hold.py").write_text(HOLD)
    with Process(tmp_path, ["dev", "hold.py:app"]) as process:
        process.expect("ready; Ctrl-C stops")
        assert ended(tmp_path, "start", "hold", "--input", "1", "--id", "hold-1")[0] == 0
        process.expect("holding")
        process.interrupt()
        process.expect("finishing what runs; Ctrl-C again stops at once")
        process.interrupt()
        assert process.expect_end() in (0, 130)
