"""`flow serve`, `flow worker` and `flow orchestrator`: play roles of a program."""

import asyncio
import logging
import os
import sys
import threading
from dataclasses import dataclass
from typing import Final

from cyclopts import Parameter

from flow.app import Flow, Role
from flow.cli.crew import Crew
from flow.cli.failures import Exit
from flow.cli.health import HealthOptions
from flow.cli.options import Place, Program, output_of
from flow.cli.process import play
from flow.cli.runner import Runner, Supervised, facts
from flow.cli.target import location_of, placed
from flow.config import MEMORY, SQLITE, Url
from flow.errors import ConfigurationError, InvalidOption

__all__ = ["RunOptions", "orchestrator", "place_words", "serve", "worker"]

PROCESSES: Final = 256
"""How many processes there are at most."""
_PORTS: Final = 65_535


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(HealthOptions):
    """How a program is run.

    Args:
        processes: How many processes run it; one that dies is started again.
        health_port: Answer GET /live, /ready and /health here; with --processes, the ports
            behind it are taken too.
        health_host: The address for that.
    """

    processes: int = 1


def serve(
    program: Program = "",
    /,
    *,
    options: RunOptions | None = None,
    supervised: Supervised | None = None,
    place: Place | None = None,
) -> int:
    """Run a program in every role.

    Args:
        program: The program: FILE:APP, such as shop.py:app; by default that of flow.toml.
        options: How.
        supervised: What the process that started this one tells.
        place: Where its broker and store are, and how to print.
    """
    return _Run("serve", program, options, supervised, place).run(("orchestrator", "worker"))


def worker(
    program: Program = "",
    /,
    *,
    options: RunOptions | None = None,
    supervised: Supervised | None = None,
    place: Place | None = None,
) -> int:
    """Run only the steps and endpoints of a program.

    Args:
        program: The program: FILE:APP, such as shop.py:app; by default that of flow.toml.
        options: How.
        supervised: What the process that started this one tells.
        place: Where its broker and store are, and how to print.
    """
    return _Run("worker", program, options, supervised, place).run(("worker",))


def orchestrator(
    program: Program = "",
    /,
    *,
    options: RunOptions | None = None,
    supervised: Supervised | None = None,
    place: Place | None = None,
) -> int:
    """Run only the orchestrator of a program.

    Args:
        program: The program: FILE:APP, such as shop.py:app; by default that of flow.toml.
        options: How.
        supervised: What the process that started this one tells.
        place: Where its broker and store are, and how to print.
    """
    return _Run("orchestrator", program, options, supervised, place).run(("orchestrator",))


def place_words(place: Place | None) -> list[str]:
    """Return the options of a place as they are typed.

    Args:
        place: The options.
    """
    place = place or Place()
    words: list[str] = []
    for name in ("name", "store", "broker"):
        value = getattr(place, name)
        words += [f"--{name}", value] if value else []
    words += ["--json"] if place.json else []
    return [*words, "--debug"] if place.debug else words


class _Run:
    """One of the commands that run a program, as it was typed."""

    def __init__(
        self,
        verb: str,
        program: str,
        options: RunOptions | None,
        supervised: Supervised | None,
        place: Place | None,
    ) -> None:
        self._verb = verb
        self._program = program
        self._options = options or RunOptions()
        self._supervised = supervised or Supervised()
        self._place = place

    def run(self, roles: tuple[Role, ...]) -> int:
        """Play roles until a signal comes, in this process or in several."""
        if self._supervised.lifeline >= 0:
            _follow(self._supervised.lifeline)
        _check_options(self._verb, self._options)
        location = location_of(self._program)
        app = placed(location, self._place)
        _check_program(location.text, app, roles)
        if self._options.processes > 1:
            _check_sharing(app, roles)
            self._tell(app, roles)
            return asyncio.run(self._crew().run())
        # A program that has set up its own logging keeps it.
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        runner = Runner(
            location.text, app, roles, output_of(self._place), self._supervised, self._options
        )
        return play(runner.run)

    def _tell(self, app: Flow, roles: tuple[Role, ...]) -> None:
        output = output_of(self._place)
        if not output.is_json:
            count = f"  processes  {self._options.processes}"
            output.lines([app.name, *facts(app, roles), count])
            sys.stdout.flush()

    def _crew(self) -> Crew:
        words = [self._verb, *([self._program] if self._program else []), *place_words(self._place)]
        return Crew(words, self._options.processes, self._options, output_of(self._place))


def _check_options(verb: str, options: RunOptions) -> None:
    count, port = options.processes, options.health_port
    if not 1 <= count <= PROCESSES:
        rule = f"it is a number from 1 to {PROCESSES}"
        raise InvalidOption(f"flow {verb}", "--processes", str(count), rule)
    if port is not None and not 0 <= port <= _PORTS - (count if count > 1 else 0):
        rule = (
            f"it is a port from 1 to {_PORTS:,}, and with --processes there are as many behind it"
        )
        raise InvalidOption(f"flow {verb}", "--health-port", str(port), rule)
    if port == 0 and count > 1:
        rule = "with --processes it has to be a certain port"
        raise InvalidOption(f"flow {verb}", "--health-port", "0", rule)


def _check_program(program: str, app: Flow, roles: tuple[Role, ...]) -> None:
    if "orchestrator" not in roles and not app.functions.endpoints:
        reason = "it declares no steps and no endpoints, so a worker has nothing to do"
        raise ConfigurationError(f"the program {program!r}", reason)
    if "worker" not in roles and app.settings.store is None:
        reason = "it has no store, and an orchestrator needs one; give it with --store"
        raise ConfigurationError(f"the program {program!r}", reason)


def _check_sharing(app: Flow, roles: tuple[Role, ...]) -> None:
    """Refuse several processes where they cannot share the broker or the store."""
    broker, store = app.settings.broker, app.settings.store
    if not broker.scheme.startswith("amqp"):
        what = f"the broker {broker} belongs to one process on this machine"
        raise ConfigurationError("--processes", f"{what}; name one for many: --broker amqp://…")
    if "orchestrator" in roles and store is not None and _is_of_one(store):
        what = f"the store {store} belongs to one process at a time"
        raise ConfigurationError(
            "--processes", f"{what}; name one for many: --store postgresql://…"
        )


def _is_of_one(store: Url) -> bool:
    return store.scheme in (MEMORY, SQLITE)


def _follow(lifeline: int) -> None:
    """End this process at once when the other end of a pipe is closed, however that comes."""
    # What this process starts must not hold the pipe.
    os.set_inheritable(lifeline, False)

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(Exit.INTERRUPTED)

    threading.Thread(target=wait, name="flow-lifeline", daemon=True).start()
