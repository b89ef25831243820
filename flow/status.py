"""What an execution or a step can be doing, and the names that older systems gave it."""

from enum import Enum
from typing import Final

from flow.errors import InvalidOption, nearest

__all__ = ["ENDED", "Status"]


class Status(Enum):
    """The status of an execution or a step.

    Executions take all of them but RETRYING and SKIPPED; steps take all of them but the ones
    that only make sense for a whole (SUSPENDING, SUSPENDED, ABORTING, COMPENSATING,
    COMPENSATED).
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    SUSPENDING = "SUSPENDING"
    SUSPENDED = "SUSPENDED"
    ABORTING = "ABORTING"
    COMPENSATING = "COMPENSATING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    ABORTED = "ABORTED"
    COMPENSATED = "COMPENSATED"
    SKIPPED = "SKIPPED"

    # Enum computes it in Python from the name; every look into a set of statuses asks for it.
    __hash__ = object.__hash__

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in ENDED

    @classmethod
    def parse(cls, text: str) -> "Status":
        """Return the status that *text* names, in our words or in a predecessor's.

        Args:
            text: A name such as `RUNNING`, `running`, `StatusSuspend` or `Completed`.

        Raises:
            InvalidOption: The name is unknown, or it could mean more than one status.
        """
        key = text.strip().upper().replace("-", "_").replace(" ", "_")
        if key in cls.__members__:
            return cls[key]
        candidates = _ALIASES.get(key.removeprefix("STATUS").lstrip("_"), ())
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            names = " or ".join(status.value for status in candidates)
            raise InvalidOption("status", "name", repr(text), f"it may mean {names}; say which")
        rule = f"the names are {', '.join(cls.__members__)}{nearest(key, cls.__members__)}"
        raise InvalidOption("status", "name", repr(text), rule)


ENDED: Final = frozenset(
    {Status.SUCCESS, Status.FAILURE, Status.ABORTED, Status.COMPENSATED, Status.SKIPPED},
)
"""The statuses in which nothing more happens by itself."""

# The predecessors' names. A name with several meanings is refused with all of them, because
# guessing wrong about an execution's state is worse than asking.
_ALIASES: Final[dict[str, tuple[Status, ...]]] = {
    "PENDING": (Status.PENDING,),
    "RUNNING": (Status.RUNNING,),
    "FAILURE": (Status.FAILURE,),
    "SUCCESS": (Status.SUCCESS,),
    "ABORTED": (Status.ABORTED,),
    "SUSPEND": (Status.SUSPENDED,),
    "SUSPENDED": (Status.SUSPENDED,),
    "RESUMING": (Status.RUNNING,),
    "EXECUTING": (Status.RUNNING,),
    "SCHEDULED": (Status.PENDING,),
    "BACKING_OFF": (Status.RETRYING,),
    "SUCCEEDED": (Status.SUCCESS,),
    "FAILED": (Status.FAILURE,),
    "CANCELED": (Status.ABORTED,),
    "CANCELLED": (Status.ABORTED,),
    "TERMINATED": (Status.ABORTED,),
    "TIMED_OUT": (Status.FAILURE,),
    "ROLLED_BACK": (Status.COMPENSATED,),
    "PAUSED": (Status.SUSPENDED,),
    "WAITING": (Status.PENDING, Status.RUNNING, Status.SUSPENDED),
    "FINISHED": (Status.SUCCESS, Status.FAILURE, Status.ABORTED),
    "COMPLETED": (Status.SUCCESS, Status.FAILURE),
    "DONE": (Status.SUCCESS, Status.FAILURE, Status.COMPENSATED),
    "UNDEFINED": (Status.PENDING, Status.SKIPPED),
}
