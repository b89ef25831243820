"""Mutants of the orchestrator: what it must not do too early, too late, or not at all."""

from collections.abc import Sequence
from typing import Final

from flow.failure import Failure
from flow.kernel.commands import RetryDue
from flow.runtime.orchestrator import batch, starts
from flow.runtime.orchestrator.batch import Batch
from flow.runtime.orchestrator.committer import Committer
from flow.runtime.orchestrator.decisions import Decisions
from flow.runtime.orchestrator.dispatcher import Dispatcher
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.orchestrator.mailbox import Mailbox
from flow.runtime.orchestrator.orchestrator import Orchestrator
from flow.runtime.orchestrator.recovery import Recovery
from flow.runtime.orchestrator.requests import Requests
from flow.runtime.orchestrator.sweeper import Sweeper
from tests.simulation.mutants.patching import Change, edit

__all__ = ["BESIDE", "MUTANTS"]

_NOT_SENT_AGAIN: Final = edit(Decisions._wake, ("engine.dispatcher.send([again])", "pass"))
DAY_MS: Final = 86_400_000


def ack_before_commit() -> Sequence[Change]:
    """A message is acknowledged as soon as it is decided about, and not after the commit."""
    kept = "self.engine.committer.batch.deliver(delivery, partition)"
    return [edit(Orchestrator._acknowledge, (kept, "delivery.ack()"))]


def answer_before_commit() -> Sequence[Change]:
    """Whoever asks is answered as soon as it is decided, and not after the commit."""
    after = "self._engine.committer.batch.after(lambda: self.answer(request, answer), partition)"
    return [edit(Requests.answer_after_commit, (after, "self.answer(request, answer)"))]


def permit_before_commit() -> Sequence[Change]:
    """A worker gets its permit as soon as it is decided, and not after the commit."""
    after = "engine.committer.batch.after(lambda: engine.post(publication))"
    return [edit(Mailbox._asked, (after, "engine.post(publication)"))]


def publish_before_commit() -> Sequence[Change]:
    """Commands are published while the commit that asks for them is under way."""
    commit = "result = await self._store.commit(sealed.commit)"
    early = f"self._host.committed(sealed, frozenset())\n            {commit}"
    return [
        edit(
            Committer._write,
            (commit, early),
            ("self._host.committed(sealed, result.lost)", "pass"),
        )
    ]


def outbox_row_deleted_before_confirm() -> Sequence[Change]:
    """An outbox row is settled when its command is handed to the publisher."""
    counted = "self.unsettled += 1"
    early = f"{counted}\n                self._host.settle(*command.key)"
    return [edit(Dispatcher.send, (counted, early))]


def outbox_not_sent_again() -> Sequence[Change]:
    """A new owner does not send what the outbox of its partition still holds."""
    left = "rows := await engine.store.outbox(partition, after, PAGE)"
    return [edit(Recovery._recover, (left, "rows := []"))]


def timer_lost_on_takeover() -> Sequence[Change]:
    """A new owner does not look for what is due in its partition, now or later."""
    return [edit(Recovery._recover, ("        await self.look(partition)\n", ""))]


def wake_too_late() -> Sequence[Change]:
    """The row of an execution says that it is due a day after its next deadline."""
    wake = "row_wake_ms(live, now_ms),"
    late = f"(wake := row_wake_ms(live, now_ms)) and wake + {DAY_MS},"
    return [edit(batch._summary, (wake, late))]


def evicted_are_not_woken() -> Sequence[Change]:
    """Nobody looks for what is due in executions that had to leave the memory."""
    wake = "self.wake_partition(live.partition, live.wake_ms())"
    return [edit(Engine._leaving, (wake, "pass"))]


def start_not_deduplicated() -> Sequence[Change]:
    """A start that comes twice begins twice."""
    same = "_check_same(before, wanted)\n        return before"
    return [edit(starts.start, (same, "_check_same(before, wanted)"))]


def waiting_spends_attempts() -> Sequence[Change]:
    """An attempt that waits in a queue for long counts as failed."""
    again = "engine.dispatcher.send([again])"
    late = "StepFailed(attempt_of(node), Failure('late', 'no answer'))"
    failed = f"self.decide(live.id, {late}, None)"
    return [edit(Decisions._wake, (again, failed), Failure=Failure)]


def retry_timer_lost() -> Sequence[Change]:
    """Nobody remembers when the next attempt of a step is due."""
    timed = "output.task.deadline_ms is not None"
    kept = f"{timed} and not isinstance(output.task, RetryDue)"
    return [edit(LiveExecution.watch, (timed, kept), RetryDue=RetryDue)]


def sweep_skipped() -> Sequence[Change]:
    """What a wiped broker has lost is not sent again.

    The sweep is only sooner than the silence, after which every attempt is sent again. So
    nothing is sent again after a silence either; a seed shows the mutant only if that alone does
    no harm in it.
    """
    due = "lease.incarnation != self.incarnation"
    return [edit(Sweeper.check, (due, "lease.incarnation is None"))]


def first_page_swept() -> Sequence[Change]:
    """Only the first page of what a wiped broker has lost is sent again.

    As in `sweep_skipped`, nothing is sent again after a silence.
    """
    following = "Sweep(walk.partition, walk.term, last)"
    return [edit(Sweeper._told, (following, 'Sweep(walk.partition, walk.term, "~")'))]


def failed_commit_acknowledges() -> Sequence[Change]:
    """A message is acknowledged although the commit has failed."""
    return [edit(Batch.discard, ("delivery.requeue()", "delivery.ack()"))]


def refused_commit_acknowledges() -> Sequence[Change]:
    """What the fence refused counts as written: its messages are acknowledged and answered."""
    return [edit(Committer._write, ("batch.drop(result.lost)", "pass"))]


def unknown_commit_taken_for_done() -> Sequence[Change]:
    """A commit of which nobody knows whether it was done counts as done."""
    failed = "self._host.failed(batch, again=True)\n            return\n        except InvalidInput"
    done = failed.replace(
        "self._host.failed(batch, again=True)",
        "batch.release()\n            self._host.committed(sealed, frozenset())",
    )
    return [edit(Committer._write, (failed, done))]


MUTANTS = (
    ack_before_commit,
    answer_before_commit,
    permit_before_commit,
    publish_before_commit,
    outbox_row_deleted_before_confirm,
    outbox_not_sent_again,
    timer_lost_on_takeover,
    wake_too_late,
    evicted_are_not_woken,
    start_not_deduplicated,
    waiting_spends_attempts,
    retry_timer_lost,
    sweep_skipped,
    first_page_swept,
    failed_commit_acknowledges,
    refused_commit_acknowledges,
    unknown_commit_taken_for_done,
)

BESIDE: Final = dict.fromkeys((sweep_skipped, first_page_swept), (_NOT_SENT_AGAIN,))
"""What else is changed, because it would make up for the mutant."""
