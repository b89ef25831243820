"""Which process answers."""

import asyncio
from pathlib import Path

import pytest

from flow.app import runtime_folder
from flow.cli import session
from flow.cli.loading import load, locate
from flow.cli.options import Where
from flow.cli.session import Mode, Session, changing, reading
from flow.cli.target import find
from flow.config import Url, socket_path
from flow.errors import ConfigurationError, StoreLocked, StoreUnavailable
from store.sqlite.lock import FileLock


async def test_nobody_has_the_file(store: Path) -> None:
    """Looking then reads the file, and changing makes this process its owner for a while."""
    target = find(None)
    async with reading(target) as opened:
        assert opened.mode is Mode.READING
    async with changing(target) as opened:
        assert opened.mode is Mode.OWNER
        assert (await opened.ask("namespace"))["namespace"] == "shop"
        async with changing(find(None)) as other, reading(find(None)) as third:
            assert other.mode is third.mode is Mode.JOINED
    async with reading(target) as opened:
        assert opened.mode is Mode.READING


async def test_a_broker_leads_to_the_flow(store: Path) -> None:
    """With a broker of its own, the flow is asked over it, whatever the verb."""
    async with load(locate("shop.py:app")) as app:
        socket = session_socket(app.settings.store)
        target = find(Where(name="shop", broker=f"unix:///{socket}"))
        async with reading(target) as looking, changing(target) as acting:
            assert looking.mode is acting.mode is Mode.JOINED
            assert len(await looking.ask("list")) == 3


def session_socket(store: object) -> Path:
    """Return the socket of the flow that has a store."""
    assert isinstance(store, Url)
    return socket_path(Path(store.path), runtime_folder())


async def test_a_foreign_process_cannot_be_joined(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is locked by something without a socket is an error that names the process."""
    monkeypatch.setattr(session, "JOIN_WITHIN_S", 0.0)
    lock = FileLock(store / ".flow" / "shop.db")
    lock.acquire()
    for open_session in (reading, changing):
        with pytest.raises(StoreLocked, match=r"process \d+ on .* it cannot be joined"):
            await open_session(find(None)).__aenter__()
    lock.release()


async def test_an_owner_that_ends_is_told(store: Path) -> None:
    """Whoever waits for an answer of a process that has ended is told so."""
    app = load(locate("shop.py:app"))
    await app.__aenter__()
    await app.defined["lost"].execute(id="lost-1")

    async def wait() -> None:
        async with reading(find(None)) as opened:
            await app.__aexit__(None, None, None)
            await opened.ask("result", {}, "lost-1", None)

    with pytest.raises(StoreUnavailable, match="the process that had it has ended"):
        await wait()


async def test_a_race_for_the_file_is_tried_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another process takes the file between looking and taking, it is joined."""
    app = load(locate("shop.py:app"))
    async with app:
        answers = iter([""])

        def holder_of(_: Url) -> str:
            return next(answers, "process 1 on vm")

        monkeypatch.setattr(session, "holder_of", holder_of)
        async with changing(find(None)) as opened:
            assert opened.mode is Mode.JOINED


class _Slow:
    """Answers as soon as somebody was told that it takes long."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.text = ""

    def tell(self, text: str) -> None:
        self.text = text
        self.told.set()

    async def ask(
        self, verb: str, arguments: object, execution: str = "", within_s: float | None = 30.0
    ) -> str:
        """Answer late."""
        await self.told.wait()
        return verb


async def test_whoever_waits_is_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer over a broker that takes long is announced, once."""
    monkeypatch.setattr(session, "LATE_S", 0.01)
    slow = _Slow()
    opened = Session(slow, Mode.JOINED, find(None), None, slow.tell)
    async with asyncio.timeout(20):
        assert await opened.ask("list") == "list"
    assert slow.text == "no orchestrator of shop has answered yet; waiting for up to 30 s"


async def test_a_session_that_only_looks_cannot_act(store: Path) -> None:
    """Nothing but a running flow has the verbs of programs."""
    async with reading(find(None)) as opened:
        with pytest.raises(ConfigurationError, match="nothing runs it"):
            _ = opened.acting
    async with changing(find(None)) as opened:
        assert opened.acting.name == "shop"
