"""What a handler may raise to say how its step ends, instead of failing by accident."""

from datetime import timedelta

__all__ = ["Fail", "Retry", "Skip", "Verdict"]


class Verdict(Exception):
    """A handler's own word on its step."""


class Skip(Verdict):
    """The step has nothing to do here: it is SKIPPED, which is not a failure.

    Args:
        reason: Why, for the history.
    """

    def __init__(self, reason: str = "") -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class Fail(Verdict):
    """The step has failed for good: no attempt follows, whatever its policy says.

    Args:
        reason: Why.
    """

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class Retry(Verdict):
    """This attempt is over and another one should follow.

    It spends an attempt. A step without a policy is tried ten times.

    Args:
        after: Seconds to wait (or a timedelta); by default what the step's policy says.
        reason: Why.
    """

    def __init__(self, after: float | timedelta | None = None, reason: str = "") -> None:
        """Keep the delay in seconds and the reason."""
        super().__init__(reason)
        self.after = after.total_seconds() if isinstance(after, timedelta) else after
        self.reason = reason
