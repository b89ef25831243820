"""A short run of chaos: whatever breaks, nothing is lost, and nothing is recorded twice."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.system.chaos import checker, report
from tests.system.chaos.nemesis import Schedule
from tests.system.chaos.run import Settings, perform

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(240)]

_log = logging.getLogger("tests.system")

SEED = 4
SECONDS = 10.0
SHORT = Schedule(
    orchestrators=(2.0, 4.0),
    servers=(2.0, 4.0),
    pauses=(2.0, 6.0),
    cuts=(2.0, 6.0),
    empty=(1.0, 3.0),
    paused=(1.0, 4.0),
    cut=(1.0, 4.0),
    long_downs=0.0,
)


async def test_nothing_is_lost_and_nothing_recorded_twice(
    tmp_path: Path, own_rabbitmq: RabbitServer, own_postgres: PostgresServer
) -> None:
    """Some seconds in which everything breaks break no promise, and everything ends."""
    settings = Settings(seconds=SECONDS, seed=SEED, rate=8.0, schedule=SHORT)
    evidence = await perform(tmp_path, own_rabbitmq, own_postgres, settings)
    finding = checker.check(evidence)
    _log.warning("%s", report.table(evidence, finding, SEED))
    assert finding.is_clean, report.offenders(finding)
    assert {fault.target for fault in evidence.faults} >= {"broker", "database"}
    assert len(evidence.lives) > settings.orchestrators + settings.workers
    assert finding.statuses["SUCCESS"] > 0
    assert finding.once > 0
