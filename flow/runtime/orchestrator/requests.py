"""Requests: what clients can ask of an orchestrator, one method for each verb.

A verb that is about one execution is answered after the commit of the batch in which it was
decided. A verb that only reads the store, or changes definitions, runs in a task of its own.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from flow.codec import Cause
from flow.errors import (
    ExecutionPruned,
    InvalidInput,
    UnknownExecution,
    UnknownStep,
)
from flow.kernel.decide import Refused
from flow.kernel.events import AnswerRequested
from flow.names import check_name
from flow.runtime.asking import Asker
from flow.runtime.orchestrator.answering import Answering
from flow.runtime.orchestrator.bulk import Bulk
from flow.runtime.orchestrator.controls import Controls, command_of_request
from flow.runtime.orchestrator.endings import ending_view, live_view
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.orchestrator.lookups import Lookups, number_in
from flow.runtime.orchestrator.members import Members
from flow.runtime.orchestrator.pausing import Pausing
from flow.runtime.orchestrator.reports import report_of
from flow.runtime.orchestrator.starts import Start, check_same_as_pruned, start
from flow.runtime.orchestrator.views import step_view
from flow.runtime.protocol import Answer, Request
from flow.status import ENDED

__all__ = ["Requests"]

_BY_COMMAND: Final = ("bulk", "prune")
_BY_WORKFLOW: Final = ("workflow.pause", "workflow.unpause")


class Requests:
    """Answers requests.

    Args:
        engine: The orchestrator's state.
        answering: Sends the answers.
        asker: Asks the owners of other partitions.
        members: The other orchestrators.

    Attributes:
        about_one: The verbs that are about one execution, which is in memory if it exists.
        reading: The verbs that run in a task of their own.
    """

    def __init__(
        self,
        engine: Engine,
        answering: Answering,
        asker: Asker,
        members: Members,
    ) -> None:
        """Know all verbs."""
        self._engine = engine
        self._answering = answering
        self.about_one: dict[str, Callable[[Request], None]] = {
            "start": self._start,
            "result": self._result,
            "show": self._show,
            "step": self._step,
            "watch": self._watch,
            "report": self._report,
            **Controls(engine, self._live, self.answer_after_commit).verbs,
        }
        self.reading = {
            **Lookups(engine, asker, members).verbs,
            **Bulk(engine, asker).verbs,
            **Pausing(engine, asker, members).verbs,
        }

    def home(self, request: Request) -> int | None:
        """Return the partition whose owner has to answer a request, or None if anybody may.

        What takes long and may be asked again meanwhile always goes to the same one, who then
        knows that it is under way.

        Args:
            request: What is asked.

        Raises:
            InvalidInput: There is no such verb, or no such partition.
            InvalidName: The command or the workflow cannot be one.
        """
        engine, verb, arguments = self._engine, request.verb, request.arguments
        if verb in self.about_one:
            return engine.partition_of(request.execution)
        if verb not in self.reading:
            raise InvalidInput("the request", f"there is no verb {verb!r}")
        if verb in _BY_COMMAND:
            return engine.partition_of(command_of_request(request))
        if verb in _BY_WORKFLOW:
            return engine.partition_of(check_name("workflow", arguments.get("workflow")))
        if verb == "partition.refresh":
            partition = number_in(arguments, "partition", -1)
            if not 0 <= partition < engine.partitions:
                raise InvalidInput("partition", "there is none of this number")
            return partition
        return None

    def answer(self, request: Request, answer: Answer) -> None:
        """Send an answer now.

        Args:
            request: What it answers.
            answer: What to say.
        """
        self._answering.answer(request.reply_to, request.correlation, answer)

    def answer_after_commit(self, request: Request, answer: Answer) -> None:
        """Send an answer once everything that was decided so far is durable.

        Args:
            request: What it answers.
            answer: What to say.
        """
        name = request.execution
        partition = self._engine.partition_of(name) if name else None
        self._engine.committer.batch.after(lambda: self.answer(request, answer), partition)

    # ---------------------------------------------------------------- about one execution

    def _live(self, request: Request) -> LiveExecution:
        residents = self._engine.residents
        live = residents.get(request.execution)
        if live is not None:
            return live
        residents.check(request.execution)
        gone = residents.pruned.get(request.execution)
        if gone is not None:
            raise ExecutionPruned(gone.id, gone.status.value, gone.ended_ms)
        raise UnknownExecution(request.execution)

    def _start(self, request: Request) -> None:
        self.start(request, Start.read(request))

    def start(self, request: Request, wanted: Start) -> None:
        """Begin an execution and answer, at once or when it has ended.

        Args:
            request: Who asks, and whether they wait for the end.
            wanted: What is to begin.
        """
        gone = self._engine.residents.pruned.get(wanted.execution)
        if gone is not None:
            check_same_as_pruned(gone, wanted)
            if request.arguments.get("wait"):
                raise ExecutionPruned(gone.id, gone.status.value, gone.ended_ms)
            answer = Answer({"execution": gone.id, "status": gone.status.value})
            self.answer_after_commit(request, answer)
            return
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
        if request.arguments.get("durable"):
            self._note_waiter(request, live)
            return
        if live.status in ENDED:
            self.answer_after_commit(request, Answer(ending_view(live)))
            return
        key = f"{request.reply_to}/{request.correlation}"
        self._engine.waiters.wait_for_end(live.id, key, lambda: self._ended(request))

    def _note_waiter(self, request: Request, live: LiveExecution) -> None:
        """Keep in the store that somebody waits, who will not ask again."""
        if not request.reply_to:
            raise InvalidInput("durable", "an answer needs a queue to go to: reply_to is empty")
        name = sha256(f"{request.reply_to}\n{request.correlation}".encode()).hexdigest()[:32]
        event = AnswerRequested(name, request.reply_to, request.correlation)
        cause = Cause(type(event).__name__, request.correlation, request.actor)
        verdict = self._engine.apply(live, event, cause)
        if isinstance(verdict, Refused):
            raise verdict.error

    def _ended(self, request: Request) -> None:
        # Looked up again, because what was in memory may have been forgotten meanwhile.
        engine, live = self._engine, self._engine.residents.get(request.execution)
        if live is None:
            return
        if live.status in ENDED and live.id not in engine.committer.batch.touches:
            # What is in memory is what was written just now: nothing has to be waited for.
            self.answer(request, Answer(ending_view(live)))
            return
        self._answer_when_ended(request, live)
        engine.committer.notify()

    def _show(self, request: Request) -> None:
        self.answer_after_commit(request, Answer(live_view(self._live(request))))

    def _report(self, request: Request) -> None:
        self.answer_after_commit(request, Answer(report_of(self._live(request)).to_dict()))

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
