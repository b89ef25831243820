"""Undos of planned steps: what takes a step back, and how its handler behaves.

What an undo does follows from the execution, the path of its step and the number of the attempt
alone, like everything that handlers do. So it is known in advance which undos may fail.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final, Literal

from flow import RetryPolicy, Step, undone
from flow.step import StepOptions
from flow.template import OutputReference

__all__ = ["RETRIES", "UNDO", "Behaviour", "Outcome", "PlannedUndo", "Style", "run_of"]

UNDO: Final = "/undo"
"""What the path of an undo ends with, behind the path of its step."""
RETRIES: Final = RetryPolicy(max_attempts=4, initial=0.2, maximum=20.0)
FAR: Final = 1_000
"""More attempts than anybody makes."""

Outcome = Literal["succeed", "error", "fail", "retry", "skip", "timeout"]
Style = Literal["same", "told", "back"]
"""What an undo gets: the input of the run, a mapping that refers to the run, or all of the run, by
a function that is registered as the undo of another one."""


def run_of(path: str) -> str:
    """Return the path of the step that an undo takes back.

    Args:
        path: The path of the undo.
    """
    return path.removesuffix(UNDO)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one call of a handler does.

    Args:
        outcome: How it ends.
        seconds: How long it takes.
        pause_s: If it asks for another attempt: when.
    """

    outcome: Outcome
    seconds: float
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUndo:
    """What takes a step back.

    Args:
        style: What it gets.
        service: Which service has the endpoint.
        trouble: How often its handler does anything but succeed at once, from 0 to 1.
        is_retried: Whether it is tried again when it fails.
        longest_s: How long its handler takes at most.
    """

    style: Style = "same"
    service: str
    trouble: float = 0.0
    is_retried: bool = True
    longest_s: float = 0.1

    def step(self, run: str) -> Step[Any] | str:
        """Return it as the product has it.

        Args:
            run: The id of its step.
        """
        if self.style == "same" and not self.is_retried:
            return f"{self.service}.undo"
        options: StepOptions = {"retry": RETRIES} if self.is_retried else {}
        match self.style:
            case "same":
                return Step.call(f"{self.service}.undo", **options)
            case "told":
                own = OutputReference(run)
                options["input"] = {
                    "run_key": undone.run_key,
                    "status": undone.status,
                    "output": own,
                    "attempts": undone.attempts,
                }
                return Step.call(f"{self.service}.undo", **options)
            case "back":
                options["input"] = undone
                return Step.call(f"{self.service}.back", **options)

    def behaviour(self, seed: str, path: str, attempt: int) -> Behaviour:
        """Return what a handler does.

        Args:
            seed: The seed of the execution.
            path: The path of the undo in the execution.
            attempt: The number of the attempt.
        """
        chance = random.Random(f"{seed} {path} {attempt}")
        outcomes = self._outcomes(seed, path)
        outcome: Outcome = outcomes[attempt - 1] if attempt <= len(outcomes) else "succeed"
        seconds = self.longest_s * chance.random() ** 3
        return Behaviour(outcome, seconds, round(chance.random() * 5, 3))

    def may_fail(self, seed: str, path: str) -> bool:
        """Return whether a person may have to look at it because of its own handler.

        Args:
            seed: The seed of the execution.
            path: The path of the undo in the execution.
        """
        outcomes = self._outcomes(seed, path)
        return "fail" in outcomes or ("error" in outcomes and not self.is_retried)

    def _outcomes(self, seed: str, path: str) -> tuple[Outcome, ...]:
        """Return how the first attempts end; all others succeed."""
        chance = random.Random(f"{seed} {path}")
        if chance.random() >= self.trouble:
            return ()
        bad: list[Outcome] = ["error", "error", "retry"]
        match chance.randrange(6):
            case 0 | 3:
                return ("skip",)
            case 1:
                return (*chance.choices(bad, k=chance.randrange(2)), "fail")
            case 2:
                for_good: list[Outcome] = ["fail"] * FAR
                return tuple(for_good)
            case _:
                return tuple(chance.choices(bad, k=chance.randrange(1, RETRIES.max_attempts)))
