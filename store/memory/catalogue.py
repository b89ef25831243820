"""What a store in memory knows besides executions: definitions, steps, pauses, the incarnation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from flow.ports import DefinitionRecord, StepRecord


class Catalogue:
    """Definitions, steps and pauses, with a number that grows whenever they change.

    Attributes:
        steps: The steps that services announced, by id.
        pauses: The paused workflows with the ids of the commands that paused them.
        revision: How often something has changed.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.steps: dict[str, StepRecord] = {}
        self.pauses: dict[str, str] = {}
        self.revision = 0
        self._definitions: dict[str, DefinitionRecord] = {}
        self._current: dict[str, str] = {}
        self._incarnation = ""

    def save_definition(self, record: DefinitionRecord) -> None:
        """Keep a definition, and make it the current one of its id.

        Args:
            record: The definition.
        """
        self._definitions.setdefault(record.hash, record)
        if self._current.get(record.id) != record.hash:
            self._current[record.id] = record.hash
            self.revision += 1

    def definitions(self, id: str, hash: str) -> Sequence[DefinitionRecord]:
        """Return the definition of *hash*; else the current one of *id*; else all current.

        Args:
            id: A workflow's id, or an empty string.
            hash: The hash of a definition, or an empty string.
        """
        if hash:
            return [self._definitions[hash]] if hash in self._definitions else []
        ids = [id] if id else sorted(self._current)
        return [
            replace(self._definitions[self._current[each]], id=each)
            for each in ids
            if each in self._current
        ]

    def remove_definition(self, id: str) -> bool:
        """Make *id* have no current definition, and return whether it had one.

        Args:
            id: A workflow's id.
        """
        had_one = self._current.pop(id, None) is not None
        self.revision += had_one
        return had_one

    def save_step(self, record: StepRecord) -> StepRecord:
        """Keep a step unless another service has announced it; return the one that stands.

        Args:
            record: The step.
        """
        stands = self.steps.get(record.id)
        if stands and (stands.service != record.service or stands.hash == record.hash):
            return stands
        self.steps[record.id] = record
        self.revision += 1
        return record

    def remove_step(self, id: str) -> bool:
        """Forget a step, and return whether it was there.

        Args:
            id: The step's id.
        """
        was_there = self.steps.pop(id, None) is not None
        self.revision += was_there
        return was_there

    def pause(self, workflow: str, command: str) -> None:
        """Note that a workflow is paused, or that it is not.

        Args:
            workflow: The workflow's id.
            command: The id of the command that pauses it; empty to end the pause.
        """
        if self.pauses.get(workflow, "") == command:
            return
        self.pauses.pop(workflow, None)
        if command:
            self.pauses[workflow] = command
        self.revision += 1

    def incarnate(self, expected: str, new: str) -> str:
        """Replace the incarnation if it is *expected*; return the one that stands.

        Args:
            expected: The incarnation that the caller knows.
            new: The one to put in its place.
        """
        if self._incarnation == expected:
            self._incarnation = new
        return self._incarnation


class _Opened(Protocol):
    @property
    def catalogue(self) -> Catalogue: ...


class CatalogueStore:
    """The part of `flow.ports.Store` that answers from the catalogue."""

    @property
    def _opened(self) -> _Opened:
        raise NotImplementedError

    async def save_definition(self, record: DefinitionRecord) -> None:
        """Keep a definition as the current one of its id. See `flow.ports.Store`."""
        self._opened.catalogue.save_definition(record)

    async def definitions(self, id: str = "", hash: str = "") -> Sequence[DefinitionRecord]:
        """Return definitions by hash, by id, or all current. See `flow.ports.Store`."""
        return self._opened.catalogue.definitions(id, hash)

    async def remove_definition(self, id: str) -> bool:
        """Make *id* have no current definition. See `flow.ports.Store`."""
        return self._opened.catalogue.remove_definition(id)

    async def save_step(self, record: StepRecord) -> StepRecord:
        """Keep a step of the catalogue, unless another service has it. See `flow.ports.Store`."""
        return self._opened.catalogue.save_step(record)

    async def steps(self) -> Sequence[StepRecord]:
        """Return the steps of the catalogue, by id. See `flow.ports.Store`."""
        return [step for _, step in sorted(self._opened.catalogue.steps.items())]

    async def remove_step(self, id: str) -> bool:
        """Forget a step of the catalogue. See `flow.ports.Store`."""
        return self._opened.catalogue.remove_step(id)

    async def pause(self, workflow: str, command: str) -> None:
        """Note that a workflow is paused, or that it is not. See `flow.ports.Store`."""
        self._opened.catalogue.pause(workflow, command)

    async def pauses(self) -> Mapping[str, str]:
        """Return the paused workflows. See `flow.ports.Store`."""
        return dict(self._opened.catalogue.pauses)

    async def revision(self) -> int:
        """Return the number that changes with the catalogue. See `flow.ports.Store`."""
        return self._opened.catalogue.revision

    async def incarnate(self, expected: str, new: str) -> str:
        """Compare and swap the broker's incarnation. See `flow.ports.Store`."""
        return self._opened.catalogue.incarnate(expected, new)
