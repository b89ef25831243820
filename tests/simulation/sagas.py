"""Makes sagas of the workflows of a scenario: undos, modes, failures for good, and who undoes.

Half of the scenarios have sagas. What is drawn for them is drawn with dice of their own, so that
the others stay what they are without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Literal

from flow.workflow import OnError, OnUndoError
from tests.simulation.dice import Dice
from tests.simulation.programs import SERVICES, PlannedStep, StepsProgram
from tests.simulation.scenario import Control, Scenario, Start, Verb
from tests.simulation.undos import PlannedUndo, Style

__all__ = ["with_sagas"]

OFTEN: Final = 0.5
"""How many of the scenarios have sagas."""
TRIED_S: Final = 12.0
STYLES: Final[tuple[Style, ...]] = ("same", "told", "back")
PATTERNS: Final[tuple[tuple[Verb, ...], ...]] = (
    ("compensate",),
    ("compensate",),
    ("compensate", "compensate"),
    ("suspend", "compensate"),
    ("stop", "compensate"),
    ("abort", "undo"),
    ("compensate", "abort"),
    ("compensate", "undo"),
    ("undo",),
    ("compensate", "resolve", "resolve"),
    ("undo step",),
    ("undo step", "undo"),
    ("abort", "undo step", "undo step"),
    ("undo", "resolve"),
    ("undo", "suspend", "resume"),
    ("resolve", "undo", "retry"),
)
"""What clients ask for, one after the other."""


def with_sagas(scenario: Scenario) -> Scenario:
    """Return a scenario with sagas in it, or as it is.

    Args:
        scenario: The scenario without any.
    """
    dice = Dice(f"{scenario.seed} sagas of a run")
    if not dice.often(OFTEN):
        return scenario
    return _Sagas(dice, scenario).scenario()


class _Sagas:
    """Draws the sagas of one scenario.

    Args:
        dice: What they follow from.
        scenario: The scenario without them.
    """

    def __init__(self, dice: Dice, scenario: Scenario) -> None:
        self._dice = dice
        self._scenario = scenario
        self._undone = dice.choice((0.3, 0.7, 1.0))
        self._trouble = dice.choice((0.0, 0.3, 1.0))
        self._longest_s = dice.choice((0.05, 1.0, 10.0))

    def scenario(self) -> Scenario:
        """Return the scenario."""
        scenario = self._scenario
        programs: tuple[Any, ...] = scenario.programs
        sagas = tuple(self._program(each) for each in programs)
        executions = tuple(self._start(each) for each in scenario.executions)
        controls = [*scenario.controls, *self._controls(sagas, executions)]
        return replace(
            scenario,
            programs=sagas,
            executions=executions,
            controls=tuple(sorted(controls, key=lambda control: control.at_s)),
        )

    # ------------------------------------------------------------------------- programs

    def _program(self, program: StepsProgram, depth: int = 0) -> StepsProgram:
        dice = self._dice
        modes: tuple[OnError | Literal[""], ...] = ("compensate", "", "stop", "continue")
        weights = (2, 6, 1, 1) if depth else (7, 1, 1, 2)
        undo_modes: tuple[OnUndoError | Literal[""], ...] = ("", "continue", "stop")
        failing = dice.choice([step.id for step in program.steps]) if dice.often(0.7) else ""
        return replace(
            program,
            steps=tuple(self._step(step, step.id == failing, depth) for step in program.steps),
            on_error=dice.choices(modes, weights)[0],
            on_undo_error=dice.choice(undo_modes),
            settle_s=dice.choice((None, None, 2.0, 20.0, 200.0)),
        )

    def _step(self, step: PlannedStep, fails: bool, depth: int) -> PlannedStep:  # noqa: FBT001
        dice = self._dice
        if step.nested is not None:
            return replace(step, nested=self._program(step.nested, depth + 1))
        often = self._undone if step.kind in {"run", "block"} else self._undone / 2
        found = replace(step, undo=self._undo() if dice.often(often) else None)
        if fails and step.kind in {"run", "block"}:
            found = replace(found, fails=dice.choice((0.3, 0.7, 1.0)))
        return found

    def _undo(self) -> PlannedUndo:
        dice = self._dice
        return PlannedUndo(
            style=dice.choice(STYLES),
            service=dice.choice(SERVICES),
            trouble=self._trouble,
            is_retried=dice.often(0.8),
            longest_s=self._longest_s,
        )

    # ----------------------------------------------------------------------- executions

    def _start(self, start: Start) -> Start:
        dice = self._dice
        if start.way not in {"execute", "run"} or not dice.often(0.25):
            return start
        modes: tuple[OnError | Literal[""], ...] = ("compensate", "continue", "stop", "")
        undo_modes: tuple[OnUndoError | Literal[""], ...] = ("", "continue", "stop")
        on_error, on_undo_error = dice.choice(modes), dice.choice(undo_modes)
        return replace(start, on_error=on_error, on_undo_error=on_undo_error)

    def _controls(
        self, programs: tuple[StepsProgram, ...], executions: tuple[Start, ...]
    ) -> Iterator[Control]:
        dice = self._dice
        if dice.often(0.25):
            return
        for start in executions:
            if dice.often(0.5):
                yield from self._controls_of(start, programs[start.program])

    def _controls_of(self, start: Start, program: StepsProgram) -> Iterator[Control]:
        dice = self._dice
        at_s = start.at_s + dice.choice((0.05, 1.0, 8.0, 40.0)) * dice.random()
        for verb in dice.choice(PATTERNS):
            # Nobody deals with an undo before it has failed, perhaps with its fourth attempt.
            at_s += TRIED_S if verb == "resolve" else 0.0
            yield Control(
                at_s=round(at_s, 3),
                verb=verb,
                target=start.id,
                client=dice.randrange(self._scenario.clients),
                step=dice.choice(program.steps).id if verb == "undo step" else "",
            )
            at_s += dice.choice((0.0, 0.05, 3.0, 25.0)) * dice.random()
