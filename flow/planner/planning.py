"""From a definition and start options to a plan."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from flow.errors import InvalidOption, UnknownStep, listed
from flow.plan import SETTLE_WITHIN_MS, Plan, PlannedStep, StartOptions
from flow.planner import graph
from flow.planner.validation import SortedSteps, check, expect_size, with_fallbacks
from flow.retry import RetryPolicy
from flow.step import StepDefinition
from flow.template import Composed, FromStep, Template, template_steps
from flow.workflow import ON_ERROR, ON_UNDO_ERROR, OnError, OnUndoError, WorkflowDefinition

__all__ = ["levels", "plan", "sorted_steps"]

START_AT: Final = "start_at"
"""Why a step is outside: nothing that was asked to start leads to it."""
SKIP: Final = "skip"
"""Why a step is outside: it, or the step that it stands in for, is skipped."""
REPLACED: Final = "fallback"
"""Why a step is outside: it was a fallback, and the start options chose another one, or none."""
OUTPUT: Final = "output"
"""Who needs a result, if it is the output of the workflow itself."""

_AS_DEFINED: Final = StartOptions()


def plan(definition: WorkflowDefinition, hash: str, options: StartOptions = _AS_DEFINED) -> Plan:
    """Return the plan of an execution that is started with *options*.

    Steps are numbered level by level, and in the order of declaration inside a level, so that the
    same definition always makes the same plan. A level is the length of the longest path to it.

    With `reverse` all requirements are turned around, inside sub-workflows too. Inputs are made as
    before: what they refer to runs later, and is null. A fallback stays with its step, and
    requires nothing else. All other options end at a sub-workflow.

    Args:
        definition: The workflow.
        hash: The hash of the definition.
        options: How the execution departs from the definition.

    Raises:
        DefinitionError: The definition is not valid, or not with these options; see
            `flow.planner.validate`.
        UnknownStep: An option names a step that the workflow does not have.
    """
    _expect_known(definition, options)
    changed = _changed(definition, options)
    expect_size(changed)
    return _Planning(hash, {}).plan(definition, changed, options, _Modes())


def levels(plan: Plan) -> list[list[PlannedStep]]:
    """Return the steps of a plan level by level; fallbacks are later than their steps.

    Args:
        plan: The plan; its sub-workflows' steps have levels of their own.
    """
    found: list[list[PlannedStep]] = []
    for step in plan.steps:
        if step.level == len(found):
            found.append([])
        found[step.level].append(step)
    return found


def sorted_steps(definition: WorkflowDefinition) -> list[list[StepDefinition]]:
    """Return the steps of a definition level by level, in the order of declaration inside one.

    Args:
        definition: The workflow; the steps of its sub-workflows have levels of their own.

    Raises:
        DefinitionError: The definition is not valid; see `flow.planner.validate`.
    """
    expect_size(definition)
    steps = definition.steps
    return [[steps[step] for step in level] for level in check(definition).levels]


# ----------------------------------------------------------------------------------- options


def _expect_known(definition: WorkflowDefinition, options: StartOptions) -> None:
    known = {step.id for step in definition.steps}
    output = [options.output] if options.output else []
    fallbacks = [name for name in options.fallback.values() if name]
    named = (
        *options.start_at,
        *options.skip,
        *options.optional,
        *options.max_attempts,
        *options.fallback,
        *fallbacks,
        *output,
    )
    for name in named:
        if name not in known:
            ids = [step.id for step in definition.steps]
            raise UnknownStep(name, f"workflow {definition.id!r}", ids[:1000])
    owner = _start(definition)
    for option, value, allowed in (
        ("on_error", options.on_error, ON_ERROR),
        ("on_undo_error", options.on_undo_error, ON_UNDO_ERROR),
    ):
        if value and value not in allowed:
            raise InvalidOption(owner, option, repr(value), f"it is one of {listed(allowed)}")
    if options.timeout_ms is not None and options.timeout_ms < 1:
        raise InvalidOption(owner, "timeout_ms", str(options.timeout_ms), "it is more than 0")


def _changed(definition: WorkflowDefinition, options: StartOptions) -> WorkflowDefinition:
    """Return the definition with what the options say of single steps, and of the output."""
    output = FromStep(options.output) if options.output else definition.output
    if not (options.optional or options.max_attempts or options.fallback):
        return definition if output is definition.output else replace(definition, output=output)
    optional = frozenset(options.optional)
    steps = tuple(_changed_step(step, optional, options) for step in definition.steps)
    return replace(definition, steps=steps, output=output)


def _changed_step(
    step: StepDefinition, optional: frozenset[str], options: StartOptions
) -> StepDefinition:
    if step.id in optional:
        step = step._replace(optional=True)
    if step.id in options.fallback:
        step = step._replace(fallback=options.fallback[step.id])
    if step.id in options.max_attempts:
        attempts = options.max_attempts[step.id]
        retry = (
            replace(step.retry, max_attempts=attempts)
            if step.retry
            else RetryPolicy(max_attempts=attempts)
        )
        step = step._replace(retry=retry)
    return step


# ---------------------------------------------------------------------------------- planning


@dataclass(frozen=True, slots=True)
class _Numbered:
    """The steps by number: their definitions, levels and edges, in the direction of execution."""

    definitions: Sequence[StepDefinition]
    levels: Sequence[int]
    requires: Sequence[tuple[int, ...]]
    dependents: Sequence[tuple[int, ...]]
    stands_in_for: Mapping[int, int]
    index: Mapping[str, int]


class _Modes(NamedTuple):
    """What happens after an error, as a workflow has it from the one around it."""

    on_error: OnError = "stop"
    on_undo_error: OnUndoError = "continue"
    settle_within_ms: int = SETTLE_WITHIN_MS

    def of(self, definition: WorkflowDefinition, options: StartOptions) -> "_Modes":
        """Return the modes of a workflow: its start's, its own, or these."""
        settle_ms = definition.settle_within_ms
        return _Modes(
            options.on_error or definition.on_error or self.on_error,
            options.on_undo_error or definition.on_undo_error or self.on_undo_error,
            self.settle_within_ms if settle_ms is None else settle_ms,
        )


