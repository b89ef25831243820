"""`flow serve`, `flow worker` and `flow orchestrator`: play roles of a program."""

import asyncio
import logging
import os
import threading

from flow.app import Flow, Role
from flow.cli.failures import Exit
from flow.cli.loading import load, locate
from flow.cli.options import Program, Where, output_of
from flow.cli.runner import Runner, Supervised
from flow.cli.target import program_of
from flow.errors import ConfigurationError

__all__ = ["orchestrator", "serve", "worker"]


def serve(
    program: Program,
    /,
    *,
    supervised: Supervised | None = None,
    where: Where | None = None,
) -> int:
    """Run a program in every role.

    Args:
        program: The program: FILE:APP, such as shop.py:app.
        supervised: What `flow dev` tells.
        where: Which flow, and how to print.
    """
    supervised = supervised or Supervised()
    if supervised.lifeline >= 0:
        _follow(supervised.lifeline)
    return _run(program, ("orchestrator", "worker"), where, supervised)


def worker(program: Program, /, *, where: Where | None = None) -> int:
    """Run only the steps and endpoints of a program.

    Args:
        program: The program: FILE:APP, such as shop.py:app.
        where: Which flow, and how to print.
    """
    return _run(program, ("worker",), where)


def orchestrator(program: Program, /, *, where: Where | None = None) -> int:
    """Run only the orchestrator of a program.

    Args:
        program: The program: FILE:APP, such as shop.py:app.
        where: Which flow, and how to print.
    """
    return _run(program, ("orchestrator",), where)


def _run(
    program: str,
    roles: tuple[Role, ...],
    where: Where | None,
    supervised: Supervised | None = None,
) -> int:
    output = output_of(where)
    app = program_of(where, program) or load(locate(program))
    _check(program, app, roles)
    # A program that has set up its own logging keeps it.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return asyncio.run(Runner(program, app, roles, output, supervised).run())


def _check(program: str, app: Flow, roles: tuple[Role, ...]) -> None:
    if "orchestrator" not in roles and not app.functions.endpoints:
        reason = "it declares no steps and no endpoints, so a worker has nothing to do"
        raise ConfigurationError(f"the program {program!r}", reason)
    if "worker" not in roles and app.settings.store is None:
        reason = "it has no store, and an orchestrator needs one; give it with --store"
        raise ConfigurationError(f"the program {program!r}", reason)


def _follow(lifeline: int) -> None:
    """End this process at once when the other end of a pipe is closed, however that comes."""
    # What this process starts must not hold the pipe.
    os.set_inheritable(lifeline, False)

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(Exit.INTERRUPTED)

    threading.Thread(target=wait, name="flow-lifeline", daemon=True).start()
