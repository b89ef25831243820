"""Decisions: an event, or an alarm, and the execution that it is about."""

from flow.codec import Cause
from flow.kernel.events import (
    Event,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    TimerFired,
)
from flow.runtime.dispatcher import attempt_again
from flow.runtime.engine import Engine
from flow.runtime.live import LiveExecution

__all__ = ["Decisions"]


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
    ) -> None:
        """Decide about an event.

        Args:
            execution: The execution's id; one that does not exist is counted.
            event: What happened.
            settles: The outbox row that it settles, or None.
            message: The id of the message that told of it.
        """
        engine = self.engine
        if settles is not None:
            engine.settle(*settles)
        live = engine.residents.get(execution)
        if live is None:
            engine.counters["unknown execution"] += 1
            return
        cause = Cause(type(event).__name__, message, "", _about(live, event))
        engine.apply(live, event, cause)
        path = _path(live, event)
        live.progress.pop(path, None)

    def wake(self, name: str) -> None:
        """Do what is due in an execution.

        Args:
            name: The execution's id.
        """
        engine = self.engine
        live = None if name.startswith("@") else engine.residents.get(name)
        if live is None:
            return
        now = engine.clock.now_ms()
        for output in live.due(now):
            path = output.ref.path
            cause = Cause("TimerFired", "", "", f"{type(output.task).__name__} {path}")
            engine.apply(live, TimerFired(output.ref, output.task), cause)
        for node in live.silent(now):
            again = attempt_again(live, node)
            if again is not None and node.path not in live.waiting:
                engine.counters["sent again"] += 1
                engine.dispatcher.send([again])
        engine.wake(live)
        if live.id not in engine.committer.batch.touches and live.summary is not None:
            # The row still says the old time, by which the store would name it again and again.
            engine.committer.batch.wakes[live.id] = live.wake_ms()


def _path(live: LiveExecution, event: Event) -> str:
    if isinstance(event, StepSucceeded | StepFailed | StepSkipped | StepStarted):
        node = live.tree.by_number(event.attempt.node)
        return "" if node is None else node.path
    return ""


def _about(live: LiveExecution, event: Event) -> str:
    """Return which step an answer is about, and which attempt, for the history."""
    path = _path(live, event)
    if isinstance(event, StepFailed):
        return f"{path} attempt {event.attempt.number}: {event.failure}"
    if isinstance(event, StepSucceeded | StepSkipped | StepStarted):
        return f"{path} attempt {event.attempt.number}"
    return path
