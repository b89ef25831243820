"""The SQL is where it belongs, and all of it is used."""

import re
from pathlib import Path

import store.postgres
from store.postgres.statements import MIGRATIONS, QUERIES

FOLDER = Path(store.postgres.__file__).parent


def test_migrations_are_numbered() -> None:
    """Migrations are numbered from 1 on, without gaps."""
    assert [each.version for each in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_migrations_leave_the_transaction_to_us() -> None:
    """A migration neither begins nor commits: all of them are one transaction."""
    for migration in MIGRATIONS:
        assert not re.search(r"^(BEGIN|COMMIT|ROLLBACK);", migration.script, re.MULTILINE)


def test_every_statement_is_used() -> None:
    """No statement is left over, and none is missing."""
    code = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    words = set(re.findall(r'"([a-z_]+)"', code))
    assert set(QUERIES) <= words
    assert set(re.findall(r'QUERIES\["([a-z_]+)"\]', code)) <= set(QUERIES)
