"""Mutants of sagas: what is undone too early, twice, in the wrong order, or not at all."""

from collections.abc import Sequence

from flow.kernel import answers, control, steps
from flow.programs import compensation, unwinding
from flow.programs.compensation import Compensation
from flow.programs.steps import StepsProgram
from flow.programs.unwinding import Unwinding
from flow.runtime.orchestrator import publications
from tests.simulation.mutants.patching import Change, edit

__all__ = ["MUTANTS"]


def undone_in_wrong_order() -> Sequence[Change]:
    """A step is undone when one of those that depend on it is undone."""
    count = "len(_next(plan, number))"
    return [edit(unwinding._count_followers, (count, f"min(1, {count})"))]


def undo_lost_on_takeover() -> Sequence[Change]:
    """Whoever loads an execution that is being undone knows only of the undos that are out."""
    built = "program._use(Index.build(plan, tree))"
    out = "[setattr(each, '_left', each.active) for each in program._index.unwindings.values()]"
    lost = f"{built}\n        {out}"
    return [edit(vars(StepsProgram)["attach"].__func__, (built, lost))]


def undone_twice() -> Sequence[Change]:
    """What is undone by hand is undone once more, although it had been undone."""
    is_there = "    if undo is not None:"
    anew = f"""    if again and undo is not None and undo.state is Status.SUCCESS:
        node.delete_child(UNDO)
        node.add_child(UNDO, STEP, Status.PENDING, StepData())
{is_there.replace("if", "elif")}"""
    return [edit(compensation._mark_step, (is_there, anew))]


def began_forgotten() -> Sequence[Change]:
    """A run that has failed counts as one that never began."""
    began = "began=data.began or event.failure.phase == RUN"
    return [
        edit(steps._fail, (began, "began=data.began")),
        edit(steps._back_off, (began, "began=data.began")),
    ]


def begun_taken_for_granted() -> Sequence[Change]:
    """What was cancelled before it began is undone all the same."""
    return [edit(Compensation.settled, ("if not steps.has_begun(", "if not (True or "))]


def settling_skipped() -> Sequence[Change]:
    """An undo goes out although nobody knows what became of its run."""
    return [edit(Compensation._is_done, ("elif node.read(STEP).unsettled:", "elif False:"))]


def settling_not_heard() -> Sequence[Change]:
    """What is said of an attempt that was ended by force is dropped."""
    return [edit(answers._settle, ("node is None", "True"))]


def halting_ignored() -> Sequence[Change]:
    """Undos go on where they should stop, because one has failed."""
    stops = 'if unwinding.failed and unwinding.plan.on_undo_error == "stop":'
    goes_on = 'if unwinding.plan.on_undo_error == "continue":'
    return [
        edit(vars(Unwinding)["halted"].fget, (stops, "if False:")),
        edit(Compensation._note_failure, (goes_on, "if True:")),
    ]


def undone_while_out() -> Sequence[Change]:
    """An abort with compensation leaves what is out, and undoes the others at once."""
    interrupted = "program.interrupt(turn)"
    return [edit(control.abort, (interrupted, f"event.compensate or {interrupted}"))]


def undo_told_another_key() -> Sequence[Change]:
    """An undo is told its own key as that of the run."""
    return [edit(publications._undo_body, ("{live.id}:{step.path}", "{live.id}:{undo.path}"))]


def failed_undo_not_named() -> Sequence[Change]:
    """Nobody is told which undos have failed."""
    told = "str(UndoFailed(failed)) if failed else"
    return [edit(compensation.incident_of, (told, '"" if failed else'))]


MUTANTS = (
    undone_in_wrong_order,
    undo_lost_on_takeover,
    undone_twice,
    began_forgotten,
    begun_taken_for_granted,
    settling_skipped,
    settling_not_heard,
    halting_ignored,
    undone_while_out,
    undo_told_another_key,
    failed_undo_not_named,
)
