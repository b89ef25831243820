"""Tests of `store.sql`."""

import sys
from pathlib import Path

import pytest

from store.sql import Migration, read_migrations, read_statements


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a package with statements and migrations."""
    for name, text in {
        "__init__.py": "",
        "queries/pick.sql": "SELECT 1",
        "queries/notes.txt": "no statement",
        "migrations/0010_last.sql": "C",
        "migrations/0002_next.sql": "B",
        "migrations/0001_first.sql": "A",
    }.items():
        file = tmp_path / "statements_of_a_test" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return "statements_of_a_test"


def test_statements_have_the_names_of_their_files(package: str) -> None:
    """Each file of SQL is a statement, and nothing else is."""
    assert read_statements(package, "queries") == {"pick": "SELECT 1"}


def test_migrations_are_in_order(package: str) -> None:
    """Migrations come in the order of their versions."""
    expected = (Migration(1, "A"), Migration(2, "B"), Migration(10, "C"))
    assert read_migrations(package) == expected
