"""The web server for probes, over real connections of this machine."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest

from flow.cli import web
from flow.cli.web import Answer, WebServer, fetch
from flow.errors import ConfigurationError


async def fine() -> Answer:
    """Answer that all is well."""
    return Answer(HTTPStatus.OK, {"live": True})


async def broken() -> Answer:
    """Fail."""
    raise ValueError("odd")


@asynccontextmanager
async def serving() -> AsyncGenerator[int]:
    """Serve two paths, and return the port."""
    async with WebServer("127.0.0.1", 0, {"/live": fine, "/broken": broken}) as server:
        yield server.port


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes, and return everything that comes back until the connection ends."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b"reset"
        finally:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /live?now HTTP/1.0\r\n\r\n", 200),
        (b"GET http://a/live HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /live HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /live/../etc HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE /live HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /live HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 413),
        (b"GET /live HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"GET /live HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /live HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
    ],
)
async def test_every_request_is_answered(request_: bytes, status: int) -> None:
    """Right and wrong requests alike get one answer, after which the connection ends."""
    async with serving() as port:
        answer = await exchange(port, request_)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in head.lower()
        assert body.endswith(b"}\n")
        assert (b"allow: get, head" in head.lower()) is (status == 405)


async def test_only_the_head_is_sent_if_only_the_head_is_wanted() -> None:
    """HEAD has the headers of GET, and no body."""
    async with serving() as port:
        whole = await exchange(port, b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await exchange(port, b"HEAD /live HTTP/1.1\r\nHost: a\r\n\r\n")
    assert whole.partition(b"\r\n\r\n") == (head[:-4], b"\r\n\r\n", b'{"live":true}\n')


async def test_a_slow_client_hangs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends nothing, or only half of it, is left after a while, and others are served."""
    monkeypatch.setattr(web, "WITHIN_S", 0.2)
    async with serving() as port:
        slow = [exchange(port, sent) for sent in (b"", b"GET /live HTTP/1.1\r\nHo")]
        waiting = asyncio.gather(*slow)
        assert (await fetch("127.0.0.1", port, "/live", 10)).status == 200
        assert not any(b"HTTP" in answer for answer in await waiting)
        assert (await fetch("127.0.0.1", port, "/live", 10)).status == 200


async def test_connections_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """More connections than are served at a time are closed at once, and later ones served."""
    monkeypatch.setattr(web, "CONNECTIONS", 1)
    async with serving() as port:
        _, first = await asyncio.open_connection("127.0.0.1", port)
        assert await exchange(port, b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n") in (b"", b"reset")
        first.transport.abort()
        while (await exchange(port, b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n"))[:4] != b"HTTP":
            continue


async def test_who_hangs_up_harms_nobody() -> None:
    """A connection that ends before it has asked anything leaves the server as it was."""
    async with serving() as port:
        with socket.create_connection(("127.0.0.1", port)):
            pass
        assert (await fetch("127.0.0.1", port, "/live", 10)).document == {"live": True}


async def test_a_fault_ends_only_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A route that fails is logged, and the next request is answered."""
    async with serving() as port:
        assert await exchange(port, b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n") in (b"", b"reset")
        assert (await fetch("127.0.0.1", port, "/live", 10)).status == 200
    assert "a probe cannot be answered" in caplog.text


async def test_a_taken_port_is_refused() -> None:
    """A port that is taken, and an address that is not ours, are errors of the set-up."""
    async with serving() as port:
        for host, number in (("127.0.0.1", port), ("192.0.2.1", 0), ("127.0.0.1", 99_999)):
            with pytest.raises(ConfigurationError, match="the health port"):
                await WebServer(host, number, {}).__aenter__()


async def _babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail\r\n\r\n")
    writer.close()


async def test_fetching_from_something_else() -> None:
    """Whoever speaks no HTTP is an error that can be told from an answer."""
    server = await asyncio.start_server(_babble, "127.0.0.1", 0)
    async with server:
        with pytest.raises(OSError, match="it speaks no HTTP"):
            await fetch("127.0.0.1", server.sockets[0].getsockname()[1], "/live", 10)
