"""A store that a simulated process reaches over a network, and that fails now and then.

Theory of operation
-------------------
Each call travels to the store over a link, is done there in the outside world, and its answer
travels back. So a call that has left its process is done whatever becomes of the process, and what
comes back to a process that is paused waits until it goes on. Between the two lie all faults: a
call that never arrives, one that is done and reported as failed, one that is done when everybody
has given it up. What the real store itself refuses comes back as it is.

A caller waits for a bounded time, as it does at a real server, and then knows nothing.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from flow.errors import StoreUnavailable
from flow.ports import Commit, CommitResult, Lease, Renewal, Store
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import StoreFaults
from flow.testing.simulation.loop import SimulatedLoop
from flow.testing.simulation.network import Link
from flow.testing.simulation.processes import OUTSIDE, SimulatedProcess
from flow.testing.simulation.tasks import start_outside

__all__ = ["SimulatedStore", "StoreConditions", "StoreObserver", "simulated_store"]

StoreObserver: TypeAlias = "Callable[[str, SimulatedProcess, tuple[Any, ...], Any], None]"
"""Told what a store has done: the method, who asked, the arguments, the result or the error."""

DEADLINE_S: Final = 15.0
"""Seconds after which a caller gives up."""
DEADLINES: Final[Mapping[str, float]] = {"renew": 4.0}
"""Seconds for calls that have less time: a renewal has to end before the next one."""
LATEST_S: Final = 60.0
"""Seconds after which a late call is done at the latest."""
LINGER_S: Final = 90.0
"""Seconds for which the store goes on with what a process has asked for that is gone."""
SILENT: Final = 0.25
"""How often a store that is down does not even refuse the connection."""
_POINTED: Final = frozenset({"commit", "renew"})


@dataclass(slots=True)
class StoreConditions:
    """How a store is at the moment, for all processes of a cluster. Everything may be changed.

    Args:
        faults: How often something goes wrong.
        is_up: Whether it does anything at all.
        failpoints: Where processes crash, or None.
        observers: Told of each call in the moment in which the store has done it.
    """

    faults: StoreFaults = field(default_factory=StoreFaults)
    is_up: bool = True
    failpoints: Failpoints | None = None
    observers: list[StoreObserver] = field(default_factory=list[StoreObserver])


class _Call:
    """A call that is under way.

    Attributes:
        method: What is called.
        args: What it is called with.
        answered: Done when the caller knows the outcome, which may be an exception.
        is_cut: Whether it will not arrive.
        is_lost: Whether its answer will not arrive, unless that is an error.
    """

    __slots__ = ("answered", "args", "is_cut", "is_lost", "method")

    def __init__(self, method: str, args: tuple[Any, ...], answered: asyncio.Future[Any]) -> None:
        self.method = method
        self.args = args
        self.answered = answered
        self.is_cut = False
        self.is_lost = False

    def settle(self, outcome: Any) -> None:
        """Hand the outcome to the caller, unless there is one already.

        Args:
            outcome: The result or the error.
        """
        if self.is_lost and not isinstance(outcome, StoreUnavailable):
            return
        if not self.answered.done():
            self.answered.set_result(outcome)


class _StoreEnd:
    """The store's end of a connection. Everything in it happens in the outside world.

    Args:
        store: The real store.
        process: The process at the other end.
        link: The way there.
        conditions: How the store is at the moment.
        note: Adds a line to the trace.
    """

    def __init__(
        self,
        store: Store,
        process: SimulatedProcess,
        link: Link,
        conditions: StoreConditions,
        note: Callable[[str, str], None],
    ) -> None:
        self._store = store
        self._process = process
        self._link = link
        self._conditions = conditions
        self._note = note
        self._is_connected = False
        self._farewell: asyncio.TimerHandle | None = None

    def arrive(self, call: _Call) -> None:
        """Take a call.

        Args:
            call: The call.
        """
        if call.is_cut:
            return
        if self._conditions.is_up:
            start_outside(self._link.loop, self._serve(call), "store: serve a call")
        elif not self._link.happens(SILENT):
            self._link.answer(call.settle, self._unavailable("the connection was refused"))

    def keep(self) -> None:
        """Do not close the real store, should that be about to happen."""
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None

    def close_later(self) -> None:
        """Close the real store when everything that is under way has arrived."""
        self.keep()
        self._farewell = self._link.loop.call_later(
            LINGER_S, self.close_soon, context=OUTSIDE.copy()
        )

    def close_soon(self) -> None:
        """Close the real store in one of the next steps."""
        self._is_connected = False
        start_outside(self._link.loop, self._store.close(), "store: close")

    async def _serve(self, call: _Call) -> None:
        outcome: Any
        try:
            outcome = await self._do(call)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            outcome = error
        self._observe(call, outcome)
        conditions = self._conditions
        _reach(conditions, self._process, call.method, "done")
        if not conditions.is_up or self._is_unknown(call):
            self._note(f"{call.method} unknown", "it was done")
            outcome = self._unavailable("the connection was lost")
        self._link.answer(call.settle, outcome)

    async def _do(self, call: _Call) -> Any:
        if call.method == "open" and self._is_connected:
            # Nobody has heard of the connection that was made before.
            self._is_connected = False
            await self._store.close()
        outcome = await getattr(self._store, call.method)(*call.args)
        if call.method == "open":
            self._is_connected = True
        return outcome

    def _is_unknown(self, call: _Call) -> bool:
        return call.method != "open" and self._link.happens(self._conditions.faults.unknown)

    def _observe(self, call: _Call, outcome: Any) -> None:
        described = _DESCRIBED.get(call.method)
        if isinstance(outcome, Exception):
            self._note(call.method, repr(outcome))
        elif described is not None:
            self._note(call.method, described(call.args, outcome))
        try:
            for observe in self._conditions.observers:
                observe(call.method, self._process, call.args, outcome)
        except Exception as error:  # noqa: BLE001 - it fails the run, and not the store
            what = f"an observer of the store raised at a call of {call.method}"
            self._link.loop.call_exception_handler({"message": what, "exception": error})

    def _unavailable(self, reason: str) -> StoreUnavailable:
        return StoreUnavailable(self._store.url, reason)


class SimulatedStore:
    """A store at the other end of a network. Its methods are made as they are asked for.

    Args:
        store: The real one, which nobody else uses.
        process: The process that uses it.
        link: The way there.
        loop: The event loop.
        conditions: How the store is at the moment.
        note: Adds a line to the trace.
    """

    def __init__(
        self,
        store: Store,
        process: SimulatedProcess,
        link: Link,
        loop: SimulatedLoop,
        conditions: StoreConditions,
        note: Callable[[str, str], None],
    ) -> None:
        """Begin without a connection."""
        self._store = store
        self._process = process
        self._link = link
        self._loop = loop
        self._conditions = conditions
        self._note = note
        self._end = _StoreEnd(store, process, link, conditions, note)
        self._pending: dict[_Call, None] = {}
        self._is_closed = False

    @property
    def url(self) -> str:
        """Where the store is."""
        return self._store.url

    @property
    def exclusive(self) -> bool:
        """Whether nobody else can have it."""
        return self._store.exclusive

    def __getattr__(self, name: str) -> Any:
        """Return what the real store has under a name; a method is called over the network.

        Args:
            name: The name.

        Raises:
            AttributeError: The real store has none.
        """
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                bound = inspect.signature(method).bind(*args, **kwargs)
                bound.apply_defaults()
                args = bound.args
            return await self._ask(name, args)

        setattr(self, name, call)
        return call

    async def open(self, *args: Any) -> Any:
        """Connect. See `flow.ports.Store`.

        Args:
            args: What the real store is given.
        """
        self._is_closed = False
        self._end.keep()
        return await self._ask("open", args)

    async def close(self) -> None:
        """Disconnect. What is under way at a shared store is done nevertheless."""
        self._is_closed = True
        if self._process.is_dead or self._loop.is_burying:
            return
        if self._store.exclusive:
            await self._store.close()
        else:
            self._end.close_later()

    def die(self) -> None:
        """Take note that the process was killed."""
        self._is_closed = True
        if self._store.exclusive:
            self._end.close_soon()
        else:
            self._end.close_later()

    # --------------------------------------------------------------------------- privately

    async def _ask(self, method: str, args: tuple[Any, ...]) -> Any:
        if self._is_closed or self._loop.is_burying:
            raise StoreUnavailable(self.url, "it is not open")
        _reach(self._conditions, self._process, method, "before")
        answered: asyncio.Future[Any] = self._loop.create_future()
        if self._process.is_dead:
            return await answered
        call = _Call(method, args, answered)
        deadline_s = DEADLINES.get(method, DEADLINE_S)
        alarm = self._loop.call_later(deadline_s, self._give_up, call, deadline_s)
        self._pending[call] = None
        try:
            self._send(call)
            outcome = await answered
        finally:
            alarm.cancel()
            del self._pending[call]
        _reach(self._conditions, self._process, method, "after")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _send(self, call: _Call) -> None:
        faults, link = self._conditions.faults, self._link
        if link.happens(faults.failed):
            self._fail(call, "it was not done")
            return
        if link.happens(faults.late) and call.method != "open":
            # Mostly soon, while the caller tries again; now and then when all is long over.
            wait_s = LATEST_S * link.upto(1.0) ** 3
            self._fail(call, f"it will be done {wait_s:.3f} s later")
            self._loop.call_later(wait_s, link.send, self._end.arrive, call, context=OUTSIDE.copy())
            return
        link.send(self._end.arrive, call)
        if link.happens(faults.lost):
            self._lose()

    def _lose(self) -> None:
        """Break the connection: nobody learns any more what becomes of what is under way."""
        for call in self._pending:
            call.is_lost = True
            call.is_cut = self._link.happens(0.5)
            self._fail(call, "the connection was lost")

    def _fail(self, call: _Call, reason: str) -> None:
        self._note(f"{call.method} failed", reason)
        self._link.answer(call.settle, self._unavailable("the simulation says so"))

    def _give_up(self, call: _Call, deadline_s: float) -> None:
        call.settle(self._unavailable(f"it has not answered within {deadline_s:g} s"))

    def _unavailable(self, reason: str) -> StoreUnavailable:
        return StoreUnavailable(self.url, reason)


def _reach(
    conditions: StoreConditions, process: SimulatedProcess, method: str, moment: str
) -> None:
    failpoints = conditions.failpoints
    if failpoints is not None and method in _POINTED:
        failpoints.reach(process, f"{method}.{moment}")


def simulated_store(
    store: Store,
    process: SimulatedProcess,
    link: Link,
    loop: SimulatedLoop,
    conditions: StoreConditions,
    note: Callable[[str, str], None],
) -> Store:
    """Return a store that does what another one does, at the other end of a faulty network.

    Args:
        store: The real one, which nobody else uses. Several may work on the same data.
        process: The process that uses it.
        link: The way there.
        loop: The event loop.
        conditions: How the store is at the moment.
        note: Adds a line to the trace: what happened, and the rest.
    """
    return cast("Store", SimulatedStore(store, process, link, loop, conditions, note))


# ------------------------------------------------------------------------------- the trace


def _commit(args: tuple[Any, ...], result: CommitResult) -> str:
    commit: Commit = args[0]
    parts = [f"p{lease.partition}@{lease.epoch}" for lease in commit.leases]
    parts += [f"{write.summary.id}#{write.seq}" for write in commit.writes]
    parts += [f"{execution}~{wake_ms}" for execution, wake_ms in commit.wakes]
    parts += [f"-{execution}" for execution in commit.deletes]
    parts.append(f"outbox {len(commit.outbox)} settled {len(commit.settled)}")
    if result.lost or result.conflicts:
        parts.append(f"lost {sorted(result.lost)} conflicts {sorted(result.conflicts)}")
    return " ".join(parts)


def _acquire(args: tuple[Any, ...], lease: Lease | None) -> str:
    return f"p{args[0]} " + ("is taken" if lease is None else f"epoch {lease.epoch}")


def _renew(args: tuple[Any, ...], renewal: Renewal) -> str:
    return f"held {sorted(renewal.held)} of {len(args[1])}, members {len(renewal.members)}"


def _load(args: tuple[Any, ...], found: Mapping[str, object]) -> str:
    return f"{' '.join(args[0])}: {len(found)} found"


def _release(args: tuple[Any, ...], _: object) -> str:
    return " ".join(f"p{lease.partition}@{lease.epoch}" for lease in args[0])


def _arguments(args: tuple[Any, ...], _: object) -> str:
    return " ".join(map(str, args))


_DESCRIBED: Final[Mapping[str, Callable[[tuple[Any, ...], Any], str]]] = {
    "acquire": _acquire,
    "commit": _commit,
    "incarnate": _arguments,
    "leave": _arguments,
    "load": _load,
    "pause": _arguments,
    "release": _release,
    "remove_definition": _arguments,
    "remove_step": _arguments,
    "renew": _renew,
}
"""What the trace says of calls; of those that are not here it tells errors only."""
