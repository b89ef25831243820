"""An event loop that is nothing but a seed: virtual time, and a seeded choice of who runs next.

Theory of operation
-------------------
Callbacks that are ready stand in a list. In each step one of them is taken out and run: the
oldest one, or any other one, as the seed has it. asyncio's own loop always takes the oldest one,
which hides every error that shows only when two things happen the other way round.

Time is a number. Each step takes a little of it, again as the seed has it, so that timers become
due in the middle of work, as they do in reality. When nothing is ready, time moves on to the next
timer. When there is none either, and whatever is awaited is not done, nothing can ever happen
again: `SimulationStuck` names the tasks that wait.

Jobs for an executor run where they are handed over. Sockets, subprocesses, signals and calls from
other threads are refused: their order could not be repeated.

A callback belongs to the simulated process in whose context it was made; see `processes`.

The same seed gives the same run, also in another process with another PYTHONHASHSEED: nothing
here depends on addresses, hashes or the real time. Tasks have numbers for hashes, so that sets of
them have an order that repeats, and what anyio cancels at once is sorted (see `cancelling`). The
garbage collector does not run meanwhile, because it would call finalizers at moments that differ.

What does not repeat, because an event loop cannot reach it: `asyncio.as_completed` starts bare
coroutines in the order of their addresses, and `asyncio.wait` returns sets of bare futures (not
of tasks) in that order. Nor does what asks the real clock, `random`, `uuid` or a string's hash.
"""

import asyncio
import gc
from asyncio import events
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Final, TypeVar, TypeVarTuple

from flow.errors import SimulationRefused, SimulationStuck
from flow.testing.simulation.callbacks import CallbackLoop, LoopSettings
from flow.testing.simulation.cancelling import CancelOrder
from flow.testing.simulation.generators import OpenGenerators
from flow.testing.simulation.numbered_tasks import SimulatedTask, end_by_force, waiting_tasks
from flow.testing.simulation.refusals import refuse_the_real_world

