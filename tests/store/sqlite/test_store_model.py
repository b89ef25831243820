"""The store in a file does what the store in memory does, whatever is asked of the two."""

import shutil
import tempfile
from pathlib import Path

from hypothesis.stateful import run_state_machine_as_test

from flow.ports import Store
from store.memory import MemoryDatabase
from store.sqlite import SqliteStore
from tests.conformance.store_model import SETTINGS, StoreComparison


class SqliteComparison(StoreComparison):
    """The store in a file, and the one in memory."""

    def database(self) -> MemoryDatabase | None:
        """Return None: leases are free when either of the two is opened again."""
        return None

    def make(self) -> Store:
        """Return a store in a new file."""
        self.folder = tempfile.mkdtemp()
        return SqliteStore(Path(self.folder) / "flow.db", self.now_ms)

    def teardown(self) -> None:
        """Remove the file."""
        super().teardown()
        shutil.rmtree(self.folder)


def test_stores_do_the_same() -> None:
    """Whatever is asked of the two stores in whatever order, they answer the same."""
    run_state_machine_as_test(SqliteComparison, settings=SETTINGS)
    assert SqliteComparison.commits > 0
