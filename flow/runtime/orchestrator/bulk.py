"""Bulk control: one command for all executions that match a filter.

The executions are taken from the store page by page, the newest first, each page beginning behind
the last one: what changes by the command does not move the pages. The owner of each is asked, a
bounded number at the same time. The command's id is the same for all, and owners obey a command
once, so that a bulk that is begun again, by whomever, repeats nothing.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from flow.errors import (
    FlowError,
    InvalidInput,
    NotPossible,
    UnavailableError,
    UnknownExecution,
)
from flow.names import check_name
from flow.ports import ExecutionQuery, Store
from flow.runtime.addresses import partition_of
from flow.runtime.asking import Asker
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.lookups import query_of
from flow.runtime.protocol import Request
from flow.runtime.tasks import TaskGroup
from flow.status import Status

__all__ = ["Bulk", "Joint", "Order", "Tally", "carry_out"]

PAGE: Final = 500
"""So many executions are taken from the store at a time."""
IN_FLIGHT: Final = 100
"""So many owners are asked at the same time."""
ANSWER_WITHIN_S: Final = 60.0
"""Seconds within which an owner has to answer; longer than a partition goes without one."""
FAILED_SHOWN: Final = 100
"""So many executions that could not be reached are named."""
KEPT: Final = 100
"""So many results are kept for those who ask again."""

_OPEN: Final = (Status.PENDING, Status.RUNNING, Status.SUSPENDING, Status.SUSPENDED)
_DEFAULTS: Final = {
    "suspend": (Status.PENDING, Status.RUNNING),
    "resume": (Status.SUSPENDING, Status.SUSPENDED),
    "abort": _OPEN,
    # What has succeeded is undone only if that is said.
    "undo": (Status.FAILURE, Status.ABORTED),
}
"""Which executions each verb is for, where the filter names no statuses."""
_PASSED_ON: Final = ("reason", "clock", "compensate", "steps")


@dataclass(slots=True)
class Tally:
    """What came of a bulk.

    Args:
        matched: How many executions matched.
        done: How many owners have obeyed.
        refused: How many could not, by reason.
        failed: How many owners did not answer in time.
        failed_ids: The first of these executions.
    """

    matched: int = 0
    done: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    failed: int = 0
    failed_ids: list[str] = field(default_factory=list[str])

    def note(self, execution: str, error: FlowError | None) -> None:
        """Count what came of one execution.

        Args:
            execution: Its id.
            error: Why it was not done, or None.
        """
        if error is None:
            self.done += 1
        elif isinstance(error, UnavailableError):
            self.failed += 1
            if len(self.failed_ids) < FAILED_SHOWN:
                self.failed_ids.append(execution)
        else:
            self.refused[_reason(error)] += 1

    def document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "matched": self.matched,
            "done": self.done,
            "refused": self.refused.total(),
            "reasons": dict(self.refused),
            "failed": self.failed,
            "failed_ids": self.failed_ids,
        }


def _reason(error: FlowError) -> str:
    """Return the same words for all executions that are refused for the same reason."""
    if isinstance(error, NotPossible):
        return f"it is {error.status}" + (f"; {error.hint}" if error.hint else "")
    return type(error).__name__


@dataclass(frozen=True, slots=True)
class Order:
    """What each of the executions is asked.

    Args:
        verb: `suspend`, `resume`, `abort` or `undo`.
        arguments: The arguments of the request.
        actor: Who wants it, for histories.
        within_s: Seconds within which each owner has to answer; None for as long as it takes.
    """

    verb: str
    arguments: Mapping[str, Any]
    actor: str = ""
    within_s: float | None = ANSWER_WITHIN_S


async def carry_out(engine: Engine, asker: Asker, query: ExecutionQuery, order: Order) -> Tally:
    """Ask the owners of all executions that match.

    Args:
        engine: The orchestrator's state.
        asker: Asks.
        query: Which executions; its page and limit are put in.
        order: What to ask.

    Raises:
        StoreUnavailable: The store cannot be asked; some may have been asked already.
    """
    tally = Tally()
    async for page in _pages(engine.store, query):
        tally.matched += len(page)
        names = iter(page)
        async with TaskGroup() as group:
            askers = [
                group.start(_ask_each(engine, asker, names, order, tally), f"bulk {number}")
                for number in range(min(IN_FLIGHT, len(page)))
            ]
            await asyncio.wait(askers)
    return tally


async def _pages(store: Store, query: ExecutionQuery) -> AsyncIterator[list[str]]:
    """Go through the ids of all executions that match, page by page."""
    marks = [query.before]
    while marks:
        try:
            page = await store.list(replace(query, before=marks[-1], limit=PAGE))
        except UnknownExecution:
            # It was deleted meanwhile. The one before it is asked for a second time, which does
            # nothing to it.
            marks.pop()
            continue
        if not page:
            return
        names = [summary.id for summary in page]
        yield names
        marks += names
        del marks[1:-PAGE]


async def _ask_each(
    engine: Engine,
    asker: Asker,
    names: Iterator[str],
    order: Order,
    tally: Tally,
) -> None:
    for name in names:
        request = Request(
            verb=order.verb,
            arguments=order.arguments,
            execution=name,
            actor=order.actor,
        )
        key = str(partition_of(name, engine.partitions))
        try:
            await asker.ask(request, engine.addresses.mailbox, key, order.within_s)
        except FlowError as error:
            tally.note(name, error)
        else:
            tally.note(name, None)


class Joint:
    """Does each thing once: whoever asks for the same again waits for the same result."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._results: OrderedDict[str, asyncio.Future[Any]] = OrderedDict()

    async def run(self, key: str, action: Callable[[], Awaitable[Any]]) -> Any:
        """Return the result of an action, which is begun unless it is under way or done.

        Args:
            key: The same for the same action.
            action: What to do. If it fails, it is begun anew for whoever asks next.
        """
        present = self._results.get(key)
        if present is not None:
            # Not awaited itself: whoever gives up waiting would cancel it for all.
            await asyncio.wait([present])
            return present.result()
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._results[key] = result
        try:
            value = await action()
        except BaseException as error:
            del self._results[key]
            if isinstance(error, Exception):
                result.set_exception(error)
                # Nobody may have joined.
                result.exception()
            else:
                result.cancel()
            raise
        result.set_result(value)
        self._forget_oldest()
        return value

    def _forget_oldest(self) -> None:
        done = [key for key, result in self._results.items() if result.done()]
        for key in done[: max(0, len(done) - KEPT)]:
            del self._results[key]


