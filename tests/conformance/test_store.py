"""The stores that need no server are held to the suites."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flow.ports import Store
from store.memory import MemoryDatabase, MemoryStore
from store.sqlite import SqliteStore
from tests.conformance.store import (
    NAMESPACE,
    CommitSuite,
    FenceSuite,
    LeaseSuite,
    NamespaceSuite,
    OneNamespaceSuite,
    StoreHarness,
)
from tests.conformance.store_members import IncarnationSuite, MemberSuite
from tests.conformance.store_pruning import ExaminationSuite, PruningSuite
from tests.conformance.store_queries import (
    CatalogueSuite,
    DefinitionSuite,
    DueSuite,
    ListSuite,
    LoadSuite,
)


class _Clock:
    def __init__(self) -> None:
        self.time_ms = 1_000_000

    def now_ms(self) -> int:
        """Return the time."""
        return self.time_ms

    async def elapse(self, milliseconds: int) -> None:
        """Let time pass."""
        self.time_ms += milliseconds


class MemoryHarness(_Clock):
    """Stores on one database in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._database = MemoryDatabase()

    def new(self) -> Store:
        """Return another store on the same data."""
        return MemoryStore(self.now_ms, self._database)


class SqliteHarness(_Clock):
    """Stores on one file, which can be open in one of them at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def new(self) -> Store:
        """Return another store on the same data."""
        return SqliteStore(self._path, self.now_ms)


@pytest.fixture(params=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> StoreHarness:
    """Return fresh data of each kind."""
    return MemoryHarness() if request.param == "memory" else SqliteHarness(tmp_path / "flow.db")


@pytest.fixture
async def store(harness: StoreHarness) -> AsyncIterator[Store]:
    """Open a store on fresh data."""
    opened = harness.new()
    await opened.open(NAMESPACE)
    yield opened
    await opened.close()


class TestNamespace(NamespaceSuite, OneNamespaceSuite):
    """Opening and closing."""


class TestLease(LeaseSuite):
    """Leases."""


class TestFence(FenceSuite):
    """Fenced commits."""


class TestCommit(CommitSuite):
    """Commits."""


class TestLoad(LoadSuite):
    """Loading and paging."""


class TestDue(DueSuite):
    """What is due."""


class TestList(ListSuite):
    """Lists."""


class TestDefinition(DefinitionSuite):
    """Definitions and the incarnation."""


class TestMember(MemberSuite):
    """Members."""


class TestIncarnation(IncarnationSuite):
    """Incarnations of leases."""


class TestPruning(PruningSuite):
    """Pruning and tombstones."""


class TestExamination(ExaminationSuite):
    """What is told about the store."""


class TestCatalogue(CatalogueSuite):
    """Steps, pauses, and the revision."""
