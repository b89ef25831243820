"""The reader: answers what only has to be looked at, while nobody runs the flow.

It has the `ask` of a client for the verbs that change nothing, and reads the store itself. What
only a running process knows (who waits for an endpoint, what heartbeats said) is not in its
answers.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from flow import codec
from flow.errors import (
    CorruptRecord,
    ExecutionPruned,
    FlowError,
    NotPossible,
    UnknownExecution,
    UnknownStep,
)
from flow.ports import Clock, Namespace, Store, Tombstone
from flow.runtime.orchestrator.catalogue import page_of, step_of
from flow.runtime.orchestrator.definitions import Definitions
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.orchestrator.lookups import HISTORY_PAGE, query_of
from flow.runtime.orchestrator.reports import report_of
from flow.runtime.orchestrator.residents import restore
from flow.runtime.orchestrator.views import execution_view, history_view, step_view, summary_view

__all__ = ["Reader"]


class Reader:
    """Reads a store, and answers like an orchestrator.

    Args:
        store: The store; it is opened and closed here.
        clock: The time.
        namespace: The name of the flow.
    """

    def __init__(self, store: Store, clock: Clock, namespace: str) -> None:
        """Prepare; nothing is read before `open`."""
        self._store = store
        self._wish = Namespace(namespace, 0)
        self._namespace = self._wish
        self._definitions = Definitions(store, clock)
        self._verbs: dict[str, Callable[[Mapping[str, Any], str], Awaitable[Any]]] = {
            "namespace": self._tell_namespace,
            "list": self._list,
            "show": self._show,
            "report": self._report,
            "step": self._step,
            "watch": self._watch,
            "history": self._history,
            "workflow.load": self._load_workflow,
            "workflow.list": self._list_workflows,
            "workflow.pauses": self._list_pauses,
            "steps": self._list_steps,
            "step.get": self._get_step,
        }

    async def open(self) -> None:
        """Open the store, and read which workflows there are.

        Raises:
            StoreUnavailable: It cannot be read.
            ConfigurationError: It belongs to another namespace.
        """
        self._namespace = await self._store.open(self._wish)
        await self._definitions.load()

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def ask(
        self,
        verb: str,
        arguments: Mapping[str, Any],
        execution: str = "",
        within_s: float | None = None,
    ) -> Any:
        """Answer what a client would ask an orchestrator.

        Args:
            verb: What to tell; see `flow.runtime.orchestrator.requests`.
            arguments: A JSON object.
            execution: The execution that it is about, or an empty string.
            within_s: Is here because a client has it: reading is not waited for.

        Raises:
            FlowError: What an orchestrator would refuse with.
            NotPossible: The verb changes something, or waits.
        """
        answer = self._verbs.get(verb)
        if answer is None:
            hint = "it is only being read"
            raise NotPossible(verb, execution, "not run by any process", hint)
        return await answer(arguments, execution)

    async def _tell_namespace(self, _arguments: Mapping[str, Any], _execution: str) -> Any:
        return {"namespace": self._namespace.name, "partitions": self._namespace.partitions}

    async def _list(self, arguments: Mapping[str, Any], _execution: str) -> Any:
        return [summary_view(row) for row in await self._store.list(query_of(arguments))]

    async def _show(self, _arguments: Mapping[str, Any], execution: str) -> Any:
        live = await self._load(execution)
        view = execution_view(live.id, live.tree, live.program.plan)
        return {**view, "seq": live.seq}

    async def _report(self, _arguments: Mapping[str, Any], execution: str) -> Any:
        return report_of(await self._load(execution)).to_dict()

    async def _step(self, arguments: Mapping[str, Any], execution: str) -> Any:
        live = await self._load(execution)
        step = str(arguments.get("step"))
        view = step_view(live.tree, live.program.plan, step)
        if view is None:
            known = list(live.program.plan.index)[:1000]
            raise UnknownStep(step, f"execution {live.id!r}", known)
        return view

    async def _watch(self, _arguments: Mapping[str, Any], execution: str) -> Any:
        live = await self._load(execution)
        return {"status": live.status.value, "seq": live.seq}

    async def _history(self, arguments: Mapping[str, Any], execution: str) -> Any:
        after, limit = int(arguments.get("after", 0)), int(arguments.get("limit", HISTORY_PAGE))
        records = await self._store.history(execution, after, min(limit, HISTORY_PAGE))
        if not records and not after:
            raise UnknownExecution(execution)
        return [history_view(record) for record in records]

    async def _load_workflow(self, arguments: Mapping[str, Any], _execution: str) -> Any:
        known = self._definitions.current(str(arguments.get("workflow")))
        document = codec.loads(codec.encode_definition(known.definition))
        return {"hash": known.hash, "definition": document}

    async def _list_pauses(self, _arguments: Mapping[str, Any], _execution: str) -> Any:
        return dict(await self._store.pauses())

    async def _list_steps(self, arguments: Mapping[str, Any], _execution: str) -> Any:
        return page_of(await self._store.steps(), arguments)

    async def _get_step(self, arguments: Mapping[str, Any], _execution: str) -> Any:
        return step_of(await self._store.steps(), arguments)

    async def _list_workflows(self, _arguments: Mapping[str, Any], _execution: str) -> Any:
        paused = await self._store.pauses()
        return [
            {
                "id": known.definition.id,
                "version": known.definition.version,
                "hash": known.hash,
                "steps": len(known.definition.steps),
                "paused": known.definition.id in paused,
            }
            for known in self._definitions.all()
        ]

    async def _load(self, execution: str) -> LiveExecution:
        stored = (await self._store.load([execution])).get(execution)
        if stored is None:
            raise UnknownExecution(execution)
        if isinstance(stored, Tombstone):
            raise ExecutionPruned(execution, stored.status.value, stored.ended_ms)
        try:
            return await restore(stored, self._definitions)
        except FlowError as error:
            reason = f"it cannot be loaded: {error}"
            raise CorruptRecord(f"execution {execution!r}", reason) from error
