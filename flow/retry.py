"""How often and how soon a failed step is tried again."""

from dataclasses import dataclass
from math import isfinite
from typing import Final

from flow.errors import InvalidOption

__all__ = ["RetryPolicy"]

_EXPONENT_LIMIT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how soon a failed step is tried again.

    The delay before attempt n + 1 is `initial * factor ** (n - 1)` seconds, at most *maximum*,
    and a random part of it (at most *jitter* of it) is taken off, so that a crowd of failures
    does not come back as a crowd. It is exponential backoff with jitter as in Marc Brooker,
    "Exponential Backoff And Jitter" (2015).

    Args:
        max_attempts: All attempts, the first included. At least 1.
        initial: Seconds before the second attempt.
        factor: By how much each further delay is longer. At least 1.
        maximum: Seconds that no delay exceeds.
        jitter: The part of a delay that is random, 0 (none) to 1 (all of it).
        non_retryable: Names of error types that another attempt cannot mend: `ValueError` or
            `shop.errors.CardRefused`; a name without a module matches any module.

    Raises:
        InvalidOption: A value makes no sense; the error names it.
    """

    max_attempts: int = 3
    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.5
    non_retryable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        _expect(self.max_attempts >= 1, "max_attempts", self.max_attempts, "at least 1")
        _expect(_is_time(self.initial), "initial", self.initial, "0 or more seconds")
        _expect(isfinite(self.factor) and self.factor >= 1, "factor", self.factor, "at least 1")
        _expect(_is_time(self.maximum), "maximum", self.maximum, "0 or more seconds")
        _expect(0 <= self.jitter <= 1, "jitter", self.jitter, "between 0 and 1")

    def delay_ms(self, attempt: int, random: float) -> int:
        """Return how many milliseconds to wait after failed attempt number *attempt*.

        Args:
            attempt: The number of the attempt that failed, 1 for the first.
            random: A random number, 0 <= random < 1. It comes in as an argument because a
                decision has to be repeatable.
        """
        exponent = min(attempt - 1, _EXPONENT_LIMIT)
        seconds = min(self.initial * self.factor**exponent, self.maximum)
        return round(seconds * (1 - self.jitter * random) * 1000)

    def allows(self, attempt: int, error_type: str) -> bool:
        """Return whether another attempt follows when number *attempt* failed.

        Args:
            attempt: How many attempts have been made.
            error_type: The qualified name of the error, such as `builtins.ValueError`.
        """
        return attempt < self.max_attempts and not self.excludes(error_type)

    def excludes(self, error_type: str) -> bool:
        """Return whether *error_type* is one that another attempt cannot mend.

        Args:
            error_type: The qualified name of the error, such as `builtins.ValueError`.
        """
        short = error_type.rpartition(".")[2]
        return error_type in self.non_retryable or short in self.non_retryable


def _is_time(seconds: float) -> bool:
    return isfinite(seconds) and seconds >= 0


def _expect(condition: object, option: str, value: object, rule: str) -> None:
    if not condition:
        raise InvalidOption("RetryPolicy", option, repr(value), f"it must be {rule}")


NO_RETRY: Final = RetryPolicy(max_attempts=1)
"""The default: a handler's error is final unless the step's policy says otherwise."""

VERDICT_RETRY: Final = RetryPolicy(max_attempts=10)
"""What bounds a handler that raises `Retry` while its step has no policy."""
