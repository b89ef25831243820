"""What the parts of the broker's end of a connection share."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow.errors import BrokerUnavailable, ConfigurationError, FlowError
from flow.testing.simulation import Simulation, simulated
from flow.testing.simulation.line import Line
from flow.testing.simulation.network import Stream
from tests.flow.testing.simulation.parties import Place


class Peer:
    """Keeps the answers that it is sent."""

    def __init__(self) -> None:
        self.answers: dict[int, tuple[Any, FlowError | None]] = {}

    def answered(self, number: int, result: Any, error: FlowError | None) -> None:
        """Keep an answer."""
        self.answers[number] = (result, error)

    def take(self, consumer: Any, delivery: object) -> None:
        """Take a delivery."""

    def cancelled(self, consumer: Any) -> None:
        """Hear of a consumer."""

    def blocked(self, reason: str) -> None:
        """Hear of a block."""

    def lost(self, reason: str) -> None:
        """Hear of the end."""


@simulated(seed=1)
async def test_answers_and_errors_are_sent(simulation: Simulation) -> None:
    """What is asked for is answered by its number, with a result or with an error."""
    place, peer = Place(simulation), Peer()
    link = place.party().link
    line = Line(link, Stream(link), place.conditions, simulation.note, peer)
    refusal = ConfigurationError("a queue", "no")

    async def refuse() -> None:
        raise refusal

    async def succeed() -> str:
        return "yes"

    await line.answer(1, refuse)
    await line.answer(2, succeed)
    await asyncio.sleep(1.0)
    assert peer.answers == {1: (None, refusal), 2: ("yes", None)}


@simulated(seed=1)
async def test_a_line_without_a_broker_says_so(simulation: Simulation) -> None:
    """Before the real connection is open nothing can be done, and conditions alone block."""
    place = Place(simulation)
    link = place.party().link
    line = Line(link, Stream(link), place.conditions, simulation.note, Peer())
    with pytest.raises(BrokerUnavailable, match="was not accepted"):
        line.opened()
    assert line.blocked == ""
    place.conditions.block("no memory")
    assert line.blocked == "no memory"
