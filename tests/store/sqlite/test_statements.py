"""The files of SQL."""

import re
import sqlite3
from pathlib import Path

import pytest

from store.sqlite.statements import MIGRATIONS, QUERIES

FOLDER = Path(__file__).parents[3] / "store" / "sqlite"


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_file_is_one_statement(name: str) -> None:
    """A file of SQL has exactly one statement, without a semicolon."""
    assert ";" not in QUERIES[name]
    assert sqlite3.complete_statement(f"{QUERIES[name]};")


def test_every_statement_is_used() -> None:
    """The code names every statement, and no other."""
    code = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    words = set(re.findall(r'"([a-z_]+)"', code))
    assert set(QUERIES) <= words
    assert set(re.findall(r'QUERIES\["([a-z_]+)"\]', code)) <= set(QUERIES)


def test_migrations_are_numbered_from_one() -> None:
    """Each migration leads to the version that its file is named after, in one transaction."""
    assert [migration.version for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    for migration in MIGRATIONS:
        statements = re.sub(r"--.*", "", migration.script).strip()
        assert statements.startswith("BEGIN IMMEDIATE;")
        assert statements.endswith(f"PRAGMA user_version = {migration.version};\n\nCOMMIT;")
