"""What is run while processes crash: small flows, one of each kind.

`flow` succeeds. `saga` fails at its end, and everything is taken back. `abort` is a saga that a
client aborts with compensation while two of its steps run, so that it has to be found out what
became of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final, Literal

from flow import Status
from flow.testing.simulation.faults import Faults, NetworkFaults
from tests.simulation.handlers import output_of
from tests.simulation.programs import PlannedStep, StepsProgram
from tests.simulation.scenario import Control, Scenario, Sizes, Start
from tests.simulation.undos import UNDO, Behaviour, PlannedUndo

__all__ = ["ENDS", "EXECUTION", "KINDS", "ONCE", "RESULTS", "RETRIED", "CrashKind", "scenario"]

CrashKind = Literal["flow", "saga", "abort"]
KINDS: Final[tuple[CrashKind, ...]] = ("flow", "saga", "abort")

EXECUTION: Final = "order"
ONCE: Final = "left"
"""The step that runs at most once, but in sagas: a person would have to undo it."""
RETRIED: Final = "right"
"""The step whose first attempt asks for another one, and whose undo's first attempt does."""
ENDS: Final = {"flow": Status.SUCCESS, "saga": Status.COMPENSATED, "abort": Status.COMPENSATED}
RESULTS: Final[dict[CrashKind, Any]] = {
    "flow": {"tail": output_of(EXECUTION, "steps/tail"), "told": None},
    "saga": None,
    "abort": None,
}
"""What the client is told, by kind."""

START_S: Final = 3.5
ABORT_S: Final = START_S + 0.75
"""While the two steps in the middle run."""
HANDLER_S: Final = 0.4
PAUSE_S: Final = 1.0
"""How long before the second attempt of a step. So nothing at all is on its way when leases are
renewed for the first time, 5 s after the start, and a new owner has only the timer to go by."""
SETTLE_S: Final = 20.0


class CrashProgram(StepsProgram):
    """A workflow of steps all of which succeed, one of them with its second attempt."""

    def behaviour(self, seed: str, path: str, attempt: int) -> Behaviour:
        """Return what a handler does.

        Args:
            seed: The seed of the execution.
            path: The path of the step in the execution.
            attempt: The number of the attempt.
        """
        if path in {f"steps/{RETRIED}", f"steps/{RETRIED}{UNDO}"} and attempt == 1:
            return Behaviour("retry", HANDLER_S, PAUSE_S)
        planned = self.find(path)
        fails = planned is not None and planned.fails and not path.endswith(UNDO)
        return Behaviour("fail" if fails else "succeed", HANDLER_S)

    def may_fail(self, seed: str, prefix: str = "", spared: Collection[str] = ()) -> bool:
        """Return whether an execution may fail because of its own handlers."""
        return any(step.fails for step in self.steps)


def scenario(kind: CrashKind = "flow") -> Scenario:
    """Return what is run: a diamond, whose end is a sub-workflow, and two steps behind it.

    Args:
        kind: Whether it succeeds, fails and is undone, or is aborted and undone.
    """
    return _calm(_flow() if kind == "flow" else _saga(), kind)


def _flow() -> CrashProgram:
    inside = CrashProgram(id="inside", steps=(PlannedStep(id="inner"),))
    steps = (
        PlannedStep(id="first"),
        PlannedStep(id=ONCE, requires=("first",), uses=True, at_most_once=True),
        PlannedStep(id=RETRIED, requires=("first",), uses=True),
        PlannedStep(id="join", kind="nested", requires=(ONCE, RETRIED), uses=True, nested=inside),
        PlannedStep(id="tail", requires=("join",), uses=True),
        PlannedStep(id="told", kind="publish", requires=("join",)),
    )
    return CrashProgram(id="diamond", steps=steps)


def _saga() -> CrashProgram:
    same, told, back = (
        PlannedUndo(style=style, service="beta") for style in ("same", "told", "back")
    )
    undos = {"first": same, ONCE: told, RETRIED: back, "tail": told}
    inside = CrashProgram(id="inside", steps=(PlannedStep(id="inner", undo=back),))
    steps = tuple(
        replace(
            step,
            undo=undos.get(step.id),
            at_most_once=False,
            fails=float(step.id == "tail"),
            nested=inside if step.nested is not None else None,
        )
        for step in _flow().steps
    )
    return CrashProgram(id="diamond", steps=steps, on_error="compensate", settle_s=SETTLE_S)


def _calm(program: CrashProgram, kind: CrashKind) -> Scenario:
    abort = Control(at_s=ABORT_S, verb="compensate", target=EXECUTION, client=0)
    return Scenario(
        seed=1,
        orchestrators=2,
        workers=2,
        clients=1,
        does_all=False,
        specialists=False,
        sizes=Sizes(),
        partitions=2,
        disorder=0.0,
        step_s=0.000_01,
        chances=Faults(network=NetworkFaults(delay_s=0.002)),
        fault_s=0.0,
        programs=(program,),
        executions=(Start(id=EXECUTION, program=0, at_s=START_S, way="run", clients=(0,)),),
        controls=(abort,) if kind == "abort" else (),
        faults=(),
    )