class Bulk:
    """Answers the verb `bulk`.

    Args:
        engine: The orchestrator's state.
        asker: Asks the owners.

    Attributes:
        verbs: What can be asked for, by verb.
    """

    def __init__(self, engine: Engine, asker: Asker) -> None:
        """Begin with no bulk under way."""
        self._engine = engine
        self._asker = asker
        self._joint = Joint()
        self.verbs: dict[str, Callable[[Request], Awaitable[Any]]] = {"bulk": self._bulk}

    async def _bulk(self, request: Request) -> Any:
        arguments = request.arguments
        verb = str(arguments.get("verb"))
        wanted: Any = arguments.get("filter") or {}
        if verb not in _DEFAULTS:
            raise InvalidInput("verb", f"it is one of {', '.join(_DEFAULTS)}")
        if not isinstance(wanted, dict):
            raise InvalidInput("filter", "it is not an object")
        command = check_name("command", arguments.get("command") or request.correlation)
        query = query_of({**cast("dict[str, Any]", wanted), "before": "", "limit": PAGE})
        query = replace(query, statuses=query.statuses or _DEFAULTS[verb])
        passed_on = {name: arguments[name] for name in _PASSED_ON if name in arguments}
        order = Order(verb, {"command": command, **passed_on}, request.actor)

        async def carry() -> Any:
            return (await carry_out(self._engine, self._asker, query, order)).document()

        return await self._joint.run(command, carry)
