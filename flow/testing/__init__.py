"""Testing flows: everything in one process, with virtual time and seeded chance.

async with FlowHarness(app) as test:
    test.stub("payments.charge", [ConnectionError(), Receipt(id="r1")])
    assert await checkout.run(Order(total=5)) == Receipt(id="r1")
"""

from flow.testing.chance import SeededChance
from flow.testing.clock import VirtualClock
from flow.testing.harness import FlowHarness
from flow.testing.stubs import NEVER, Call

__all__ = ["NEVER", "Call", "FlowHarness", "SeededChance", "VirtualClock"]
