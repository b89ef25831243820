"""Declarations: what a program says about its steps, services and workflows."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, Unpack, overload

from flow.client import Client
from flow.errors import DuplicateDefinition, UnknownStep
from flow.functions import Functions, Service
from flow.names import check_part
from flow.step import Step
from flow.workflows import Workflow, WorkflowOptions, define, returns_of

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
            steps: Its steps. Ids of this program's steps pull in what these require.
            output: A step whose output is the result, or a mapping of references; by default
                the result is an object of the leaves' outputs by id.
            options: `version`: its author's version; `on_success`, `on_failure`, `on_end`:
                steps that run once the outcome is known; `barrier`: keep levels apart;
                `timeout`: seconds an execution may take; `labels`: for people and tools.

        Raises:
            DefinitionError: It is not a workflow; every offender is named.
            UnknownStep: A name is not that of a step of this program.
        """
        definition = define(id, self._steps_of(id, steps), output, options)
        if id in self.defined:
            raise DuplicateDefinition("workflows", [id], f"the flow {self.name!r}")
        workflow: Workflow[Any] = Workflow(definition, self._clients, returns_of(output))
        self.defined[id] = workflow
        return workflow

    def _steps_of(self, workflow: str, steps: Sequence[Step[Any] | str]) -> list[Step[Any]]:
        """Return steps, with those that are named by id, and all that these require."""
        found: dict[str, Step[Any]] = {}
        listed = [step for step in steps if not isinstance(step, str)]
        wanted = [step for step in steps if isinstance(step, str)]
        while wanted:
            name = wanted.pop()
            known = self.functions.steps
            if name not in known:
                raise UnknownStep(name, f"the flow {self.name!r} (workflow {workflow!r})", [*known])
            if name not in found and all(step.id != name for step in listed):
                found[name] = known[name]
                wanted += known[name].requires
        return [*listed, *(found[name] for name in self.functions.steps if name in found)]
