"""Requests: what clients can ask of an orchestrator, one method for each verb.

A verb that is about one execution is answered after the commit of the batch in which it was
decided. A verb that only reads the store, or changes definitions, runs in a task of its own.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from flow import codec
from flow.codec import Cause
from flow.errors import (
    FlowError,
    InvalidInput,
    NotPossible,
    UnknownExecution,
    UnknownStep,
)
from flow.kernel.decide import Accepted, Refused
from flow.kernel.events import AbortRequested, Event, ResumeRequested, SuspendRequested
from flow.names import REQUEST_LIMIT, check_name
from flow.ports import Publication
from flow.runtime.engine import Engine
from flow.runtime.live import LiveExecution
from flow.runtime.lookups import Lookups, number_in
from flow.runtime.protocol import Answer, Request
from flow.runtime.starts import Start, start
from flow.runtime.views import execution_view, result_view, step_view
from flow.status import ENDED, Status

__all__ = ["Requests"]

HISTORY_PAGE: Final = 1_000
LIST_LIMIT: Final = 10_000


class Requests:
    """Answers requests.

    Args:
        engine: The orchestrator's state.

    Attributes:
        about_one: The verbs that are about one execution, which is in memory if it exists.
        reading: The verbs that run in a task of their own.
    """

    def __init__(self, engine: Engine) -> None:
        """Know all verbs."""
        self._engine = engine
        self.about_one: dict[str, Callable[[Request], None]] = {
            "start": self._start,
            "result": self._result,
            "show": self._show,
            "step": self._step,
            "watch": self._watch,
            "suspend": self._suspend,
            "resume": self._resume,
            "abort": self._abort,
            "delete": self._delete,
        }
        self.reading = Lookups(engine).verbs

    def answer(self, request: Request, answer: Answer) -> None:
        """Send an answer now.

        Args:
            request: What it answers.
            answer: What to say.
        """
        if not request.reply_to:
            return
        engine = self._engine
        envelope = answer.envelope(engine.chance.new_id(), request.correlation)
        engine.post(Publication("", request.reply_to, envelope, mandatory=False))

    def answer_after_commit(self, request: Request, answer: Answer) -> None:
        """Send an answer once everything that was decided so far is durable.

        Args:
            request: What it answers.
            answer: What to say.
        """
        self._engine.committer.batch.after(lambda: self.answer(request, answer))

    # ---------------------------------------------------------------- about one execution

    def _live(self, request: Request) -> LiveExecution:
        residents = self._engine.residents
        live = residents.get(request.execution)
        if live is not None:
            return live
        residents.check(request.execution)
        raise UnknownExecution(request.execution)

    def _start(self, request: Request) -> None:
        self.start(request, Start.read(request))

    def start(self, request: Request, wanted: Start) -> None:
        """Begin an execution and answer, at once or when it has ended.

        Args:
            request: Who asks, and whether they wait for the end.
            wanted: What is to begin.
        """
        cause = Cause("ExecutionStarted", request.correlation, request.actor)
        live = start(self._engine, wanted, cause)
        if request.arguments.get("wait"):
            self._answer_when_ended(request, live)
        else:
            answer = Answer({"execution": live.id, "status": live.status.value})
            self.answer_after_commit(request, answer)

    def _result(self, request: Request) -> None:
        self._answer_when_ended(request, self._live(request))

    def _answer_when_ended(self, request: Request, live: LiveExecution) -> None:
        if live.status in ENDED:
            self.answer_after_commit(request, Answer(_report(live)))
            return
        key = f"{request.reply_to}/{request.correlation}"
        self._engine.waiters.wait_for_end(live.id, key, lambda: self._ended(request))

    def _ended(self, request: Request) -> None:
        # Looked up again, because what was in memory may have been forgotten meanwhile.
        live = self._engine.residents.get(request.execution)
        if live is not None:
            self._answer_when_ended(request, live)
            self._engine.committer.notify()

    def _show(self, request: Request) -> None:
        self.answer_after_commit(request, Answer(_view(self._live(request))))

    def _step(self, request: Request) -> None:
        live = self._live(request)
        step = str(request.arguments.get("step"))
        view = step_view(live.tree, live.program.plan, step)
        if view is None:
            known = list(live.program.plan.index)[:1000]
            raise UnknownStep(step, f"execution {live.id!r}", known)
        self.answer_after_commit(request, Answer(view))

    def _watch(self, request: Request) -> None:
        """Answer as soon as there are records behind the one that the client knows."""
        live = self._live(request)
        after = number_in(request.arguments, "after", 0)
        answer = Answer({"status": live.status.value, "seq": live.seq})
        if live.seq > after or live.status in ENDED:
            self.answer_after_commit(request, answer)
            return
        key = f"{request.reply_to}/{request.correlation}"
        self._engine.waiters.wait_for_change(live.id, key, lambda: self._changed(request))

    def _changed(self, request: Request) -> None:
        live = self._engine.residents.get(request.execution)
        if live is not None and live.summary is not None:
            # The tree may be ahead of the store by now; what is said goes with the records.
            status = live.summary.status.value
            self.answer(request, Answer({"status": status, "seq": live.seq}))

    def _suspend(self, request: Request) -> None:
        clock = request.arguments.get("clock", "run")
        if clock not in ("run", "stop"):
            raise InvalidInput("clock", "it is 'run' or 'stop'")
        self._control(request, SuspendRequested(_command(request), clock))

    def _resume(self, request: Request) -> None:
        self._control(request, ResumeRequested(_command(request)))

    def _abort(self, request: Request) -> None:
        reason = str(request.arguments.get("reason") or "")
        self._control(request, AbortRequested(_command(request), reason))

    def _control(self, request: Request, event: Event) -> None:
        live = self._live(request)
        reason = str(request.arguments.get("reason") or "")
        kind = type(event).__name__
        cause = Cause(kind, _command(request), request.actor, reason)
        verdict = self._engine.apply(live, event, cause)
        if isinstance(verdict, Refused):
            error = verdict.error
            if isinstance(error, NotPossible):
                error = replace_execution(error, live.id)
            raise error
        # A command that was obeyed before is answered as it was then.
        status = verdict.status if isinstance(verdict, Accepted) else live.status
        self.answer_after_commit(request, Answer({"status": status.value}))

    def _delete(self, request: Request) -> None:
        live = self._live(request)
        if live.status not in ENDED:
            hint = "abort it first"
            raise NotPossible("delete", live.id, live.status.value, hint)
        engine = self._engine
        engine.deleting.add(live.id)
        engine.committer.batch.deletes.append(live.id)
        engine.committer.batch.after(lambda: engine.deleting.discard(live.id))
        engine.residents.remove(live.id)
        engine.timers.set(live.id, None)
        self.answer_after_commit(request, Answer({"deleted": live.id}))


def replace_execution(error: NotPossible, execution: str) -> FlowError:
    """Return a refusal of the kernel with the execution's id in it.

    Args:
        error: The refusal.
        execution: The id, which the kernel does not know.
    """
    return replace(error, execution=execution)


def _command(request: Request) -> str:
    return check_name("command", request.arguments.get("command") or request.correlation)


def _view(live: LiveExecution) -> dict[str, Any]:
    view = execution_view(live.id, live.tree, live.program.plan, live.waiting, live.progress)
    return {**view, "seq": live.seq}


def _report(live: LiveExecution) -> dict[str, Any]:
    """Return how an execution ended: the output of a success, the report of everything else."""
    if live.status is Status.SUCCESS:
        return {"status": live.status.value, "output": result_view(live.tree, live.program.plan)}
    view = _view(live)
    if len(codec.dumps(view)) > REQUEST_LIMIT:
        view["steps"] = [{**step, "output": None} for step in view["steps"]]
    return {"status": view["status"], "report": view}
