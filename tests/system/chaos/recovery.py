"""How long it took to recover. Pure.

Three times are measured, each from the moment when something broke:

* *takeover*: from the kill of an orchestrator that held partitions, until all of these were held
  by orchestrators that live: their leases were taken by others, as samples of the store show.
  It includes the time for which the database was away, nobody was there to take them, or whoever
  was to take them was stopped or cut off; takeovers during which the database was there and no
  orchestrator stopped or cut off are listed apart as *undisturbed*. Kills of others do not count
  as disturbance.
* *rework*: from the kill of a worker until a step that it was in the middle of began again
  somewhere; each such step counts.
* *service*: from the moment when a server that was killed answered again, until the first handler
  began after that.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.system.chaos.evidence import Effect, Evidence, Fault, Sample

__all__ = ["Recovery", "recoveries"]

STALE_MS = 2_000


@dataclass(frozen=True, slots=True)
class Recovery:
    """Times of one kind, in milliseconds, sorted.

    Args:
        name: What was measured.
        times_ms: The times.
        open: How many had not recovered at the end of the run.
    """

    name: str
    times_ms: Sequence[int]
    open: int = 0

    def percentile(self, share: float) -> int:
        """Return the time that so many took at most (nearest rank); 0 if there are none."""
        if not self.times_ms:
            return 0
        rank = max(1, -(-len(self.times_ms) * share // 1))
        return self.times_ms[min(len(self.times_ms), int(rank)) - 1]


def recoveries(evidence: Evidence) -> list[Recovery]:
    """Return all times of recovery.

    Args:
        evidence: What is known about a run.
    """
    takeovers = list(_takeovers(evidence))
    undisturbed = [(took, clear) for took, clear in takeovers if clear]
    return [
        _sorted("takeover", [took for took, _ in takeovers]),
        _sorted("takeover, undisturbed", [took for took, _ in undisturbed]),
        _sorted("rework", list(_reworks(evidence))),
        _sorted("service after broker", list(_services(evidence, "broker"))),
        _sorted("service after database", list(_services(evidence, "database"))),
    ]


def _sorted(name: str, times: Sequence[int | None]) -> Recovery:
    known = sorted(time for time in times if time is not None)
    return Recovery(name, known, len(times) - len(known))


# ---------------------------------------------------------------------------------- takeovers


def _takeovers(evidence: Evidence) -> Iterator[tuple[int | None, bool]]:
    owners = {life.pid: life.owner for life in evidence.lives if life.owner}
    ats = [sample.at_ms for sample in evidence.samples]
    for fault in evidence.faults:
        if fault.kind != "kill orchestrator" or fault.pid not in owners:
            continue
        last = bisect_right(ats, fault.at_ms) - 1
        if last < 0 or fault.at_ms - ats[last] > STALE_MS:
            continue
        owner = owners[fault.pid]
        wanted = {each for each, name in evidence.samples[last].owners.items() if name == owner}
        if wanted:
            end = _taken_ms(evidence.samples[last + 1 :], wanted, owner)
            until = evidence.ended_ms if end is None else end
            took = None if end is None else end - fault.at_ms
            yield took, _is_clear(evidence.faults, fault, until)


def _taken_ms(samples: Sequence[Sample], wanted: set[int], owner: str) -> int | None:
    """Return when all partitions had been seen with another owner."""
    left = set(wanted)
    for sample in samples:
        left -= {each for each in left if sample.owners.get(each, owner) != owner}
        if not left:
            return sample.at_ms
    return None


def _is_clear(faults: Sequence[Fault], of: Fault, until_ms: int) -> bool:
    """Return whether nothing else broke that a takeover depends on.

    Outages of the database count, and what stops or cuts off an orchestrator: others wait for it
    until it is a member no more.
    """
    disturbing = ("pause orchestrator", "kill database", "cut")
    return not any(
        other is not of
        and other.kind.startswith(disturbing)
        and other.at_ms < until_ms
        and other.until_ms > of.at_ms
        for other in faults
    )


# -------------------------------------------------------------------------------------- others


def _reworks(evidence: Evidence) -> Iterator[int | None]:
    by_pid: dict[int, list[Effect]] = defaultdict(list)
    begins: dict[tuple[str, str], list[int]] = defaultdict(list)
    for effect in evidence.effects:
        by_pid[effect.pid].append(effect)
        if effect.kind == "began":
            begins[effect.execution, effect.path].append(effect.at_ms)
    done = {(each.execution, each.path) for each in evidence.effects if each.kind == "done"}
    ended = {name for name, row in evidence.rows.items() if row.status == "ABORTED"}
    for fault in evidence.faults:
        if fault.kind != "kill worker":
            continue
        for step in _interrupted(by_pid.get(fault.pid, [])):
            shape = _once(evidence, step[0])
            if step[0] in ended or step[1] in shape:
                # An aborted one is not wanted any more, and what runs at most once waits.
                continue
            took = _next_after(begins[step], fault.at_ms)
            if took is not None or step not in done:
                # What somebody else had done before need not be done again.
                yield took


def _once(evidence: Evidence, execution: str) -> set[str]:
    row = evidence.rows.get(execution)
    return set() if row is None else evidence.shapes[row.workflow].once


def _interrupted(effects: Sequence[Effect]) -> set[tuple[str, str]]:
    present: set[tuple[str, str]] = set()
    for effect in effects:
        step = (effect.execution, effect.path)
        if effect.kind == "began":
            present.add(step)
        else:
            present.discard(step)
    return present


def _next_after(times: Sequence[int], at_ms: int) -> int | None:
    return next((time - at_ms for time in times if time > at_ms), None)


def _services(evidence: Evidence, server: str) -> Iterator[int | None]:
    begins = [effect.at_ms for effect in evidence.effects if effect.kind == "began"]
    for fault in evidence.faults:
        if fault.target == server:
            place = bisect_right(begins, fault.until_ms)
            yield begins[place] - fault.until_ms if place < len(begins) else None
