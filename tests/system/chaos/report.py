"""The report of a chaos run, as text: a table for people."""

from collections import Counter
from collections.abc import Iterable, Iterator

from tests.system.chaos import recovery
from tests.system.chaos.checker import RULES, Finding
from tests.system.chaos.evidence import Evidence

__all__ = ["offenders", "table"]

WIDTH = 38
MOST = 20


def table(evidence: Evidence, finding: Finding, seed: int) -> str:
    """Return the table of a run.

    Args:
        evidence: What is known about it.
        finding: What the checker has found.
        seed: The seed.
    """
    parts = (
        ("executions", _executions(evidence, finding)),
        ("effects", _effects(evidence, finding)),
        ("faults", _faults(evidence)),
        ("must be zero", ((rule, str(len(finding.wrong[rule]))) for rule in RULES)),
    )
    lines = [f"chaos, seed {seed}", *_recoveries(evidence)]
    for title, rows in parts:
        lines += ["", title, *(f"  {name:<{WIDTH}}{value:>10}" for name, value in rows)]
    verdict = "nothing is wrong" if finding.is_clean else "SOMETHING IS WRONG"
    return "\n".join([*lines, "", verdict])


def offenders(finding: Finding) -> str:
    """Return who breaks which rule, a line each; an empty string if nobody does."""
    lines: list[str] = []
    for rule, found in finding.wrong.items():
        lines += [f"{rule}: {what}" for what in found[:MOST]]
        if len(found) > MOST:
            lines.append(f"{rule}: and {len(found) - MOST} more")
    return "\n".join(lines)


def _executions(evidence: Evidence, finding: Finding) -> Iterator[tuple[str, str]]:
    accepted = sum(1 for start in evidence.starts if start.accepted_ms is not None)
    seconds = max(1, evidence.healed_ms - evidence.began_ms) / 1_000
    ended = sum(
        1
        for row in evidence.rows.values()
        if row.ended_ms is not None and evidence.began_ms <= row.ended_ms <= evidence.healed_ms
    )
    yield "started", str(len(evidence.starts))
    yield "accepted", str(accepted)
    yield "seconds until accepted, p50 / p99", _waited(evidence)
    yield "in the store", str(len(evidence.rows))
    for status, count in sorted(finding.statuses.items()):
        yield f"ended in {status}", str(count)
    yield "waited for a person (at most once)", str(finding.incidents)
    obeyed = Counter(each.verb for each in evidence.commands if each.answered_ms is not None)
    for verb, count in sorted(obeyed.items()):
        yield f"{verb} obeyed", str(count)
    yield "ended each second, under faults", f"{ended / seconds:.1f}"
    yield "seconds under faults", f"{seconds:.0f}"
    yield "seconds from heal to the last end", f"{_settling_s(evidence):.1f}"


def _waited(evidence: Evidence) -> str:
    times = recovery.Recovery(
        "accepted",
        sorted(
            start.accepted_ms - start.asked_ms
            for start in evidence.starts
            if start.accepted_ms is not None
        ),
    )
    return " / ".join(f"{times.percentile(share) / 1_000:.1f}" for share in (0.5, 0.99))


def _settling_s(evidence: Evidence) -> float:
    last = max((row.ended_ms or 0 for row in evidence.rows.values()), default=0)
    return max(0, last - evidence.healed_ms) / 1_000


def _effects(evidence: Evidence, finding: Finding) -> Iterator[tuple[str, str]]:
    yield "steps done once", str(finding.once)
    yield "steps done more than once", str(finding.repeated)
    yield "lost", str(len(finding.wrong["effects lost"]))
    yield "exactly once, in a transaction", str(finding.booked)
    yield "begun after abort ack (allowed)", str(finding.after_abort)
    seconds = max(1, evidence.healed_ms - evidence.began_ms) / 1_000
    during = sum(
        1
        for effect in evidence.effects
        if effect.kind == "done" and effect.at_ms <= evidence.healed_ms
    )
    yield "each second, under faults", f"{during / seconds:.1f}"


def _faults(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for kind, count in sorted(Counter(fault.kind for fault in evidence.faults).items()):
        yield kind, str(count)
    yield "processes that took part", str(len(evidence.lives))
    yield "ended before they took part", str(evidence.gave_up)


def _recoveries(evidence: Evidence) -> Iterable[str]:
    yield ""
    yield f"{'recovery, seconds':<{WIDTH}}{'count':>8}{'p50':>8}{'p99':>8}{'max':>8}{'open':>8}"
    for each in recovery.recoveries(evidence):
        times = (each.percentile(share) / 1_000 for share in (0.5, 0.99, 1.0))
        shown = "".join(f"{time:8.1f}" for time in times)
        yield f"  {each.name:<{WIDTH - 2}}{len(each.times_ms):>8}{shown}{each.open:>8}"
    yield "  takeover: from the kill of an orchestrator until all its partitions have other owners;"
    yield "  undisturbed: the database was there, no orchestrator stopped or cut off meanwhile."
    yield "  Rework: from the kill of a worker until a step that it was in the middle of begins"
    yield "  again. Service: from the server's first answer until a handler begins."
