"""Pruning: executions that ended long ago become tombstones, and tombstones are forgotten."""

from flow.ports import Pruned
from store.postgres.sessions import Connection, transaction
from store.postgres.statements import QUERIES


async def prune(
    connection: Connection, ended_before_ms: int, forget_before_ms: int, limit: int
) -> Pruned:
    """Forget old tombstones, and make tombstones of old executions.

    Several processes may prune at the same time: each takes what no other has locked.

    Args:
        connection: The connection.
        ended_before_ms: Executions that ended before this time become tombstones.
        forget_before_ms: Tombstones of executions that ended before this time are forgotten.
        limit: How many of each at most.
    """
    async with transaction(connection):
        forgotten = await connection.fetchval(QUERIES["forget"], forget_before_ms, limit)
        rows = await connection.fetch(QUERIES["lock_ended"], ended_before_ms, limit)
        buried = await connection.fetchval(QUERIES["bury"], [row["number"] for row in rows])
    has_more = await connection.fetchval(QUERIES["has_more"], ended_before_ms, forget_before_ms)
    return Pruned(int(buried), int(forgotten), bool(has_more))
