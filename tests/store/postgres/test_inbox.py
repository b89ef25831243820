"""The inbox in a database, when something fails in between; the rest is conformance."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from asyncpg.transaction import Transaction

from flow.errors import ConfigurationError, InvalidInput, StoreUnavailable
from flow.ports import Inbox
from store.postgres import PostgresInbox, inbox as inbox_module
from tests.servers.proxy import proxied
from tests.store.postgres.conftest import Sql, answered, blocked


@pytest.fixture
async def inbox(database_url: str, watch: Sql) -> AsyncIterator[PostgresInbox]:
    """Open an inbox beside a table of a user."""
    await watch.execute("CREATE TABLE public.payment (amount integer CHECK (amount > 0))")
    opened = PostgresInbox(database_url)
    await opened.open()
    yield opened
    await opened.close()


async def pay(inbox: PostgresInbox, key: str, amount: int = 1) -> bool:
    """Do the effect unless it was done; return whether it was."""
    async with inbox.attempt(key) as attempt:
        if attempt.saved is not None:
            return True
        await attempt.connection.execute("INSERT INTO public.payment VALUES ($1)", amount)
        await attempt.save(b"paid", {})
        return False


async def payments(watch: Sql) -> int:
    """Return how many payments there are."""
    return int(await watch.fetchval("SELECT count(*) FROM public.payment"))


async def test_it_is_an_inbox(inbox: PostgresInbox) -> None:
    """The class satisfies the port, and shows no secret."""
    port: Inbox = inbox
    assert isinstance(port, Inbox)
    assert PostgresInbox("postgresql://me:secret@db/shop").url == "postgresql://***@db/shop"


async def test_many_open_at_once(database_url: str, watch: Sql) -> None:
    """Of workers that open at once one makes the table, where the user's tables are."""
    inboxes = [PostgresInbox(database_url) for _ in range(4)]
    await asyncio.gather(*(each.open() for each in inboxes))
    schema = "SELECT schemaname FROM pg_tables WHERE tablename = 'flow_inbox'"
    assert await watch.fetchval(schema) == "public"
    for each in inboxes:
        await each.close()


async def test_answer_to_the_commit_is_lost(
    database_url: str, inbox: PostgresInbox, watch: Sql
) -> None:
    """When nobody knows whether an attempt was committed, the next one finds out."""
    async with proxied(database_url) as proxy:
        far = PostgresInbox(proxy.url)
        await far.open()

        async def lose() -> None:
            async with far.attempt("k") as attempt:
                await attempt.connection.execute("INSERT INTO public.payment VALUES (1)")
                await attempt.save(b"paid", {})
                proxy.is_deaf = True

        async def cut() -> None:
            await answered(watch, "SELECT count(*) FROM public.payment")
            proxy.cut()

        outcome, _ = await asyncio.gather(lose(), cut(), return_exceptions=True)
        assert isinstance(outcome, StoreUnavailable)
        await far.close()
    assert await pay(inbox, "k") is True
    assert await payments(watch) == 1


async def test_connection_lost_in_the_handler(inbox: PostgresInbox, watch: Sql) -> None:
    """A handler that loses its connection has not failed: the database was away."""
    with pytest.raises(StoreUnavailable, match="connection is lost"):
        await lose_connection(inbox, watch)
    assert await pay(inbox, "k") is False


