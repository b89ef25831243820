"""What the naive model of an execution says about steps that run at most once."""

from __future__ import annotations

from typing import Any

KINDS = ("ask1", "ask2", "silent", "heard")
"""Two that ask for a permit, the alarm after a silence, and a sign of life."""


def take(member: Any, kind: str) -> bool:
    """Take news of the present attempt of a step; return whether it counts."""
    if kind == "heard":
        counted, member.silent = member.silent, False
        return bool(counted)
    if kind == "silent":
        counted = bool(member.permit) and not member.silent
        member.silent = member.silent or counted
        return counted
    if not member.definition.at_most_once or member.permit not in ("", kind):
        return False
    if not member.permit:
        member.permit, member.started, member.due = kind, True, None
    return True


def is_unrepeatable(flow: Any) -> bool:
    """Return whether something in a failed workflow would run again that must not."""
    for number, planned in flow.principals():
        member = flow.step(number)
        if member is None or member.status not in ("FAILURE", "ABORTED") or flow.satisfied(number):
            continue
        stand_in = None if planned.fallback is None else flow.step(planned.fallback)
        if (stand_in is not None and _ran(stand_in)) or member.permit:
            return True
        if member.inner is not None and is_unrepeatable(member.inner):
            return True
    return False


def _ran(member: Any) -> bool:
    below: list[Any] = [] if member.inner is None else [*member.inner.members.values()]
    return bool(member.permit) or any(map(_ran, below))
