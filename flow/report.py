"""What happened in an execution, as a value: a tree of entries in the order of what happened."""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Self, cast, get_args

from flow import codec
from flow.codec.json import check_integers, pretty
from flow.codec.moments import decode_moment, encode_moment, moment_of
from flow.codec.values import decode_value, encode_value, plain
from flow.codec.yaml import read_yaml, write_yaml
from flow.errors import InvalidInput, InvalidOption, listed, nearest
from flow.failure import Failure
from flow.status import Status
from flow.workflow import ON_ERROR, ON_UNDO_ERROR, OnError, OnUndoError

__all__ = ["ACTIONS", "Action", "Report", "StepReport"]

Action = Literal["run", "undo", "prepare"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
"""What an entry of a report may be about: a step's run, its undo, or a prepare hook that failed."""

_STATUSES: Final = tuple(Status.__members__)
_ROOT: Final = "report"
_NESTING: Final = 32
"""How deep a report that is read may be nested: twice as deep as workflows may be."""
_SHOWN: Final = 60
_FAILURE_TEXTS: Final = ("type", "message", "traceback", "step", "phase")


class _Timed:
    """What has a beginning and an end."""

    __slots__ = ()

    started_ms: int | None
    ended_ms: int | None

    @property
    def started(self) -> datetime | None:
        """When it began, in UTC. None if it did not."""
        return None if self.started_ms is None else moment_of(self.started_ms, "started")

    @property
    def ended(self) -> datetime | None:
        """When it ended, in UTC. None if it has not."""
        return None if self.ended_ms is None else moment_of(self.ended_ms, "ended")

    @property
    def duration(self) -> timedelta | None:
        """How long it took. None if it has not begun, or has not ended."""
        if self.started_ms is None or self.ended_ms is None:
            return None
        return timedelta(milliseconds=self.ended_ms - self.started_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport(_Timed):
    """What became of a step's run, of its undo, or of its prepare hook.

    Args:
        step: The step's id.
        action: What this is about: `run`, `undo` or `prepare`.
        status: How it is.
        started_ms: When it was first sent, in milliseconds since 1970. None if it was not.
        ended_ms: When it ended. None if it has not.
        attempts: How many attempts were made.
        failure: Why it failed. The `step` of a failure names a step further inside.
        reason: Why it was skipped, or what a person said who marked it as resolved.
        metadata: What the handler attached: JSON values and bytes.
        report: What happened inside, if the step is a sub-workflow.
    """

    step: str
    action: Action
    status: Status
    started_ms: int | None = None
    ended_ms: int | None = None
    attempts: int = 0
    failure: Failure | None = None
    reason: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    report: "Report | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(_Timed):
    """What happened in an execution, or in a sub-workflow of it.

    `to_dict` and `from_dict` are each other's opposite, and so are the other pairs. What is empty
    is left out of a document; what is not known is ignored when one is read, so that programs of
    different versions can talk about reports.

    Args:
        workflow: The workflow's id.
        execution: The execution's id.
        status: How it is.
        started_ms: When it began, in milliseconds since 1970. None if it has not.
        ended_ms: When it ended. None if it has not.
        on_error: What happened when a step failed for good: `stop`, `continue` or `compensate`.
        on_undo_error: Whether the other undos followed when one failed: `continue` or `stop`.
        failure: Why it failed.
        incident: What a person has to look at, such as undos that failed.
        steps: One entry for each run and each undo, in the order in which they happened.
    """

    workflow: str
    execution: str
    status: Status
    started_ms: int | None = None
    ended_ms: int | None = None
    on_error: OnError = "stop"
    on_undo_error: OnUndoError = "continue"
    failure: Failure | None = None
    incident: str = ""
    steps: tuple[StepReport, ...] = ()

    # ------------------------------------------------------------------------------ looking

    def walk(self) -> Iterator[tuple[int, StepReport]]:
        """Yield every entry with its depth (0 for the outermost), nested ones after their own."""
        for entry in self.steps:
            yield 0, entry
            if entry.report is not None:
                yield from ((depth + 1, inner) for depth, inner in entry.report.walk())

    def find(self, step: str, action: Action = "run") -> StepReport | None:
        """Return the entry of a step, or None if nothing of the kind happened.

        Args:
            step: The step's id. A step of a sub-workflow is `sub-workflow/step`.
            action: What the entry is about: `run`, `undo` or `prepare`.

        Returns:
            The last such entry, if there are several.

        Raises:
            InvalidOption: There is no such action.
        """
        if action not in ACTIONS:
            rule = f"it must be one of {', '.join(ACTIONS)}{nearest(str(action), ACTIONS)}"
            raise InvalidOption("find", "action", repr(action), rule)
        outer, _, last = step.rpartition("/")
        inside = self._inside(outer.split("/")) if outer else self
        steps = () if inside is None else inside.steps
        found = (each for each in reversed(steps) if (each.step, each.action) == (last, action))
        return next(found, None)

    def failed(self) -> tuple[StepReport, ...]:
        """Return every entry that is a FAILURE, those of sub-workflows included, as they stand."""
        return tuple(entry for _, entry in self.walk() if entry.status is Status.FAILURE)

    def _inside(self, names: Sequence[str]) -> "Report | None":
        inside: Report | None = self
        for name in names:
            steps = () if inside is None else inside.steps
            found = (each.report for each in reversed(steps) if each.step == name and each.report)
            inside = next(found, None)
        return inside

    # ---------------------------------------------------------------------------- documents

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object, with times in RFC 3339.

        Raises:
            InvalidInput: JSON has no form for something that was attached.
        """
        return _report_document(self, _ROOT)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return the report that a JSON object describes.

        Args:
            document: What `to_dict` has made.

        Raises:
            InvalidInput: It is no report. The error names the place, and what would be right.
        """
        return cls(**_report_values(document, _ROOT, 0))

    def to_json(self, *, indent: bool = False) -> str:
        """Return the report as JSON.

        Args:
            indent: Whether it is for people.

        Raises:
            InvalidInput: See `to_dict`.
        """
        document = self.to_dict()
        return pretty(document) if indent else codec.dumps(document).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the report that JSON text describes.

        Args:
            text: What `to_json` has made.

        Raises:
            InvalidInput: It is not JSON, or no report.
        """
        document = codec.loads(text, "the report")
        check_integers(text.encode() if isinstance(text, str) else text, "the report")
        return cls.from_dict(document)

    def to_yaml(self) -> str:
        """Return the report as YAML.

        Raises:
            InvalidInput: See `to_dict`.
        """
        return write_yaml(self.to_dict())

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Self:
        """Return the report that YAML text describes.

        Args:
            text: What `to_yaml` has made.

        Raises:
            InvalidInput: It is not YAML, or no report.
        """
        return cls.from_dict(read_yaml(text, "the report"))


# ---------------------------------------------------------------------------------- writing


def _report_document(report: Report, place: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "workflow": plain(report.workflow, f"{place}.workflow"),
        "execution": plain(report.execution, f"{place}.execution"),
        "status": report.status.value,
        **_times(report, place),
        "on_error": report.on_error,
        "on_undo_error": report.on_undo_error,
    }
    if report.failure is not None:
        document["failure"] = _failure_document(report.failure, f"{place}.failure")
    if report.incident:
        document["incident"] = plain(report.incident, f"{place}.incident")
    steps = enumerate(report.steps)
    return {**document, "steps": [_step_document(each, f"{place}.steps[{n}]") for n, each in steps]}


def _step_document(entry: StepReport, place: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "step": plain(entry.step, f"{place}.step"),
        "action": entry.action,
        "status": entry.status.value,
        **_times(entry, place),
        "attempts": entry.attempts,
    }
    if entry.failure is not None:
        document["failure"] = _failure_document(entry.failure, f"{place}.failure")
    if entry.reason:
        document["reason"] = plain(entry.reason, f"{place}.reason")
    if entry.metadata:
        document["metadata"] = {
            plain(key, f"{place}.metadata"): encode_value(value, f"{place}.metadata[{key!r}]")
            for key, value in entry.metadata.items()
        }
    if entry.report is not None:
        document["report"] = _report_document(entry.report, f"{place}.report")
    return document


def _times(timed: _Timed, place: str) -> dict[str, str]:
    times = (("started", timed.started_ms), ("ended", timed.ended_ms))
    return {
        name: encode_moment(at_ms, f"{place}.{name}") for name, at_ms in times if at_ms is not None
    }


def _failure_document(failure: Failure, place: str) -> Any:
    return plain(codec.encode_failure(failure), place)


# ---------------------------------------------------------------------------------- reading


def _report_values(document: object, place: str, depth: int) -> dict[str, Any]:
    """Return what a report is made with."""
    if depth >= _NESTING:
        raise InvalidInput(place[:_SHOWN], f"reports are nested more than {_NESTING} levels deep")
    reader = _Reader.of(document, place)
    steps = reader.sequence("steps")
    return {
        "workflow": reader.text("workflow"),
        "execution": reader.text("execution"),
        "status": Status(reader.choice("status", _STATUSES)),
        "started_ms": reader.moment("started"),
        "ended_ms": reader.moment("ended"),
        "on_error": reader.choice("on_error", ON_ERROR, "stop"),
        "on_undo_error": reader.choice("on_undo_error", ON_UNDO_ERROR, "continue"),
        "failure": reader.failure("failure"),
        "incident": reader.text("incident", ""),
        "steps": tuple(_step(each, f"{place}.steps[{n}]", depth) for n, each in enumerate(steps)),
    }


def _step(document: object, place: str, depth: int) -> StepReport:
    reader = _Reader.of(document, place)
    inner = reader.get("report")
    report: Report | None = None
    if inner is not None:
        report = Report(**_report_values(inner, f"{place}.report", depth + 1))
    return StepReport(
        step=reader.text("step"),
        action=cast("Action", reader.choice("action", ACTIONS)),
        status=Status(reader.choice("status", _STATUSES)),
        started_ms=reader.moment("started"),
        ended_ms=reader.moment("ended"),
        attempts=reader.count("attempts"),
        failure=reader.failure("failure"),
        reason=reader.text("reason", ""),
        metadata=reader.attached("metadata"),
        report=report,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Takes values out of a JSON object, and names what is wrong with them.

    Args:
        values: The object.
        place: Where in the report it stands.
    """

    values: Mapping[str, Any]
    place: str

    @classmethod
    def of(cls, value: object, place: str) -> "_Reader":
        if not isinstance(value, Mapping):
            raise InvalidInput(place, f"it must be an object; {_found(value)}")
        return cls(value, place)

    def get(self, key: str) -> Any:
        """Return a value; null is the same as nothing."""
        return self.values.get(key)

    def needed(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            rule = f"it is missing; what is there: {listed(map(str, self.values)) or 'nothing'}"
            raise InvalidInput(f"{self.place}.{key}", rule)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self.needed(key) if default is None else self.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise InvalidInput(f"{self.place}.{key}", f"it must be text; {_found(value)}")
        return str(plain(value, f"{self.place}.{key}"))

    def choice(self, key: str, names: Sequence[str], default: str | None = None) -> str:
        value = self.text(key, default)
        if value not in names:
            rule = f"it must be one of {', '.join(names)}; {_found(value)}{nearest(value, names)}"
            raise InvalidInput(f"{self.place}.{key}", rule)
        return value

    def count(self, key: str) -> int:
        value = self.get(key)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            rule = f"it must be an integer of at least 0; {_found(value)}"
            raise InvalidInput(f"{self.place}.{key}", rule)
        return int(plain(value, f"{self.place}.{key}"))

    def moment(self, key: str) -> int | None:
        value = self.get(key)
        return None if value is None else decode_moment(value, f"{self.place}.{key}")

    def sequence(self, key: str) -> Sequence[Any]:
        value = self.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise InvalidInput(f"{self.place}.{key}", f"it must be a list; {_found(value)}")
        return value

    def failure(self, key: str) -> Failure | None:
        value = self.get(key)
        if value is None:
            return None
        inner = _Reader.of(value, f"{self.place}.{key}")
        inner.needed("type")
        for name in _FAILURE_TEXTS:
            inner.text(name, "")
        fields = inner.get("fields")
        if fields is not None:
            _Reader.of(fields, f"{inner.place}.fields")
        return codec.decode_failure(plain(value, inner.place))

    def attached(self, key: str) -> dict[str, Any]:
        value = self.get(key)
        if value is None:
            return {}
        place = f"{self.place}.{key}"
        items = _Reader.of(value, place).values.items()
        return {
            _name(name, place): decode_value(item, f"{place}[{name!r}]") for name, item in items
        }


def _name(name: object, place: str) -> str:
    if not isinstance(name, str):
        raise InvalidInput(place, f"its keys must be text; {_found(name)}")
    return str(plain(name, place))


def _found(value: object) -> str:
    if isinstance(value, str | float | bool) or value is None:
        text = repr(value)
    elif isinstance(value, int) and value.bit_length() <= _SHOWN:
        text = str(value)
    else:
        text = f"of the type {type(value).__name__}"
    return f"it is {text if len(text) <= _SHOWN else f'{text[:_SHOWN]}…'}"
