"""What a definition must be like to be a workflow at all. Every error names all offenders.

The rules for fallbacks keep them simple to think about: a fallback belongs to one step, runs only
when that step has failed for good, and its output stands in for the step's. So it has no fallback
of its own, nobody requires it, and it uses only what was there before its step ran.

Hooks run once the outcome is known. They are not part of the graph: they may refer to any step,
and no step can require them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import ReferenceType

from flow.errors import (
    CyclicRequirement,
    DuplicateDefinition,
    InvalidOption,
    InvalidReference,
    SelfRequirement,
    UnknownRequirement,
    listed,
    nearest,
)
from flow.names import STEPS_LIMIT, check_name, check_names
from flow.planner import graph
from flow.planner.undos import expect_undos
from flow.step import StepDefinition, StepKind
from flow.template import FromOutcome, FromRun, mentions, template_steps
from flow.workflow import HOOKS, WorkflowDefinition

__all__ = ["SortedSteps", "check", "validate"]

NESTING_LIMIT: Final = 16
"""How deep workflows may be nested, the outermost counted."""

_CIRCLES: Final = 20

# A hint compares a wrong name with every known one. An error must not take minutes to be written.
_COMPARISONS: Final = 50_000


_ONLY_FOR: Final[Mapping[type, str]] = {FromOutcome: "hooks", FromRun: "undos"}
_NAMES: Final[Mapping[type, str]] = {FromOutcome: "outcome", FromRun: "undone"}

_Known = tuple[ReferenceType[WorkflowDefinition], "SortedSteps"]
# A workflow is checked when it is made and again when it is planned. A definition never changes,
# so what was found stays right for as long as it is there. By identity, because it has no hash.
_checked: Final[dict[int, _Known]] = {}


@dataclass(frozen=True, slots=True)
class SortedSteps:
    """The steps of a valid definition by position, which is their order of declaration.

    Args:
        index: The position of each step by its id.
        requires: For each position, the positions that it requires, each once. What its input
            refers to is required too.
        stands_in_for: The position of the step that a fallback belongs to, by the fallback's.
        levels: The positions of each level, ascending. A fallback is later than its step.
    """

    index: Mapping[str, int]
    requires: Sequence[Sequence[int]]
    stands_in_for: Mapping[int, int]
    levels: Sequence[Sequence[int]]


def validate(definition: WorkflowDefinition) -> None:
    """Refuse a definition that is not a workflow, or that has a sub-workflow which is not.

    Args:
        definition: The workflow with all that is nested in it.

    Raises:
        InvalidName: An id breaks the rules for names.
        DuplicateDefinition: Ids are there twice, or a hook has the id of a step.
        SelfRequirement: Steps require themselves.
        UnknownRequirement: Requirements, references or fallbacks name steps that are not there.
        CyclicRequirement: Steps require each other in circles.
        InvalidReference: The output, or an input, refers to what it cannot have.
        InvalidOption: There are no steps, too many, or nested too deeply; a fallback, a hook or
            a sub-workflow breaks the rules above.
    """
    for each in nested(definition):
        check(each)


def nested(definition: WorkflowDefinition) -> list[WorkflowDefinition]:
    """Return a definition and all that are nested in it, each once, outer ones first.

    Args:
        definition: The outermost workflow.

    Raises:
        InvalidOption: A workflow has no steps, all together have too many, they are nested too
            deeply, or a step's kind and its `workflow` do not fit.
    """
    found: dict[int, WorkflowDefinition] = {}
    level = [definition]
    total = 0
    for _ in range(NESTING_LIMIT):
        inner: list[WorkflowDefinition] = []
        for each in level:
            found.setdefault(id(each), each)
            total += _size(each)
            _expect_size(definition, total)
            inner += _sub_workflows(each)
        if not inner:
            return list(found.values())
        level = inner
    value = f"more than {NESTING_LIMIT} levels of sub-workflows"
    raise InvalidOption(_owner(definition), "steps", value, f"at most {NESTING_LIMIT} are allowed")


def expect_size(definition: WorkflowDefinition) -> None:
    """Refuse a definition that stands for too many steps, before any of them is looked at.

    Args:
        definition: The outermost workflow.

    Raises:
        InvalidOption: See `nested`.
    """
    nested(definition)


def check(definition: WorkflowDefinition) -> SortedSteps:
    """Return the steps of one definition, sorted; its sub-workflows are not looked into.

    Args:
        definition: The workflow.

    Raises:
        DefinitionError: See `validate`.
    """
    known = _checked.get(id(definition))
    if known is None or known[0]() is not definition:
        known = (_reference(definition), _checked_anew(definition))
        _checked[id(definition)] = known
    return known[1]


def _reference(definition: WorkflowDefinition) -> ReferenceType[WorkflowDefinition]:
    key = id(definition)
    return ReferenceType(definition, lambda _: _checked.pop(key, None))


def _checked_anew(definition: WorkflowDefinition) -> SortedSteps:
    index = _index(definition)
    requires = _requires(definition, index)
    _expect_none_of_itself(definition, requires)
    stands_in_for = _stands_in_for(definition, index, requires)
    waits = with_fallbacks(requires, stands_in_for)
    levels = graph.generations(waits)
    if not levels:
        ids = tuple(index)
        found = graph.circles(requires, _CIRCLES)
        raise CyclicRequirement(definition.id, [[ids[step] for step in each] for each in found])
    steps = SortedSteps(index, requires, stands_in_for, levels)
    _expect_early_fallbacks(definition, steps)
    _expect_references(definition, steps)
    expect_undos(definition)
    return steps


def with_fallbacks(
    requires: Sequence[Sequence[int]], stands_in_for: Mapping[int, int]
) -> Sequence[Sequence[int]]:
    """Return what steps wait for if fallbacks wait for their steps as well.

    Args:
        requires: For each position, the positions that it requires.
        stands_in_for: The position of the step that a fallback belongs to, by the fallback's.
    """
    if not stands_in_for:
        return requires
    waits = list(requires)
    for fallback, step in stands_in_for.items():
        waits[fallback] = (*requires[fallback], step)
    return waits


# ---------------------------------------------------------------------------- size and names


def _size(definition: WorkflowDefinition) -> int:
    if not definition.steps:
        raise InvalidOption(_owner(definition), "steps", "0", "a workflow has at least one step")
    return len(definition.steps) + len(definition.hooks)


def _expect_size(definition: WorkflowDefinition, total: int) -> None:
    if total > STEPS_LIMIT:
        value = f"more than {STEPS_LIMIT:,}"
        rule = f"at most {STEPS_LIMIT:,} are allowed, those of sub-workflows included"
        raise InvalidOption(_owner(definition), "steps", value, rule)


def _sub_workflows(definition: WorkflowDefinition) -> Iterator[WorkflowDefinition]:
    wrong: list[str] = []
    kind = StepKind.WORKFLOW
    for step in (*definition.steps, *definition.hooks.values()):
        if step.kind is not kind and step.workflow is None:
            continue
        if step.kind is kind and isinstance(step.workflow, WorkflowDefinition):
            yield step.workflow
        else:
            wrong.append(step.id)
    if wrong:
        rule = "a step of the kind 'workflow', and no other, has a definition in it"
        raise InvalidOption(f"{_owner(definition)}: {listed(wrong)}", "workflow", "this", rule)


def _index(definition: WorkflowDefinition) -> dict[str, int]:
    check_name("workflow", definition.id)
    check_names("step", [step.id for step in definition.steps])
    index = {step.id: position for position, step in enumerate(definition.steps)}
    hooks = {check_name("step", step.id) for step in definition.hooks.values()}
    if len(index) < len(definition.steps) or not hooks.isdisjoint(index):
        ids = Counter([*(step.id for step in definition.steps), *hooks])
        twice = [name for name, count in ids.items() if count > 1]
        raise DuplicateDefinition("step ids", twice, _owner(definition))
    wrong = [name for name in definition.hooks if name not in HOOKS]
    if wrong:
        rule = f"the hooks are {listed(HOOKS)}{nearest(wrong[0], HOOKS)}"
        raise InvalidOption(_owner(definition), "hooks", listed(wrong), rule)
    if definition.timeout_ms is not None and definition.timeout_ms < 1:
        value = str(definition.timeout_ms)
        raise InvalidOption(_owner(definition), "timeout_ms", value, "it is more than 0")
    return index


def _owner(definition: WorkflowDefinition) -> str:
    return f"workflow {definition.id!r}"


# ------------------------------------------------------------------------------ requirements


def _requires(definition: WorkflowDefinition, index: Mapping[str, int]) -> list[tuple[int, ...]]:
    position_of = index.__getitem__
    try:
        requires = [tuple(map(position_of, _names(step))) for step in definition.steps]
    except KeyError:
        raise _unknown(definition, index) from None
    fallbacks = (step.fallback for step in definition.steps if step.fallback)
    hooked = (name for hook in definition.hooks.values() for name in _names(hook))
    if not all(name in index for name in (*fallbacks, *hooked)):
        raise _unknown(definition, index)
    return requires


def _names(step: StepDefinition) -> Iterable[str]:
    if step.input is None:
        return dict.fromkeys(step.requires) if len(step.requires) > 1 else step.requires
    return dict.fromkeys((*step.requires, *template_steps(step.input)))


def _unknown(definition: WorkflowDefinition, index: Mapping[str, int]) -> UnknownRequirement:
    missing: dict[str, list[str]] = {}
    for step in (*definition.steps, *definition.hooks.values()):
        fallback = [step.fallback] if step.fallback else []
        wrong = [name for name in (*_names(step), *fallback) if name not in index]
        if wrong:
            # The same hook may be there under several names.
            missing[step.id] = list(dict.fromkeys(wrong))
    compared = _COMPARISONS // sum(map(len, missing.values()))
    return UnknownRequirement(definition.id, missing, tuple(index)[:compared])


def _expect_none_of_itself(
    definition: WorkflowDefinition, requires: Sequence[Sequence[int]]
) -> None:
    found = [step for step, before in enumerate(requires) if step in before]
    if found:
        raise SelfRequirement(definition.id, [definition.steps[step].id for step in found])


# --------------------------------------------------------------------------------- fallbacks


def _stands_in_for(
    definition: WorkflowDefinition,
    index: Mapping[str, int],
    requires: Sequence[Sequence[int]],
) -> dict[int, int]:
    pairs = [(index[step.fallback], index[step.id]) for step in definition.steps if step.fallback]
    stands_in_for = dict(pairs)
    counts = Counter(fallback for fallback, _ in pairs)
    shared = [fallback for fallback, count in counts.items() if count > 1]
    _expect_fallbacks(definition, shared, "a step stands in for one step only")
    chained = [step for _, step in pairs if step in stands_in_for]
    _expect_fallbacks(definition, chained, "a fallback has no fallback of its own")
    if pairs:
        required = sorted({first for before in requires for first in before} & set(stands_in_for))
        rule = "nobody requires a fallback: require the step that it stands in for"
        _expect_fallbacks(definition, required, rule)
    hooked = [hook.id for hook in definition.hooks.values() if hook.fallback]
    if hooked:
        raise InvalidOption(_owner(definition), "fallback", listed(hooked), "a hook has none")
    return stands_in_for


def _expect_fallbacks(definition: WorkflowDefinition, wrong: Iterable[int], rule: str) -> None:
    names = [definition.steps[fallback].id for fallback in wrong]
    if names:
        raise InvalidOption(_owner(definition), "fallback", listed(names), rule)


def _expect_early_fallbacks(definition: WorkflowDefinition, steps: SortedSteps) -> None:
    # Most fallbacks require what their step requires, which needs no search.
    far = {
        (required, fallback)
        for fallback, step in steps.stands_in_for.items()
        for required in set(steps.requires[fallback]).difference(steps.requires[step])
    }
    order = [step for level in steps.levels for step in level]
    asked = {(required, steps.stands_in_for[fallback]) for required, fallback in far}
    late = set(graph.not_ancestors(steps.requires, order, asked))
    wrong = {
        fallback for required, fallback in far if (required, steps.stands_in_for[fallback]) in late
    }
    rule = "a fallback requires only what comes before the step that it stands in for"
    _expect_fallbacks(definition, sorted(wrong), rule)


# -------------------------------------------------------------------------------- references


def _expect_references(definition: WorkflowDefinition, steps: SortedSteps) -> None:
    owner = f"the output of {_owner(definition)}"
    names = list(dict.fromkeys(template_steps(definition.output)))
    unknown = [name for name in names if name not in steps.index]
    if unknown:
        hint = nearest(unknown[0], list(steps.index)[:_COMPARISONS])
        raise InvalidReference(owner, unknown[0], f"leads to no step{_also(unknown)}{hint}")
    fallbacks = [name for name in names if steps.index[name] in steps.stands_in_for]
    if fallbacks:
        reason = f"leads to a fallback{_also(fallbacks)}: refer to the step that it stands in for"
        raise InvalidReference(owner, fallbacks[0], reason)
    mapped = [step for step in definition.steps if step.input is not None]
    for kind, what in _ONLY_FOR.items():
        wrong = [step.id for step in mapped if mentions(step.input, kind)]
        if wrong or mentions(definition.output, kind):
            owner = f"the input of step {wrong[0]!r}" if wrong else owner
            reason = f"leads to what only {what} can know{_also(wrong)}"
            raise InvalidReference(owner, _NAMES[kind], reason)


def _also(names: Sequence[str]) -> str:
    return f" (the same is true of {listed(names[1:])})" if names[1:] else ""