@dataclass(frozen=True, slots=True)
class _Planning:
    """One call of `plan`: a definition that is there several times is planned once."""

    hash: str
    plans: dict[tuple[int, _Modes], Plan]

    def plan(
        self,
        original: WorkflowDefinition,
        definition: WorkflowDefinition,
        options: StartOptions,
        around: _Modes,
    ) -> Plan:
        """Return the plan of *definition*, which is *original* with the options in it."""
        modes = around.of(definition, options)
        steps = check(definition)
        spare = _spare(original, definition)
        resting = {*steps.stands_in_for, *map(steps.index.__getitem__, spare)}
        if options.reverse:
            steps = _turned(steps, resting)
        numbered = _numbered(definition, steps)
        outside = _outside(definition, numbered, options, spare)
        default = tuple((name, FromStep(name)) for name in _leaves(definition, steps, resting))
        barrier = definition.barrier if options.barrier is None else options.barrier
        return Plan(
            workflow=definition.id,
            hash=self.hash,
            steps=self._steps(numbered, outside, options, modes),
            index=numbered.index,
            output=definition.output or Composed(default),
            hooks=self._hooks(definition, len(steps.levels), options, modes),
            barrier=barrier,
            timeout_ms=options.timeout_ms or definition.timeout_ms,
            outside=outside,
            needed=_needed(numbered, outside, definition.output),
            on_error=modes.on_error,
            on_undo_error=modes.on_undo_error,
            settle_within_ms=modes.settle_within_ms,
        )

    def _steps(
        self,
        numbered: _Numbered,
        outside: Mapping[int, str],
        options: StartOptions,
        modes: _Modes,
    ) -> tuple[PlannedStep, ...]:
        fallback_of = {
            step: fallback
            for fallback, step in numbered.stands_in_for.items()
            if outside.get(fallback) != SKIP
        }
        return tuple(
            PlannedStep(
                definition,
                numbered.levels[number],
                numbered.requires[number],
                numbered.dependents[number],
                fallback_of.get(number),
                numbered.stands_in_for.get(number),
                self._inner(definition, options, modes) if definition.workflow else None,
                _undo(definition, numbered.levels[number]) if definition.undo else None,
            )
            for number, definition in enumerate(numbered.definitions)
        )

    def _hooks(
        self, definition: WorkflowDefinition, level: int, options: StartOptions, modes: _Modes
    ) -> dict[str, PlannedStep]:
        return {
            name: PlannedStep(hook, level, (), (), plan=self._inner(hook, options, modes))
            for name, hook in definition.hooks.items()
        }

    def _inner(self, step: StepDefinition, options: StartOptions, around: _Modes) -> Plan | None:
        if not isinstance(step.workflow, WorkflowDefinition):
            return None
        key = id(step.workflow), around
        known = self.plans.get(key)
        if known:
            return known
        turned = StartOptions(reverse=options.reverse)
        made = self.plan(step.workflow, step.workflow, turned, around)
        self.plans[key] = made
        return made


def _undo(step: StepDefinition, level: int) -> PlannedStep:
    return PlannedStep(step.undo, level, (), ())


