"""Steps: what a user declares, and the frozen definition that is made from it.

A `Step` is what a program holds and passes around: it can be called on, required, and asked for
its output. A `StepDefinition` is what goes into a workflow's definition: a value without Python
types or functions, the same after a trip through JSON.

A step's input is a *template*: what it is made of, and from where. Templates are built from
references (`hold.output.id`, `workflow_input.total`) and literal JSON values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import Any, Final, Generic, NamedTuple, TypedDict, TypeVar, Unpack, cast, overload

from flow.errors import InvalidOption, InvalidReference
from flow.names import check_endpoint, check_name, check_topic
from flow.options import check_options, check_seconds
from flow.retry import RetryPolicy

__all__ = [
    "Composed",
    "FromInput",
    "FromOutcome",
    "FromStep",
    "Listed",
    "Literal",
    "OutputReference",
    "Step",
    "StepDefinition",
    "StepKind",
    "StepOptions",
    "Template",
    "WorkflowInput",
    "workflow_input",
]

ResultT = TypeVar("ResultT")
ReturnT = TypeVar("ReturnT")

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds of run time that a step has unless it says otherwise."""

_NO_LABELS: Final[Mapping[str, str]] = {}
_SECONDS: Final = ("timeout", "start_within", "heartbeat")

PathPart = str | int


# ------------------------------------------------------------------------------- templates


@dataclass(frozen=True, slots=True)
class FromInput:
    """The execution's input, or what is at a path inside it."""

    path: tuple[PathPart, ...] = ()


@dataclass(frozen=True, slots=True)
class FromStep:
    """The output of a step, or what is at a path inside it."""

    step: str
    path: tuple[PathPart, ...] = ()


@dataclass(frozen=True, slots=True)
class FromOutcome:
    """How the execution ended: the input of a hook (`on_success`, `on_failure`, `on_end`)."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A JSON value that is written in the definition itself."""

    value: Any


