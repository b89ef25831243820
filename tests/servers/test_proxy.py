"""The proxy passes everything on, or nothing, in each direction, and loses nothing that waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests.brokers.memory.waiting import until
from tests.servers.proxy import Proxy, proxied

SILENCE_S = 0.05


class Echo:
    """A server that answers with what it has heard."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = 0
        self.clients = list[asyncio.StreamWriter]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client."""
        try:
            while data := await reader.read(100):
                self.heard += data
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            self.ended += 1
            writer.close()


@asynccontextmanager
async def far_echo() -> AsyncGenerator[tuple[Echo, Proxy]]:
    """Run an echo behind a proxy."""
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, proxied(f"amqp://user:word@127.0.0.1:{port}/v") as proxy:
        yield echo, proxy
        for client in echo.clients:
            client.close()


async def dial(echo: Echo, proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a proxy."""
    parts = urlsplit(proxy.url)
    assert (parts.username, parts.password, parts.path) == ("user", "word", "/v")
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    echo.clients.append(writer)
    return reader, writer


async def expect_silence(reader: asyncio.StreamReader) -> None:
    """Expect nothing to come."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), SILENCE_S)


async def test_it_passes_on_what_is_said() -> None:
    """Both directions work, and an end is passed on too."""
    async with far_echo() as (echo, proxy):
        reader, writer = await dial(echo, proxy)
        writer.write(b"abc")
        assert await reader.readexactly(3) == b"abc"
        writer.close()
        await until(lambda: echo.ended == 1)


async def test_a_severed_way_loses_nothing_and_says_nothing() -> None:
    """While it is severed nothing arrives and nothing ends; afterwards everything is there."""
    async with far_echo() as (echo, proxy):
        reader, writer = await dial(echo, proxy)
        proxy.sever()
        writer.write(b"abc")
        late, _ = await dial(echo, proxy)
        await expect_silence(reader)
        await expect_silence(late)
        assert echo.heard == b""
        proxy.mend()
        assert await reader.readexactly(3) == b"abc"


async def test_one_direction_can_be_severed() -> None:
    """The server hears, but its answers do not come back; or it does not hear."""
    async with far_echo() as (echo, proxy):
        reader, writer = await dial(echo, proxy)
        proxy.sever(there=False)
        writer.write(b"abc")
        await expect_silence(reader)
        assert echo.heard == b"abc"
        proxy.mend()
        assert await reader.readexactly(3) == b"abc"
        proxy.sever(back=False)
        writer.write(b"def")
        await expect_silence(reader)
        assert echo.heard == b"abc"


async def test_answers_can_be_swallowed() -> None:
    """What is swallowed never comes."""
    async with far_echo() as (echo, proxy):
        reader, writer = await dial(echo, proxy)
        proxy.is_deaf = True
        writer.write(b"abc")
        await until(lambda: echo.heard == b"abc")
        await expect_silence(reader)
        proxy.is_deaf = False
        writer.write(b"def")
        assert await reader.readexactly(3) == b"def"


async def test_connections_can_be_cut() -> None:
    """Both ends notice that they are cut."""
    async with far_echo() as (echo, proxy):
        reader, _ = await dial(echo, proxy)
        await until(lambda: bool(proxy._writers))
        proxy.cut()
        assert await reader.read(1) == b""
        await until(lambda: echo.ended == 1)
