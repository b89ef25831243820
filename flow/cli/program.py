"""The table of commands, and how each of them ends: with an exit code, never with a traceback."""

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Final

from cyclopts import App, CycloptsError, Group, UnusedCliTokensError

from flow.cli import (
    controlling,
    doctor,
    looking,
    maintaining,
    reloading,
    running,
    shapes,
    starting,
)
from flow.cli.failures import Exit, exit_code, one_line
from flow.cli.output import Output
from flow.errors import FlowError

__all__ = ["program", "run"]

_CHATTY: Final = ("aio_pika", "aiormq")
"""Libraries that log what they also raise, with tracebacks; our adapter silences them."""
_HELP: Final = "Durable flows of microservices: run them, look at them, and control them."


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
    run_group, look, control = (
        Group(title, sort_key=number)
        for number, title in enumerate(("Run a program", "Look", "Start and control"))
    )
    commands: tuple[tuple[Callable[..., int], str, Group], ...] = (
        (reloading.dev, "dev", run_group),
        (running.serve, "serve", run_group),
        (running.worker, "worker", run_group),
        (running.orchestrator, "orchestrator", run_group),
        (looking.list_executions, "list", look),
        (looking.show, "show", look),
        (looking.history, "history", look),
        (shapes.workflows, "workflows", look),
        (shapes.steps, "steps", look),
        (shapes.levels, "levels", look),
        (doctor.doctor, "doctor", look),
        (starting.start, "start", control),
        (controlling.suspend, "suspend", control),
        (controlling.resume, "resume", control),
        (controlling.abort, "abort", control),
        (controlling.delete, "delete", control),
        (maintaining.pause, "pause", control),
        (maintaining.unpause, "unpause", control),
        (maintaining.prune, "prune", control),
    )
    for number, (command, name, group) in enumerate(commands):
        app.command(command, name=name, group=group, sort_key=number)
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
