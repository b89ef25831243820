"""Tests of `brokers.memory.server`: its file, and how it treats clients that misbehave."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from brokers.memory import server as server_module
from brokers.memory.frames import (
    FRAME_MAX,
    VERSION,
    Answer,
    Cancel,
    Consume,
    Declare,
    Deliver,
    Find,
    Frame,
    Goodbye,
    Hello,
    Publish,
    Refusal,
    Settle,
    Verdict,
    Welcome,
    encode,
)
from brokers.memory.hub import Hub, Session
from brokers.memory.link import FrameBuffer
from brokers.memory.server import PATH_BYTES, SETTLEMENTS, SocketServer, check_path
from flow.errors import ConfigurationError
from flow.ports import Envelope, Publication, Queue, Settlement, Topology
from tests.brokers.memory.waiting import DEADLINE_S, turns, until

TOPOLOGY = Topology(queues=(Queue("q"),))


class Raw:
    """A client that says what it wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader
        self._buffer = FrameBuffer()
        self._frames: list[Frame] = []

    def say(self, *frames: Frame) -> None:
        """Send frames."""
        self.writer.write(b"".join(map(encode, frames)))

    async def hear(self, count: int = 1) -> list[Frame]:
        """Return the next frames that the server sends."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self._frames) < count:
                data = await self._reader.read(FRAME_MAX)
                assert data, f"the server hung up; before it said {self._frames}"
                self._frames += self._buffer.feed(data)
        heard, self._frames = self._frames[:count], self._frames[count:]
        return heard

    async def hear_end(self) -> bytes:
        """Return what the server still sends until it hangs up."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""


class Bench:
    """A server, its hub, and clients."""

    def __init__(self, path: Path) -> None:
        self.hub = Hub()
        self.server = SocketServer(self.hub, path, DEADLINE_S)
        self.path = path
        self._clients: list[Raw] = []

    async def call(self, *frames: Frame) -> Raw:
        """Connect a client and let it say *frames*."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        client = Raw(reader, writer)
        self._clients.append(client)
        client.say(*frames)
        return client

    async def greeted(self, *frames: Frame) -> Raw:
        """Connect a client that is welcome, and let it say *frames*."""
        client = await self.call(Hello(), *frames)
        assert await client.hear(1 + len(frames)) == [Welcome(), *[Answer()] * len(frames)]
        return client

    def session(self) -> Session:
        """Return a session in this process, with a queue `q`."""
        session = self.hub.connect()
        session.declare(TOPOLOGY)
        return session

    def publish(self, session: Session, *bodies: bytes) -> None:
        """Publish to the queue `q` from within this process."""
        session.publish([Publication("", "q", Envelope("t", body)) for body in bodies])

    def hang_up(self) -> None:
        """Close all clients."""
        for client in self._clients:
            client.writer.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench, None]:
    """A server that is running."""
    bench = Bench(tmp_path / "s")
    await bench.server.start()
    yield bench
    bench.hang_up()
    await bench.server.stop()


async def expect_alive(bench: Bench) -> None:
    """Expect that another client is served."""
    client = await bench.call(Hello(), Find(""))
    assert await client.hear(2) == [Welcome(), Answer(b"\1")]


async def test_the_socket_is_private(bench: Bench) -> None:
    """The socket's file may be used by its owner alone, and goes with the server."""
    found = bench.path.lstat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert bench.server.path == str(bench.path)
    await bench.server.start()
    await bench.server.stop()
    await bench.server.stop()
    assert not bench.path.exists()


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701])
async def test_a_folder_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Nobody else may be able to reach the socket's folder."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode 0700.*has mode {mode:04o}"):
        await SocketServer(Hub(), folder / "s").start()
    assert list(folder.iterdir()) == []


async def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket's folder has to belong to the user of the server."""
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigurationError, match="belong to this user alone"):
        await SocketServer(Hub(), tmp_path / "s").start()


async def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The server makes no folders."""
    with pytest.raises(ConfigurationError, match="No such file"):
        await SocketServer(Hub(), tmp_path / "missing" / "s").start()


async def test_long_paths_are_refused(tmp_path: Path) -> None:
    """A path that no Unix socket can have is refused with its length, counted in bytes."""
    check_path("x" * PATH_BYTES)
    with pytest.raises(ConfigurationError, match=r"108 bytes.*107"):
        check_path("ü" * 54)
    with pytest.raises(ConfigurationError, match="shorter folder"):
        await SocketServer(Hub(), tmp_path / ("x" * 108)).start()


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """The file that a dead server left behind is taken over."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    bench = Bench(path)
    await bench.server.start()
    await expect_alive(bench)
    bench.hang_up()
    await bench.server.stop()


