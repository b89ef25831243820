"""Invents what goes wrong in a scenario: faults at certain times, and faults by dice.

Faults are *swizzled*: a seed has a few kinds of them, often, and not all kinds, rarely. Many
histories with one or two kinds of trouble find more than each of them with every kind, because
one kind hides another: who is cut off from everything does nothing that could go wrong. The idea
is that of "swarm testing" (Groce and others, 2012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from flow.testing.simulation.failpoints import POINTS
from flow.testing.simulation.faults import BrokerFaults, Faults, NetworkFaults, StoreFaults
from tests.simulation.dice import Dice
from tests.simulation.programs import SERVICES
from tests.simulation.scenario import Fault, FaultKind

__all__ = ["Adversity", "Setting"]

HOUR_MS: Final = 3_600_000
LEASE_S: Final = 15.0
STORE_POINTS: Final = frozenset(point for point in POINTS if point.startswith(("commit", "renew")))

KINDS: Final[tuple[FaultKind, ...]] = (
    *("crash", "crash", "crash point", "crash point", "pause", "pause", "cut", "cut"),
    *("jump", "store clock"),
    *("wipe", "purge", "broker outage", "broker blocked", "store outage", "leave", "join"),
)
"""The kinds of faults, the more dangerous ones more often."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is to be hit.

    Args:
        orchestrators: How many orchestrators.
        workers: How many workers.
        clients: How many clients.
        partitions: How many partitions.
        fault_s: When the last fault is over.
    """

    orchestrators: int
    workers: int
    clients: int
    partitions: int
    fault_s: float

    @property
    def servants(self) -> list[str]:
        """The names of orchestrators and workers."""
        return [*_names("orchestrator", self.orchestrators), *_names("worker", self.workers)]

    @property
    def everybody(self) -> list[str]:
        """The names of all processes."""
        return [*self.servants, *_names("client", self.clients)]


def _names(role: str, count: int) -> list[str]:
    return [f"{role}-{number}" for number in range(count)]


class Adversity:
    """Draws what goes wrong.

    Args:
        dice: What it follows from.
        setting: What there is to be hit.
    """

    def __init__(self, dice: Dice, setting: Setting) -> None:
        """Prepare; nothing is drawn yet."""
        self._dice = dice
        self._setting = setting

    # --------------------------------------------------------------------------- faults

    def faults(self) -> tuple[Fault, ...]:
        """Return the faults that happen at certain times."""
        dice = self._dice
        if self._dice.often(0.08):
            return ()
        count = len(set(KINDS)) if self._dice.often(0.08) else dice.choice((1, 1, 2, 2, 3, 4))
        kinds = list(dict.fromkeys(dice.choices(KINDS, k=count)))
        pause_s = self._setting.fault_s / dice.choice((3, 8, 20, 40))
        at_s, found = 0.0, list[Fault]()
        while (at_s := at_s + dice.expovariate(1 / pause_s)) < self._setting.fault_s:
            kind = dice.choice(kinds)
            found.append(self._fault(round(at_s, 3), kind))
        return tuple(found)

    def _fault(self, at_s: float, kind: FaultKind) -> Fault:
        dice = self._dice
        fault = Fault(at_s=at_s, kind=kind)
        make: dict[FaultKind, Callable[[Fault], Fault]] = {
            "crash": self._crash,
            "crash point": self._crash_point,
            "pause": self._pause,
            "cut": self._cut,
            "jump": self._jump,
            "leave": self._leave,
            "purge": self._purge,
        }
        if kind in make:
            return make[kind](fault)
        if kind == "store clock":
            return replace(fault, amount_ms=round(dice.uniform(0, LEASE_S * 1000)))
        return replace(fault, duration_s=self._dice.seconds(60.0))

    def _crash(self, fault: Fault) -> Fault:
        everybody = self._setting.everybody
        targets = self._dice.some(everybody)
        return replace(fault, targets=targets, duration_s=self._dice.seconds(20.0))

    def _crash_point(self, fault: Fault) -> Fault:
        dice = self._dice
        point = dice.choice(POINTS)
        everybody = self._setting.everybody
        if point in STORE_POINTS:
            everybody = [name for name in everybody if name.startswith("orchestrator")]
        targets = (dice.choice(everybody),)
        return replace(fault, targets=targets, point=point, duration_s=dice.seconds(20.0))

    def _pause(self, fault: Fault) -> Fault:
        targets = self._dice.some(self._setting.servants)
        # A worker that is stopped for longer would let the time of its handlers run out.
        return replace(fault, targets=targets, duration_s=self._dice.seconds(38.0))

    def _cut(self, fault: Fault) -> Fault:
        dice = self._dice
        everybody = self._setting.everybody
        return replace(
            fault,
            targets=self._dice.some(everybody),
            duration_s=self._dice.seconds(60.0),
            servers=dice.choice((("broker",), ("store",), ("broker", "store"))),
            ways=dice.choice((("there",), ("back",), ("there", "back"))),
        )

    def _jump(self, fault: Fault) -> Fault:
        amount = self._dice.choice((HOUR_MS, -HOUR_MS, 20_000, -20_000))
        return replace(fault, targets=self._dice.some(self._setting.servants), amount_ms=amount)

    def _leave(self, fault: Fault) -> Fault:
        target = self._dice.choice(self._setting.servants)
        return replace(fault, targets=(target,), duration_s=self._dice.seconds(20.0))

    def _purge(self, fault: Fault) -> Fault:
        partition = self._dice.randrange(self._setting.partitions)
        queues = (
            f"mailbox.{partition}",
            f"start.{partition}",
            "trigger",
            "control",
            *(f"steps.{service}" for service in SERVICES),
        )
        return replace(fault, targets=(self._dice.choice(queues),))

    # -------------------------------------------------------------------------- chances

    def chances(self) -> Faults:
        """Return what goes wrong by chance, and how often."""
        network = NetworkFaults(
            delay_s=self._dice.choice((0.001, 0.005, 0.05)),
            slow=self._dice.rate(0.2),
            slow_s=self._dice.choice((1.0, 10.0)),
        )
        return Faults(network=network, broker=self._broker_faults(), store=self._store_faults())

    def _broker_faults(self) -> BrokerFaults:
        if self._dice.often(0.4):
            return BrokerFaults()
        return BrokerFaults(
            lost=self._dice.rate(0.05),
            unconfirmed=self._dice.rate(0.05),
            refused=self._dice.rate(0.1),
            duplicated=self._dice.rate(0.5),
            reordered=self._dice.rate(0.5),
            redelivered=self._dice.rate(0.2),
            delayed=self._dice.rate(0.2),
            delayed_s=self._dice.choice((1.0, 20.0, 150.0)),
            cancelled=self._dice.rate(0.02),
        )

    def _store_faults(self) -> StoreFaults:
        if self._dice.often(0.4):
            return StoreFaults()
        return StoreFaults(
            failed=self._dice.rate(0.2),
            unknown=self._dice.rate(0.3),
            late=self._dice.rate(0.2),
            lost=self._dice.rate(0.05),
        )
