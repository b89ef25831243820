"""The PostgreSQL store is held to the suites, on a real server."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from flow.ports import Store
from store.postgres import PostgresStore
from tests.conformance.store import (
    NAMESPACE,
    CommitSuite,
    FenceSuite,
    LeaseSuite,
    ManyNamespacesSuite,
    NamespaceSuite,
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
from tests.servers.fixtures import run
from tests.servers.postgres import PostgresServer

NAMESPACES = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'flow_')"
ELAPSE = """
UPDATE flow_suite.lease SET expires = expires - $1::integer * interval '1 millisecond';
"""
ELAPSE_MEMBERS = """
UPDATE flow_suite.member SET expires = expires - $1::integer * interval '1 millisecond';
"""


class PostgresHarness:
    """Stores on one database. Time passes by moving what runs out."""

    def __init__(self, url: str) -> None:
        self._url = url

    def new(self) -> Store:
        """Return another store on the same data."""
        return PostgresStore(self._url)

    async def elapse(self, milliseconds: int) -> None:
        """Let time pass."""
        connection = await asyncpg.connect(self._url)
        await connection.execute(ELAPSE, milliseconds)
        await connection.execute(ELAPSE_MEMBERS, milliseconds)
        await connection.close()


@pytest.fixture(scope="module")
def shared_url(postgres: PostgresServer) -> str:
    """Return the URL of a database for all of these tests: making one takes longer than a test."""
    return run(postgres.new_database)


@pytest.fixture
async def harness(shared_url: str) -> StoreHarness:
    """Return a database without namespaces."""
    connection = await asyncpg.connect(shared_url)
    for schema in await connection.fetch(NAMESPACES):
        await connection.execute(f'DROP SCHEMA "{schema["nspname"]}" CASCADE')
    await connection.close()
    return PostgresHarness(shared_url)


@pytest.fixture
async def store(harness: StoreHarness) -> AsyncIterator[Store]:
    """Open a store on fresh data."""
    opened = harness.new()
    await opened.open(NAMESPACE)
    yield opened
    await opened.close()


class TestNamespace(NamespaceSuite, ManyNamespacesSuite):
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
