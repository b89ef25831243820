"""Calls from one process to another over RabbitMQ: the adapter alone, beside the raw floor."""

from collections.abc import Iterator

from benchmarks.processes import Children
from benchmarks.runs import Load, Run
from benchmarks.suite import Goal, Measurement, Session, benchmark

__all__: list[str] = []

OURS = ("flowmq's adapter", "benchmarks.programs.rpc")
FLOOR = ("raw floor", "benchmarks.floor.rpc")
LOADS = (Load(1_000, 1), Load(6_000, 32), Load(10_000, 256))
FLOOR_LOADS = (Load(2_000, 1), Load(15_000, 32), Load(30_000, 256))


@benchmark(
    "rpc",
    "Calls over RabbitMQ: a quorum queue, persistent, confirmed and acknowledged",
    goals=[Goal(f"{OURS[0]}, 256 at once", f"calls/s ÷ {FLOOR[0]}", least=0.5)],
)
def calls(session: Session) -> Iterator[Measurement]:
    """Measure calls through the adapter and through the floor."""
    yield from _calls(session, *OURS, LOADS, FLOOR[:1])
    # The floor is faster: with as few calls its time would be too short to be measured.
    yield from _calls(session, *FLOOR, FLOOR_LOADS, ())


def _calls(
    session: Session, whose: str, module: str, loads: tuple[Load, ...], against: tuple[str, ...]
) -> Iterator[Measurement]:
    url = session.servers.broker_url()
    with Children() as children:
        children.python("server", "-m", module, "server", url).says("ready")
        client = children.python("client", "-m", module, "client", url)
        run = Run(client, {**children.groups, **session.servers.groups()}, session, "calls/s")
        yield from run.loads(whose, loads, against)
