"""The catalogue, as an orchestrator keeps it: steps that were announced, workflows that name them.

Theory of operation
-------------------
The store has the steps; whoever announces one is answered once it is there. A step belongs to the
service that announced its id first: this service may replace it, another one is refused.

A workflow that names steps of other programs is *open*. Orchestrators keep the open workflows of
their own program in memory, and close them with the steps of the store: when they start, when one
of the steps is announced, and when they hear that another orchestrator has changed the catalogue.
A closed workflow is a definition like others, known by its hash; executions keep the one that they
began with. As the same steps always make the same definition, it does not matter who closes it.

* A workflow that cannot be closed stays what it was. If it was nothing, a start is refused with the
  reason: steps that nobody has announced yet, or a definition that is not a workflow.
* A definition that somebody else has made current meanwhile (a newer orchestrator, a client that
  saves workflows) is not replaced because a step has changed.
* To forget a step changes no workflow.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, Final

from flow import codec
from flow.catalogue import Announcement, OpenDefinition, check_announcement, close, closure
from flow.errors import (
    CorruptRecord,
    DefinitionError,
    FlowError,
    InvalidInput,
    MissingSteps,
    RequestError,
    StepConflict,
    TooLarge,
    UnknownStep,
)
from flow.names import BODY_LIMIT, check_name
from flow.ports import Clock, Delivery, StepRecord, Store
from flow.runtime import protocol
from flow.runtime.orchestrator.answering import Answering
from flow.runtime.orchestrator.definitions import Definitions, definition_record
from flow.runtime.protocol import Answer, Request
from flow.step import StepDefinition
from flow.workflow import WorkflowDefinition

__all__ = ["Catalogue", "page_of", "step_of"]

_log = logging.getLogger("flow.catalogue")

PAGE_BYTES: Final = 1024 * 1024
"""So many bytes of steps are told in one answer; whoever wants more asks for the next page."""
_SHAPE: Final = frozenset({"id", "kind", "target", "requires", "input", "workflow"})
"""What of a step is not its policy."""


@dataclass(slots=True)
class _Open:
    """An open workflow of this program.

    Args:
        opened: What it names.
        hash: What it was closed to last, or an empty string.
        concerns: The steps that it was made of then, or would have been.
        trouble: Why it could not be closed the last time, or an empty string.
    """

    opened: OpenDefinition
    hash: str = ""
    concerns: frozenset[str] = frozenset()
    trouble: str = ""


class Catalogue:
    """Takes announcements, and closes workflows with them.

    Args:
        store: Where steps are kept.
        definitions: Where closed workflows go.
        clock: The time.

    Attributes:
        verbs: What can be asked for, by verb.
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        clock: Clock,
    ) -> None:
        """Begin without an open workflow."""
        self._store = store
        self._definitions = definitions
        self._clock = clock
        self._opened: dict[str, _Open] = {}
        # Steps as they were when workflows were last closed: decoded, by hash, and hashes by id.
        self._decoded: dict[str, StepDefinition] = {}
        self._seen: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._notify: Callable[[], None] = _nobody
        self.verbs: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "steps": self._list,
            "step.get": self._get,
            "step.forget": self._forget,
        }

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call something after steps were kept or forgotten here.

        Args:
            notify: Called once for each time. It must not wait.
        """
        self._notify = notify

    # ------------------------------------------------------------------------ beginning

    async def start(
        self,
        opened: Iterable[OpenDefinition],
        announcements: Iterable[Announcement] = (),
    ) -> None:
        """Take what this program declares.

        Args:
            opened: Its workflows that name steps of others.
            announcements: Its own steps, if it serves them in this process.

        Raises:
            StepConflict: Another service has announced another step of the same id.
        """
        own = [_record(each, self._clock.now_ms()) for each in announcements]
        if own:
            present = {each.id: (each.service, each.hash) for each in await self._store.steps()}
            for record in own:
                if present.get(record.id) != (record.service, record.hash):
                    await self._save(record)
        self._opened = {each.id: _Open(each) for each in opened}
        await self.refresh()

    # -------------------------------------------------------------------- announcements

    async def take(self, delivery: Delivery, answering: Answering) -> None:
        """Take an announcement from the broker, answer it and settle it.

        Args:
            delivery: What arrived.
            answering: Answers it, or buries it if nobody can be told what is wrong with it.
        """
        envelope = delivery.envelope
        try:
            answering.check(envelope.reply_to)
            answer = Answer(await self._announced(envelope.type, envelope.body))
        except Exception as error:  # noqa: BLE001 - whoever announces has to hear of it
            answering.refuse(delivery, _told(error))
            return
        answering.answer(envelope.reply_to, envelope.correlation_id, answer)
        delivery.ack()

    async def announce(self, announcement: Announcement) -> StepRecord:
        """Keep a step, and close the workflows that wait for it.

        Args:
            announcement: What a service declares.

        Returns:
            The step as it is kept.

        Raises:
            StepConflict: Another service has announced another step of this id.
            InvalidName: A name in it breaks the rules.
            InvalidInput: Something else in it is wrong.
        """
        record = await self._save(_record(announcement, self._clock.now_ms()))
        if self._seen.get(record.id) != record.hash and self._may_matter(record.id):
            await self.refresh()
        return record

    def _may_matter(self, step: str) -> bool:
        """Return whether a step may change a workflow.

        What could not be closed may by now need other steps than it did: somebody else may have
        taken the announcement of one that requires this one.
        """
        return any(each.trouble or step in each.concerns for each in self._opened.values())

    async def _announced(self, kind: str, body: bytes) -> dict[str, Any]:
        if kind != protocol.ANNOUNCE:
            raise InvalidInput("the announcement", f"its type is {kind!r}")
        if len(body) > BODY_LIMIT:
            raise TooLarge("the announcement", len(body), BODY_LIMIT)
        record = await self.announce(codec.decode_announcement(body))
        return {"step": record.id, "service": record.service, "hash": record.hash}

    async def _save(self, record: StepRecord) -> StepRecord:
        stands = await self._store.save_step(record)
        if stands.hash != record.hash:
            raise StepConflict(record.id, record.service, record.hash, stands.service, stands.hash)
        if stands == record:
            self._notify()
        return stands

    # ------------------------------------------------------------------- open workflows

    async def refresh(self) -> None:
        """Close the open workflows with the steps that the store has now."""
        if not self._opened:
            return
        async with self._lock:
            known = await self._known()
            for each in self._opened.values():
                await self._close(each, known)

    async def close(self, opened: OpenDefinition) -> WorkflowDefinition:
        """Return what an open workflow is with the steps that the store has now.

        Args:
            opened: The workflow.

        Raises:
            MissingSteps: Steps that it needs were not announced.
        """
        async with self._lock:
            return close(opened, await self._known())

    async def _known(self) -> dict[str, StepDefinition]:
        records = await self._store.steps()
        known: dict[str, StepDefinition] = {}
        for record in records:
            step = self._decoded.get(record.hash) or _decoded(record)
            if step is not None:
                known[record.id] = step
        self._seen = {record.id: record.hash for record in records}
        self._decoded = {self._seen[id_]: step for id_, step in known.items()}
        return known

    async def _close(self, each: _Open, known: Mapping[str, StepDefinition]) -> None:
        opened = each.opened
        given = {step.id: step for step in opened.definition.steps}
        reached = closure(opened.names, given, known)
        each.concerns = frozenset((*reached.found, *reached.missing))
        try:
            definition = close(opened, known)
            hash_ = definition_record(definition, self._clock.now_ms()).hash
        except (MissingSteps, DefinitionError) as error:
            self._cannot_close(each, error)
            return
        if hash_ != each.hash:
            await self._keep(each, definition, hash_)
        # Not sooner: until it is kept, whoever starts it has to hear what it waits for.
        self._definitions.troubles.pop(opened.id, None)
        if each.trouble:
            each.trouble = ""
            _log.warning("workflow %r is complete: its steps are announced", opened.id)

    async def _keep(self, each: _Open, definition: WorkflowDefinition, hash_: str) -> None:
        if each.hash and self._definitions.hash_of(definition.id) not in (each.hash, hash_):
            _log.info("workflow %r was replaced by somebody else, and stays so", definition.id)
            return
        await self._definitions.save([definition])
        each.hash = hash_
        count = len(definition.steps)
        _log.info("workflow %r has %d steps now (%s)", definition.id, count, hash_[:8])

    def _cannot_close(self, each: _Open, error: FlowError) -> None:
        self._definitions.troubles[each.opened.id] = error
        trouble = str(error)
        if trouble != each.trouble:
            each.trouble = trouble
            is_known = self._definitions.hash_of(each.opened.id)
            kept = "stays what it was" if is_known else "cannot be started"
            _log.warning("%s; until then it %s", trouble, kept)

    # -------------------------------------------------------------------------- looking

    async def _list(self, request: Request) -> list[dict[str, Any]]:
        return page_of(await self._store.steps(), request.arguments)

    async def _get(self, request: Request) -> dict[str, Any]:
        return step_of(await self._store.steps(), request.arguments)

    async def _forget(self, request: Request) -> dict[str, Any]:
        step = check_name("step", request.arguments.get("step"))
        if not await self._store.remove_step(step):
            raise _unknown(step, await self._store.steps())
        self._notify()
        return {"forgotten": step}


def page_of(records: Iterable[StepRecord], arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps behind an id, as many as one answer can hold.

    Args:
        records: The steps of the catalogue, by id.
        arguments: Those of `steps`: `after`, the id.
    """
    after = str(arguments.get("after") or "")
    rows: list[dict[str, Any]] = []
    size = 0
    for record in records:
        size += len(record.body) if record.id > after else 0
        if rows and size > PAGE_BYTES:
            break
        if record.id > after:
            rows.append(_row(record))
    return rows


