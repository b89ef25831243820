"""Controls: what people and programs ask of one execution, so that it goes another way.

Each verb is an event, which is decided about; its command is obeyed once, and answered for the
execution's life as it was the first time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, cast

from flow.codec import Cause
from flow.errors import FlowError, InvalidInput, NotPossible, UnknownStep
from flow.kernel.decide import Accepted, Refused
from flow.kernel.events import (
    AbortRequested,
    Event,
    ResolveRequested,
    ResumeRequested,
    SuspendRequested,
    UndoRequested,
)
from flow.names import check_name
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.protocol import Answer, Request
from flow.status import ENDED, Status

__all__ = ["Controls", "command_of_request"]

STEPS_MAX: Final = 1_000
"""So many steps may be named at once."""
REASON_LIMIT: Final = 4_096
"""Characters of a reason that an undo carries which a person has dealt with."""


class Controls:
    """Answers the verbs that change what becomes of one execution.

    Args:
        engine: The orchestrator's state.
        find: Returns the execution that a request is about, or raises why there is none.
        answer: Sends an answer once everything that was decided so far is durable.

    Attributes:
        verbs: What can be asked for, by verb.
    """

    def __init__(
        self,
        engine: Engine,
        find: Callable[[Request], LiveExecution],
        answer: Callable[[Request, Answer], None],
    ) -> None:
        """Know all verbs."""
        self._engine = engine
        self._find = find
        self._answer = answer
        self.verbs: dict[str, Callable[[Request], None]] = {
            "suspend": self._suspend,
            "resume": self._resume,
            "abort": self._abort,
            "undo": self._undo,
            "resolve": self._resolve,
            "delete": self._delete,
        }

    def _suspend(self, request: Request) -> None:
        clock = request.arguments.get("clock", "run")
        if clock not in ("run", "stop"):
            raise InvalidInput("clock", "it is 'run' or 'stop'")
        verb: Literal["pause", "suspend"] = "pause" if request.arguments.get("pause") else "suspend"
        self._control(request, SuspendRequested(command_of_request(request), clock, verb))

    def _resume(self, request: Request) -> None:
        command, live = command_of_request(request), self._find(request)
        workflow = live.input.workflow
        is_new = live.tree.find(f"commands/{command}") is None
        if is_new and self._engine.pauses.command(workflow):
            hint = f"its workflow {workflow!r} is paused"
            raise NotPossible("resume", live.id, live.status.value, hint)
        only_paused = bool(request.arguments.get("only_paused"))
        self._control(request, ResumeRequested(command, only_paused))

    def _abort(self, request: Request) -> None:
        compensate = request.arguments.get("compensate", False)
        if not isinstance(compensate, bool):
            raise InvalidInput("compensate", "it is true or false")
        command = command_of_request(request)
        self._control(request, AbortRequested(command, _reason(request), compensate))

    def _undo(self, request: Request) -> None:
        live = self._find(request)
        steps = tuple(_step_of(live, name) for name in _names(request.arguments))
        self._control(request, UndoRequested(command_of_request(request), steps))

    def _resolve(self, request: Request) -> None:
        reason = _reason(request).strip()
        if not reason:
            raise InvalidInput("reason", "it says what was done in place of the undo")
        path = _path_of(self._find(request), str(request.arguments.get("step") or ""))
        command = command_of_request(request)
        self._control(request, ResolveRequested(command, path, reason[:REASON_LIMIT]))

    def _control(self, request: Request, event: Event) -> None:
        live = self._find(request)
        kind = type(event).__name__
        cause = Cause(kind, command_of_request(request), request.actor, _about(request))
        verdict = self._engine.apply(live, event, cause)
        if isinstance(verdict, Refused):
            raise _named(verdict.error, live.id)
        # A command that was obeyed before is answered as it was then.
        status = verdict.status if isinstance(verdict, Accepted) else live.status
        self._answer(request, Answer({"status": status.value}))

    def _delete(self, request: Request) -> None:
        live = self._find(request)
        if live.status not in ENDED:
            is_undone = live.status is Status.COMPENSATING
            hint = "wait until it is undone" if is_undone else "abort it first"
            raise NotPossible("delete", live.id, live.status.value, hint)
        engine = self._engine
        engine.deleting.add(live.id)
        engine.committer.batch.deletes[live.id] = live.partition
        engine.committer.batch.after(lambda: engine.deleting.discard(live.id), live.partition)
        engine.residents.remove(live.id)
        engine.timers.set(live.id, None)
        self._answer(request, Answer({"deleted": live.id}))


def command_of_request(request: Request) -> str:
    """Return the id of the command that a request is.

    Args:
        request: What is asked. One that names no command is known by its correlation id.

    Raises:
        InvalidName: It cannot be one.
    """
    return check_name("command", request.arguments.get("command") or request.correlation)


def _reason(request: Request) -> str:
    return str(request.arguments.get("reason") or "")


def _about(request: Request) -> str:
    """Return what the history says of a request: why, and which steps it is about."""
    arguments, parts = request.arguments, list[str]()
    if request.verb == "undo" and arguments.get("steps"):
        parts.append(", ".join(_names(arguments)))
    elif request.verb == "resolve":
        parts.append(str(arguments.get("step")))
    elif request.verb == "abort" and arguments.get("compensate"):
        parts.append("with compensation")
    parts += filter(None, [_reason(request)])
    return ": ".join(parts)


def _named(error: FlowError, execution: str) -> FlowError:
    """Return a refusal of the kernel with the execution's id in it, which the kernel lacks."""
    return replace(error, execution=execution) if isinstance(error, NotPossible) else error


def _names(arguments: Mapping[str, Any]) -> Sequence[str]:
    names: Any = arguments.get("steps") or []
    if not isinstance(names, list):
        raise InvalidInput("steps", "it is a list of the ids of steps")
    found = cast("list[Any]", names)
    if len(found) > STEPS_MAX or not all(isinstance(name, str) for name in found):
        raise InvalidInput("steps", f"it is a list of at most {STEPS_MAX:,} ids of steps")
    return list(dict.fromkeys(found))


def _step_of(live: LiveExecution, name: str) -> str:
    """Return the id of a step that is called by its id or by its path."""
    own = name.removeprefix("steps/")
    return own if name not in live.program.plan.index and own in live.program.plan.index else name


def _path_of(live: LiveExecution, name: str) -> str:
    """Return the path of a step that is called by ids with slashes between, or by its path."""
    if not name:
        raise InvalidInput("step", "it is missing")
    path = "/".join(f"steps/{part}" for part in name.split("/"))
    for each in (path, name):
        if live.tree.find(each) is not None:
            return each
    first = name.removeprefix("steps/").partition("/")[0]
    if first not in live.program.plan.index:
        raise UnknownStep(name, f"execution {live.id!r}", list(live.program.plan.index)[:1000])
    return path