def _spare(original: WorkflowDefinition, changed: WorkflowDefinition) -> set[str]:
    """Return the ids of the fallbacks that are none any more."""
    if original.steps is changed.steps:
        return set()
    before = {step.fallback for step in original.steps if step.fallback}
    return before.difference(step.fallback for step in changed.steps)


def _turned(steps: SortedSteps, resting: set[int]) -> SortedSteps:
    """Return the steps with all requirements turned around; *resting* ones have none left."""
    requires: list[list[int]] = [[] for _ in steps.requires]
    for step, before in enumerate(steps.requires):
        for required in () if step in resting else before:
            requires[required].append(step)
    waits = with_fallbacks(requires, steps.stands_in_for)
    return replace(steps, requires=requires, levels=graph.generations(waits))


def _numbered(definition: WorkflowDefinition, steps: SortedSteps) -> _Numbered:
    order = [step for level in steps.levels for step in level]
    number_of = [0] * len(order)
    for number, step in enumerate(order):
        number_of[step] = number
    requires = [
        tuple(sorted([number_of[required] for required in before])) if before else ()
        for before in map(steps.requires.__getitem__, order)
    ]
    # Most workflows have many leaves, and a hundred thousand empty lists cost time.
    dependents: dict[int, list[int]] = {}
    for number, before in enumerate(requires):
        for required in before:
            dependents.setdefault(required, []).append(number)
    definitions = [definition.steps[step] for step in order]
    return _Numbered(
        definitions=definitions,
        levels=[number for number, level in enumerate(steps.levels) for _ in level],
        requires=requires,
        dependents=[tuple(dependents.get(number, ())) for number in range(len(order))],
        stands_in_for={
            number_of[fallback]: number_of[step] for fallback, step in steps.stands_in_for.items()
        },
        index={step.id: number for number, step in enumerate(definitions)},
    )


def _leaves(definition: WorkflowDefinition, steps: SortedSteps, resting: set[int]) -> list[str]:
    """Return the ids of the steps that nothing but fallbacks waits for, as they were declared."""
    running = [step for step in range(len(definition.steps)) if step not in resting]
    waited_for = {required for step in running for required in steps.requires[step]}
    return [definition.steps[step].id for step in running if step not in waited_for]


# ----------------------------------------------------------------------------- what is left out


def _outside(
    definition: WorkflowDefinition, numbered: _Numbered, options: StartOptions, spare: set[str]
) -> dict[int, str]:
    """Return why steps are not run. A fallback is outside together with its step."""
    outside: dict[int, str] = {}
    if options.start_at:
        outside = dict.fromkeys(_not_started(definition, numbered, options, spare), START_AT)
    outside.update((numbered.index[name], REPLACED) for name in spare)
    skipped = {numbered.index[name] for name in options.skip}
    skipped.update(fallback for fallback, step in numbered.stands_in_for.items() if step in skipped)
    outside.update(dict.fromkeys(sorted(skipped), SKIP))
    if len(outside) == len(numbered.definitions):
        rule = "at least one step has to run"
        raise InvalidOption(_start(definition), "skip", listed(options.skip), rule)
    return dict(sorted(outside.items()))


def _not_started(
    definition: WorkflowDefinition, numbered: _Numbered, options: StartOptions, spare: set[str]
) -> Iterable[int]:
    starts = [numbered.index[name] for name in options.start_at]
    wrong = [
        numbered.definitions[start].id
        for start in starts
        if start in numbered.stands_in_for or numbered.definitions[start].id in spare
    ]
    if wrong:
        rule = "a fallback runs only when a step has failed: start at that step"
        raise InvalidOption(_start(definition), START_AT, listed(wrong), rule)
    started = set(starts)
    for number, before in enumerate(numbered.requires):
        # Numbers are in topological order, so one walk is enough.
        if not started.isdisjoint(before):
            started.add(number)
    return (
        number
        for number in range(len(numbered.definitions))
        if numbered.stands_in_for.get(number, number) not in started
    )


def _needed(
    numbered: _Numbered, outside: Mapping[int, str], output: Template | None
) -> dict[int, tuple[str, ...]]:
    """Return whose results are referred to, although nothing that was asked to start makes them.

    A default output needs nothing: the leaves that are outside are null in it.
    """
    absent = {number for number, reason in outside.items() if reason == START_AT}
    if not absent:
        return {}
    users = [
        (step.id, step.input)
        for number, step in enumerate(numbered.definitions)
        if step.input and number not in outside
    ]
    needed: dict[int, dict[str, None]] = {}
    for user, template in (*users, (OUTPUT, output)):
        for name in template_steps(template):
            needed.setdefault(numbered.index[name], {})[user] = None
    return {number: tuple(needed[number]) for number in sorted(absent.intersection(needed))}


def _start(definition: WorkflowDefinition) -> str:
    return f"the start of workflow {definition.id!r}"
