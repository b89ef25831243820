"""Steps: what a user declares, and the frozen definition that is made from it.

A `Step` is what a program holds and passes around: it can be called on, required, and asked for
its output. A `StepDefinition` is what goes into a workflow's definition: a value without Python
types or functions, the same after a trip through JSON.

A step's input is a template; see `flow.template`.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Generic, NamedTuple, TypedDict, TypeVar, Unpack, overload

from flow.errors import InvalidOption
from flow.names import check_endpoint, check_name, check_topic
from flow.options import check_options, check_seconds
from flow.retry import RetryPolicy
from flow.template import (
    FromStep,
    OutputReference,
    Reference,
    Template,
    template_steps,
    to_template,
)

__all__ = ["Step", "StepDefinition", "StepKind", "StepOptions"]

ResultT = TypeVar("ResultT")
ReturnT = TypeVar("ReturnT")

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds of run time that a step has unless it says otherwise."""

_NO_LABELS: Final[Mapping[str, str]] = {}
_NOT_FOR_UNDO: Final = ("requires", "fallback", "optional", "concurrency", "undo")
_SECONDS: Final = ("timeout", "start_within", "heartbeat")
# Most steps of a large workflow have these options only, about which there is nothing to check,
# and of which a definition is made in a third of the time.
_PLAIN: Final = frozenset({"id", "requires", "input"})

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
        undo: The `StepDefinition` of what takes it back, or None. It has an endpoint or a topic,
            an input, and policies; it requires nothing.
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
    undo: Any = None


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
    undo: "Step[Any] | str"


class Step(Reference, Generic[ResultT]):
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
    * `undo`: what takes it back when its workflow is compensated: an endpoint, which gets the same
      input, or a step, whose input may refer to all that this one's may, to this step's output and
      to `undone`.

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
        self._is_plain = options.keys() <= _PLAIN
        if not self._is_plain:
            check_options(f"the step for {target!r}", options, StepOptions)
        if "id" in options:
            self.id = check_name("step", options["id"])
        else:
            default = target.rpartition(".")[2] if kind is StepKind.CALL else target
            self.id = check_name("step", default)
        self.kind = kind
        self.target = target
        self.returns = returns
        self.workflow: Any = None
        self.fallback = options.get("fallback", "")
        self.undo_step: Step[Any] | None = None
        self._required: tuple[Step[Any] | str, ...] = tuple(options.get("requires", ()))
        self._template: Template | None = None
        if "input" in options:
            self._template = to_template(f"the input of step {self.id!r}", options["input"])
        self._options = options
        if not self._is_plain:
            self._check_options()
        if "undo" in options:
            undo = options["undo"]
            self.undo_with(Step.call(undo) if isinstance(undo, str) else undo)

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
        step.refuse(("timeout", "start_within", "retry"), rule)
        step.workflow = definition
        return step

    @property
    def output(self) -> OutputReference:
        """The step's output, as something to refer to in another step's input."""
        return OutputReference(self.id)

    def __template__(self) -> Template:
        return FromStep(self.id)

    @property
    def requires(self) -> tuple[str, ...]:
        """The ids of the steps that have to be done before, references included."""
        if self._template is None and len(self._required) == 1:
            [step] = self._required
            return (step if isinstance(step, str) else step.id,)
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

    def undo_with(self, step: "Step[Any]") -> "Step[ResultT]":
        """Say what takes the step back. Workflows that were made before are not changed.

        Args:
            step: Calls an endpoint, or publishes to a topic.

        Returns:
            The step itself.

        Raises:
            InvalidOption: An undo cannot be like that, or there is one already.
        """
        if self.undo_step is not None:
            raise InvalidOption(
                repr(self), "undo", repr(step), f"it has {self.undo_step!r} already"
            )
        if self.kind is StepKind.WORKFLOW:
            rule = "a sub-workflow is undone step by step; set it on the steps inside"
            raise InvalidOption(repr(self), "undo", repr(step), rule)
        if step.kind is StepKind.WORKFLOW:
            rule = "an undo calls an endpoint or publishes to a topic"
            raise InvalidOption(repr(self), "undo", repr(step), rule)
        step.refuse(_NOT_FOR_UNDO, f"it is the undo of {self.id!r}, and not in the graph")
        self.undo_step = step
        return self

    def definition(self) -> StepDefinition:
        """Return the step as a value."""
        if self._is_plain and not (self.workflow or self.fallback or self.undo_step):
            return StepDefinition(self.id, self.kind, self.target, self.requires, self._template)
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
            # What it refers to is there: the step has run, and so has what that requires.
            self.undo_step and self.undo_step.definition()._replace(requires=()),
        )

    def refuse(self, names: Sequence[str], rule: str) -> None:
        """Raise if an option is set that is not for a step like this.

        Args:
            names: The names of such options.
            rule: Why they are not.

        Raises:
            InvalidOption: One of them is set.
        """
        for name in names:
            if name in self._options:
                raise InvalidOption(repr(self), name, repr(self._options.get(name)), rule)

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
            self.refuse(("heartbeat", "at_most_once"), "only a step that calls an endpoint has it")
        if options.get("at_most_once"):
            self.refuse(("retry",), "a step that runs at most once is not tried again")


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
