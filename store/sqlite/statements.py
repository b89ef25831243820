"""The SQL of the store."""

from typing import Final

from store.sql import read_migrations, read_statements

__all__ = ["MIGRATIONS", "QUERIES"]

QUERIES: Final = read_statements("store.sqlite", "queries")
"""Statements by the names of their files."""

MIGRATIONS: Final = read_migrations("store.sqlite")
"""All migrations, in their order: each begins a transaction, sets `user_version`, and commits."""
