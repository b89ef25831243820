"""Leases and members, on the database's clock.

Who owns a partition stands in the fence (`partition`), which every commit locks; until when stands
beside it (`lease`), so that renewing never waits for a commit.
"""

from collections.abc import Sequence

from flow.errors import ConfigurationError
from flow.ports import Lease, Renewal
from store.postgres.sessions import Connection, transaction
from store.postgres.statements import QUERIES


class _HeldByOther(Exception):
    """The lease was renewed just before it could be taken."""


async def acquire(connection: Connection, partition: int, owner: str, ttl_ms: int) -> Lease | None:
    """Take a partition that is free, has run out, or has the same owner already.

    It waits for a commit under the old epoch that is still under way, for no longer than
    `lock_timeout` says. After it no such commit can be written any more.

    Args:
        connection: The connection.
        partition: The partition.
        owner: Who wants it.
        ttl_ms: How long the lease lasts.

    Returns:
        The lease with a new epoch, or None while somebody else holds it.

    Raises:
        ConfigurationError: The namespace has no such partition.
    """
    is_free = await connection.fetchval(QUERIES["look_at_lease"], partition, owner)
    if is_free is None:
        raise ConfigurationError(f"partition {partition}", "the namespace does not have it")
    if not is_free:
        return None
    try:
        async with transaction(connection):
            return await _take(connection, partition, owner, ttl_ms)
    except _HeldByOther:
        return None


async def _take(connection: Connection, partition: int, owner: str, ttl_ms: int) -> Lease:
    epoch = int(await connection.fetchval(QUERIES["lock_partition"], partition)) + 1
    taken = await connection.fetchrow(QUERIES["take_lease"], partition, owner, epoch, ttl_ms)
    if taken is None:
        raise _HeldByOther
    await connection.execute(QUERIES["take_partition"], partition, owner, epoch)
    return Lease(partition, owner, epoch, taken["incarnation"])


async def renew(
    connection: Connection, owner: str, leases: Sequence[Lease], ttl_ms: int
) -> Renewal:
    """Extend the leases that still stand, and the owner's membership.

    Args:
        connection: The connection.
        owner: Who asks.
        leases: The leases.
        ttl_ms: How long they last from now on.
    """
    (row,) = await connection.fetch(QUERIES["renew"], owner, *columns(leases), ttl_ms)
    return Renewal(
        row["now_ms"],
        frozenset(row["held"]),
        tuple(row["members"]),
        row["revision"],
        frozenset(row["free"]),
    )


async def release(connection: Connection, leases: Sequence[Lease]) -> None:
    """Give the leases back that still stand. What was written under them cannot be any more.

    Args:
        connection: The connection.
        leases: The leases.
    """
    await connection.execute(QUERIES["release"], *columns(leases))


async def leave(connection: Connection, owner: str) -> None:
    """Be a member no more.

    Args:
        connection: The connection.
        owner: Who leaves.
    """
    await connection.execute(QUERIES["leave"], owner)


async def note_incarnation(
    connection: Connection, leases: Sequence[Lease], incarnation: str
) -> None:
    """Note which incarnation of the broker the partitions of standing leases were sent to.

    Args:
        connection: The connection.
        leases: The leases.
        incarnation: The broker's incarnation.
    """
    await connection.execute(QUERIES["note_incarnation"], *columns(leases), incarnation)


def columns(leases: Sequence[Lease]) -> tuple[list[int], list[str], list[int]]:
    """Return the partitions, owners and epochs of leases.

    Args:
        leases: The leases.
    """
    return (
        [lease.partition for lease in leases],
        [lease.owner for lease in leases],
        [lease.epoch for lease in leases],
    )
