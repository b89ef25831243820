"""The table of commands, and how each of them ends: with an exit code, never with a traceback."""

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from cyclopts import App, CycloptsError, Group, UnusedCliTokensError

from flow.cli.failures import Exit, exit_code, one_line
from flow.cli.output import Output
from flow.errors import FlowError

__all__ = ["program", "run"]

_CHATTY: Final = ("aio_pika", "aiormq")
"""Libraries that log what they also raise, with tracebacks; our adapter silences them."""
_HELP: Final = "Durable flows of microservices: run them, look at them, and control them."


class _Command(NamedTuple):
    """A command: its name, the function that it is in `flow.cli`, and the first line of its help.

    The function's module is imported when the command is typed, and not for `flow --help`.
    """

    name: str
    path: str
    help: str


_COMMANDS: Final[Mapping[str, tuple[_Command, ...]]] = {
    "Run a program": (
        _Command("dev", "reloading:dev", "Run a program, and start it anew when a file changes."),
        _Command("serve", "running:serve", "Run a program in every role."),
        _Command("worker", "running:worker", "Run only the steps and endpoints of a program."),
        _Command("orchestrator", "running:orchestrator", "Run only the orchestrator of a program."),
    ),
    "Look": (
        _Command("list", "looking:list_executions", "List executions, the newest first."),
        _Command("show", "looking:show", "Show an execution with all its steps."),
        _Command(
            "report",
            "looking:report",
            "Tell what happened in an execution: each run and each undo, in their order.",
        ),
        _Command("history", "looking:history", "Show what happened to an execution, oldest first."),
        _Command("workflows", "shapes:workflows", "List the workflows."),
        _Command(
            "steps",
            "shapes:steps",
            "List the steps that services have announced, or show one of them.",
        ),
        _Command("levels", "shapes:levels", "Show which steps of a workflow run side by side."),
        _Command(
            "doctor",
            "doctor:doctor",
            "Check the broker, the store and this machine, and say what to do about what is wrong.",
        ),
    ),
    "Start and control": (
        _Command("start", "starting:start", "Start an execution of a workflow, and print its id."),
        _Command(
            "suspend",
            "controlling:suspend",
            "Make no new attempts for now: of executions by their ids, or of all that match.",
        ),
        _Command(
            "resume",
            "controlling:resume",
            "Go on, or try again what has failed: "
            "of executions by their ids, or of all that match.",
        ),
        _Command("abort", "controlling:abort", "End executions: by their ids, or all that match."),
        _Command(
            "undo",
            "controlling:undo",
            "Undo what ran: in executions that have ended, by their ids, or in all that match.",
        ),
        _Command(
            "resolve",
            "controlling:resolve",
            "Say that you have dealt with an undo that failed, so that it counts as done.",
        ),
        _Command(
            "delete", "controlling:delete", "Forget executions that have ended, with their history."
        ),
        _Command(
            "pause",
            "maintaining:pause",
            "Make no new attempts for a whole workflow, until it is unpaused.",
        ),
        _Command(
            "unpause",
            "maintaining:unpause",
            "Let a paused workflow go on. What was suspended by hand stays so.",
        ),
        _Command(
            "prune", "maintaining:prune", "Delete executions that have ended, with their history."
        ),
    ),
}


def program() -> App:
    """Return all commands."""
    app = App(
        name="flow",
        help=_HELP,
        version=_version,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    groups = tuple(Group(title, sort_key=number) for number, title in enumerate(_COMMANDS))
    number = 0
    for group, commands in zip(groups, _COMMANDS.values(), strict=True):
        for each in commands:
            path = f"flow.cli.{each.path}"
            app.command(path, name=each.name, help=each.help, group=group, sort_key=number)
            number += 1
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit code.

    Args:
        arguments: What was typed behind `flow`.
    """
    is_debug = "--debug" in arguments or os.environ.get("FLOW_DEBUG", "") not in ("", "0")
    if not is_debug:
        # What goes wrong is told as an error; only long-running commands print logs.
        logging.getLogger("flow").addHandler(logging.NullHandler())
        # asyncio warns of each write to a connection that is lost, which is told in one line.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
    for name in _CHATTY if is_debug else ():
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return int(program()(list(arguments)) or Exit.OK)
    except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:  # noqa: BLE001 - a bug is told like an error
        if is_debug:
            traceback.print_exception(error)
        return _tell(error, Output(is_json="--json" in arguments))


def _tell(error: BaseException, output: Output) -> int:
    match error:
        case KeyboardInterrupt() | asyncio.CancelledError():
            output.problem("Interrupted", "interrupted")
            return Exit.INTERRUPTED
        case CycloptsError():
            command = " ".join(("flow", *(error.command_chain or ())))
            message = _usage(error)
            see = " See" if message.endswith("?") else "; see"
            output.problem("UsageError", f"{message}{see} `{command} --help`")
            return Exit.USAGE
        case FlowError():
            output.error(error)
            return exit_code(error)
        case BrokenPipeError():
            # Whoever read the output has seen enough. What is still in the buffer must not raise.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.FAILED
        case _:
            text = f"{type(error).__name__}: {error} (--debug shows where)"
            output.problem("InternalError", text)
            return Exit.FAILED


def _usage(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"nothing takes {' '.join(error.unused_tokens or ())}"
    # All commands are in the help, which is named below.
    text = str(error).partition(" Available commands")[0]
    return one_line(text).rstrip(".?") + ("?" if text.endswith("?") else "")


def _version() -> str:
    from importlib.metadata import version

    return version("flowmq")
