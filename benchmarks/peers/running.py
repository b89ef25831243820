"""Measures other systems with the same workflows: DBOS and Restate, if they are asked for."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from benchmarks.peers import installing
from benchmarks.processes import Children
from benchmarks.runs import Load, Run
from benchmarks.suite import Measurement, Session
from tests.servers.ports import HOST, Port

__all__ = ["Peer", "clustered", "embedded"]

LOADS: Final = (Load(1_000, 1_000), Load(100, 1))
RESTATE_LOADS: Final = (Load(2_000, 1_000), Load(100, 1))
WARM_UP: Final = Load(20, 10)
DBOS: Final = ("dbos", "psycopg[binary]")
RESTATE: Final = ("restate-sdk[serde]", "hypercorn", "aiohttp")
RESTATE_SERVER: Final = "@restatedev/restate-server"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another system, with the workflow that it runs.

    Args:
        name: What the table calls it.
        measure: Yields its rows, given how their names begin.
    """

    name: str
    measure: Callable[[Session, str], Iterator[Measurement]]


def clustered(session: Session, kind: str) -> list[Peer]:
    """Return the peers that are measured beside processes over RabbitMQ and PostgreSQL.

    Args:
        session: The session; it says who is asked for.
        kind: The workflow: `three` or `fan`.
    """
    peers: list[Peer] = []
    if "dbos" in session.peers and _is_there(_dbos):
        peers += [_on_dbos(style, kind, "") for style in _styles(kind)]
    if "restate" in session.peers and _is_there(_restate):
        peers.append(Peer("Restate", lambda given, whose: _measure_restate(given, whose, kind)))
    return peers


def embedded(session: Session, kind: str) -> list[Peer]:
    """Return the peers that are measured beside one process with SQLite.

    Args:
        session: The session; it says who is asked for.
        kind: The workflow: `three` or `fan`.
    """
    if "dbos" in session.peers and _is_there(_dbos):
        return [_on_dbos(style, kind, "sqlite") for style in _styles(kind)]
    return []


# ------------------------------------------------------------------------------------- DBOS


def _styles(kind: str) -> tuple[str, ...]:
    # Steps side by side in one workflow need coroutines.
    return ("threads", "coroutines") if kind == "three" else ("coroutines",)


def _on_dbos(style: str, kind: str, database: str) -> Peer:
    def measure(session: Session, whose: str) -> Iterator[Measurement]:
        with tempfile.TemporaryDirectory() as folder:
            if database == "sqlite":
                yield from _measure_dbos(session, whose, kind, style, f"sqlite:///{folder}/dbos.db")
            else:
                url = session.servers.database_url()
                yield from _measure_dbos(session, whose, kind, style, url)

    return Peer(f"DBOS {style}", measure)


def _measure_dbos(
    session: Session, whose: str, kind: str, style: str, url: str
) -> Iterator[Measurement]:
    python = _dbos()
    session.versions["DBOS"] = installing.version_of(python, "dbos")
    with Children() as children:
        command = [str(python), "-m", "benchmarks.peers.dbos_program", url, kind, style]
        process = children.start("process", command)
        groups = dict(children.groups)
        if not url.startswith("sqlite"):
            groups["database"] = list(session.servers.groups()["database"])
        yield from Run(process, groups, session, warm_up=WARM_UP).loads(whose, LOADS)


@cache
def _dbos() -> Path:
    return installing.environment("dbos", DBOS)


# ---------------------------------------------------------------------------------- Restate


def _measure_restate(session: Session, whose: str, kind: str) -> Iterator[Measurement]:
    python, server = _restate()
    session.versions["Restate SDK"] = installing.version_of(python, "restate-sdk")
    ports = [Port() for _ in range(4)]
    ingress, admin, node, service = (str(port.number) for port in ports)
    place = {
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": HOST,
        "RESTATE_INGRESS__BIND_PORT": ingress,
        "RESTATE_ADMIN__BIND_PORT": admin,
        "RESTATE_BIND_PORT": node,
    }
    urls = [f"http://{HOST}:{port}" for port in (ingress, admin, service)]
    with tempfile.TemporaryDirectory() as folder, Children() as children:
        base = ["--no-logo", "--base-dir", f"{folder}/base"]
        children.start("restate", [str(server), *base], place)
        application = "benchmarks.peers.restate_service:app"
        serving = ["-m", "hypercorn", "--bind", f"{HOST}:{service}", application]
        children.start("service", [str(python), *serving])
        command = [str(python), "-m", "benchmarks.peers.restate_client", *urls, kind]
        client = children.start("client", command)
        run = Run(client, children.groups, session, warm_up=WARM_UP)
        yield from run.loads(whose, RESTATE_LOADS)
    for port in ports:
        port.give_back()


@cache
def _restate() -> tuple[Path, Path]:
    python = installing.environment("restate", RESTATE)
    modules = installing.node_package("restate-server", RESTATE_SERVER)
    found = sorted(modules.glob("@restatedev/*/bin/restate-server"))
    if not found:
        raise installing.NotInstalled(f"{RESTATE_SERVER} has no program for this machine")
    return python, found[0]


@cache
def _is_there(install: Callable[[], object]) -> bool:
    """Return whether a peer is installed by now; if it cannot be, say why."""
    try:
        install()
    except installing.NotInstalled as error:
        sys.stdout.write(f"skipped, because it cannot be installed: {error}\n")
        return False
    return True
