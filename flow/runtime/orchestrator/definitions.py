"""Definitions: which workflows there are, and their plans."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

from flow import codec, planner
from flow.errors import CorruptRecord, FlowError, UnknownWorkflow
from flow.plan import Plan, StartOptions
from flow.ports import Clock, DefinitionRecord, Store
from flow.workflow import WorkflowDefinition

__all__ = ["Definitions", "KnownDefinition", "definition_record"]

_log = logging.getLogger("flow.definitions")

PLANS_LIMIT: Final = 1_000
"""How many plans are kept."""


@dataclass(frozen=True, slots=True)
class KnownDefinition:
    """A definition with its hash."""

    hash: str
    definition: WorkflowDefinition


def definition_record(definition: WorkflowDefinition, now_ms: int) -> DefinitionRecord:
    """Return a definition as it is stored.

    Args:
        definition: The definition; it is validated first.
        now_ms: The present.

    Raises:
        DefinitionError: It is not a workflow.
    """
    planner.validate(definition)
    body = codec.encode_definition(definition)
    hash_ = codec.definition_hash(body)
    return DefinitionRecord(definition.id, hash_, definition.version, body, now_ms)


class Definitions:
    """Knows every workflow of the namespace, and makes plans of them.

    Args:
        store: Where they are kept.
        clock: The time.

    Attributes:
        troubles: Why workflows of this program cannot be what it says, by id.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        """Begin without any."""
        self.troubles: dict[str, FlowError] = {}
        self._store = store
        self._clock = clock
        self._current: dict[str, KnownDefinition] = {}
        self._unusable: dict[str, FlowError] = {}
        self._known: dict[str, KnownDefinition] = {}
        self._plans: OrderedDict[tuple[str, bytes], Plan] = OrderedDict()
        self._notify: Callable[[], None] = _nobody

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call something after definitions were saved or removed here.

        Args:
            notify: Called once for each time. It must not wait.
        """
        self._notify = notify

    async def refresh(self) -> None:
        """Read again which definitions are current: others have changed them. Plans are kept."""
        await self.load()

    async def load(self) -> None:
        """Read which definitions are current.

        One that cannot be used, because a newer version has saved it, is unknown here.
        """
        current: dict[str, KnownDefinition] = {}
        unusable: dict[str, FlowError] = {}
        for record in await self._store.definitions():
            try:
                current[record.id] = self._remember(record)
            except FlowError as error:
                unusable[record.id] = error
        for name in unusable.keys() - self._unusable.keys():
            _log.error("workflow %r is unknown: %s", name, unusable[name])
        self._current, self._unusable = current, unusable

    async def save(self, definitions: Iterable[WorkflowDefinition]) -> tuple[str, ...]:
        """Keep definitions and make them the current ones of their ids.

        Args:
            definitions: What to keep. Those that are current already are not written.

        Returns:
            Their hashes.
        """
        hashes: list[str] = []
        for definition in definitions:
            record = definition_record(definition, self._clock.now_ms())
            present = self._current.get(record.id)
            is_new = present is None or present.hash != record.hash
            if is_new:
                await self._store.save_definition(record)
            self._current[record.id] = self._remember(record)
            hashes.append(record.hash)
            if is_new:
                self._notify()
        return tuple(hashes)

    async def remove(self, workflow: str) -> None:
        """Make a workflow unknown. Executions that run on it go on.

        Raises:
            UnknownWorkflow: It is unknown already.
        """
        self.current(workflow)
        await self._store.remove_definition(workflow)
        self._current.pop(workflow, None)
        self._notify()

    def current(self, workflow: str) -> KnownDefinition:
        """Return the current definition of a workflow.

        Raises:
            UnknownWorkflow: There is none.
            MissingSteps: It names steps that nobody has announced yet.
            DefinitionError: The steps that it names make no workflow.
            DataError: A newer version has saved it, and this one cannot use it.
        """
        known = self._current.get(workflow)
        if known is not None:
            return known
        trouble = self._unusable.get(workflow) or self.troubles.get(workflow)
        if trouble is not None:
            # Each gets one of its own, because raising it adds to it.
            raise copy(trouble)
        raise UnknownWorkflow(workflow, sorted(self._current))

    def hash_of(self, workflow: str) -> str:
        """Return the hash of the current definition of a workflow, or an empty string."""
        known = self._current.get(workflow)
        return "" if known is None else known.hash

    def all(self) -> tuple[KnownDefinition, ...]:
        """Return all current definitions, by id."""
        return tuple(self._current[name] for name in sorted(self._current))

    async def by_hash(self, hash: str) -> KnownDefinition:
        """Return the definition with a hash, current or not.

        Raises:
            CorruptRecord: The store does not have it, although something runs on it.
        """
        if hash not in self._known:
            records = await self._store.definitions(hash=hash)
            if not records:
                raise CorruptRecord(f"the definition {hash}", "it is not in the store")
            self._remember(records[0])
        return self._known[hash]

    def plan(self, known: KnownDefinition, options: Mapping[str, Any]) -> Plan:
        """Return the plan of a definition under start options.

        Args:
            known: The definition.
            options: The start options as a JSON object.

        Raises:
            UnknownStep: An option names a step that the workflow does not have.
            DefinitionError: The options do not make sense together.
        """
        key = (known.hash, codec.dumps(options) if options else b"{}")
        plan = self._plans.get(key)
        if plan is None:
            start = codec.decode_options(options) if options else StartOptions()
            plan = planner.plan(known.definition, known.hash, start)
            self._plans[key] = plan
            if len(self._plans) > PLANS_LIMIT:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan

    def _remember(self, record: DefinitionRecord) -> KnownDefinition:
        known = self._known.get(record.hash)
        if known is None:
            known = KnownDefinition(record.hash, codec.decode_definition(record.body))
            self._known[record.hash] = known
        return known


def _nobody() -> None:
    """Nobody wants to know."""