@dataclass(frozen=True, slots=True)
class Composed:
    """An object made of templates, in order."""

    fields: tuple[tuple[str, "Template"], ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """An array made of templates."""

    items: tuple["Template", ...]


Template = FromInput | FromStep | FromOutcome | Literal | Composed | Listed


def template_steps(template: Template | None) -> Iterator[str]:
    """Go through the ids of the steps that a template refers to.

    Args:
        template: The template, or None for the execution's input as it is.
    """
    match template:
        case FromStep(step=step):
            yield step
        case Composed(fields=fields):
            for _, inner in fields:
                yield from template_steps(inner)
        case Listed(items=items):
            for inner in items:
                yield from template_steps(inner)
        case _:
            return


class WorkflowInput:
    """The execution's input, as something to refer to: `workflow_input.order.total`.

    Attributes and items lead inside. Use items where a name is not a Python identifier, or
    begins with an underscore.
    """

    __slots__ = ("_path",)

    def __init__(self, path: tuple[PathPart, ...] = ()) -> None:
        """Refer to what is at *path*; users begin at `workflow_input`."""
        self._path = path

    def __getattr__(self, name: str) -> "WorkflowInput":
        """Refer to the field called *name*."""
        if name.startswith("_"):
            raise AttributeError(name)
        return WorkflowInput((*self._path, name))

    def __getitem__(self, key: PathPart) -> "WorkflowInput":
        """Refer to a field by name, or to an element by index."""
        return WorkflowInput((*self._path, key))

    def __repr__(self) -> str:
        """Return the reference as it is written."""
        return f"workflow_input{_written(self._path)}"

    def __template__(self) -> Template:
        # A public name would shadow the field of that name.
        return FromInput(self._path)


workflow_input: Final = WorkflowInput()
"""The execution's input; see `WorkflowInput`."""


class OutputReference:
    """A step's output, as something to refer to: `hold.output.id`.

    Attributes and items lead inside. Whoever refers to an output requires its step.
    """

    __slots__ = ("_path", "_step")

    def __init__(self, step: "str", path: tuple[PathPart, ...] = ()) -> None:
        """Refer to what is at *path* in the output of *step*; users begin at `step.output`."""
        self._step = step
        self._path = path

    def __getattr__(self, name: str) -> "OutputReference":
        """Refer to the field called *name*."""
        if name.startswith("_"):
            raise AttributeError(name)
        return OutputReference(self._step, (*self._path, name))

    def __getitem__(self, key: PathPart) -> "OutputReference":
        """Refer to a field by name, or to an element by index."""
        return OutputReference(self._step, (*self._path, key))

    def __repr__(self) -> str:
        """Return the reference as it is written."""
        return f"{self._step}.output{_written(self._path)}"

    def __template__(self) -> Template:
        # A public name would shadow the field of that name.
        return FromStep(self._step, self._path)


def _written(path: Sequence[PathPart]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def to_template(owner: str, value: object) -> Template:
    """Return the template that a user wrote as references, mappings, lists and literals.

    Args:
        owner: Whose mapping it is, for the error.
        value: What the user wrote.

    Raises:
        InvalidReference: It holds something that is neither a reference nor JSON.
    """
    if isinstance(value, Mapping):
        return _composed(owner, cast("Mapping[Any, Any]", value))
    if isinstance(value, list | tuple):
        return _listed(owner, cast("Sequence[object]", value))
    match value:
        case WorkflowInput() | OutputReference():
            return value.__template__()
        case Step():
            return FromStep(cast("Step[Any]", value).id)
        case FromInput() | FromStep() | FromOutcome() | Literal() | Composed() | Listed():
            return value
        case _:
            return _literal(owner, value)


def _literal(owner: str, value: object) -> Literal:
    if value is None or isinstance(value, bool | int | str):
        return Literal(value)
    if isinstance(value, float) and isfinite(value):
        return Literal(value)
    raise InvalidReference(owner, repr(value)[:200], "is neither a reference nor a JSON value")


def _composed(owner: str, value: Mapping[Any, Any]) -> Template:
    names = [name for name in value if not isinstance(name, str)]
    if names:
        raise InvalidReference(owner, repr(names[0]), "is not a string, as names in JSON are")
    fields = tuple((name, to_template(owner, inner)) for name, inner in value.items())
    if all(isinstance(inner, Literal) for _, inner in fields):
        return Literal({name: inner.value for name, inner in fields if isinstance(inner, Literal)})
    return Composed(fields)


def _listed(owner: str, value: Sequence[object]) -> Template:
    items = tuple(to_template(owner, inner) for inner in value)
    if all(isinstance(inner, Literal) for inner in items):
        return Literal([inner.value for inner in items if isinstance(inner, Literal)])
    return Listed(items)


# ----------------------------------------------------------------------------- definitions


class StepKind(Enum):
    """How a step is carried out."""

    CALL = "call"
    PUBLISH = "publish"
    WORKFLOW = "workflow"


class StepDefinition(NamedTuple):
    """A step as a value.

    A hundred thousand of them are made at once, which takes a frozen dataclass six times as long.

    Args:
        id: Its name in the workflow.
        kind: How it is carried out.
        target: The endpoint, the topic, or the id of the sub-workflow.
        requires: The steps that have to be done before, without repetition, in order.
        input: What its input is made of; None for the execution's input as it is.
        timeout_ms: How long one attempt may run.
        start_within_ms: How long an attempt may wait in a queue, or None.
        retry: When it is tried again, or None for the default.
        fallback: The step that runs when this one has failed for good, or an empty string.
        optional: Whether the execution goes on without it when it fails.
        concurrency: How many steps of the same target may run at once in one execution.
        labels: For people and tools.
        workflow: The `WorkflowDefinition` of the sub-workflow, or None.
        heartbeat_ms: A third of how long its worker may be silent, or None for the default.
        at_most_once: Whether its handler must not run twice, whatever happens.
    """

    id: str
    kind: StepKind
    target: str
    requires: tuple[str, ...] = ()
    input: Template | None = None
    timeout_ms: int = int(DEFAULT_TIMEOUT * 1000)
    start_within_ms: int | None = None
    retry: RetryPolicy | None = None
    fallback: str = ""
    optional: bool = False
    concurrency: int | None = None
    labels: Mapping[str, str] = _NO_LABELS
    workflow: Any = None
    heartbeat_ms: int | None = None
    at_most_once: bool = False


# -------------------------------------------------------------------------------- the step


class StepOptions(TypedDict, total=False):
    """The options that every kind of step has; see `Step`."""

    id: str
    requires: "Sequence[Step[Any] | str]"
    input: Any
    timeout: float
    start_within: float
    retry: RetryPolicy
    fallback: "Step[Any] | str"
    optional: bool
    concurrency: int
    labels: Mapping[str, str]
    heartbeat: float
    at_most_once: bool


class Step(Generic[ResultT]):
    """A unit of work that a workflow is made of.

    Make one with `Step.call`, `Step.publish` or `Step.sub_workflow`, or by decorating a function
    with `@app.step`. All take these options:

    * `id`: its name in the workflow; by default the method, the topic or the workflow's id.
    * `requires`: steps (or their ids) that have to be done before.
    * `input`: what its input is made of: references and JSON values; by default the execution's
      input.
    * `timeout`: seconds that one attempt may run (60). The handler is cancelled then; a result
      that it gives all the same counts.
    * `start_within`: seconds that an attempt may wait in a queue; by default for ever.
    * `retry`: a `RetryPolicy`; by default a handler's error is final.
    * `fallback`: a step that runs when this one has failed for good; its output stands in.
    * `optional`: if it fails, the execution goes on and its output is `null`.
    * `concurrency`: how many steps of the same target may run at once in one execution.
    * `labels`: names and values for people and tools.
    * `heartbeat`: for a long step: it is sent again after a silence of three times so many seconds.
    * `at_most_once`: its handler runs once or not at all. It has no `retry`, and a person has to
      look at it if its worker falls silent.

    Args:
        kind: How it is carried out.
        target: The endpoint, the topic or the sub-workflow's id.
        returns: The type of its result; results are checked against it.
        options: See above.
    """

    def __init__(
        self,
        kind: StepKind,
        target: str,
        returns: object = Any,
        **options: Unpack[StepOptions],
    ) -> None:
        """Check the options and keep them."""
        owner = f"the step for {target!r}"
        check_options(owner, options, StepOptions)
        default = target.rpartition(".")[2] if kind is StepKind.CALL else target
        self.id = check_name("step", options.get("id", default))
        self.kind = kind
        self.target = target
        self.returns = returns
        self.workflow: Any = None
        self.fallback = options.get("fallback", "")
        self._required: tuple[Step[Any] | str, ...] = tuple(options.get("requires", ()))
        self._template: Template | None = None
        if "input" in options:
            self._template = to_template(f"the input of step {self.id!r}", options["input"])
        self._options = options
        self._check_options()

    @overload
    @classmethod
    def call(
        cls, endpoint: str, *, returns: type[ReturnT], **options: Unpack[StepOptions]
    ) -> "Step[ReturnT]": ...

    @overload
    @classmethod
    def call(cls, endpoint: str, **options: Unpack[StepOptions]) -> "Step[Any]": ...

    @classmethod
    def call(
        cls, endpoint: str, *, returns: object = Any, **options: Unpack[StepOptions]
    ) -> "Step[Any]":
        """Return a step that calls an endpoint.

        Args:
            endpoint: `service.method`.
            returns: The type of its result.
            options: See the class.

        Raises:
            InvalidName: The endpoint or the id breaks the rules.
            InvalidOption: An option makes no sense.
        """
        return Step(StepKind.CALL, check_endpoint(endpoint), returns, **options)

    @classmethod
    def publish(cls, topic: str, **options: Unpack[StepOptions]) -> "Step[None]":
        """Return a step that publishes its input to a topic, and succeeds once confirmed.

        Args:
            topic: Words with dots between, such as `orders.paid`.
            options: See the class.

        Raises:
            InvalidName: The topic or the id breaks the rules.
            InvalidOption: An option makes no sense.
        """
        return Step(StepKind.PUBLISH, check_topic(topic), None, **options)

    @classmethod
    def sub_workflow(cls, workflow: Any, **options: Unpack[StepOptions]) -> "Step[Any]":
        """Return a step that runs another workflow inside the same execution.

        Args:
            workflow: The workflow, or its definition. It is taken as it is now.
            options: See the class; attempts are a matter of the steps inside, and so `timeout`,
                `start_within` and `retry` are not for this kind of step.

        Raises:
            InvalidOption: An option makes no sense.
        """
        definition = getattr(workflow, "definition", workflow)
        step: Step[Any] = Step(StepKind.WORKFLOW, definition.id, Any, **options)
        rule = "a sub-workflow has no attempts; set it on the steps inside"
        step._refuse(("timeout", "start_within", "retry"), rule)
        step.workflow = definition
        return step

    @property
    def output(self) -> OutputReference:
        """The step's output, as something to refer to in another step's input."""
        return OutputReference(self.id)

    @property
    def requires(self) -> tuple[str, ...]:
        """The ids of the steps that have to be done before, references included."""
        required = [step if isinstance(step, str) else step.id for step in self._required]
        if self._template is not None:
            required += template_steps(self._template)
        return tuple(dict.fromkeys(required)) if len(required) > 1 else tuple(required)

    def require(self, *steps: "Step[Any] | str") -> "Step[ResultT]":
        """Require more steps. Workflows that were made before are not changed.

        Args:
            steps: Steps or their ids.

        Returns:
            The step itself.
        """
        self._required += steps
        return self

    def definition(self) -> StepDefinition:
        """Return the step as a value."""
        options = self._options
        fallback = self.fallback if isinstance(self.fallback, str) else self.fallback.id
        # By position, because names would take four times as long.
        return StepDefinition(
            self.id,
            self.kind,
            self.target,
            self.requires,
            self._template,
            round(options.get("timeout", DEFAULT_TIMEOUT) * 1000),
            _milliseconds(options.get("start_within")),
            options.get("retry"),
            fallback,
            options.get("optional", False),
            options.get("concurrency"),
            dict(options["labels"]) if "labels" in options else _NO_LABELS,
            self.workflow,
            _milliseconds(options.get("heartbeat")),
            options.get("at_most_once", False),
        )

    def __repr__(self) -> str:
        """Return what it is and what it is called."""
        return f"<Step {self.id!r}: {self.kind.value} {self.target}>"

    def _check_options(self) -> None:
        options = self._options
        for name in _SECONDS:
            if name in options:
                check_seconds(repr(self), name, options.get(name))
        if "concurrency" in options and (concurrency := options["concurrency"]) < 1:
            raise InvalidOption(repr(self), "concurrency", str(concurrency), "it is at least 1")
        if "retry" in options and not isinstance(options["retry"], RetryPolicy):
            rule = "it is a RetryPolicy(max_attempts=…)"
            raise InvalidOption(repr(self), "retry", repr(options["retry"]), rule)
        if self.kind is not StepKind.CALL:
            self._refuse(("heartbeat", "at_most_once"), "only a step that calls an endpoint has it")
        if options.get("at_most_once"):
            self._refuse(("retry",), "a step that runs at most once is not tried again")

    def _refuse(self, names: Sequence[str], rule: str) -> None:
        for name in names:
            if name in self._options:
                raise InvalidOption(repr(self), name, repr(self._options.get(name)), rule)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
