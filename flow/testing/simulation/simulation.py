"""Running a coroutine in a simulation."""

import functools
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, overload

from flow.errors import SimulationFailed
from flow.testing.simulation.callbacks import LoopSettings
from flow.testing.simulation.loop import SimulatedLoop
from flow.testing.simulation.machine import SimulatedChance, SimulatedClock
from flow.testing.simulation.processes import OUTSIDE, SimulatedProcess
from flow.testing.simulation.trace import Trace

__all__ = ["Simulation", "simulate", "simulated"]

P = ParamSpec("P")
T = TypeVar("T")
Test: TypeAlias = Callable[Concatenate["Simulation", P], Awaitable[T]]


class Simulation:
    """What belongs to one simulated run.

    Args:
        seed: What everything follows from.
        settings: How wild the event loop is.

    Attributes:
        seed: The seed.
        loop: The event loop.
        random: Random numbers for the scenario; nothing of the flow takes any of them.
        trace: What happened.
        processes: All that were started, dead ones too, by name.
    """

    def __init__(self, seed: int, settings: LoopSettings | None = None) -> None:
        """Make the event loop; nothing runs yet."""
        self.seed = seed
        self.loop = SimulatedLoop(seed, settings)
        self.random = random.Random(f"{seed} scenario")  # noqa: S311 - it has to repeat
        self.trace = Trace()
        self.processes: dict[str, SimulatedProcess] = {}

    def process(self, name: str) -> SimulatedProcess:
        """Return a new process. What runs in its context can be paused and killed.

        Args:
            name: What traces call it. A name that was used before gets a number.
        """
        count = sum(each.partition("#")[0] == name for each in self.processes)
        unique = f"{name}#{count + 1}" if count else name
        process = OUTSIDE.copy().run(SimulatedProcess, unique, self.loop.wake)
        self.processes[unique] = process
        return process

    def clock(self) -> SimulatedClock:
        """Return the clock of a machine; the monotonic times of two machines differ."""
        return SimulatedClock(self.loop, self.random.randrange(1000) / 8)

    def chance(self, name: str) -> SimulatedChance:
        """Return ids and jitter that follow from the seed.

        Args:
            name: Whose they are; the same name gives the same ones.
        """
        return SimulatedChance(f"{self.seed} {name}")

    def note(self, what: str, detail: str = "", process: str = "") -> None:
        """Add a line to the trace; what happens after the end of the run does not count.

        Args:
            what: Which kind of thing happened.
            detail: The rest; nothing in it may differ from run to run.
            process: Where it happened; an empty string for the outside world.
        """
        loop = self.loop
        if not loop.is_burying:
            self.trace.note(loop.time(), process, what, detail)

    @property
    def hash(self) -> str:
        """What two runs of the same seed have in common: all lines, and every choice."""
        return f"{self.trace.hash}{self.loop.digest:016x}"

    def run(self, main: Callable[["Simulation"], Awaitable[T]]) -> T:
        """Run until *main* returns, and cancel what is left then.

        A simulation runs once. Whatever *main* raises leaves as it is, with a note that names
        the seed.

        Args:
            main: Called with this simulation.

        Raises:
            SimulationStuck: Nothing can happen any more, or far too much has happened.
            SimulationFailed: A task or a callback has failed, and nobody took note.
            SimulationRefused: It ran before, or an event loop runs in this thread.
        """
        self.loop.check_startable()
        if not callable(main):
            if isinstance(main, Coroutine):
                main.close()
            raise TypeError(f"a coroutine function is needed, and not what it returns: {main!r}")

        async def run() -> T:
            awaitable = main(self)
            if not inspect.isawaitable(awaitable):
                raise TypeError(f"{main!r} is no coroutine function: write `async def`")
            return await awaitable

        try:
            result = self._run_and_bury(run())
            self._expect_no_errors()
        except Exception as error:
            error.add_note(f"in a simulation with seed={self.seed}, which replays it")
            raise
        return result

    def _expect_no_errors(self) -> None:
        if not self.loop.errors:
            return
        context = self.loop.errors[0]
        error = context.get("exception")
        message = str(context.get("message", "something failed"))
        what = message if error is None else f"{message}: {error!r}"
        raise SimulationFailed(what) from error

    def _run_and_bury(self, main: Coroutine[Any, Any, T]) -> T:
        try:
            return self.loop.run_until_complete(main)
        finally:
            try:
                with _unheard():
                    self.loop.bury()
            finally:
                self.loop.close()


@contextmanager
def _unheard() -> Generator[None]:
    """Log nothing: what is cancelled because all is over complains of no trouble of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def simulate(
    main: Callable[[Simulation], Awaitable[T]],
    *,
    seed: int = 0,
    settings: LoopSettings | None = None,
) -> T:
    """Run a coroutine on a seeded event loop with virtual time, and return its result.

    The same seed runs the same way every time, also in another process; `loop` tells what is
    excepted. No event loop may run in this thread: the simulation has one of its own.

    Args:
        main: Called with the simulation.
        seed: What the order of everything, all ids and all faults follow from.
        settings: How wild the event loop is.

    Raises:
        SimulationStuck: Nothing can happen any more, or far too much has happened.
        SimulationFailed: A task or a callback has failed, and nobody took note.
        SimulationRefused: A thread, a socket or something else of the real world was used.
    """
    return Simulation(seed, settings).run(main)


@overload
def simulated(function: Test[P, T], /) -> Callable[P, T]: ...


@overload
def simulated(
    *, seed: int = 0, settings: LoopSettings | None = None
) -> Callable[[Test[P, T]], Callable[P, T]]: ...


def simulated(
    function: Test[P, T] | None = None,
    /,
    *,
    seed: int = 0,
    settings: LoopSettings | None = None,
) -> Callable[[Test[P, T]], Callable[P, T]] | Callable[P, T]:
    """Make an ordinary test function of a coroutine function that runs in a simulation.

        @simulated(seed=7)
        async def test_orders_survive(simulation: Simulation) -> None: ...

    Args:
        function: The coroutine function, if it is not called as above but is the decorator itself.
        seed: What everything follows from.
        settings: How wild the event loop is.

    Returns:
        A decorator, or what it makes. The function gets the simulation as its first argument;
        the others are the caller's, so that fixtures and parameters work.
    """

    def decorate(function: Test[P, T]) -> Callable[P, T]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is no coroutine function: write `async def`")

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            return simulate(
                lambda simulation: function(simulation, *args, **kwargs),
                seed=seed,
                settings=settings,
            )

        # What pytest reads to find out which fixtures it has to pass.
        signature = inspect.signature(function)
        others = list(signature.parameters.values())[1:]
        setattr(run, "__signature__", signature.replace(parameters=others))  # noqa: B010 - untyped
        return run

    return decorate if function is None else decorate(function)
