"""Leases and members: each function is one transaction, on the writer's thread."""

import sqlite3
from collections.abc import Sequence

from flow.errors import ConfigurationError
from flow.ports import Lease, Renewal
from store.sqlite.schema import transaction
from store.sqlite.statements import QUERIES


def acquire(
    connection: sqlite3.Connection, partition: int, owner: str, now_ms: int, ttl_ms: int
) -> Lease | None:
    """Take a partition that is free, has run out, or has the same owner already.

    Args:
        connection: The writer's.
        partition: The partition.
        owner: Who wants it.
        now_ms: The time.
        ttl_ms: How long the lease lasts.

    Returns:
        The lease with a new epoch, or None while somebody else holds it.

    Raises:
        ConfigurationError: The namespace has no such partition.
    """
    with transaction(connection, "begin_write"):
        row = connection.execute(QUERIES["read_ownership"], (partition,)).fetchone()
        if row is None:
            raise ConfigurationError(f"partition {partition}", "the namespace does not have it")
        holder, epoch, incarnation, expires_ms = row
        if holder not in {"", owner} and expires_ms > now_ms:
            return None
        connection.execute(QUERIES["write_owner"], (owner, epoch + 1, partition))
        connection.execute(QUERIES["write_lease"], (partition, now_ms + ttl_ms))
    return Lease(partition, owner, epoch + 1, incarnation)


def renew(
    connection: sqlite3.Connection, owner: str, leases: Sequence[Lease], now_ms: int, ttl_ms: int
) -> Renewal:
    """Extend the leases that still stand, and the owner's membership.

    Args:
        connection: The writer's.
        owner: Who asks.
        leases: The leases.
        now_ms: The time.
        ttl_ms: How long they last from now on.
    """
    with transaction(connection, "begin_write"):
        current = held(connection, leases)
        rows = [(partition, now_ms + ttl_ms) for partition in current]
        connection.executemany(QUERIES["write_lease"], rows)
        connection.execute(QUERIES["write_member"], (owner, now_ms + ttl_ms))
        connection.execute(QUERIES["expire_members"], (now_ms, owner))
        members = tuple(row[0] for row in connection.execute(QUERIES["members"]))
        revision = int(connection.execute(QUERIES["read_revision"]).fetchone()[0])
        rows_of_free = connection.execute(QUERIES["free_partitions"], (owner, now_ms))
        free = frozenset(row[0] for row in rows_of_free)
    return Renewal(now_ms, current, members, revision, free)


def release(connection: sqlite3.Connection, leases: Sequence[Lease]) -> None:
    """Give the leases back that still stand. What was written under them cannot be any more.

    Args:
        connection: The writer's.
        leases: The leases.
    """
    with transaction(connection, "begin_write"):
        keys = [(lease.partition, lease.owner, lease.epoch) for lease in leases]
        connection.executemany(QUERIES["release_partition"], keys)


def leave(connection: sqlite3.Connection, owner: str) -> None:
    """Be a member no more.

    Args:
        connection: The writer's.
        owner: Who leaves.
    """
    connection.execute(QUERIES["delete_member"], (owner,))


def note_incarnation(
    connection: sqlite3.Connection, leases: Sequence[Lease], incarnation: str
) -> None:
    """Note which incarnation of the broker the partitions of standing leases were sent to.

    Args:
        connection: The writer's.
        leases: The leases.
        incarnation: The broker's incarnation.
    """
    with transaction(connection, "begin_write"):
        keys = [(incarnation, lease.partition, lease.owner, lease.epoch) for lease in leases]
        connection.executemany(QUERIES["note_incarnation"], keys)


def held(connection: sqlite3.Connection, leases: Sequence[Lease]) -> frozenset[int]:
    """Return the partitions whose leases still stand. It belongs into a transaction.

    Args:
        connection: The writer's.
        leases: The leases.
    """
    current = set(connection.execute(QUERIES["read_fence"]))
    return frozenset(
        lease.partition
        for lease in leases
        if (lease.partition, lease.owner, lease.epoch) in current
    )
