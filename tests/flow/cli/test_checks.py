"""What the doctor looks at."""

import asyncio
import resource
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from brokers.memory import Hub, MemoryBroker
from flow.app import Adapters
from flow.cli import checks as module
from flow.cli.checks import (
    bounded,
    look_at_broker,
    look_at_flow,
    look_at_machine,
    look_at_store,
    look_at_topology,
)
from flow.cli.project import Project, find_project
from flow.cli.target import Target
from flow.config import Settings
from flow.errors import BrokerUnavailable
from flow.ports import Finding, Level, Namespace, Topology
from flow.runtime.addresses import Addresses

FAR = Settings.of("shop", "amqp://user:secret@far.example", "postgresql://far.example/shop", {})


def by_subject(findings: Sequence[Finding], subject: str) -> Finding:
    """Return the finding about a subject."""
    (found,) = [each for each in findings if each.subject == subject]
    return found


async def _hangs() -> Sequence[Finding]:
    await asyncio.Event().wait()
    return ()


async def _refused() -> Sequence[Finding]:
    raise BrokerUnavailable("amqp://***@mq", "nobody\nlistens")


async def _broken() -> Sequence[Finding]:
    raise ValueError("odd")


async def test_no_check_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not answer is a problem after a while, with the advice."""
    monkeypatch.setattr(module, "WITHIN_S", 0.05)
    (found,) = await bounded("reachable", _hangs, "start it")
    assert found == Finding(Level.PROBLEM, "reachable", "no answer within 0.05 s", "start it")


async def test_no_check_raises() -> None:
    """An error of a peer is a problem in one line, and so is a fault of ours."""
    (refused,) = await bounded("reachable", _refused, "start it")
    text = "the broker amqp://***@mq cannot be reached: nobody listens"
    assert refused == Finding(Level.PROBLEM, "reachable", text, "start it")
    (broken,) = await bounded("reachable", _broken)
    assert (broken.level, broken.detail) == (Level.PROBLEM, "ValueError: odd")


def test_versions_and_extras(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed is told, and what an adapter lacks comes with the command."""

    def version(name: str) -> str:
        if name == "asyncpg":
            raise metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(metadata, "version", version)
    found = look_at_machine(FAR, find_project())
    assert by_subject(found, "aio-pika").detail == "1.2.3"
    lacking = by_subject(found, "asyncpg")
    assert (lacking.level, lacking.advice) == (Level.PROBLEM, "pip install 'flowmq[postgres]'")
    embedded = look_at_machine(Settings.of("shop", None, None, {}), find_project())
    assert "aio-pika" not in [each.subject for each in embedded]


@pytest.mark.parametrize(
    ("limit", "level", "text"),
    [
        (256, Level.WARNING, "256"),
        (20_000, Level.FINE, "20,000"),
        (resource.RLIM_INFINITY, Level.FINE, "unlimited"),
    ],
)
def test_few_open_files_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, limit: int, level: Level, text: str
) -> None:
    """A process that may have few connections is warned of it."""

    def getrlimit(_: int) -> tuple[int, int]:
        return limit, limit

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    found = by_subject(look_at_machine(None, Project(Path())), "open files")
    assert (found.level, found.detail) == (level, text)


def test_an_open_secret_is_a_warning(shop: Path) -> None:
    """A flow.toml with a password that everybody can read is warned of."""
    file = shop / "flow.toml"
    file.write_text('broker = "amqp://user:secret@mq"')
    file.chmod(0o644)
    found = by_subject(look_at_machine(None, find_project()), "flow.toml")
    assert (found.level, found.advice) == (Level.WARNING, f"chmod 600 {file}")
    file.chmod(0o600)
    assert by_subject(look_at_machine(None, find_project()), "flow.toml").level is Level.FINE


class _Broker(MemoryBroker):
    """A broker that is examined."""

    async def examine(self) -> Sequence[Finding]:
        return [Finding(Level.FINE, "RabbitMQ version", "3.10.8")]


def use(monkeypatch: pytest.MonkeyPatch, **adapters: Any) -> None:
    """Let URLs lead to these adapters."""
    none: Any = None
    base = Adapters(broker=none, store=None, clock=none, chance=none, threads=none)

    def adapters_for(_: Settings) -> Adapters:
        return replace(base, **adapters)

    monkeypatch.setattr(module, "adapters_for", adapters_for)