@pytest.mark.parametrize("verb", ["commit", "rollback"])
async def test_connection_lost_before_it_is_known(
    inbox: PostgresInbox, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """What the driver says between the server's farewell and the end means that it was away."""

    async def too_late(_transaction: Transaction) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 15")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, verb, too_late)
        with pytest.raises(StoreUnavailable, match="state 15"):
            await use(inbox, is_success=verb == "commit")
    assert await pay(inbox, "k") is False


async def use(inbox: PostgresInbox, *, is_success: bool) -> None:
    """Make an attempt that ends with a reply, or without one."""
    async with inbox.attempt("k") as attempt:
        if is_success:
            await attempt.save(b"paid", {})


async def lose_connection(inbox: PostgresInbox, watch: Sql) -> None:
    """Have the backend killed while a handler works."""
    async with inbox.attempt("k") as attempt:
        pid = attempt.connection.get_server_pid()
        await watch.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await attempt.connection.execute("INSERT INTO public.payment VALUES (1)")


async def test_errors_of_the_handler_are_its_own(inbox: PostgresInbox, watch: Sql) -> None:
    """What the handler's statements raise comes through, and the connection is used on."""
    with pytest.raises(asyncpg.CheckViolationError):
        await pay(inbox, "k", -1)
    assert await payments(watch) == 0
    assert await pay(inbox, "k") is False
    assert len(inbox._idle) == 1


async def test_deferred_constraint_is_the_handlers(inbox: PostgresInbox, watch: Sql) -> None:
    """A constraint that is checked at the end fails the handler, and nothing is saved."""
    await watch.execute(
        "CREATE TABLE public.item (id integer UNIQUE DEFERRABLE INITIALLY DEFERRED)"
    )
    await watch.execute("INSERT INTO public.item VALUES (1)")

    async def violate() -> None:
        async with inbox.attempt("k") as attempt:
            await attempt.connection.execute("INSERT INTO public.item VALUES (1)")
            await attempt.save(b"", {})

    with pytest.raises(asyncpg.UniqueViolationError):
        await violate()
    assert await pay(inbox, "k") is False


async def test_waiting_for_a_key_has_an_end(
    inbox: PostgresInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits too long for a key that another attempt has is told so, and may try again."""
    monkeypatch.setattr(inbox_module, "WAIT_S", 1)
    async with inbox.attempt("k") as attempt:
        with pytest.raises(StoreUnavailable, match="another attempt has had the key"):
            await pay(inbox, "k")
        await attempt.save(b"paid", {})
    assert await pay(inbox, "k") is True


async def test_handlers_may_wait_longer(inbox: PostgresInbox) -> None:
    """The bound for taking a key is not one for the handler's own statements."""
    async with inbox.attempt("k") as attempt:
        assert await attempt.connection.fetchval("SHOW lock_timeout") == "0"
        assert await attempt.connection.fetchval("SHOW statement_timeout") == "0"
        assert await attempt.connection.fetchval("SHOW idle_in_transaction_session_timeout") == "0"


async def test_places_are_bounded(
    database_url: str, inbox: PostgresInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds all connections in use for too long is told so."""
    monkeypatch.setattr(inbox_module, "WAIT_S", 0.1)
    small = PostgresInbox(database_url, size=1)
    await small.open()
    async with small.attempt("a"):
        with pytest.raises(StoreUnavailable, match="all its connections are in use"):
            await pay(small, "b")
    await small.close()


async def test_reply_that_cannot_be_stored(inbox: PostgresInbox, watch: Sql) -> None:
    """A key or a reply that PostgreSQL cannot store is invalid input, and nothing stays."""

    async def spoil() -> None:
        async with inbox.attempt("k") as attempt:
            await attempt.connection.execute("INSERT INTO public.payment VALUES (1)")
            await attempt.save(b"paid", {"a": "\ud800"})

    await spoil()
    with pytest.raises(InvalidInput):
        await pay(inbox, "nul\0")
    assert await payments(watch) == 1


async def test_wrong_set_up_is_told(database_url: str) -> None:
    """An inbox that cannot be opened says why, and holds nothing."""
    wrong = PostgresInbox(f"{database_url}nowhere")
    with pytest.raises(ConfigurationError, match="createdb"):
        await wrong.open()
    with pytest.raises(StoreUnavailable, match="not open"):
        await pay(wrong, "k")


async def test_second_attempt_waits_for_the_first(inbox: PostgresInbox, watch: Sql) -> None:
    """An attempt with a key that is taken waits in the database, whichever process it is in."""

    async def first() -> None:
        async with inbox.attempt("k") as attempt:
            await blocked(watch)
            await attempt.save(b"paid", {})

    _, found = await asyncio.gather(first(), pay(inbox, "k"))
    assert found is True
