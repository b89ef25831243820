"""Announced steps as pages for people: the list, and one of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from flow import codec
from flow.cli.failures import one_line
from flow.cli.output import aligned
from flow.cli.times import ago, took
from flow.step import DEFAULT_TIMEOUT

__all__ = ["announced_page", "catalogue_page"]

Document = Mapping[str, Any]

_TO_MS: Final = 1_000
_SPANS: Final = {
    "timeout_ms": "timeout",
    "start_within_ms": "start within",
    "heartbeat_ms": "heartbeat",
}
_DEFAULTS: Final = {"timeout_ms": int(DEFAULT_TIMEOUT * _TO_MS)}
_SWITCHES: Final = {"optional": "optional", "at_most_once": "at most once"}


def catalogue_page(rows: Sequence[Document], now_ms: int) -> list[Text]:
    """Return announced steps as a table.

    Args:
        rows: What `steps` answered.
        now_ms: The present.
    """
    table: list[tuple[Text | str, ...]] = []
    for row in rows:
        since = ago(row["announced_ms"], now_ms)
        if "trouble" in row:
            table.append((row["id"], Text(one_line(row["trouble"]), "red"), "", "", since))
            continue
        requires = ", ".join(row["requires"])
        table.append((row["id"], row["endpoint"], requires, _policy(row["policy"]), since))
    return aligned(table, ("STEP", "ENDPOINT", "REQUIRES", "POLICY", "ANNOUNCED"))


def announced_page(row: Document, now_ms: int) -> list[Text]:
    """Return everything about an announced step.

    Args:
        row: What `step.get` answered.
        now_ms: The present.
    """
    facts: list[tuple[str, Text | str]] = [("service", row["service"])]
    if "trouble" in row:
        facts.append(("trouble", Text(one_line(row["trouble"]), "red")))
    else:
        facts += [
            ("endpoint", row["endpoint"]),
            ("requires", ", ".join(row["requires"]) or "nothing"),
            ("policy", _policy(row["policy"]) or "the default"),
            ("takes", _schema(row["input"])),
            ("returns", _schema(row["output"])),
        ]
    facts += [("announced", ago(row["announced_ms"], now_ms)), ("hash", row["hash"])]
    lines = aligned([(Text(f"  {name}", "dim"), value) for name, value in facts])
    return [Text(row["id"], "bold"), *lines]


def _policy(policy: Document) -> str:
    """Return what of a policy is not the default."""
    parts: list[str] = []
    if policy.get("retry"):
        parts.append(f"{policy['retry']['max_attempts']} attempts")
    for name, word in _SPANS.items():
        span_ms = policy.get(name)
        if span_ms is not None and span_ms != _DEFAULTS.get(name):
            parts.append(f"{word} {took(span_ms)}")
    if policy.get("fallback"):
        parts.append(f"fallback {policy['fallback']}")
    if policy.get("concurrency"):
        parts.append(f"{policy['concurrency']} at once")
    parts += [word for name, word in _SWITCHES.items() if policy.get(name)]
    return one_line(", ".join(parts))


def _schema(schema: object) -> str:
    return "not known" if schema is None else one_line(codec.dumps(schema).decode())
