"""Lookups: requests that read the store or change definitions; each runs in a task of its own."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from flow import codec
from flow.catalogue import OpenDefinition
from flow.errors import InvalidInput, UnknownExecution
from flow.names import check_name
from flow.ports import ExecutionQuery
from flow.runtime.asking import Asker
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.members import PRUNED, Members
from flow.runtime.orchestrator.views import history_view, summary_view
from flow.runtime.protocol import Request
from flow.status import Status

__all__ = ["Lookups", "number_in", "query_of"]

HISTORY_PAGE: Final = 1_000
LIST_LIMIT: Final = 10_000
PRUNE_PAGE: Final = 500
DEDUPE_FOR_S: Final = 30 * 86_400
"""So long the id of an execution that was pruned stays taken, if nobody says otherwise."""


class Lookups:
    """Answers requests from the store.

    Args:
        engine: The orchestrator's state.
        asker: Asks the owners of other partitions.
        members: The other orchestrators.

    Attributes:
        verbs: What can be asked for, by verb.
    """

    def __init__(self, engine: Engine, asker: Asker, members: Members) -> None:
        """Know all verbs."""
        self._engine = engine
        self._members = members
        self._asker = asker
        self.verbs: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "namespace": self._namespace,
            "list": self._list,
            "history": self._history,
            "prune": self._prune,
            "stats": self._stats,
            "workflow.save": self._save_workflow,
            "workflow.load": self._load_workflow,
            "workflow.list": self._list_workflows,
            "workflow.remove": self._remove_workflow,
            **engine.catalogue.verbs,
        }

    async def _namespace(self, _request: Request) -> Any:
        engine = self._engine
        name = engine.addresses.namespace
        return {"namespace": name, "partitions": engine.partitions}

    async def _list(self, request: Request) -> Any:
        query = query_of(request.arguments)
        return [summary_view(summary) for summary in await self._engine.store.list(query)]

    async def _history(self, request: Request) -> Any:
        after = number_in(request.arguments, "after", 0)
        limit = min(number_in(request.arguments, "limit", HISTORY_PAGE), HISTORY_PAGE)
        records = await self._engine.store.history(request.execution, after, limit)
        if not records and not after:
            raise UnknownExecution(request.execution)
        return [history_view(record) for record in records]

    async def _prune(self, request: Request) -> Any:
        """Delete what ended long ago, in pages, and keep tombstones for a while."""
        engine = self._engine
        older_s = number_in(request.arguments, "older_than_s", -1)
        kept_s = number_in(request.arguments, "dedupe_for_s", DEDUPE_FOR_S)
        if older_s < 0 or kept_s < 0:
            raise InvalidInput("older_than_s, dedupe_for_s", "they are numbers of seconds")
        now = engine.clock.now_ms()
        ended_before, forget_before = now - older_s * 1000, now - (older_s + kept_s) * 1000
        executions = tombstones = 0
        has_more = True
        while has_more:
            pruned = await engine.store.prune(ended_before, forget_before, PRUNE_PAGE)
            executions += pruned.executions
            tombstones += pruned.tombstones
            has_more = pruned.has_more
        # Whoever has one of them in memory would go on to know it, if it is not told.
        engine.residents.forget_ended(ended_before)
        self._members.tell(PRUNED, before_ms=ended_before)
        return {"executions": executions, "tombstones": tombstones}

    async def _stats(self, _request: Request) -> Any:
        engine = self._engine
        return {
            "owner": engine.owner,
            "partitions": sorted(engine.leases),
            "live": len(engine.residents),
            "unsettled": engine.dispatcher.unsettled,
            "waited_for": len(engine.waiters),
            "asked": len(self._asker),
            "counters": {**engine.counters, "late answers": self._asker.late},
        }

    async def _save_workflow(self, request: Request) -> Any:
        document = request.arguments.get("definition")
        definition = codec.decode_definition(codec.dumps(document))
        names = request.arguments.get("names")
        if names:
            wanted = tuple(check_name("step", name) for name in names)
            definition = await self._engine.catalogue.close(OpenDefinition(definition, wanted))
        (hash_,) = await self._engine.definitions.save([definition])
        return {"workflow": definition.id, "hash": hash_}

    async def _load_workflow(self, request: Request) -> Any:
        known = self._engine.definitions.current(str(request.arguments.get("workflow")))
        document = codec.loads(codec.encode_definition(known.definition))
        return {"hash": known.hash, "definition": document}

    async def _list_workflows(self, _request: Request) -> Any:
        paused = await self._engine.store.pauses()
        return [
            {
                "id": known.definition.id,
                "version": known.definition.version,
                "hash": known.hash,
                "steps": len(known.definition.steps),
                "paused": known.definition.id in paused,
            }
            for known in self._engine.definitions.all()
        ]

    async def _remove_workflow(self, request: Request) -> Any:
        workflow = check_name("workflow", request.arguments.get("workflow"))
        await self._engine.definitions.remove(workflow)
        return {"removed": workflow}


def query_of(arguments: Mapping[str, Any]) -> ExecutionQuery:
    """Return the query that the arguments of `list` describe.

    Args:
        arguments: `statuses`, `workflow`, `labels`, `incidents`, `before`, `limit`.

    Raises:
        InvalidOption: A status has an unknown name.
    """
    statuses = tuple(Status.parse(str(name)) for name in arguments.get("statuses") or ())
    return ExecutionQuery(
        statuses=statuses,
        workflow=str(arguments.get("workflow") or ""),
        labels=dict(arguments.get("labels") or {}),
        incidents=bool(arguments.get("incidents")),
        before=str(arguments.get("before") or ""),
        limit=max(1, min(number_in(arguments, "limit", 100), LIST_LIMIT)),
    )


def number_in(arguments: Mapping[str, Any], name: str, default: int) -> int:
    """Return a whole number that a request's arguments hold.

    Args:
        arguments: The arguments.
        name: The number's name.
        default: What it is if it is not there.

    Raises:
        InvalidInput: It is something else.
    """
    value = arguments.get(name, default)
    if not isinstance(value, int):
        raise InvalidInput(name, "it is not a whole number")
    return value
