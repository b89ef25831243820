"""Invariants: what must hold in every history. Each has a name, by which seeds are told.

An observer at the servers (`tests.simulation.observers`) folds every commit by itself, and each
invariant compares that with what happens: most of them in the moment in which it happens, some
whenever the run is looked at, and some when nothing is left to be done. Those of a family share a
module.

starts
    accepted starts lost
        Every execution ends, those whose start was accepted above all.
    accepted starts exist
        When a start is answered, its execution has been committed.
    ends are told as they are
        What is told of an end is what was committed before it was told.
    nothing is invented
        There is no execution that nobody has asked for.
    starts once
        An execution begins once, with its first record, whatever comes twice or late.

results
    results are returned
        Every result that a worker reported is what a call of the step's handler has
        returned.
    results never change
        A step that has succeeded, or was skipped, stays so, with the output that it had.
    results recorded twice
        The history says of each step at most once that it has succeeded.

requirements
    begun before it was committed
        A handler begins only with an attempt that was committed before.
    inputs are what is recorded
        A handler gets the input that its step is to have: of what is recorded, and
        nothing else.
    step before its requirement
        An attempt is committed only when all that its step requires is committed as done.
    success is complete
        An execution succeeds only when every step of its workflow is done, or stood in
        for.

attempts
    aborts bump the epoch
        An abort makes the run epoch of the execution higher than that of every attempt
        before.
    acknowledged control is committed
        What is acknowledged was committed before: a command, and for an abort the end by
        it.
    attempt while the workflow is paused
        Between the answer to a pause and its end no execution of the workflow gets an
        attempt.
    attempt while suspended or after abort
        No attempt of what is suspended or has ended is committed, in sub-workflows
        neither.
    quiet is quiet
        Nothing of what is suspended is out, and nothing of what has ended is out or
        waits.

epochs
    epochs grow
        Each lease of a partition has a higher epoch than the one before.
    rows of an older epoch
        Nothing is written into a partition but under the last lease that was given out
        for it.
    reads are current
        Whoever reads sees every row that was committed before, above all a new owner.

commands
    attempts have commands
        Each attempt that is committed has its outbox row in the same commit.
    no command lost
        An outbox row goes only after the broker has taken its message, or if it is
        superseded.
    numbers of rows grow
        Each outbox row of a partition has a higher number than all that were there before
        it.
    published before it was committed
        A request, a cancellation or a permit is published only after it was committed.
    outbox is emptied
        When all is done, every committed command was dealt with: the outbox is empty.

messages
    acknowledged before it was committed
        A reply or a start is acknowledged only after what came of it was committed.

innocence
    attempts are spent by reports
        An attempt counts as spent only by a failure that was recorded.
    no innocent execution fails
        An execution ends in FAILURE only if the plan of its own handlers says that it
        may.
    innocent failure
        Each failure that is recorded is one that a call of the handler had.
    failures have reasons
        An execution fails only when a step or an undo has failed, or when its own time is
        up.
    incidents are real
        A step that runs at most once counts as silent only if something had gone wrong.

effects
    keys are of steps
        All calls for one step of one execution have the same idempotency key, and no
        others.
    no permit after the end
        No permit is granted in an execution that had ended, or was aborted, before.
    one permit
        A step gets one permit, which never changes, and is never sent again after it.
    one run per permit
        The handler of a step that runs at most once begins only once for each committed
        permit.

undoing
    what is compensated is undone
        Every run of a compensated execution that has begun has one undo, which has ended
        well.
    failed undos are incidents
        An undo that has failed is an incident, which names it, and no compensation was
        clean.
    forward while it is undone
        No step goes out in a workflow that is taken back, from the moment in which that
        begins.
    halted undos wait
        Where undos stop when one has failed, no other one goes out after that.
    undone before it was settled
        An undo goes out only when nothing of its step is out, and it is known what that
        did.
    undone once
        An undo that has ended well is not made again, nor deleted, whatever happens.
    undone before its dependents
        A step is undone when all that depends on it is undone, across what never ran.

taking_back
    effects are taken back
        A store of effects with tombstones holds nothing of what was undone, at any time
        after it.
    run after its undo
        What begins after its undo has begun is a copy of an attempt that had begun
        before.
    undone and never begun
        Nothing is undone that never began: no handler of it, in no process.

timers
    timers are not early
        A timer fires only when it is due by the store's clock, however wrong the
        machines' are.
    wake times are lower bounds
        The row of an execution says a time to wake it that is no later than what is due
        in it.

remembering
    cancelled is remembered
        A worker that was told of a cancellation does not begin with what was cancelled.
    owners remember what is due
        An owner has an alarm for each execution, or for what its partition has in the
        store.
    waiters are told
        When an execution ends, the commit has an answer for everybody who is in its tree.

quiescence
    back at the baseline
        An orchestrator that has nothing to do holds nothing but what it keeps for speed.
    no livelock
        No process loads an execution again and again of which nothing new was written.
    nothing in queues
        Nothing waits in any queue, and nothing was handed out and not settled.
    nothing out at workers
        A worker runs no handler for longer than its time, and nothing waits for its turn.
    waiters are served
        Whoever waits for an answer, and lives, has got one.

trees
    database is what was committed
        The database holds what was committed, and nothing else.
    journal is the tree
        The tree in the memory of an owner is the fold of the journal, whenever nothing is
        under way.

journal
    ends are final
        What has ended changes no more; only commands let an execution go on, or be taken
        back.
    journal numbers without gaps
        Each record of an execution has the number that follows the one before, from 1 on.
    only declared states
        A node is in one of the states that its machine declares, and what is written once
        stays.
    rows tell the tree
        The row of an execution says what its tree says: the status, when it ended, the
        incident.
    stamps grow
        Each record of an execution has a later stamp than the one before, whoever wrote
        it.
    transitions grow
        A node that changes has a higher transition number than before, and is as old as
        it was.

dead
    no dead letters
        Nothing goes to the dead letters: every message of a run is one that somebody can
        use.
    no faults of our own
        No process ends with an error, and no task fails without anybody taking note.
"""

from __future__ import annotations

from typing import Any, Protocol

from tests.simulation.invariants.base import Violation
from tests.simulation.ledger import Ledger

__all__ = ["Violation", "check_end", "check_now"]


class Checked(Protocol):
    """A run, as far as it is needed here."""

    @property
    def ledger(self) -> Ledger:
        """The ledger, which keeps the observer."""
        ...


def check_now(world: Checked) -> list[Violation]:
    """Return what was found wrong since the last call, and look at what may be looked at any time.

    Args:
        world: The run, which is being watched.
    """
    return _check(world, is_end=False)


def check_end(world: Checked) -> list[Violation]:
    """Return what was found wrong since the last call, and look at everything.

    Args:
        world: The run, of which nothing is left to be done.
    """
    return _check(world, is_end=True)


def _check(world: Checked, *, is_end: bool) -> list[Violation]:
    observer: Any = world.ledger.observer
    found: list[Violation] = observer.check(is_end=is_end)
    return found
