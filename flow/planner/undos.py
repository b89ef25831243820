"""What a workflow must be like so that it can be undone. Every error names all offenders.

An undo is a call or a publication beside its step, and not in the graph: when it goes out follows
from when its step ran. It may refer to what its step could refer to, to the output of its step,
and to the run that is to be undone.
"""

from flow.errors import InvalidOption, InvalidReference, listed, nearest
from flow.names import check_name
from flow.step import StepDefinition, StepKind
from flow.template import FromOutcome, FromRun, mentions, template_steps
from flow.workflow import ON_ERROR, ON_UNDO_ERROR, WorkflowDefinition

__all__ = ["expect_undos"]


def expect_undos(definition: WorkflowDefinition) -> None:
    """Refuse modes that there are not, and undos that cannot be carried out.

    Args:
        definition: The workflow; its sub-workflows are not looked into.

    Raises:
        InvalidName: The id of an undo breaks the rules.
        InvalidOption: A mode is unknown; a hook or a sub-workflow has an undo; an undo is not a
            plain call or publication.
        InvalidReference: An undo refers to what it cannot know.
    """
    _expect_modes(definition)
    owner = _owner(definition)
    hooks = [hook.id for hook in definition.hooks.values() if hook.undo is not None]
    _refuse(owner, hooks, "a hook is not undone")
    steps = [step for step in definition.steps if step.undo is not None]
    inner = [step.id for step in steps if step.kind is StepKind.WORKFLOW]
    _refuse(owner, inner, "a sub-workflow is undone step by step; set it on the steps inside")
    wrong = [step.id for step in steps if not _is_plain(step.undo)]
    rule = "an undo calls an endpoint or publishes to a topic, and requires nothing by itself"
    _refuse(owner, wrong, rule)
    for step in steps:
        check_name("step", step.undo.id)
        _expect_references(step)
    hooked = [hook.id for hook in definition.hooks.values() if mentions(hook.input, FromRun)]
    if hooked:
        reason = f"leads to what only undos can know (hooks: {listed(hooked)})"
        raise InvalidReference(owner, "undone", reason)


def _owner(definition: WorkflowDefinition) -> str:
    return f"workflow {definition.id!r}"


def _expect_modes(definition: WorkflowDefinition) -> None:
    owner = _owner(definition)
    if definition.on_error and definition.on_error not in ON_ERROR:
        rule = f"it is one of {listed(ON_ERROR)}{nearest(definition.on_error, ON_ERROR)}"
        raise InvalidOption(owner, "on_error", repr(definition.on_error), rule)
    if definition.on_undo_error and definition.on_undo_error not in ON_UNDO_ERROR:
        rule = f"it is one of {listed(ON_UNDO_ERROR)}"
        raise InvalidOption(owner, "on_undo_error", repr(definition.on_undo_error), rule)
    if definition.settle_within_ms is not None and definition.settle_within_ms < 1:
        value = str(definition.settle_within_ms)
        raise InvalidOption(owner, "settle_within_ms", value, "it is more than 0")


def _refuse(owner: str, wrong: list[str], rule: str) -> None:
    if wrong:
        raise InvalidOption(owner, "undo", listed(wrong), rule)


def _is_plain(undo: StepDefinition) -> bool:
    return (
        undo.kind is not StepKind.WORKFLOW
        and undo.workflow is None
        and undo.undo is None
        and undo.concurrency is None
        and not (undo.requires or undo.fallback or undo.optional)
    )


def _expect_references(step: StepDefinition) -> None:
    known = {step.id, *step.requires, *template_steps(step.input)}
    wrong = [name for name in dict.fromkeys(template_steps(step.undo.input)) if name not in known]
    owner = f"the input of the undo of step {step.id!r}"
    if wrong:
        reason = f"leads to no step that the step requires{nearest(wrong[0], known)}"
        raise InvalidReference(owner, wrong[0], reason)
    if mentions(step.undo.input, FromOutcome):
        raise InvalidReference(owner, "outcome", "leads to what only hooks can know")
