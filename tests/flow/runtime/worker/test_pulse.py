"""Tests of `worker.pulse`: signs of life."""

from __future__ import annotations

from flow.runtime.protocol import StepRequest
from flow.runtime.worker.pulse import Pulse
from tests.flow.runtime.clocks import ManualClock
from tests.flow.runtime.worker_bench import request


async def test_a_pulse_repeats_what_the_handler_said_last() -> None:
    """Between the handler's own heartbeats the last progress is told again and again."""
    clock, told = ManualClock(), list[bytes]()

    def send(_request: StepRequest, body: bytes) -> None:
        told.append(body)

    asked = request(heartbeat_ms=3_000)
    pulse = Pulse(clock, asked, send)
    pulse.start()
    await clock.advance(1)
    pulse.tell(asked, b"0.5")
    await clock.advance(2)
    assert told == [b"null", b"0.5", b"0.5", b"0.5"]
    pulse.stop()
    await clock.advance(100)
    assert len(told) == 4
    assert clock.armed == 0


async def test_a_short_step_has_no_pulse() -> None:
    """Without a heartbeat in its request nothing is told but what the handler tells."""
    clock, told = ManualClock(), list[bytes]()
    pulse = Pulse(clock, request(), lambda _request, body: told.append(body))
    pulse.start()
    assert clock.armed == 0
    pulse.tell(request(), b"1")
    pulse.stop()
    assert told == [b"1"]
