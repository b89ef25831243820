"""Definitions, templates and start options as canonical JSON, and their hash."""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from hashlib import sha256
from typing import Any, Final

from flow.codec.json import canonical, loads
from flow.errors import CorruptRecord, InvalidInput, InvalidOption
from flow.plan import StartOptions
from flow.retry import RetryPolicy
from flow.step import StepDefinition, StepKind
from flow.template import (
    Composed,
    FromInput,
    FromOutcome,
    FromRun,
    FromStep,
    Listed,
    Literal,
    Template,
)
from flow.workflow import WorkflowDefinition

__all__ = [
    "decode_definition",
    "decode_options",
    "definition_hash",
    "encode_definition",
    "encode_options",
]

_NOT_SHALLOW: Final = frozenset(
    {"steps", "output", "hooks", "kind", "input", "retry", "workflow", "undo"}
)
_KINDS: Final[Mapping[type, str]] = {FromInput: "input", FromRun: "run"}
_TUPLES: Final = frozenset({"requires", "start_at", "skip", "optional", "non_retryable"})


def encode_definition(definition: WorkflowDefinition) -> bytes:
    """Return a definition as canonical JSON: the same bytes for the same definition.

    Args:
        definition: The definition.
    """
    return canonical(_workflow_document(definition))


def decode_definition(text: bytes) -> WorkflowDefinition:
    """Return the definition that JSON describes.

    Args:
        text: What `encode_definition` made.

    Raises:
        CorruptRecord: It is not a definition.
    """
    try:
        return _workflow_of(loads(text, "the definition"))
    except (InvalidInput, InvalidOption) as error:
        raise CorruptRecord("the workflow's definition", str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptRecord("the workflow's definition", repr(error)) from error


def definition_hash(text: bytes) -> str:
    """Return the hash of a definition's content: 32 hexadecimal digits of its SHA-256.

    Args:
        text: What `encode_definition` made.
    """
    return sha256(text).hexdigest()[:32]


def encode_options(options: StartOptions) -> dict[str, Any]:
    """Return start options as a JSON object, without those that were left alone.

    Args:
        options: The options.
    """
    return _changed(options)


def decode_options(document: Mapping[str, Any]) -> StartOptions:
    """Return the start options that a JSON object describes.

    Args:
        document: What `encode_options` made.
    """
    known = {item.name for item in fields(StartOptions)}
    return StartOptions(**_arguments({k: v for k, v in document.items() if k in known}))


def _workflow_document(definition: WorkflowDefinition) -> dict[str, Any]:
    document = _shallow(definition)
    document["steps"] = [step_document(step) for step in definition.steps]
    if definition.output is not None:
        document["output"] = template_document(definition.output)
    if definition.hooks:
        hooks = definition.hooks.items()
        document["hooks"] = {name: step_document(step) for name, step in hooks}
    return document


def step_document(step: StepDefinition) -> dict[str, Any]:
    """Return a step as a JSON object, without what is at its default.

    Args:
        step: The step.
    """
    defaults = step._field_defaults
    document: dict[str, Any] = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in zip(step._fields, step, strict=True)
        if name not in _NOT_SHALLOW and (name not in defaults or value != defaults[name])
    }
    document["kind"] = step.kind.value
    if step.input is not None:
        document["input"] = template_document(step.input)
    if step.retry is not None:
        document["retry"] = asdict(step.retry)
    if step.workflow is not None:
        document["workflow"] = _workflow_document(step.workflow)
    if step.undo is not None:
        document["undo"] = step_document(step.undo)
    return document


def template_document(template: Template) -> dict[str, Any]:
    """Return a template as a JSON object.

    Args:
        template: The template.
    """
    match template:
        case FromInput(path=path) | FromRun(path=path):
            return {"from": _KINDS[type(template)], "path": list(path)}
        case FromStep(step=step, path=path):
            return {"from": "step", "step": step, "path": list(path)}
        case FromOutcome():
            return {"from": "outcome"}
        case Literal(value=value):
            return {"from": "literal", "value": value}
        case Composed(fields=parts):
            # Pairs and not an object, because their order is part of the template.
            pairs = [[name, template_document(inner)] for name, inner in parts]
            return {"from": "object", "fields": pairs}
        case Listed(items=items):
            return {"from": "array", "items": [template_document(inner) for inner in items]}


def _workflow_of(document: Mapping[str, Any]) -> WorkflowDefinition:
    values = dict(document)
    values["steps"] = tuple(step_of(step) for step in document["steps"])
    if "output" in values:
        values["output"] = template_of(values["output"])
    if "hooks" in values:
        values["hooks"] = {name: step_of(step) for name, step in values["hooks"].items()}
    return WorkflowDefinition(**values)


def step_of(document: Mapping[str, Any]) -> StepDefinition:
    """Return the step that a JSON object describes.

    Args:
        document: What `step_document` made.

    Raises:
        CorruptRecord: A template in it is of an unknown kind.
    """
    values = _arguments(document)
    values["kind"] = StepKind(document["kind"])
    if "input" in values:
        values["input"] = template_of(values["input"])
    if "retry" in values:
        values["retry"] = RetryPolicy(**_arguments(values["retry"]))
    if "workflow" in values:
        values["workflow"] = _workflow_of(values["workflow"])
    if "undo" in values:
        values["undo"] = step_of(values["undo"])
    return StepDefinition(**values)


def template_of(document: Mapping[str, Any]) -> Template:
    """Return the template that a JSON object describes.

    Args:
        document: What `template_document` made.

    Raises:
        CorruptRecord: It is of an unknown kind.
    """
    template: Template
    match document["from"]:
        case "input":
            template = FromInput(tuple(document["path"]))
        case "step":
            template = FromStep(document["step"], tuple(document["path"]))
        case "outcome":
            template = FromOutcome()
        case "run":
            template = FromRun(tuple(document["path"]))
        case "literal":
            template = Literal(document["value"])
        case "object":
            pairs = document["fields"]
            template = Composed(tuple((name, template_of(inner)) for name, inner in pairs))
        case "array":
            template = Listed(tuple(template_of(inner) for inner in document["items"]))
        case kind:
            raise CorruptRecord("a template", f"its kind is {kind!r}")
    return template


def _shallow(value: Any) -> dict[str, Any]:
    """Return the simple fields of a dataclass that differ from their defaults."""
    changed = _changed(value)
    return {name: item for name, item in changed.items() if name not in _NOT_SHALLOW}


def _changed(value: Any) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for item in fields(value):
        default = item.default
        if item.default_factory is not MISSING:
            default = item.default_factory()
        found = getattr(value, item.name)
        if found != default:
            document[item.name] = dict(found) if isinstance(found, Mapping) else found
    return document


def _arguments(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if name in _TUPLES and isinstance(value, list) else value
        for name, value in document.items()
    }
