"""Tests of `flow.runtime.health`: when a process is live, when it is ready, and why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flow.ports import BrokerHealth
from flow.runtime.health import HostHealth, OrchestratorHealth, WorkerHealth
from flow.runtime.trouble import TroubleNote
from tests.flow.runtime.clusters import Cluster

WELL = HostHealth(
    parts={"orchestrator": True, "committer": True},
    broker=BrokerHealth(is_connected=True, generation=1),
    broker_url="amqp://host",
    orchestrator=OrchestratorHealth(owner="a", store="postgresql://host", held=(1,), opened=(1,)),
    worker=WorkerHealth(is_open=True),
)
AWAY = TroubleNote("no route", 12.4, 3)


def test_a_process_that_is_well_says_nothing() -> None:
    """A process whose parts run and whose peers answer is live and ready."""
    assert (WELL.is_live, WELL.is_ready, WELL.reasons) == (True, True, ())


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        (replace(WELL, broker=BrokerHealth(is_connected=False, generation=1)), "is away"),
        (
            replace(WELL, broker=BrokerHealth(is_connected=True, generation=1, blocked="memory")),
            "takes no messages: memory",
        ),
        (
            replace(WELL, broker=BrokerHealth(is_connected=True, generation=1, trouble="queue q")),
            "the broker amqp://host: queue q",
        ),
        (
            replace(WELL, publishing=TroubleNote("no confirm", 12.4, 3)),
            "publishing has failed for 12 s, 3 failures: no confirm",
        ),
        (
            replace(WELL, orchestrator=OrchestratorHealth(owner="a", store="x", trouble=AWAY)),
            "the store has been away for 12 s, 3 failures: no route",
        ),
        (
            replace(WELL, orchestrator=OrchestratorHealth(owner="a", store="x", held=(1, 2))),
            "2 partitions are not recovered yet",
        ),
        (replace(WELL, worker=WorkerHealth(is_open=False)), "does not receive requests"),
    ],
)
def test_what_is_away_makes_it_unready(health: HostHealth, reason: str) -> None:
    """A peer that is away makes a process unready, with the reason, and never dead."""
    assert health.is_live
    assert not health.is_ready
    assert reason in health.reasons[0]


def test_a_part_that_has_ended_makes_it_dead() -> None:
    """A process of which a part has ended is neither live nor ready."""
    health = replace(WELL, parts={"orchestrator": True, "committer": False})
    assert not health.is_live
    assert health.reasons == ("the committer has ended",)


async def test_a_host_tells_how_it_is() -> None:
    """A host shows its leases, its members, and a store that is away until it is back."""
    async with Cluster() as cluster:
        one, _ = await cluster.start("a", "b")
        await cluster.advance(1)
        health = one.host.health()
        assert health.is_live
        assert health.is_ready
        assert health.orchestrator is not None
        assert len(health.orchestrator.opened) == 4
        assert [name[0] for name in health.orchestrator.members] == ["a", "b"]
        one.store.is_away = True
        await cluster.advance(11)
        health = one.host.health()
        assert health.is_live
        assert "the test says so" in health.reasons[0]
        one.store.is_away = False
        await cluster.advance(6)
        assert one.host.health().is_ready
