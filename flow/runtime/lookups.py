"""Lookups: requests that read the store or change definitions; each runs in a task of its own."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from flow import codec
from flow.errors import InvalidInput, UnknownExecution
from flow.names import check_name
from flow.ports import ExecutionQuery
from flow.runtime.engine import Engine
from flow.runtime.protocol import Request
from flow.runtime.views import history_view, summary_view
from flow.status import Status

__all__ = ["Lookups", "number_in", "query_of"]

HISTORY_PAGE: Final = 1_000
LIST_LIMIT: Final = 10_000


class Lookups:
    """Answers requests from the store.

    Args:
        engine: The orchestrator's state.

    Attributes:
        verbs: What can be asked for, by verb.
    """

    def __init__(self, engine: Engine) -> None:
        """Know all verbs."""
        self._engine = engine
        self.verbs: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "namespace": self._namespace,
            "list": self._list,
            "history": self._history,
            "workflow.save": self._save_workflow,
            "workflow.load": self._load_workflow,
            "workflow.list": self._list_workflows,
            "workflow.remove": self._remove_workflow,
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

    async def _save_workflow(self, request: Request) -> Any:
        document = request.arguments.get("definition")
        definition = codec.decode_definition(codec.dumps(document))
        (hash_,) = await self._engine.definitions.save([definition])
        return {"workflow": definition.id, "hash": hash_}

    async def _load_workflow(self, request: Request) -> Any:
        known = self._engine.definitions.current(str(request.arguments.get("workflow")))
        document = codec.loads(codec.encode_definition(known.definition))
        return {"hash": known.hash, "definition": document}

    async def _list_workflows(self, _request: Request) -> Any:
        return [
            {
                "id": known.definition.id,
                "version": known.definition.version,
                "hash": known.hash,
                "steps": len(known.definition.steps),
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
