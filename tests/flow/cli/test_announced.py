"""Announced steps as pages."""

from typing import Any

from flow.cli.announced import announced_page, catalogue_page
from tests.flow.cli.console import expect_golden

NOW_MS = 1_700_000_000_000

CHARGE: dict[str, Any] = {
    "id": "charge",
    "service": "payments",
    "hash": "0" * 32,
    "announced_ms": NOW_MS - 7_200_000,
    "endpoint": "payments.charge",
    "requires": ["reserve", "check"],
    "policy": {
        "retry": {"max_attempts": 3},
        "timeout_ms": 5_000,
        "start_within_ms": 90_000,
        "heartbeat_ms": 20_000,
        "fallback": "invoice",
        "concurrency": 4,
        "optional": True,
        "at_most_once": True,
        "labels": {},
    },
    "input": {"type": "object"},
    "output": None,
}
PLAIN: dict[str, Any] = {
    **CHARGE,
    "id": "reserve",
    "requires": [],
    "policy": {"retry": None, "timeout_ms": 60_000, "optional": False, "fallback": ""},
}
BROKEN: dict[str, Any] = {
    "id": "odd",
    "service": "payments",
    "hash": "0" * 32,
    "announced_ms": NOW_MS,
    "trouble": "it cannot\nbe decoded",
}


def test_all_steps_are_a_table() -> None:
    """Each step is a line with what differs from the defaults, and a broken one says so."""
    text = "".join(f"{line}\n" for line in catalogue_page([CHARGE, PLAIN, BROKEN], NOW_MS))
    expect_golden("page-announced-steps", text)


def test_one_step_is_told_in_full() -> None:
    """A step is shown with its schemas; one that cannot be used says why."""
    pages = [announced_page(row, NOW_MS) for row in (CHARGE, PLAIN, BROKEN)]
    expect_golden("page-announced-step", "".join(f"{line}\n" for page in pages for line in page))
