"""What adapters tell about the peer that they talk to, for `flow doctor` and health endpoints."""

from dataclasses import dataclass
from enum import Enum

__all__ = ["Finding", "Level"]


class Level(Enum):
    """How bad a finding is."""

    FINE = "fine"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at, and what came of it.

    Args:
        level: How bad it is.
        subject: What was looked at, such as `PostgreSQL version`.
        detail: What was found, such as `15.8`. Never a secret.
        advice: What to do about it; empty if it is fine.
    """

    level: Level
    subject: str
    detail: str
    advice: str = ""
