"""The SQL of the store."""

from typing import Final

from store.sql import read_migrations, read_statements

__all__ = ["MIGRATIONS", "QUERIES"]

QUERIES: Final = read_statements("store.postgres", "queries")
"""Statements by the names of their files."""

MIGRATIONS: Final = read_migrations("store.postgres")
"""All migrations, in their order: they run in one transaction, along with each other."""
