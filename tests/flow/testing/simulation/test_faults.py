"""How often things go wrong: numbers that make no sense are refused."""

from __future__ import annotations

from typing import Any

import pytest

from flow.errors import ConfigurationError
from flow.testing.simulation.faults import BrokerFaults, Faults, NetworkFaults, StoreFaults


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (BrokerFaults, "lost", 10),
        (BrokerFaults, "refused", -0.1),
        (StoreFaults, "unknown", 1.01),
        (NetworkFaults, "slow", float("nan")),
    ],
)
def test_rates_are_between_0_and_1(make: Any, name: str, value: float) -> None:
    """A rate that is no probability is refused, with its name."""
    with pytest.raises(ConfigurationError, match=rf"\({name}=.*from 0 to 1"):
        make(**{name: value})


@pytest.mark.parametrize("make", [BrokerFaults, NetworkFaults])
def test_times_are_not_negative(make: Any) -> None:
    """A time may be of any length, but it must not be negative."""
    name = "delayed_s" if make is BrokerFaults else "slow_s"
    assert getattr(make(**{name: 3600.0}), name) == 3600.0
    with pytest.raises(ConfigurationError, match=f"{name}=-1.0.*must not be negative"):
        make(**{name: -1.0})


def test_nothing_goes_wrong_by_default() -> None:
    """Without a word every rate is zero."""
    faults = Faults()
    assert (faults.broker, faults.store) == (BrokerFaults(), StoreFaults())
    assert faults.network.slow == faults.broker.lost == faults.store.failed == 0