__all__ = ["SimulatedLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_COMPACT_ABOVE: Final = 1_000
_BURIAL_ROUNDS: Final = 20
_BURIAL_STEPS: Final = 1_000
_BURIAL_STEPS_EACH: Final = 20
_NAMED: Final = 20


class SimulatedLoop(CallbackLoop):
    """Runs coroutines in an order that follows from a seed, in virtual time.

    Args:
        seed: What the order follows from.
        settings: How wild it is.

    Attributes:
        errors: What nobody looked at: failures of tasks and callbacks, as asyncio describes them.
    """

    def __init__(self, seed: int = 0, settings: LoopSettings | None = None) -> None:
        """Begin at the time 0, with nothing to do."""
        super().__init__(seed, settings)
        self.errors: list[dict[str, Any]] = []
        self._tasks: dict[SimulatedTask[Any], None] = {}
        self._look_at_tasks = _COMPACT_ABOVE
        self._generators = OpenGenerators(self.create_task, self.is_running)
        self._order = CancelOrder(self._ready, lambda: self.steps)
        self._is_closed = False
        self._is_stopping = False

    # ------------------------------------------------------------------ futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Start a task. See `asyncio.loop.create_task`."""
        self._number += 1
        task = SimulatedTask(
            coro, loop=self, number=self._number, order=self._order, name=name, context=context
        )
        # Kept until it is done: see `SimulatedProcess.hold`.
        self._tasks[task] = None
        if len(self._tasks) > self._look_at_tasks:
            self._tasks = {each: None for each in self._tasks if not each.done()}
            self._look_at_tasks = 2 * len(self._tasks) + _COMPACT_ABOVE
        return task

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function where it is handed over; the future is done at once."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except StopIteration as error:
            # A future cannot hold this one.
            future.set_exception(RuntimeError(f"the job raised {error!r}"))
        except Exception as error:  # noqa: BLE001 - it is handed on
            future.set_exception(error)
        return future

    # --------------------------------------------------------------------------- running

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until something is done, and return its result.

        Args:
            future: A coroutine or a future.

        Raises:
            SimulationStuck: Nothing can happen any more, or far too much has happened.
            SimulationRefused: Another event loop runs in this thread, or this one is closed.
        """
        try:
            self.check_startable()
        except SimulationRefused:
            if isinstance(future, Coroutine):
                future.close()
            raise
        awaited = self._as_future(future)
        awaited.add_done_callback(self._stop_when_done)
        try:
            self.run_forever()
        finally:
            awaited.remove_done_callback(self._stop_when_done)
            if awaited.done() and not awaited.cancelled():
                awaited.exception()  # Whatever leaves here is what it failed with, or worse.
        if not awaited.done():
            raise SimulationStuck("somebody has stopped the event loop", self._waiting())
        return awaited.result()

    def _as_future(self, awaited: Generator[Any, None, T] | Awaitable[T]) -> asyncio.Future[T]:
        if isinstance(awaited, asyncio.Future):
            return awaited
        if asyncio.iscoroutine(awaited):
            return self.create_task(awaited)
        return self.create_task(_await(awaited))

    def _stop_when_done(self, _: asyncio.Future[Any]) -> None:
        self._is_stopping = True

    def run_forever(self) -> None:
        """Run until `stop` is called.

        Raises:
            SimulationStuck: Nothing can happen any more, or far too much has happened.
            SimulationRefused: Another event loop runs in this thread, or this one is closed.
        """
        self.check_startable()
        steps_max = self.settings.steps_max
        with self._as_running_loop():
            while not self._is_stopping:
                if not self.step():
                    raise SimulationStuck("nothing can happen any more", self._waiting())
                if self.steps > steps_max:
                    what = (
                        f"after {self.steps:,} steps and {self.time():,.0f} virtual seconds it has "
                        "not ended. Either somebody waits for what never comes (a process of the "
                        "cluster is missing?), or LoopSettings(steps_max=...) is too small"
                    )
                    raise SimulationStuck(what, self._waiting())

    def check_startable(self) -> None:
        """Do nothing, if the loop can run now.

        Raises:
            SimulationRefused: Another event loop runs in this thread, or this one is closed.
        """
        if self._is_closed:
            raise SimulationRefused("to run it again", "its event loop is closed")
        if events._get_running_loop() is not None:  # noqa: SLF001 - there is no other way to ask
            raise SimulationRefused(
                "to begin one",
                "another event loop runs in this thread; call it from a plain function (`def`)",
            )

    @contextmanager
    def _as_running_loop(self) -> Generator[None]:
        collects = gc.isenabled()
        gc.disable()
        self._is_stopping = False
        events._set_running_loop(self)  # noqa: SLF001 - what every event loop does
        try:
            with self._generators.watched(), refuse_the_real_world():
                yield
        finally:
            events._set_running_loop(None)  # noqa: SLF001
            if collects:
                gc.enable()

    def _waiting(self) -> list[str]:
        waiting = waiting_tasks(list(self._tasks))
        more = len(waiting) - _NAMED
        return [*waiting[:_NAMED], f"and {more} more"] if more > 0 else waiting

    # ---------------------------------------------------------------------------- ending

    def stop(self) -> None:
        """Stop after the present step."""
        self._is_stopping = True

    def is_running(self) -> bool:
        """Return whether it runs in this thread."""
        return events._get_running_loop() is self  # noqa: SLF001 - see above

    def is_closed(self) -> bool:
        """Return whether it was closed."""
        return self._is_closed

    def bury(self) -> None:
        """Cancel what is left, of killed processes too, so that nothing of it runs later.

        What goes wrong meanwhile is not looked at: the run is over. What was failed before, and
        nobody has looked at even now, is added to `errors`.
        """
        self.check_startable()
        failed = [task for task in self._tasks if task.is_unnoticed]
        self._is_burying = True
        with self._as_running_loop():
            interrupt = self._bury_all()
        for task in asyncio.all_tasks(self):
            end_by_force(task)
        for task in failed:
            if task.is_unnoticed:
                message = f"{task.describe()} has failed, and nobody has looked at it"
                self.errors.append({"message": message, "exception": task.exception()})
        if interrupt is not None:
            raise interrupt

    def _bury_all(self) -> KeyboardInterrupt | None:
        interrupt: KeyboardInterrupt | None = None
        for _ in range(_BURIAL_ROUNDS):
            try:
                if not self._bury_some():
                    break
            except KeyboardInterrupt as error:
                interrupt = error
        return interrupt

    def _bury_some(self) -> bool:
        """Cancel all tasks, and let them run; return whether there was anything to do."""
        left: list[asyncio.Task[Any]] = [task for task in self._tasks if not task.done()]
        left += [task for task in asyncio.all_tasks(self) if task not in self._tasks]
        for task in left:
            task.cancel()
        is_more = bool(left) or self._generators.close_all() or bool(self._ready)
        self._run_what_is_ready(_BURIAL_STEPS + _BURIAL_STEPS_EACH * len(left))
        return is_more

    def close(self) -> None:
        """Forget everything. What still runs should be buried first."""
        self._is_closed = True
        self._ready.clear()
        self._timers.clear()
        self._tasks.clear()

    # ---------------------------------------------------------------------------- errors

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody looked at, in `errors`."""
        if not self._is_burying:
            self.errors.append(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody looked at, in `errors`."""
        self.call_exception_handler(context)


async def _await(awaitable: Generator[Any, None, T] | Awaitable[T]) -> T:
    if not isinstance(awaitable, Awaitable):
        raise TypeError(f"a coroutine or a future is needed, not {awaitable!r}")
    return await awaitable
