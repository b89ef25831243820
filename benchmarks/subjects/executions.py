"""Executions of two workflows, from a client's start to its result; see `programs/shapes.py`.

Over RabbitMQ and PostgreSQL there are a client, an orchestrator and a worker, each a process, and
beside them the raw floor: the same messages and one row for each, by nothing but a minimal client.
"""

import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from benchmarks.peers import running as peers
from benchmarks.processes import Children
from benchmarks.programs.advised import ADVISED
from benchmarks.runs import Contender, Load, Run, in_turn
from benchmarks.suite import Goal, Measurement, Session, benchmark

__all__: list[str] = []

CLIENT = ("-m", "benchmarks.programs.client")
OURS = "flowmq"
FLOOR = "raw floor"
FLOOR_TIMES = 3

THREE = (Load(6_000, 1_000), Load(10_000, 5_000), Load(1_000, 1, parts=20))
FAN = (Load(2_000, 1_000), Load(1_000, 1, parts=20))
EMBEDDED_THREE = (Load(3_000, 1_000), Load(5_000, 5_000), Load(500, 1))
EMBEDDED_FAN = (Load(1_000, 1_000), Load(200, 1))
MODES = {OURS: (), f"{OURS} as advised": (ADVISED,)}
"""How a program with everything in one process runs: plainly, and as the README advises."""

MANY, ALL = f"{OURS}, 1,000 at once", f"{OURS}, 5,000 at once"
ONE = f"{OURS}, one at a time"
FLOOR_GOALS = (
    Goal(MANY, f"executions/s ÷ {FLOOR}", least=0.25),
    Goal(ALL, f"executions/s ÷ {FLOOR}", least=0.25),
    Goal(ONE, f"p50 ms ÷ {FLOOR}", most=2),
)
RESTATE_GOAL = Goal(MANY, "executions/s ÷ Restate", least=8)
STYLES = ("DBOS threads", "DBOS coroutines")
DBOS_GOALS = tuple(Goal(MANY, f"executions/s ÷ {style}", least=12) for style in STYLES)
SQLITE = f"{OURS} as advised, SQLite, three steps, 1,000 at once"
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
    shapes = (("three", "three steps", EMBEDDED_THREE), ("fan", "ten and a join", EMBEDDED_FAN))
    for kind, what, loads in shapes:
        others = peers.embedded(session, kind)
        bases = [f"{peer.name}, SQLite, {what}" for peer in others]
        for store, against in (("memory", ()), ("SQLite", bases)):
            for whose, options in MODES.items():
                program = (kind, "embedded", *options)
                title = f"{whose}, {store}, {what}"
                yield from _embedded(session, store, program, title, loads, against)
        for peer in others:
            yield from peer.measure(session, f"{peer.name}, SQLite, {what}")


def _side_by_side(session: Session, kind: str, loads: tuple[Load, ...]) -> Iterator[Measurement]:
    others = peers.clustered(session, kind)
    against = (FLOOR, *(peer.name for peer in others))
    # Both use the same servers, and no queue or table of the other one.
    broker, database = session.servers.broker_url(), session.servers.database_url()
    with (
        _ours(session, kind, broker, database) as ours,
        _floor(session, kind, broker, database) as floor,
    ):
        contenders = [Contender(OURS, ours, against), Contender(FLOOR, floor, times=FLOOR_TIMES)]
        yield from in_turn(contenders, loads)
    for peer in others:
        yield from peer.measure(session, peer.name)


@contextmanager
def _ours(session: Session, kind: str, broker: str, database: str) -> Generator[Run]:
    outside = {"FLOW_BROKER": broker}
    inside = {**outside, "FLOW_STORE": database}
    program = f"benchmarks/programs/shapes.py:{kind}"
    with Children() as children:
        for role, place in (("orchestrator", inside), ("worker", outside)):
            children.python(role, "-m", "flow", role, program, environment=place).says("ready")
        client = children.python("client", *CLIENT, kind, ADVISED, environment=outside)
        yield Run(client, {**children.groups, **session.servers.groups()}, session)


@contextmanager
def _floor(session: Session, kind: str, broker: str, database: str) -> Generator[Run]:
    with Children() as children:
        children.python("worker", "-m", "benchmarks.floor.worker", broker).says("ready")
        floor = ("-m", "benchmarks.floor.orchestrator", kind, broker, database)
        orchestrator = children.python("orchestrator", *floor)
        yield Run(orchestrator, {**children.groups, **session.servers.groups()}, session)


def _embedded(
    session: Session,
    store: str,
    program: Sequence[str],
    whose: str,
    loads: tuple[Load, ...],
    against: Sequence[str],
) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder, Children() as children:
        url = "memory:" if store == "memory" else f"sqlite:///{folder}/flow.db"
        place = {"FLOW_BROKER": "memory:", "FLOW_STORE": url}
        client = children.python("process", *CLIENT, *program, environment=place)
        yield from Run(client, children.groups, session).loads(whose, loads, against)
