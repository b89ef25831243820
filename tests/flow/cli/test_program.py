"""The table of commands: every error is one line and an exit code, in golden files."""

import asyncio
import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flow.cli import looking, program
from flow.cli.failures import Exit
from tests.flow.cli.console import expect_golden, flow, transcript

LARGE = "[" + "1," * 140_000 + "1]"

# The golden file, and what is typed in a folder where three executions have ended.
ERRORS: list[tuple[str, tuple[str, ...]]] = [
    ("unknown-command", ("strat", "checkout")),
    ("unknown-option", ("list", "--colour", "red")),
    ("missing-argument", ("show",)),
    ("too-many-arguments", ("show", "order-1", "order-2")),
    ("wrong-choice", ("suspend", "order-1", "--clock", "halt")),
    ("unknown-execution", ("show", "order-9")),
    ("unknown-history", ("history", "order-9")),
    ("unknown-workflow", ("levels", "chekout")),
    ("unknown-workflow-start", ("start", "chekout")),
    ("unknown-step", ("start", "checkout", "--skip", "shop")),
    ("unknown-status", ("list", "--status", "runing")),
    ("ambiguous-status", ("list", "--status", "done")),
    ("bad-json", ("start", "checkout", "--input", "{total: 5}")),
    ("bad-result", ("start", "checkout", "--result", "charge={")),
    ("bad-pair", ("start", "checkout", "--label", "north")),
    ("bad-retry", ("start", "checkout", "--retry", "charge=0")),
    ("bad-timeout", ("start", "checkout", "--timeout", "0")),
    ("bad-limit", ("list", "--limit", "0")),
    ("bad-header", ("start", "checkout", "--header", "flow-id=1")),
    ("bad-id", ("start", "checkout", "--id", "a b")),
    ("no-input-file", ("start", "checkout", "--input", "@nowhere.json")),
    ("large-input", ("start", "checkout", "--input", "@large.json")),
    ("conflict", ("start", "checkout", "--id", "order-1", "--input", "{}")),
    ("missing-results", ("start", "checkout", "--start-at", "charge")),
    ("not-possible", ("suspend", "order-1")),
    ("some-not-possible", ("abort", "order-1", "order-2", "order-9")),
    ("delete-without-yes", ("delete", "order-1")),
    ("missing-file", ("serve", "nowhere.py:app")),
    ("missing-module", ("serve", "nowhere.deep:app")),
    ("missing-attribute", ("serve", "shop.py:ap")),
    ("wrong-type", ("serve", "shop.py:other")),
    ("no-attribute", ("serve", "shop.py")),
    ("our-name", ("serve", "store.py:app")),
    ("broken-program", ("serve", "broken.py:app")),
    ("broken-syntax", ("serve", "syntax.py:app")),
    ("broken-definition", ("serve", "wrong.py:app")),
    ("exiting-program", ("serve", "exiting.py:app")),
    ("idle-worker", ("worker", "idle.py:app")),
    ("wrong-store-url", ("list", "--store", "mysql://db/shop")),
    ("missing-store", ("list", "--store", "sqlite:///nowhere.db")),
    ("missing-store-start", ("start", "checkout", "--store", "sqlite:///nowhere.db")),
    ("no-database", ("list", "--store", "sqlite:///shop.py")),
    ("no-database-start", ("start", "checkout", "--store", "sqlite:///shop.py")),
    ("another-name", ("list", "--store", "sqlite:///.flow/shop.db", "--name", "orders")),
    ("guessed-name", ("list", "--store", "sqlite:///moved.db")),
    ("no-such-flow", ("list", "--name", "orders")),
    ("memory-only", ("list", "--store", "memory://")),
    ("no-name", ("list", "--broker", "unix:///flow.sock")),
    ("program-of-another-name", ("list", "--app", "shop.py:app", "--name", "orders")),
    ("no-program", ("serve",)),
    ("processes-embedded", ("serve", "shop.py:app", "--processes", "2")),
    (
        "processes-one-store",
        (
            *("orchestrator", "shop.py:app", "--processes", "2"),
            *("--broker", "amqp://mq"),
            *("--store", "sqlite:///shop.db"),
        ),
    ),
    ("bad-processes", ("serve", "shop.py:app", "--processes", "0")),
    ("bad-health-port", ("serve", "shop.py:app", "--health-port", "99999")),
    (
        "any-health-port",
        ("worker", "shop.py:app", "--health-port", "0", "--processes", "2"),
    ),
    ("no-executions", ("abort",)),
    ("ids-and-filter", ("abort", "order-1", "--workflow", "checkout")),
    ("bad-age", ("prune", "--older-than", "soon")),
    ("step-and-workflow", ("steps", "charge", "--workflow", "checkout")),
    ("two-drawings", ("levels", "checkout", "--dot", "--mermaid")),
]

