"""The catalogue: steps as services announce them, and workflows that name such steps.

A workflow is *open* while it names steps that its program does not have. It is closed with the
steps that were announced: those it names, all that these require, and those that stand in for
them. The same steps always close it to the same definition, whoever does it and whenever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from flow.errors import InvalidInput, MissingSteps
from flow.names import check_endpoint, check_name, check_topic, service_of
from flow.step import StepDefinition, StepKind
from flow.workflow import WorkflowDefinition

__all__ = ["Announcement", "Closure", "OpenDefinition", "check_announcement", "close", "closure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A step that a service declares.

    Args:
        step: The step. It calls an endpoint of the service.
        input: The JSON schema of what the endpoint takes, or None if it is not known.
        output: The JSON schema of what it returns, or None if it is not known.
    """

    step: StepDefinition
    input: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None

    @property
    def service(self) -> str:
        """The service that declares it."""
        return service_of(self.step.target)


@dataclass(frozen=True, slots=True)
class OpenDefinition:
    """A workflow that names steps which its program does not have.

    Args:
        definition: The workflow with the steps that the program has; it may be without any.
        names: The ids of the steps that are still to be found, each once.
    """

    definition: WorkflowDefinition
    names: tuple[str, ...]

    @property
    def id(self) -> str:
        """The workflow's id."""
        return self.definition.id


@dataclass(frozen=True, slots=True)
class Closure:
    """What ids lead to.

    Args:
        found: The steps, by id.
        missing: The ids of those that are not there, with the ids of the steps that need them.
    """

    found: Mapping[str, StepDefinition]
    missing: Mapping[str, tuple[str, ...]]


def check_announcement(announcement: Announcement) -> Announcement:
    """Return an announcement if a workflow can be made of its step.

    It may come from a program in another language, so that its values may be of any type.

    Args:
        announcement: What was announced.

    Raises:
        InvalidName: The id, the endpoint or a required id breaks the rules.
        InvalidInput: Another part of it is not what it should be.
    """
    step = announcement.step
    check_name("step", step.id)
    check_endpoint(step.target)
    wrong = [name for name, is_right in _rules(announcement) if not is_right]
    if wrong:
        reason = f"these parts of it make no sense: {', '.join(wrong)}"
        raise InvalidInput(f"the announced step {step.id!r}", reason)
    for name in (*step.requires, step.fallback or step.id):
        check_name("step", name)
    if step.undo is not None:
        check_name("step", step.undo.id)
        check_target = check_endpoint if step.undo.kind is StepKind.CALL else check_topic
        check_target(step.undo.target)
    return announcement


def closure(
    names: Iterable[str],
    given: Mapping[str, StepDefinition],
    known: Mapping[str, StepDefinition],
) -> Closure:
    """Return the steps that ids lead to, without those that are given.

    Args:
        names: The ids.
        given: Steps that are there already. What they require is not looked for.
        known: The steps that can be found, by id.
    """
    found: dict[str, StepDefinition] = {}
    missing: dict[str, list[str]] = {}
    wanted = [(name, "") for name in reversed(list(names))]
    while wanted:
        name, by = wanted.pop()
        if name in given or name in found:
            continue
        step = known.get(name)
        if step is None:
            needed = missing.setdefault(name, [])
            needed += [by] if by else []
            continue
        found[name] = step
        wanted += [(each, name) for each in (*step.requires, step.fallback) if each]
    needs = {name: tuple(sorted(set(by))) for name, by in sorted(missing.items())}
    return Closure(found, needs)


def close(opened: OpenDefinition, known: Mapping[str, StepDefinition]) -> WorkflowDefinition:
    """Return the definition of a workflow that names steps. It is not validated.

    Args:
        opened: The workflow.
        known: The steps that can be found, by id.

    Raises:
        MissingSteps: Steps are not there; all of them are named.
    """
    definition = opened.definition
    reached = closure(opened.names, {step.id: step for step in definition.steps}, known)
    if reached.missing:
        raise MissingSteps(opened.id, reached.missing, sorted(known)[:1000])
    added = tuple(reached.found[name] for name in sorted(reached.found))
    return replace(definition, steps=(*definition.steps, *added))


def _rules(announcement: Announcement) -> Iterable[tuple[str, bool]]:
    """Go through what is checked: the names of the parts, and whether they are right."""
    step = announcement.step
    schemas = (announcement.input, announcement.output)
    yield "kind", step.kind is StepKind.CALL
    yield "requires", isinstance(step.requires, tuple)
    yield from _limits(step)
    yield "optional", isinstance(step.optional, bool)
    yield "at_most_once", isinstance(step.at_most_once, bool)
    yield "fallback", isinstance(step.fallback, str)
    yield "labels", _are_texts(cast("object", step.labels))
    yield "workflow", step.workflow is None
    yield "undo", step.undo is None or _is_undo(cast("object", step.undo))
    yield "schemas", all(each is None or isinstance(each, Mapping) for each in schemas)


def _is_undo(undo: object) -> bool:
    """Return whether a value is what takes a step back. What it refers to is looked at later."""
    if not isinstance(undo, StepDefinition) or undo.kind is StepKind.WORKFLOW:
        return False
    in_graph = undo.requires or undo.fallback or undo.optional or undo.concurrency
    is_alone = not (in_graph or undo.undo or undo.workflow or undo.at_most_once)
    is_right = is_alone and all(is_right for _, is_right in _limits(undo))
    return is_right and _are_texts(cast("object", undo.labels))


def _limits(step: StepDefinition) -> Iterable[tuple[str, bool]]:
    limits = (step.start_within_ms, step.concurrency, step.heartbeat_ms)
    yield "timeout_ms", _is_count(step.timeout_ms)
    for name, limit in zip(("start_within_ms", "concurrency", "heartbeat_ms"), limits, strict=True):
        yield name, limit is None or _is_count(limit)


def _are_texts(labels: object) -> bool:
    if not isinstance(labels, Mapping):
        return False
    pairs = cast("Mapping[object, object]", labels).items()
    return all(isinstance(each, str) for pair in pairs for each in pair)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
