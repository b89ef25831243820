"""Why something failed: a value that travels and is kept, unlike an exception."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Failure"]


RUN = "run"
"""The phase of a failure in which the handler may have had an effect."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step or an execution failed.

    Args:
        type: The qualified name of the error, such as `builtins.ValueError` or
            `flow.errors.TooLarge`.
        message: Its text.
        traceback: The remote traceback's end, or an empty string.
        step: The id of the step that is to blame, for the failure of a whole execution.
        fields: The error's typed fields, if it is one of ours. JSON values.
        phase: What was being done: `run`, or something before it, so that the handler surely did
            not start: `request` (putting the input together), `validate` (reading it), `prepare`
            (the step's hook).
    """

    type: str
    message: str
    traceback: str = ""
    step: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    phase: str = RUN

    def __str__(self) -> str:
        """Return the type's last part and the message."""
        blame = f"step {self.step!r}: " if self.step else ""
        kind = self.type.rpartition(".")[2]
        return f"{blame}{kind}: {self.message}" if self.message else f"{blame}{kind}"
