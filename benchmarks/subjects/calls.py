"""Calls from one process to another over RabbitMQ: the adapter alone, beside the raw floor."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from benchmarks.processes import Children
from benchmarks.runs import Contender, Load, Run, in_turn
from benchmarks.suite import Goal, Measurement, Session, benchmark

__all__: list[str] = []

OURS, FLOOR = "flowmq's adapter", "raw floor"
LOADS = (Load(1_000, 1, parts=20), Load(15_000, 32), Load(30_000, 256))


@benchmark(
    "rpc",
    "Calls over RabbitMQ: a quorum queue, persistent, confirmed and acknowledged",
    goals=[Goal(f"{OURS}, 256 at once", f"calls/s ÷ {FLOOR}", least=0.5)],
)
def calls(session: Session) -> Iterator[Measurement]:
    """Measure calls through the adapter and through the floor."""
    url = session.servers.broker_url()
    with (
        _run(session, "benchmarks.programs.rpc", url) as ours,
        _run(session, "benchmarks.floor.rpc", url) as floor,
    ):
        yield from in_turn([Contender(OURS, ours, (FLOOR,)), Contender(FLOOR, floor)], LOADS)


@contextmanager
def _run(session: Session, module: str, url: str) -> Generator[Run]:
    with Children() as children:
        children.python("server", "-m", module, "server", url).says("ready")
        client = children.python("client", "-m", module, "client", url)
        yield Run(client, {**children.groups, **session.servers.groups()}, session, "calls/s")
