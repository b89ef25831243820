"""Declarations: what a program says about its steps, services and workflows."""

import gc
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, Unpack, overload

from flow.catalogue import OpenDefinition
from flow.client import Client
from flow.defining import WorkflowOptions, define, returns_of
from flow.errors import DuplicateDefinition
from flow.functions import Functions, Service
from flow.names import check_part
from flow.step import Step
from flow.workflow import WorkflowDefinition
from flow.workflows import Workflow

__all__ = ["Declarations"]

ResultT = TypeVar("ResultT")


class Declarations(Service):
    """What a program says about its steps, services and workflows.

    It is itself the service that is named after the namespace: a bare `@app.step` serves
    `{namespace}.{function}`.

    Args:
        name: The namespace.
        clients: Gives the client that workflows are run with.

    Attributes:
        name: The namespace.
        functions: Its endpoints and steps, those of its other services included.
        defined: Its workflows by id.

    Raises:
        InvalidName: The name breaks the rules.
    """

    def __init__(self, name: str, clients: Callable[[], Client]) -> None:
        """Begin without declarations."""
        super().__init__(check_part("namespace", name), Functions())
        self.defined: dict[str, Workflow[Any]] = {}
        self._clients = clients

    def service(self, name: str) -> Service:
        """Return a named group of endpoints.

        Args:
            name: Its name, such as `payments`.

        Raises:
            InvalidName: The name breaks the rules.
        """
        return Service(name, self.functions)

    @overload
    def workflow(
        self,
        id: str,
        *steps: Step[Any] | str,
        output: Step[ResultT],
        **options: Unpack[WorkflowOptions],
    ) -> Workflow[ResultT]: ...

    @overload
    def workflow(
        self,
        id: str,
        *steps: Step[Any] | str,
        output: object = None,
        **options: Unpack[WorkflowOptions],
    ) -> Workflow[Any]: ...

    def workflow(
        self,
        id: str,
        *steps: Step[Any] | str,
        output: object = None,
        **options: Unpack[WorkflowOptions],
    ) -> Workflow[Any]:
        """Define a workflow.

        Args:
            id: Its id.
            steps: Its steps. Ids pull in what their steps require: of this program's steps here
                and now, of others as services announce them. Until all of these are announced a
                start is refused with MissingSteps; when one changes, so does the workflow.
            output: A step, or its id, whose output is the result, or a mapping of references; by
                default the result is an object of the leaves' outputs by id.
            options: `version`: its author's version; `on_success`, `on_failure`, `on_end`:
                steps that run once the outcome is known; `barrier`: keep levels apart;
                `timeout`: seconds an execution may take; `labels`: for people and tools;
                `on_error`: what happens when a step has failed for good: `stop`, `continue` with
                what does not depend on it, or `compensate`; `on_undo_error`: whether the other
                undos follow when one has failed, `continue` or `stop`; `settle_within`: seconds to
                wait for word of an attempt that was ended by force before its step is undone (60).

        Raises:
            DefinitionError: It is not a workflow; every offender is named.
        """
        with _collecting_later():
            found, names = self._steps_of(steps)
            definition = define(id, found, output, options, names)
        if id in self.defined:
            raise DuplicateDefinition("workflows", [id], f"the flow {self.name!r}")
        workflow: Workflow[Any] = Workflow(definition, self._clients, returns_of(output))
        self.defined[id] = workflow
        return workflow

    @property
    def definitions(self) -> list[WorkflowDefinition]:
        """The workflows of which all steps are known here."""
        declared = [workflow.declared for workflow in self.defined.values()]
        return [each for each in declared if isinstance(each, WorkflowDefinition)]

    @property
    def open_definitions(self) -> list[OpenDefinition]:
        """The workflows that name steps of other programs."""
        declared = [workflow.declared for workflow in self.defined.values()]
        return [each for each in declared if isinstance(each, OpenDefinition)]

    def _steps_of(self, steps: Sequence[Step[Any] | str]) -> tuple[list[Step[Any]], list[str]]:
        """Return steps, with this program's that ids lead to, and the ids of all others."""
        listed = [step for step in steps if not isinstance(step, str)]
        given = {step.id for step in listed if isinstance(step, Step)}
        found: dict[str, Step[Any]] = {}
        others: dict[str, None] = {}
        wanted = [step for step in reversed(steps) if isinstance(step, str)]
        while wanted:
            name = wanted.pop()
            step = self.functions.steps.get(name)
            if name in given or name in found:
                continue
            if step is None:
                others[name] = None
                continue
            found[name] = step
            fallback = [step.fallback] if isinstance(step.fallback, str) and step.fallback else []
            wanted += [*step.requires, *fallback]
        pulled = [found[name] for name in self.functions.steps if name in found]
        return [*listed, *pulled], sorted(others)


@contextmanager
def _collecting_later() -> Generator[None]:
    """Have Python look for garbage after the block: all that a large workflow is made of lasts.

    To look through it again and again while it grows takes longer than to make it.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