async def test_a_living_socket_is_left_alone(bench: Bench) -> None:
    """A second server does not take the path of one that answers."""
    with pytest.raises(ConfigurationError, match="another process answers"):
        await SocketServer(Hub(), bench.path).start()
    await expect_alive(bench)


async def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Something that is no socket is never removed."""
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="something else is there"):
        await SocketServer(Hub(), path).start()
    assert path.read_text() == "precious"


async def test_the_socket_of_a_successor_is_left_alone(bench: Bench) -> None:
    """A server that stops removes its own socket only."""
    bench.path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(bench.path))
        await bench.server.stop()
        assert bench.path.exists()


async def test_a_socket_that_is_gone_is_not_missed(bench: Bench) -> None:
    """A server whose socket somebody has removed stops all the same."""
    bench.path.unlink()
    await bench.server.stop()
    assert not bench.path.exists()


async def test_a_socket_that_cannot_be_bound_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system says about the path ends up in the error."""

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "not today")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(ConfigurationError, match="not today"):
        await SocketServer(Hub(), tmp_path / "s").start()


async def test_stopping_ends_every_connection(bench: Bench) -> None:
    """When the server stops, clients see the end, and what they held is back in the hub."""
    session = bench.session()
    bench.publish(session, b"1")
    client = await bench.greeted(Consume(1, "q", 1))
    await client.hear()
    await bench.server.stop()
    assert await client.hear_end() == b""
    assert (bench.hub.depth("q"), bench.hub.stats().sessions) == (1, 1)


async def test_stopping_does_not_wait_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    """A client that reads nothing is cut off after the deadline."""
    bench = Bench(tmp_path / "s")
    bench.server = SocketServer(bench.hub, bench.path, deadline_s=0.05)
    await bench.server.start()
    bench.publish(bench.session(), *[bytes(1024 * 1024)] * 4)
    await bench.call(Hello(), Consume(1, "q", 10))
    await until(lambda: bench.hub.depth("q") < 4)
    async with asyncio.timeout(DEADLINE_S):
        await bench.server.stop()
    assert bench.hub.stats().sessions == 1
    bench.hang_up()


async def test_a_killed_client_gives_everything_back(bench: Bench) -> None:
    """What a client held when it died is delivered to another, and its own queues are gone."""
    session = bench.session()
    bench.publish(session, b"1", b"2")
    mine = Topology(queues=(Queue("mine", exclusive=True),))
    victim = await bench.greeted(Declare(mine), Consume(1, "q", 10))
    assert len(await victim.hear(2)) == 2
    victim.writer.transport.abort()
    heir = await bench.greeted(Consume(1, "q", 10))
    taken = await heir.hear(2)
    assert [
        (each.redelivered, each.envelope.body) for each in taken if isinstance(each, Deliver)
    ] == [
        (True, b"1"),
        (True, b"2"),
    ]
    assert [queue.name for queue in bench.hub.stats().queues] == ["q"]


