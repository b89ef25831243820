"""Executions of two workflows, from a client's start to its result; see `programs/shapes.py`.

Over RabbitMQ and PostgreSQL there are a client, an orchestrator and a worker, each a process, and
beside them the raw floor: the same messages and one row for each, by nothing but a minimal client.
"""

import tempfile
from collections.abc import Iterator, Sequence

from benchmarks.peers import running as peers
from benchmarks.processes import Children
from benchmarks.runs import Load, Run
from benchmarks.suite import Goal, Measurement, Session, benchmark

__all__: list[str] = []

CLIENT = ("-m", "benchmarks.programs.client")
OURS = "flowmq"
FLOOR = "raw floor"


THREE = (Load(3_000, 1_000), Load(5_000, 5_000), Load(300, 1))
FAN = (Load(1_000, 1_000), Load(150, 1))


MANY, ONE = f"{OURS}, 1,000 at once", f"{OURS}, one at a time"
FLOOR_GOALS = (
    Goal(MANY, f"executions/s ÷ {FLOOR}", least=0.25),
    Goal(ONE, f"p50 ms ÷ {FLOOR}", most=2),
)
RESTATE_GOAL = Goal(MANY, "executions/s ÷ Restate", least=8)
STYLES = ("DBOS threads", "DBOS coroutines")
DBOS_GOALS = tuple(Goal(MANY, f"executions/s ÷ {style}", least=12) for style in STYLES)
SQLITE = f"{OURS}, SQLite, three steps, 1,000 at once"
SQLITE_GOALS = tuple(Goal(SQLITE, f"executions/s ÷ {style}", least=30) for style in STYLES)


@benchmark(
    "w1",
    "Three steps in a row, over RabbitMQ and PostgreSQL",
    goals=(*FLOOR_GOALS, *DBOS_GOALS, RESTATE_GOAL),
)
def three(session: Session) -> Iterator[Measurement]:
    """Measure executions of three steps in a row: ours, the floor's, and those of peers."""
    yield from _side_by_side(session, "three", THREE)


@benchmark(
    "w2",
    "Ten steps side by side and a join, over RabbitMQ and PostgreSQL",
    goals=(*FLOOR_GOALS, RESTATE_GOAL),
)
def fan(session: Session) -> Iterator[Measurement]:
    """Measure executions of ten steps and a join: ours, the floor's, and those of peers."""
    yield from _side_by_side(session, "fan", FAN)


@benchmark(
    "embedded",
    "In one process: the in-process broker, with and without SQLite",
    goals=SQLITE_GOALS,
)
def embedded(session: Session) -> Iterator[Measurement]:
    """Measure executions in one process, and those of peers on SQLite."""
    for kind, what, loads in (("three", "three steps", THREE), ("fan", "ten and a join", FAN)):
        others = peers.embedded(session, kind)
        bases = [f"{peer.name}, SQLite, {what}" for peer in others]
        yield from _embedded(session, kind, "memory", f"{OURS}, memory, {what}", loads, ())
        yield from _embedded(session, kind, "SQLite", f"{OURS}, SQLite, {what}", loads, bases)
        for peer in others:
            yield from peer.measure(session, f"{peer.name}, SQLite, {what}")


def _side_by_side(session: Session, kind: str, loads: tuple[Load, ...]) -> Iterator[Measurement]:
    others = peers.clustered(session, kind)
    yield from _ours(session, kind, loads, [FLOOR, *(peer.name for peer in others)])
    yield from _floor(session, kind, loads)
    for peer in others:
        yield from peer.measure(session, peer.name)


def _ours(
    session: Session, kind: str, loads: tuple[Load, ...], against: Sequence[str]
) -> Iterator[Measurement]:
    broker = {"FLOW_BROKER": session.servers.broker_url()}
    both = {**broker, "FLOW_STORE": session.servers.database_url()}
    program = f"benchmarks/programs/shapes.py:{kind}"
    with Children() as children:
        for role, place in (("orchestrator", both), ("worker", broker)):
            children.python(role, "-m", "flow", role, program, environment=place).says("ready")
        client = children.python("client", *CLIENT, kind, environment=broker)
        run = Run(client, {**children.groups, **session.servers.groups()}, session)
        yield from run.loads(OURS, loads, against)


def _floor(session: Session, kind: str, loads: tuple[Load, ...]) -> Iterator[Measurement]:
    broker, database = session.servers.broker_url(), session.servers.database_url()
    with Children() as children:
        children.python("worker", "-m", "benchmarks.floor.worker", broker).says("ready")
        floor = ("-m", "benchmarks.floor.orchestrator", kind, broker, database)
        orchestrator = children.python("orchestrator", *floor)
        run = Run(orchestrator, {**children.groups, **session.servers.groups()}, session)
        yield from run.loads(FLOOR, loads)


def _embedded(
    session: Session,
    kind: str,
    store: str,
    whose: str,
    loads: tuple[Load, ...],
    against: Sequence[str],
) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder, Children() as children:
        url = "memory:" if store == "memory" else f"sqlite:///{folder}/flow.db"
        place = {"FLOW_BROKER": "memory:", "FLOW_STORE": url}
        client = children.python("process", *CLIENT, kind, "embedded", environment=place)
        yield from Run(client, children.groups, session).loads(whose, loads, against)
