"""A full store: what an execution costs then, and how long a new owner takes to begin.

The store is filled by the database itself, with copies of the rows of an execution that ran.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Final

import asyncpg

from benchmarks.processes import Children
from benchmarks.runs import CPU, Load, Run
from benchmarks.suite import Goal, Measurement, Session, benchmark
from store.postgres.address import schema_of

__all__ = ["copies"]

GROWTH: Final = {"1k": 1_000, "100k": 100_000, "1M": 1_000_000}
TAKEOVER: Final = {"1k": 1_000, "1M": 1_000_000}
STORES: Final = ("SQLite", "PostgreSQL")
NO_SERVERS: Final[Mapping[str, Sequence[int]]] = {}
PROGRAM: Final = ("-m", "benchmarks.programs.stored")
PARTITIONS: Final = 8
_LOAD: Final = Load(6_000, 500)
_WARM_UP: Final = Load(1_000, 500)
_UNTIL_DUE_S: Final = 1.5
_DAY_MS: Final = 86_400_000
_COLUMNS: Final = {
    "execution": (
        "id, partition, workflow, definition, status, created_ms, ended_ms, incident, labels"
    ),
    "progress": "partition, updated_ms, wake_ms, seq, snapshot",
    "journal": "seq, is_snapshot, record",
}
_GOALS: Final = [
    Goal(f"1M ended, {store}, 500 at once", f"{CPU} ÷ 1k ended", most=1.4) for store in STORES
]


@benchmark(
    "growth",
    "The cost of an execution of three steps, by what the store holds",
    rounds=1,
    goals=_GOALS,
)
def growth(session: Session) -> Iterator[Measurement]:
    """Measure executions beside so many that have ended."""
    for store in STORES:
        for title, count in GROWTH.items():
            with _place(session, store) as place, Children() as children:
                _seed(place, "three")
                _fill(place["FLOW_STORE"], "three", session.scaled(count))
                child = children.python("process", *PROGRAM, "three", environment=place)
                servers = session.servers.groups() if store == "PostgreSQL" else NO_SERVERS
                run = Run(child, {**children.groups, **servers}, session, warm_up=_WARM_UP)
                against = () if title == "1k" else (f"1k ended, {store}",)
                yield from run.loads(f"{title} ended, {store}", [_LOAD], against)


@benchmark("takeover", "Beginning to own a store, by the executions that wait in it", rounds=1)
def takeover(session: Session) -> Iterator[Measurement]:
    """Measure how long a process takes until it owns a store, and until what is due goes on."""
    for store in STORES:
        for title, count in TAKEOVER.items():
            with _place(session, store) as place, Children() as children:
                _seed(place, "later", "soon")
                _fill(place["FLOW_STORE"], "later", session.scaled(count))
                # By then `soon` is due in each case, and not only where filling took its time.
                time.sleep(_UNTIL_DUE_S)
                child = children.python("process", *PROGRAM, "takeover", environment=place)
                told = child.answers()
            against = "" if title == "1k" else f"1k waiting, {store}"
            yield Measurement(f"{title} waiting, {store}", told, against, ("ready ms", "due ms"))


@contextmanager
def _place(session: Session, store: str) -> Generator[Mapping[str, str]]:
    """Give the environment of a program whose store is empty; beside PostgreSQL is RabbitMQ."""
    if store == "PostgreSQL":
        servers = session.servers
        yield {"FLOW_BROKER": servers.broker_url(), "FLOW_STORE": servers.database_url()}
        return
    with tempfile.TemporaryDirectory() as folder:
        yield {"FLOW_BROKER": "memory:", "FLOW_STORE": f"sqlite:///{folder}/flow.db"}


def _seed(place: Mapping[str, str], *kinds: str) -> None:
    """Have an execution of each kind run in a process of its own, which ends in order."""
    for kind in kinds:
        with Children() as children:
            child = children.python("seed", *PROGRAM, kind, environment=place)
            if kind == "three":
                child.says("ready")
                child.tell({"count": 1, "at_once": 1})
            child.says("{")
            # One that is killed keeps its leases for a while, and the next one waits for them.
            child.end()


def _fill(store: str, workflow: str, count: int) -> None:
    if store.startswith("sqlite:"):
        with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as connection, connection:
            wanted = f"SELECT min(number) FROM execution WHERE workflow = '{workflow}'"
            found = connection.execute(wanted).fetchone()[0]
            series = (
                "WITH RECURSIVE series(i) AS "
                f"(SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < {count}) "
            )
            for statement in copies(found, series, "series", ""):
                connection.execute(statement)
    else:
        asyncio.run(_fill_postgres(store, workflow, count))


async def _fill_postgres(store: str, workflow: str, count: int) -> None:
    schema = {"search_path": f'"{schema_of("stored")}"'}
    connection = await asyncpg.connect(store, server_settings=schema)
    try:
        wanted = "SELECT min(number) FROM execution WHERE workflow = $1"
        found = await connection.fetchval(wanted, workflow)
        for statement in copies(
            found, "", f"generate_series(1, {count}) AS series(i)", "fingerprint"
        ):
            await connection.execute(statement, timeout=600)
        # What it has to clean up after that must not count for the executions.
        await connection.execute("VACUUM ANALYZE", timeout=600)
        await connection.execute("CHECKPOINT", timeout=600)
    finally:
        await connection.close()


def copies(number: int, before: str, series: str, more: str) -> Sequence[str]:
    """Return the statements that copy an execution; copies have negative numbers.

    Args:
        number: The number of the execution.
        before: What comes before each SELECT.
        series: Something to select the numbers `i` of the copies from.
        more: Another column of `execution`, or an empty string.
    """
    statements: list[str] = []
    for table, columns in _COLUMNS.items():
        names = ["number" if table == "execution" else "execution", *columns.split(", ")]
        names += [more] if more and table == "execution" else []
        made = {
            "id": "'copy-' || i",
            "partition": f"i % {PARTITIONS}",
            # The row of one that has just begun to wait says that it has to be looked at in a
            # minute, and all copies would be, in the middle of what is measured.
            "wake_ms": f"wake_ms + {_DAY_MS}",
            names[0]: "-i",
        }
        values = ", ".join(made.get(name, name) for name in names)
        # Nothing but names of ours and numbers is put into the text.
        statements.append(
            f"INSERT INTO {table} ({', '.join(names)}) {before} SELECT {values} "
            f"FROM {table}, {series} WHERE {table}.{names[0]} = {number}"
        )
    return statements
