"""What every inbox must do: a key's effect and reply happen together, once, or not at all."""

import asyncio
from typing import Protocol

import pytest

from flow.errors import StoreUnavailable
from flow.ports import Inbox, InboxAttempt, SavedReply

HEADERS = {"tenant": "blue", "grüße": "🚀"}
REPLY = SavedReply(b'{"id": 1}', HEADERS)


class InboxHarness(Protocol):
    """One database, the inboxes on it, and effects that can be looked at."""

    def new(self) -> Inbox:
        """Return another inbox on the same data, not yet open."""
        ...

    async def effect(self, attempt: InboxAttempt, name: str) -> None:
        """Do something in an attempt's transaction."""
        ...

    async def effects(self) -> list[str]:
        """Return what has been done and stays."""
        ...


class InboxSuite:
    """Attempts."""

    async def succeed(self, harness: InboxHarness, inbox: Inbox, key: str) -> SavedReply | None:
        """Do the effect and save the reply, unless there is one; return what was found."""
        async with inbox.attempt(key) as attempt:
            if attempt.saved is None:
                await harness.effect(attempt, key)
                await attempt.save(REPLY.body, REPLY.headers)
            return attempt.saved

    async def fail(self, harness: InboxHarness, inbox: Inbox, entered: asyncio.Event) -> None:
        """Do an effect, save a reply, and fail after all."""
        async with inbox.attempt("k") as attempt:
            entered.set()
            await harness.effect(attempt, "lost")
            await attempt.save(b"lost", {})
            raise ZeroDivisionError

    async def hang(self, harness: InboxHarness, inbox: Inbox) -> None:
        """Do an effect, and never end."""
        async with inbox.attempt("k") as attempt:
            await harness.effect(attempt, "lost")
            await asyncio.Event().wait()

    async def test_second_attempt_finds_the_reply(
        self, harness: InboxHarness, inbox: Inbox
    ) -> None:
        """The effect happens with the first attempt, and the next one gets the saved reply."""
        assert await self.succeed(harness, inbox, "k") is None
        assert await self.succeed(harness, inbox, "k") == REPLY
        assert await harness.effects() == ["k"]

    async def test_keys_are_apart(self, harness: InboxHarness, inbox: Inbox) -> None:
        """Every key has its own effect, and keys differ by case."""
        for key in ("a", "A", "b/steps/c"):
            assert await self.succeed(harness, inbox, key) is None
        assert sorted(await harness.effects()) == ["A", "a", "b/steps/c"]

    async def test_error_undoes_everything(self, harness: InboxHarness, inbox: Inbox) -> None:
        """A handler that fails leaves neither effect nor reply, and its error comes through."""
        with pytest.raises(ZeroDivisionError):
            await self.fail(harness, inbox, asyncio.Event())
        assert await harness.effects() == []
        assert await self.succeed(harness, inbox, "k") is None
        assert await harness.effects() == ["k"]

    async def test_no_reply_undoes_everything(self, harness: InboxHarness, inbox: Inbox) -> None:
        """An attempt that saves no reply is undone as if it had failed."""
        async with inbox.attempt("k") as attempt:
            await harness.effect(attempt, "lost")
        assert await harness.effects() == []
        assert await self.succeed(harness, inbox, "k") is None

    async def test_cancelled_attempt_is_undone(self, harness: InboxHarness, inbox: Inbox) -> None:
        """A handler that is cancelled leaves nothing, and its key is free."""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.hang(harness, inbox), 0.1)
        assert await self.succeed(harness, inbox, "k") is None
        assert await harness.effects() == ["k"]

    async def test_concurrent_attempts_wait(self, harness: InboxHarness, inbox: Inbox) -> None:
        """Of many attempts at the same time one has the effect, and the others get its reply."""
        found = await asyncio.gather(*(self.succeed(harness, inbox, "k") for _ in range(5)))
        assert sorted(found, key=bool) == [None, REPLY, REPLY, REPLY, REPLY]
        assert await harness.effects() == ["k"]

    async def test_waiting_attempt_takes_over(self, harness: InboxHarness, inbox: Inbox) -> None:
        """Who waits for an attempt that fails gets the key, and not a reply."""
        entered = asyncio.Event()

        async def follow() -> SavedReply | None:
            await entered.wait()
            return await self.succeed(harness, inbox, "k")

        failed, followed = await asyncio.gather(
            self.fail(harness, inbox, entered), follow(), return_exceptions=True
        )
        assert isinstance(failed, ZeroDivisionError)
        assert followed is None
        assert await harness.effects() == ["k"]

    async def test_reply_outlives_the_inbox(self, harness: InboxHarness, inbox: Inbox) -> None:
        """Another inbox on the same data, in another process, finds the reply."""
        await self.succeed(harness, inbox, "k")
        await inbox.close()
        other = harness.new()
        await other.open()
        assert await self.succeed(harness, other, "k") == REPLY
        await other.close()

    async def test_old_keys_are_forgotten(self, harness: InboxHarness, inbox: Inbox) -> None:
        """Keys are forgotten when they are old enough, no more than wanted at a time."""
        for key in ("a", "b", "c"):
            await self.succeed(harness, inbox, key)
        assert await inbox.forget(60_000, 10) == 0
        assert await inbox.forget(-60_000, 2) == 2
        assert await inbox.forget(-60_000, 2) == 1
        assert await self.succeed(harness, inbox, "a") is None

    async def bury(self, harness: InboxHarness, inbox: Inbox, key: str, undo: str) -> None:
        """Do the effect of an undo, and leave a tombstone for the run."""
        async with inbox.attempt(undo) as attempt:
            assert attempt.saved is None
            await attempt.bury(key)
            await harness.effect(attempt, undo)
            await attempt.save(REPLY.body, REPLY.headers)

    async def test_tombstone_stands_for_a_key(self, harness: InboxHarness, inbox: Inbox) -> None:
        """Whoever comes with the key later finds that it was undone, in any process."""
        await self.bury(harness, inbox, "k", "k/undo")
        await inbox.close()
        other = harness.new()
        await other.open()
        async with other.attempt("k") as attempt:
            assert (attempt.saved, attempt.is_tombstone) == (None, True)
        async with other.attempt("k/undo") as attempt:
            assert (attempt.saved, attempt.is_tombstone) == (REPLY, False)
        assert await harness.effects() == ["k/undo"]
        await other.close()

    async def test_tombstone_replaces_the_reply(self, harness: InboxHarness, inbox: Inbox) -> None:
        """What was done and undone is not told as done any more."""
        await self.succeed(harness, inbox, "k")
        await self.bury(harness, inbox, "k", "k/undo")
        async with inbox.attempt("k") as attempt:
            assert (attempt.saved, attempt.is_tombstone) == (None, True)
        assert await inbox.forget(-60_000, 10) == 2
        async with inbox.attempt("k") as attempt:
            assert not attempt.is_tombstone

    async def test_undo_that_fails_leaves_no_tombstone(
        self, harness: InboxHarness, inbox: Inbox
    ) -> None:
        """The tombstone belongs to the effect of the undo: both or neither."""
        await self.succeed(harness, inbox, "k")

        async def fail() -> None:
            async with inbox.attempt("k/undo") as attempt:
                await attempt.bury("k")
                await attempt.bury("k")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with inbox.attempt("k/undo") as attempt:
            await attempt.bury("k")
        assert await self.succeed(harness, inbox, "k") == REPLY
        assert await harness.effects() == ["k"]

    async def test_undo_waits_for_the_run(self, harness: InboxHarness, inbox: Inbox) -> None:
        """A run that is under way ends before its undo begins, and is buried all the same."""
        entered, may_end = asyncio.Event(), asyncio.Event()

        async def run() -> None:
            async with inbox.attempt("k") as attempt:
                entered.set()
                await may_end.wait()
                await harness.effect(attempt, "k")
                await attempt.save(REPLY.body, REPLY.headers)

        async def undo() -> None:
            await entered.wait()
            asyncio.get_running_loop().call_later(0.1, may_end.set)
            await self.bury(harness, inbox, "k", "k/undo")

        await asyncio.gather(run(), undo())
        assert await harness.effects() == ["k", "k/undo"]
        async with inbox.attempt("k") as attempt:
            assert attempt.is_tombstone

    async def test_closed_inbox_refuses(self, harness: InboxHarness, inbox: Inbox) -> None:
        """An inbox that is not open says so."""
        await inbox.close()
        await inbox.close()
        for each in (inbox, harness.new()):
            with pytest.raises(StoreUnavailable):
                await self.succeed(harness, each, "k")
