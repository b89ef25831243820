"""A store in a PostgreSQL database, for as many processes as wanted, and an inbox for workers."""

from store.postgres.inbox import PostgresInbox
from store.postgres.store import PostgresStore

__all__ = ["PostgresInbox", "PostgresStore"]