FILES = {
    "large.json": LARGE,
    "broken.py": "import shop\n\n\ndef make():\n    return shop.missing\n\n\napp = make()\n",
    "syntax.py": "from flow import Flow\napp = Flow('shop'\n",
    "wrong.py": "from flow import Flow, Step\napp = Flow('shop')\n"
    "app.workflow('loop', Step.call('a.b', requires=['c']))\n",
    "exiting.py": "import sys\nsys.exit(3)\n",
    "idle.py": "from flow import Flow\napp = Flow('shop')\n",
    "store.py": "from flow import Flow\napp = Flow('shop')\n",
}


def test_the_table_tells_what_the_commands_tell() -> None:
    """The help of `flow` is the first line of each command's own, without importing it."""
    commands = [each for group in program._COMMANDS.values() for each in group]
    for each in commands:
        module, _, name = each.path.partition(":")
        function = getattr(importlib.import_module(f"flow.cli.{module}"), name)
        assert each.help == (inspect.getdoc(function) or "").splitlines()[0]


def test_the_help_loads_no_engine() -> None:
    """`flow --help` imports neither the engine nor what only some commands need."""
    heavy = "'flow.app', 'flow.kernel', 'pydantic', 'networkx', 'aio_pika', 'asyncpg'"
    code = (
        "import sys\nfrom flow.cli.program import run\nassert run(['--help']) == 0\n"
        f"sys.exit(str([each for each in ({heavy}) if each in sys.modules]))"
    )
    root = Path(program.__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=root, check=False, capture_output=True, text=True
    )
    assert ended.stderr == "[]\n"


@pytest.mark.parametrize(("name", "arguments"), ERRORS, ids=[name for name, _ in ERRORS])
def test_an_error_is_one_line(store: Path, name: str, arguments: tuple[str, ...]) -> None:
    """Each error is one line that names what is wrong, with the code of its kind."""
    for file, text in FILES.items():
        (store / file).write_text(text)
    (store / "moved.db").write_bytes((store / ".flow" / "shop.db").read_bytes())
    ended = flow(*arguments)
    assert ended.code in set(Exit) - {Exit.OK}
    assert all(line.startswith("error: ") for line in ended.err.splitlines())
    expect_golden(f"error-{name}", transcript(ended, *arguments))


@pytest.mark.parametrize("files", [0, 2])
def test_a_folder_without_one_flow(shop: Path, files: int) -> None:
    """A folder with no store, or with several, is one line that says what to do."""
    for number in range(files):
        (shop / ".flow").mkdir(exist_ok=True)
        (shop / ".flow" / f"shop{number}.db").touch()
    expect_golden(f"error-folder-with-{files}", transcript(flow("list"), "list"))


def test_an_error_as_json(store: Path) -> None:
    """With --json an error is an object on standard error, and nothing is on standard output."""
    ended = flow("show", "order-9", "--json")
    assert ended.out == ""
    assert json.loads(ended.err) == {
        "error": {
            "type": "UnknownExecution",
            "message": "there is no execution 'order-9'",
            "fields": {"execution": "order-9"},
        }
    }


def test_a_usage_error_as_json(store: Path) -> None:
    """With --json a command that was typed wrongly is an object too."""
    ended = flow("show", "--json")
    assert json.loads(ended.err)["error"]["type"] == "UsageError"
    assert ended.code == Exit.USAGE


def test_a_traceback_is_there_when_asked_for(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback is shown with --debug and with FLOW_DEBUG=1, and else it is not."""
    assert "Traceback" not in flow("show", "order-9").err
    assert "Traceback" in flow("show", "order-9", "--debug").err
    monkeypatch.setenv("FLOW_DEBUG", "1")
    assert "Traceback" in flow("show", "order-9").err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("odd"), Exit.FAILED, "error: ValueError: odd (--debug shows where)\n"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "error: interrupted\n"),
        (asyncio.CancelledError(), Exit.INTERRUPTED, "error: interrupted\n"),
    ],
)
def test_other_ends(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: Exit, text: str
) -> None:
    """A bug and an interruption are one line as well."""

    def broken() -> None:
        raise error

    monkeypatch.setattr(looking, "list_executions", broken)
    ended = flow("list")
    assert (ended.code, ended.err) == (code, text)


def test_a_closed_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is said when whoever reads the output has gone."""

    def broken() -> None:
        raise BrokenPipeError

    monkeypatch.setattr(looking, "list_executions", broken)
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert program.run(["list"]) == Exit.FAILED
        assert os.path.samestat(os.fstat(out.fileno()), Path(os.devnull).stat())


def test_help_lists_every_command() -> None:
    """Without a command, or with --help, all commands are listed; --version tells the version."""
    ended = flow("--help")
    assert ended.code == 0
    assert flow().out == ended.out
    for name in ("dev", "serve", "worker", "list", "show", "start", "suspend", "levels"):
        assert f"│ {name} " in ended.out
    assert flow("--version").out.strip()
