"""Health endpoints of a process that runs a program."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flow.app import Flow
from flow.cli.health import Health, HealthOptions
from flow.cli.loading import load, locate
from flow.cli.web import Answer, WebServer, fetch
from flow.ports import BrokerHealth
from flow.runtime.health import HostHealth, OrchestratorHealth
from flow.runtime.trouble import TroubleNote

UP = BrokerHealth(is_connected=True, generation=1)
DOWN = BrokerHealth(is_connected=False, generation=1, trouble="nobody listens")
BLOCKED = BrokerHealth(is_connected=True, generation=1, blocked="low on memory")
AWAY = TroubleNote("the store cannot be used", 12.0, 3)


@asynccontextmanager
async def serving(health: Health) -> AsyncGenerator[WebServer]:
    """Answer probes."""
    server: WebServer
    async with health.serve(HealthOptions(health_port=0)) as server:
        yield server


async def ask(server: WebServer, path: str) -> Answer:
    """Return what a probe gets."""
    return await fetch("127.0.0.1", server.port, path, 10)


async def test_a_program_from_its_beginning_to_its_end(shop: Path) -> None:
    """A process is alive all the time, and ready only while it takes part."""
    app: Flow = load(locate("shop.py:app"))
    health = Health(app, ("orchestrator", "worker"))
    async with serving(health) as server:
        assert (await ask(server, "/live")).status == 200
        starting = await ask(server, "/ready")
        assert (starting.status, starting.document["trouble"]) == (503, ["it is starting"])
        async with app:
            health.trouble = ""
            ready = await ask(server, "/ready")
            assert (ready.status, ready.document) == (200, {"ready": True, "trouble": []})
            health.is_stopping = True
            assert (await ask(server, "/ready")).document["trouble"] == ["it is stopping"]
            assert (await ask(server, "/live")).status == 200


async def test_details_of_a_program(shop: Path) -> None:
    """The details name the broker, the store, the partitions, the worker and the counters."""
    app: Flow = load(locate("shop.py:app"))
    health = Health(app, ("orchestrator", "worker"))
    health.trouble = ""
    async with serving(health) as server, app:
        told = (await ask(server, "/health")).document
    assert told["ready"] is True
    assert told["roles"] == ["orchestrator", "worker"]
    assert told["broker"]["is_connected"] is True
    assert told["orchestrator"]["opened"] == list(range(8))
    assert told["worker"]["is_open"] is True
    assert all(told["parts"].values())
    assert "counters" in told


class _Host:
    """A host whose health is given."""

    worker = engine = None

    def __init__(self) -> None:
        self.broker, self.parts = UP, {"publisher": True}
        self.trouble = TroubleNote()

    def health(self) -> HostHealth:
        """Return it."""
        return HostHealth(
            parts=self.parts,
            broker=self.broker,
            broker_url="amqp://***@mq",
            orchestrator=OrchestratorHealth(
                owner="a", store="postgresql://db/shop", trouble=self.trouble, partitions=8
            ),
        )


async def _probed(server: WebServer) -> tuple[int, int, str]:
    live, ready = await ask(server, "/live"), await ask(server, "/ready")
    return live.status, ready.status, " ".join(ready.document["trouble"])


async def test_outages_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready flips while the broker or the store is away, and back; alive it stays."""
    app, host = Flow("shop", broker="memory://", store="memory://"), _Host()
    stands_in: Any = host
    app.host = stands_in
    health = Health(app, ("orchestrator",))
    health.trouble = ""
    async with serving(health) as server:
        assert await _probed(server) == (200, 200, "")
        host.broker = DOWN
        told = "the broker amqp://***@mq is away: nobody listens"
        assert await _probed(server) == (200, 503, told)
        assert (await ask(server, "/health")).document["broker"]["trouble"] == "nobody listens"
        host.broker = BLOCKED
        assert (await _probed(server))[1] == 503
        host.broker, host.trouble = UP, AWAY
        told = "the store has been away for 12 s, 3 failures: the store cannot be used"
        assert await _probed(server) == (200, 503, told)
        host.trouble = TroubleNote()
        assert await _probed(server) == (200, 200, "")
        host.parts = {"publisher": False}
        assert await _probed(server) == (503, 503, "the publisher has ended")


async def test_probes_do_not_wait_for_each_other(shop: Path) -> None:
    """Many probes at the same time are all answered."""
    app: Flow = load(locate("shop.py:app"))
    health = Health(app, ("orchestrator", "worker"))
    health.trouble = ""
    async with serving(health) as server, app:
        found = await asyncio.gather(*(ask(server, "/ready") for _ in range(20)))
    assert {answer.status for answer in found} == {200}


def test_options_are_words() -> None:
    """Options are passed on to a child as they are typed; without a port there is nothing."""
    options = HealthOptions(health_port=8080, health_host="0.0.0.0")
    assert options.words() == ["--health-port", "8080", "--health-host", "0.0.0.0"]
    assert HealthOptions().words() == HealthOptions().for_child(1) == []
