"""What a person should know about the server: version, durability, rights, clock, connections."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from flow.clock import SystemClock
from flow.ports import Finding, Level
from store.postgres.sessions import Connection
from store.postgres.statements import QUERIES

_MIB: Final = 1 << 20
_SKEW_MS: Final = 1_000
_CROWDED: Final = 0.8
_WEAK: Final = ("off", "local")


async def examine(connection: Connection) -> Sequence[Finding]:
    """Look at the server and the schema.

    Args:
        connection: The connection.
    """
    before_ms = SystemClock().now_ms()
    row = await connection.fetchrow(QUERIES["examine_server"])
    denied = await connection.fetch(QUERIES["examine_rights"])
    assert row is not None
    return [
        *findings(row, before_ms, connection.get_server_pid()),
        rights([each["relname"] for each in denied]),
    ]


def findings(row: Mapping[str, Any], now_ms: int, pid: int) -> Iterator[Finding]:
    """Yield what the settings of a server mean.

    Args:
        row: What `examine_server` has answered.
        now_ms: Our own time when it was asked.
        pid: The process id that the server told when we connected.
    """
    yield Finding(Level.FINE, "PostgreSQL version", row["version"])
    yield _size(row)
    yield durability(row)
    yield _pooler(row["pid"], pid)
    yield _clock(row["now_ms"] - now_ms)
    yield _connections(row["connections"], row["max_connections"])


def durability(row: Mapping[str, Any]) -> Finding:
    """Return whether a commit that was answered survives a loss of power, or of the server.

    Args:
        row: What `examine_server` has answered.
    """
    subject = "durability"
    names = ("fsync", "full_page_writes", "synchronous_commit")
    detail = ", ".join(f"{name} is {row[name]}" for name in names)
    if row["is_standby"]:
        advice = "connect to the primary; target_session_attrs=read-write in the URL finds it"
        return Finding(Level.PROBLEM, subject, "the server is a standby", advice)
    if row["fsync"] == "off" or row["full_page_writes"] == "off":
        advice = "turn it on: a crash of the machine may lose or damage what was acknowledged"
        return Finding(Level.PROBLEM, subject, detail, advice)
    if row["synchronous_commit"] in _WEAK and (
        row["synchronous_commit"] == "off" or row["standbys"]
    ):
        advice = "set synchronous_commit to on: what was acknowledged may be lost"
        return Finding(Level.PROBLEM, subject, detail, advice)
    if not row["standbys"]:
        detail += "; no synchronous standby"
    return Finding(Level.FINE, subject, detail)


def rights(denied: Sequence[str]) -> Finding:
    """Return whether the user may do what it has to.

    Args:
        denied: The tables that it cannot read and write.
    """
    if not denied:
        return Finding(Level.FINE, "permissions", "all tables can be read and written")
    advice = "grant SELECT, INSERT, UPDATE and DELETE on all tables of the schema"
    return Finding(Level.PROBLEM, "permissions", f"no access to {', '.join(denied)}", advice)


def _size(row: Mapping[str, Any]) -> Finding:
    if row["schema"] is None:
        advice = "starting an orchestrator makes them"
        return Finding(Level.WARNING, "tables", "there are none yet", advice)
    detail = f"{row['size'] / _MIB:.1f} MiB in the schema {row['schema']}"
    return Finding(Level.FINE, "size", detail)


def _pooler(backend: int, told: int) -> Finding:
    if backend == told:
        return Finding(Level.FINE, "connection", "direct")
    advice = (
        "connect directly, or let the pooler pool sessions: transaction pooling breaks prepared "
        "statements, timeouts and search_path"
    )
    return Finding(Level.WARNING, "connection", "there is a pooler in between", advice)


def _clock(skew_ms: int) -> Finding:
    detail = f"the server's clock differs by {skew_ms / 1000:+.1f} s from this machine's"
    if abs(skew_ms) <= _SKEW_MS:
        return Finding(Level.FINE, "clock", detail)
    advice = "let both follow NTP; deadlines follow the server's clock"
    return Finding(Level.WARNING, "clock", detail, advice)


def _connections(used: int, allowed: int) -> Finding:
    detail = f"{used} of {allowed} connections are in use"
    if used <= allowed * _CROWDED:
        return Finding(Level.FINE, "connections", detail)
    advice = "raise max_connections: each orchestrator uses up to 7"
    return Finding(Level.WARNING, "connections", detail, advice)