GARBAGE = [
    b"GET / HTTP/1.1\r\n\r\n",
    (FRAME_MAX + 1).to_bytes(4),
    b"\0\0\0\0",
    b"\0\0\0\1\xff",
    encode(Find("x"))[:-1] + b"\xff",
    encode(Welcome()),
    encode(Answer()),
    encode(Hello()),
    encode(Consume(1, "q", 1)) * 2,
    encode(Goodbye()) + encode(Find("")),
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_ends_that_connection_only(bench: Bench, garbage: bytes) -> None:
    """A client that does not follow the protocol is cut off, and nobody else."""
    bench.session()
    innocent = await bench.greeted()
    client = await bench.greeted()
    client.writer.write(garbage)
    await client.hear_end()
    innocent.say(Find(""))
    assert await innocent.hear() == [Answer(b"\1")]
    await until(lambda: bench.hub.stats().sessions == 2)


async def test_an_oversize_frame_is_not_read(bench: Bench) -> None:
    """A client that announces too much is cut off before it has sent it."""
    client = await bench.greeted()
    client.writer.write((FRAME_MAX + 1).to_bytes(4) + b"\5")
    assert await client.hear_end() == b""


@pytest.mark.parametrize("first", [Find(""), Goodbye(), Welcome()])
async def test_whoever_says_no_hello_is_cut_off(bench: Bench, first: Frame) -> None:
    """A connection that begins with anything but a hello is closed without an answer."""
    client = await bench.call(first)
    assert await client.hear_end() == b""
    await expect_alive(bench)


async def test_whoever_says_nothing_is_cut_off(tmp_path: Path) -> None:
    """A connection that says nothing within the deadline is closed."""
    bench = Bench(tmp_path / "s")
    bench.server = SocketServer(bench.hub, bench.path, deadline_s=0.05)
    await bench.server.start()
    client = await bench.call()
    assert await client.hear_end() == b""
    bench.hang_up()
    await bench.server.stop()


async def test_the_deadline_is_for_the_hello_only(tmp_path: Path) -> None:
    """A client that has said hello may stay as long as it wants."""
    bench = Bench(tmp_path / "s")
    bench.server = SocketServer(bench.hub, bench.path, deadline_s=0.05)
    await bench.server.start()
    client, loop = await bench.greeted(), asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 0.1:
        client.say(Find(""))
        assert await client.hear() == [Answer(b"\1")]
    bench.hang_up()
    await bench.server.stop()


async def test_other_versions_are_told_ours(bench: Bench) -> None:
    """A client of another version learns which one the server speaks, and then the end."""
    client = await bench.call(Hello(VERSION + 1), Find(""))
    assert await client.hear_end() == encode(Welcome(VERSION))
    assert bench.hub.stats().sessions == 0


async def test_connections_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound a new client is closed at once, until another one leaves."""
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 1)
    first = await bench.greeted()
    second = await bench.call(Hello())
    assert await second.hear_end() == b""
    first.writer.close()
    await until(lambda: bench.hub.stats().sessions == 0)
    await expect_alive(bench)


async def test_refusals_are_answers(bench: Bench) -> None:
    """What the hub refuses is answered with the reason, and the connection goes on."""
    client = await bench.greeted()
    client.say(
        Consume(1, "missing", 1),
        Publish((Publication("missing", "k", Envelope("t", b"")),)),
        Publish((Publication("", "missing", Envelope("t", b"")),)),
        Cancel(7),
        Find("missing"),
    )
    first, second, third, *others = await client.hear(5)
    assert isinstance(first, Refusal)
    assert first.what == "queue 'missing'"
    assert second == Answer(bytes([SETTLEMENTS.index(Settlement.UNROUTABLE)]))
    assert [third, *others] == [Answer(b"\1"), Answer(), Answer(b"\0")]


async def test_settlements_are_carried_out(bench: Bench) -> None:
    """Verdicts reach the hub, and those for unknown tags are ignored."""
    session = bench.session()
    bench.publish(session, b"1", b"2", b"3")
    client = await bench.greeted(Consume(1, "q", 3))
    tags = [each.tag for each in await client.hear(3) if isinstance(each, Deliver)]
    verdicts = tuple(zip(tags, Verdict, strict=True))
    client.say(Settle(((99, Verdict.ACK), *verdicts, (tags[0], Verdict.REQUEUE))))
    (again,) = await client.hear()
    assert isinstance(again, Deliver)
    assert (again.envelope.body, again.redelivered) == (b"2", True)
    assert bench.hub.stats().dropped == 1


async def test_a_client_that_does_not_read_is_sent_little(bench: Bench) -> None:
    """Deliveries stop when the client does not read, whatever its prefetch, and go on later."""
    count = 2000
    session = bench.session()
    bench.publish(session, *[bytes(16 * 1024)] * count)
    client = await bench.greeted()
    client.say(Consume(1, "q", count))
    await until(lambda: bench.hub.depth("q") < count)
    await turns(100)
    stalled = bench.hub.depth("q")
    assert stalled > count - 200
    await client.hear(1 + count)
    assert bench.hub.depth("q") == 0


async def test_what_cannot_be_sent_is_rejected(bench: Bench) -> None:
    """A message that fits into no frame is rejected and reported, and the next one comes."""
    reports: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context))
    session = bench.session()
    bench.publish(session, bytes(FRAME_MAX), b"small")
    client = await bench.greeted(Consume(1, "q", 1))
    (delivery,) = await client.hear()
    assert isinstance(delivery, Deliver)
    assert delivery.envelope.body == b"small"
    assert bench.hub.stats().dropped == 1
    assert "cannot be sent" in str(reports[0]["message"])


async def test_a_wiped_hub_cuts_its_clients_off(bench: Bench) -> None:
    """When the hub loses everything, its connections end."""
    client = await bench.greeted()
    bench.hub.wipe()
    assert await client.hear_end() == b""
    await expect_alive(bench)