def step_of(records: Iterable[StepRecord], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return one step.

    Args:
        records: The steps of the catalogue.
        arguments: Those of `step.get`: `step`, the id.

    Raises:
        UnknownStep: No service has announced it.
    """
    step = check_name("step", arguments.get("step"))
    found = list(records)
    for record in found:
        if record.id == step:
            return _row(record)
    raise _unknown(step, found)


def _record(announcement: Announcement, now_ms: int) -> StepRecord:
    announced = check_announcement(announcement)
    body = codec.encode_announcement(announced)
    hash_ = codec.definition_hash(body)
    return StepRecord(announced.step.id, announced.service, hash_, body, now_ms)


def _decoded(record: StepRecord) -> StepDefinition | None:
    try:
        return codec.decode_announcement(record.body).step
    except CorruptRecord as error:
        _log.warning("step %r of the catalogue cannot be used: %s", record.id, error)
        return None


def _row(record: StepRecord) -> dict[str, Any]:
    """Return a step of the catalogue as a document."""
    row: dict[str, Any] = {
        "id": record.id,
        "service": record.service,
        "hash": record.hash,
        "announced_ms": record.announced_ms,
    }
    try:
        announced = codec.decode_announcement(record.body)
    except CorruptRecord as error:
        return {**row, "trouble": str(error)}
    step = announced.step
    policy = step._asdict()
    policy["retry"] = None if step.retry is None else asdict(step.retry)
    return {
        **row,
        "endpoint": step.target,
        "requires": list(step.requires),
        "policy": {name: value for name, value in policy.items() if name not in _SHAPE},
        "input": announced.input,
        "output": announced.output,
    }


def _unknown(step: str, records: Iterable[StepRecord]) -> UnknownStep:
    return UnknownStep(step, "the catalogue", [record.id for record in records][:1000])


def _told(error: Exception) -> FlowError:
    """Return what whoever announces is told of an error; one that is not ours is logged."""
    if isinstance(error, FlowError):
        return copy(error)
    _log.error("an announcement cannot be taken", exc_info=error)
    return RequestError(f"the announcement failed: {error!r}")


def _nobody() -> None:
    """Nobody wants to know."""
