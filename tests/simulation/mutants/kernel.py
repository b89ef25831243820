"""Mutants of the kernel and of the programs: wrong decisions."""

from collections.abc import Sequence

from flow.kernel import answers, control, decide, execution, timers, turn
from flow.programs import interrupting
from flow.programs.scope import Scope
from flow.runtime.orchestrator.live import LiveExecution
from tests.simulation.mutants.patching import Change, edit

__all__ = ["MUTANTS"]


def duplicate_reply_accepted() -> Sequence[Change]:
    """A success that comes twice is recorded twice.

    Two safeguards drop it, the look at the step's state and the transition table, and both go.
    """
    result = "result = steps.Succeeded(turn.now_ms, event.output, event.headers)"
    again = """
    if node.state is Status.SUCCESS:
        arrow = type(steps.SUCCEED)("again", frozenset({node.state}), node.state, steps._succeed)
        node.apply(arrow, result)
        return go_on(turn, program)
"""
    states = "steps.SUCCEED.sources"
    return [
        edit(answers._find, (states, "(Status.RUNNING, Status.RETRYING, Status.SUCCESS)")),
        edit(answers.succeed, (result, result + again)),
    ]


def abort_keeps_epoch() -> Sequence[Change]:
    """An abort does not make the run epoch higher."""
    return [edit(execution._new_epoch, ("epoch=data.epoch + 1", "epoch=data.epoch"))]


def late_answers_after_abort() -> Sequence[Change]:
    """An answer that comes after an abort lets the execution go on.

    The epoch is one safeguard of several: an abort ends the steps, which take no answer then,
    and an execution that does not run sends nothing. All three go.
    """
    running = "if turn.advancing:"
    return [
        *abort_keeps_epoch(),
        edit(control.abort, ("program.interrupt(turn)", "pass")),
        edit(turn.go_on, (running, "if turn.advancing or turn.root.state is Status.ABORTED:")),
    ]


def permit_granted_twice() -> Sequence[Change]:
    """Whoever asks gets the permit of a step that runs at most once."""
    return [edit(answers.grant, ("if holder and holder != event.permit:", "if False:"))]


def suspend_forgets_what_runs() -> Sequence[Change]:
    """While a suspended execution waits for what is out, it sends out what becomes ready."""
    running = "if turn.advancing:"
    more = "if turn.advancing or (turn.root.state is Status.SUSPENDING and program.attempts_out):"
    return [edit(turn.go_on, (running, more))]


def retry_while_suspended() -> Sequence[Change]:
    """A retry that comes due while the execution is suspended goes out.

    No alarm is set while it does not run, and a timer that fires is dropped then. Both go.
    """
    return [
        edit(LiveExecution.wake_ms, (" and self.status in _ADVANCING:", ":")),
        edit(LiveExecution.due, ("            and self.status in _ADVANCING\n", "")),
        edit(timers.fire, ("if not turn.advancing:", "if turn.root.state is Status.ABORTED:")),
    ]


def resume_forgets_what_is_ready() -> Sequence[Change]:
    """A resume lets the execution run, and does not send what became ready meanwhile."""
    resumed = "_catch_up(turn, program)"
    return [edit(control.resume, (resumed, 'return obey(turn, event.command, "resume")'))]


def stale_failure_accepted() -> Sequence[Change]:
    """A failure counts although it is of an attempt before the present one."""
    present = "_find_present(turn, event.attempt)"
    return [edit(answers.fail, (present, "_find(turn, event.attempt)"))]


def waiter_not_answered() -> Sequence[Change]:
    """Those who wait in the store are not told that the execution has ended."""
    return [edit(decide.decide, ("answer(turn.root)", "pass"))]


def abort_stops_at_sub_workflows() -> Sequence[Change]:
    """An abort does not reach what is inside of sub-workflows."""
    inside = "elif node.machine is SUB_WORKFLOW and node.state in execution.INTERRUPT.sources:"
    return [edit(interrupting.interrupt, (inside, "elif False:"))]


def requirement_ignored() -> Sequence[Change]:
    """A step goes out when all but one of its requirements are satisfied."""
    ready = "if self._missing[dependent] == 0"
    return [edit(Scope.satisfy, (ready, "if self._missing[dependent] <= 1"))]


MUTANTS = (
    duplicate_reply_accepted,
    abort_keeps_epoch,
    late_answers_after_abort,
    permit_granted_twice,
    suspend_forgets_what_runs,
    retry_while_suspended,
    resume_forgets_what_is_ready,
    stale_failure_accepted,
    waiter_not_answered,
    abort_stops_at_sub_workflows,
    requirement_ignored,
)