async def test_a_broker_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker is connected to, examined, and looked over for what a flow needs."""
    use(monkeypatch, broker=_Broker(Hub()))
    found = await look_at_broker(FAR, "shop")
    assert by_subject(found, "RabbitMQ version").detail == "3.10.8"
    topology = by_subject(found, "topology")
    assert (topology.level, "nothing" in topology.detail) == (Level.WARNING, True)
    assert topology.advice == "starting an orchestrator declares it"
    assert by_subject(found, "reachable").level is Level.FINE


async def test_a_topology_that_is_complete() -> None:
    """Where an orchestrator has been, nothing is missing, and looking declares nothing."""
    addresses, hub = Addresses("shop"), Hub()
    broker = MemoryBroker(hub)
    await broker.open()
    found = await look_at_topology(broker, "shop")
    assert (found.level, found.detail) == (Level.WARNING, "nothing of it is declared yet")
    assert not await broker.has_exchange(addresses.control)
    await broker.declare(addresses.exchanges())
    await broker.declare(addresses.orchestrator(8))
    found = await look_at_topology(broker, "shop")
    assert (found.level, found.detail.endswith("are there")) == (Level.FINE, True)
    await broker.close()


async def test_what_is_missing_is_named() -> None:
    """Where only a part is declared, the exchanges that are not are named."""
    broker = MemoryBroker(Hub())
    await broker.open()
    declared = Addresses("shop").exchanges()
    await broker.declare(Topology(exchanges=declared.exchanges[1:]))
    found = await look_at_topology(broker, "shop")
    assert found.detail == f"not declared: {declared.exchanges[0].name}"
    await broker.close()


class _Store:
    """A store that is opened to look, examined and closed."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def open(self, namespace: Namespace) -> Namespace:
        self.calls.append(f"open {namespace.name}")
        return namespace

    async def examine(self) -> Sequence[Finding]:
        self.calls.append("examine")
        return [Finding(Level.WARNING, "clock", "2 s ahead", "synchronise the clocks")]

    async def close(self) -> None:
        self.calls.append("close")


def use_store(monkeypatch: pytest.MonkeyPatch) -> _Store:
    """Let URLs of stores lead to one that notes what is done with it."""
    store = _Store()

    def reading_store(*_: object) -> _Store:
        return store

    monkeypatch.setattr(module, "reading_store", reading_store)
    return store


async def test_a_store_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's store is examined and closed, and an open line to it is warned of."""
    store = use_store(monkeypatch)
    found = await look_at_store(Target("shop", FAR))
    assert by_subject(found, "clock").advice == "synchronise the clocks"
    assert store.calls == ["open shop", "examine", "close"]


async def test_a_process_without_a_store() -> None:
    """Workers and clients have no store, which is as it should be."""
    (found,) = await look_at_store(Target("shop", Settings.of("shop", "amqp://mq", None, {})))
    assert (found.level, found.detail) == (
        Level.FINE,
        "this process knows none; workers and clients need none",
    )


async def test_a_file_that_is_not_there_yet(shop: Path) -> None:
    """A file that no run has made yet is no problem, and is not made by looking."""
    (found,) = await look_at_store(Target("shop", Settings.of("shop", None, None, {})))
    assert (found.level, found.detail) == (Level.WARNING, "it is made when the flow first runs")
    assert not (shop / ".flow").exists()


@pytest.mark.parametrize(
    ("url", "level", "detail"),
    [
        (
            "postgresql://far/shop?sslmode=verify-full",
            Level.FINE,
            "TLS, the certificate is checked",
        ),
        ("postgresql://localhost/shop", Level.FINE, "not needed: it is on this machine"),
        ("postgresql://far/shop", Level.WARNING, "TLS only if the server offers it"),
        ("postgresql://far/shop?sslmode=disable", Level.WARNING, "none"),
    ],
)
async def test_an_open_line_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, url: str, level: Level, detail: str
) -> None:
    """What leaves the machine should be encrypted, and the other side be known."""
    use_store(monkeypatch)
    found = await look_at_store(Target("shop", Settings.of("shop", "amqp://mq", url, {})))
    encryption = by_subject(found, "encryption")
    assert (encryption.level, detail in encryption.detail) == (level, True)


@pytest.mark.parametrize(("version", "is_told"), [((3, 40, 1), True), ((3, 51, 3), False)])
async def test_an_old_sqlite_is_told(
    store: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], is_told: object
) -> None:
    """A SQLite with the WAL-reset bug is named, because it forbids other writers."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    found = await look_at_store(Target("shop", Settings.of("shop", None, None, {})))
    assert ("WAL-reset bug" in [each.subject for each in found]) is is_told


@pytest.mark.parametrize(
    ("subject", "detail"),
    [("reachable", "while the broker cannot be reached"), ("topology", "none has run")],
)
async def test_what_cannot_answer_is_not_asked(subject: str, detail: str) -> None:
    """An orchestrator is asked only over a broker that works, and that one has been on."""
    broker = [Finding(Level.WARNING, subject, "it is not as it should be")]
    (found,) = await look_at_flow(Target("shop", FAR), broker)
    assert (found.level, detail in found.detail) == (Level.PROBLEM, True)
