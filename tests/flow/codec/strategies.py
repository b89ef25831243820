"""Made-up values for the tests of the codec."""

from typing import Any, Final

from hypothesis import strategies as st

from flow.failure import Failure
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
from flow.workflow import ON_ERROR, ON_UNDO_ERROR, WorkflowDefinition

TEXTS: Final = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES: Final = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES: Final[st.SearchStrategy[Any]] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
PATHS: Final = st.lists(TEXTS | st.integers(0, 9), max_size=3).map(tuple)
LEAVES: Final = (
    st.builds(FromInput, PATHS)
    | st.builds(FromStep, NAMES, PATHS)
    | st.just(FromOutcome())
    | st.builds(FromRun, PATHS)
    | st.builds(Literal, VALUES)
)


def _branches(inner: st.SearchStrategy[Template]) -> st.SearchStrategy[Template]:
    fields = st.lists(st.tuples(TEXTS, inner), max_size=3).map(tuple)
    items = st.lists(inner, max_size=3).map(tuple)
    return st.builds(Composed, fields) | st.builds(Listed, items)


TEMPLATES: Final[st.SearchStrategy[Template]] = st.recursive(LEAVES, _branches, max_leaves=6)
TIMES: Final = st.integers(1, 10**9)
LABELS: Final = st.dictionaries(NAMES, TEXTS, max_size=2)
POLICIES: Final = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    initial=st.floats(0, 100),
    factor=st.floats(1, 10),
    maximum=st.floats(0, 1000),
    jitter=st.floats(0, 1),
    non_retryable=st.lists(NAMES, max_size=2).map(tuple),
)


UNDOS: Final = st.none() | st.builds(
    StepDefinition,
    id=NAMES,
    kind=st.sampled_from([StepKind.CALL, StepKind.PUBLISH]),
    target=NAMES,
    requires=st.just(()),
    input=st.none() | TEMPLATES,
    timeout_ms=TIMES,
    start_within_ms=st.none() | TIMES,
    retry=st.none() | POLICIES,
    fallback=st.just(""),
    optional=st.just(value=False),
    concurrency=st.none(),
    labels=LABELS,
    workflow=st.none(),
    heartbeat_ms=st.none() | TIMES,
    at_most_once=st.booleans(),
    undo=st.none(),
)


def _steps(workflows: st.SearchStrategy[Any]) -> st.SearchStrategy[StepDefinition]:
    return st.builds(
        StepDefinition,
        id=NAMES,
        kind=st.sampled_from(StepKind),
        target=NAMES,
        requires=st.lists(NAMES, max_size=2).map(tuple),
        input=st.none() | TEMPLATES,
        timeout_ms=TIMES,
        start_within_ms=st.none() | TIMES,
        retry=st.none() | POLICIES,
        fallback=st.just("") | NAMES,
        optional=st.booleans(),
        concurrency=st.none() | st.integers(1, 9),
        labels=LABELS,
        workflow=workflows,
        heartbeat_ms=st.none() | TIMES,
        at_most_once=st.booleans(),
        undo=UNDOS,
    )


def _workflows(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[WorkflowDefinition]:
    return st.builds(
        WorkflowDefinition,
        id=NAMES,
        steps=st.lists(_steps(inner), max_size=3).map(tuple),
        version=TEXTS,
        output=st.none() | TEMPLATES,
        hooks=st.dictionaries(st.sampled_from(["on_end", "on_success"]), _steps(st.none())),
        barrier=st.booleans(),
        timeout_ms=st.none() | TIMES,
        labels=LABELS,
        on_error=st.sampled_from(["", *ON_ERROR]),
        on_undo_error=st.sampled_from(["", *ON_UNDO_ERROR]),
        settle_within_ms=st.none() | TIMES,
    )


STEPS: Final = _steps(st.none())
WORKFLOWS: Final = _workflows(st.none() | _workflows(st.none()))
OPTIONS: Final = st.builds(
    StartOptions,
    start_at=st.lists(NAMES, max_size=2).map(tuple),
    reverse=st.booleans(),
    barrier=st.none() | st.booleans(),
    timeout_ms=st.none() | TIMES,
    skip=st.lists(NAMES, max_size=2).map(tuple),
    optional=st.lists(NAMES, max_size=2).map(tuple),
    max_attempts=st.dictionaries(NAMES, st.integers(1, 9), max_size=2),
    fallback=st.dictionaries(NAMES, NAMES, max_size=2),
    output=st.just("") | NAMES,
    on_error=st.sampled_from(["", *ON_ERROR]),
    on_undo_error=st.sampled_from(["", *ON_UNDO_ERROR]),
)
FAILURES: Final = st.builds(
    Failure,
    type=TEXTS.map("E".__add__),
    message=TEXTS,
    traceback=TEXTS,
    step=st.just("") | NAMES,
    fields=st.dictionaries(TEXTS, VALUES, max_size=3),
)
