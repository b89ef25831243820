"""The PostgreSQL store does what the store in memory does, whatever is asked of the two."""

from itertools import count

import asyncpg
from hypothesis.stateful import run_state_machine_as_test

from flow.ports import Namespace, Store
from store.memory import MemoryDatabase
from store.postgres import PostgresStore
from tests.conformance.store_model import NAMESPACE, SETTINGS, StoreComparison

ELAPSE = """
UPDATE {schema}.{table} SET expires = expires - $1::bigint * interval '1 millisecond'
"""


class PostgresComparison(StoreComparison):
    """The store in a database, and the one in memory."""

    url = ""
    numbers = count()

    def database(self) -> MemoryDatabase | None:
        """Return data that leases outlive the store in."""
        return MemoryDatabase()

    def make(self) -> Store:
        """Return a store with a new namespace, so that nothing is there."""
        self.namespace = Namespace(f"model{next(self.numbers)}", NAMESPACE.partitions)
        return PostgresStore(self.url)

    async def elapse(self, milliseconds: int) -> None:
        """Let leases and members be older than they are."""
        if not milliseconds:
            return
        connection = await asyncpg.connect(self.url)
        for table in ("lease", "member"):
            statement = ELAPSE.format(schema=f"flow_{self.namespace.name}", table=table)
            await connection.execute(statement, milliseconds)
        await connection.close()


def test_stores_do_the_same(database_url: str) -> None:
    """Whatever is asked of the two stores in whatever order, they answer the same."""
    PostgresComparison.url = database_url
    run_state_machine_as_test(PostgresComparison, settings=SETTINGS)
    assert PostgresComparison.commits > 0
