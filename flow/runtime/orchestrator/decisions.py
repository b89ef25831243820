"""Decisions: an event, or an alarm, and the execution that it is about."""

import logging
from typing import Final

from flow.codec import Cause
from flow.kernel.decide import Accepted, Verdict
from flow.kernel.events import (
    Attempt,
    Event,
    PermitRequested,
    StepFailed,
    StepSilent,
    TimerFired,
)
from flow.kernel.machine import new_tuple
from flow.runtime.orchestrator.commands import attempt_again, attempt_of
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.live import LiveExecution, row_wake_ms

__all__ = ["Decisions"]

_log = logging.getLogger("flow.decisions")

PAUSE_MS: Final = 60_000
"""What failed by our own fault, or cannot be loaded, is looked at again after so long."""


class Decisions:
    """Decides about executions that are in memory.

    Args:
        engine: The orchestrator's state.
    """

    def __init__(self, engine: Engine) -> None:
        """Share the orchestrator's state."""
        self.engine = engine

    def decide(
        self,
        execution: str,
        event: Event,
        settles: tuple[int, int] | None,
        message: str = "",
    ) -> Verdict | None:
        """Decide about an event.

        Args:
            execution: The execution's id; one that does not exist is counted.
            event: What happened.
            settles: The outbox row that it settles, or None.
            message: The id of the message that told of it.

        Returns:
            The verdict, or None if the execution does not exist.
        """
        engine = self.engine
        if settles is not None:
            engine.settle(*settles)
        live = engine.residents.get(execution)
        if live is None:
            engine.counters["unknown execution"] += 1
            engine.committer.batch.has_passed_over |= bool(message)
            return None
        path, about = _about(live, event)
        cause = new_tuple(Cause, (type(event).__name__, message, "", about))
        verdict = engine.apply(live, event, cause)
        if message and not isinstance(verdict, Accepted):
            # A new owner may know what it is about, and has to get it.
            engine.committer.batch.has_passed_over = True
        if live.progress:
            live.progress.pop(path, None)
        return verdict

    def happened(self, execution: str, event: Event, settles: tuple[int, int] | None) -> None:
        """Decide about an event that nobody waits for; one that is poison never stops the others.

        Args:
            execution: The execution's id.
            event: What happened.
            settles: The outbox row that it settles, or None.
        """
        try:
            self.decide(execution, event, settles)
        except Exception:  # noqa: BLE001 - whatever it is, the other executions have to go on
            self._note_fault(execution)

    def wake(self, name: str) -> None:
        """Do what is due in an execution; one that is poison never stops the others.

        Args:
            name: The execution's id.
        """
        engine = self.engine
        live = engine.residents.get(name)
        later = engine.clock.now_ms() + PAUSE_MS
        if name in engine.residents.parked:
            # Else the store would name it first, again and again.
            engine.committer.batch.wakes[name] = (engine.partition_of(name), later)
        if live is None:
            return
        try:
            self._wake(live)
        except Exception:  # noqa: BLE001 - whatever it is, the other executions have to go on
            self._note_fault(name)
            live.rearm(engine.clock.now_ms())
            engine.timers.set(name, later)

    def _note_fault(self, execution: str) -> None:
        self.engine.counters["poison"] += 1
        _log.exception("execution %s cannot go on, by a fault of ours", execution)

    def _wake(self, live: LiveExecution) -> None:
        engine = self.engine
        now = engine.clock.now_ms()
        for output in live.due(now):
            path = output.ref.path
            cause = Cause("TimerFired", "", "", f"{type(output.task).__name__} {path}")
            engine.apply(live, TimerFired(output.ref, output.task), cause)
        for node in live.silent(now):
            again = attempt_again(live, node)
            if again is None:
                # Somebody has the permit, so that it must not be sent again.
                self.decide(live.id, StepSilent(attempt_of(node)), None)
            elif node.path not in live.waiting:
                engine.counters["sent again"] += 1
                engine.dispatcher.send([again])
        live.set_alarm()
        engine.wake(live)
        if live.id not in engine.committer.batch.touches and live.summary is not None:
            # The row still says the old time, by which the store would name it again and again.
            wake_ms = row_wake_ms(live, now)
            engine.committer.batch.wakes[live.id] = (live.partition, wake_ms)


def _about(live: LiveExecution, event: Event) -> tuple[str, str]:
    """Return the path of the step that an event is about, and for the history which attempt."""
    attempt: Attempt | None = getattr(event, "attempt", None)
    if attempt is None:
        return "", ""
    node = live.tree.by_number(attempt.node)
    path = "" if node is None else node.path
    about = f"{path} attempt {attempt.number}"
    if isinstance(event, StepFailed):
        return path, f"{about}: {event.failure}"
    if isinstance(event, PermitRequested):
        return path, f"{about} by worker {event.worker}"
    return path, about
