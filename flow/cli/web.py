"""A small web server for probes: it answers GET and HEAD from a table, and nothing else.

Every connection serves one request within a few seconds, and only so many are open at a time.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import h11

from flow import codec
from flow.clock import SystemClock, cancel_after
from flow.errors import ConfigurationError
from flow.runtime.tasks import TaskGroup

__all__ = ["Answer", "Route", "WebServer", "fetch"]

_log = logging.getLogger("flow.web")

WITHIN_S: Final = 5.0
"""Seconds that a connection may take from its beginning to its end."""
CONNECTIONS: Final = 32
"""How many connections are served at a time; more are closed at once."""
HEAD_LIMIT: Final = 8 * 1024
"""Bytes that the first line and the headers of a request may have."""
_CHUNK: Final = 4 * 1024
_ANSWER_LIMIT: Final = 1024 * 1024
_LINGER_S: Final = 0.5
_LINGERING: Final = 16
"""How many pieces of what nobody asked for are read before a connection is closed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: a status, and a JSON document.

    Args:
        status: The status.
        document: The document.
        headers: Further headers.
    """

    status: HTTPStatus
    document: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...] = ()


Route = Callable[[], Awaitable[Answer]]


class WebServer:
    """Serves a table of paths while its block is open.

    Args:
        host: The address to listen at.
        port: The port, or 0 for any that is free.
        routes: What answers, by path.
    """

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        """Prepare; nothing listens before the block is entered."""
        self._host = host
        self.port = port
        self._routes = dict(routes)
        self._tasks = TaskGroup()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigurationError: The address cannot be listened at.
        """
        try:
            self._server = await asyncio.start_server(
                self._accept, self._host, self.port, limit=HEAD_LIMIT
            )
        except (OSError, OverflowError) as error:
            number = getattr(error, "errno", None)
            why = os.strerror(number) if number and number > 0 else str(error)
            reason = f"cannot listen at {self._host}: {why}"
            raise ConfigurationError(f"the health port {self.port}", reason) from error
        self.port = self._server.sockets[0].getsockname()[1]
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Listen no more, and close what is open."""
        if self._server is not None:
            self._server.close()
        await self._tasks.__aexit__(kind, error, traceback)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.start(self._serve(reader, writer), "probe")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with cancel_after(SystemClock(), WITHIN_S):
                await self._converse(reader, writer)
        except (OSError, h11.ProtocolError) as error:
            _log.debug("a probe went wrong: %s", error)
        except Exception:  # noqa: BLE001 - a probe must not end the process that it looks at
            _log.exception("a probe cannot be answered")
        finally:
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        has_body = True
        try:
            request = await _next_event(peer, reader)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            answer = Answer(status, {"error": status.phrase})
        else:
            if not isinstance(request, h11.Request):
                return
            answer = await self._answer(request)
            has_body = request.method != b"HEAD"
        writer.write(_written(peer, answer, has_body=has_body))
        await writer.drain()
        writer.write_eof()
        await _linger(reader)

    async def _answer(self, request: h11.Request) -> Answer:
        route = self._routes.get(_path(request.target))
        if route is None:
            return _refusal(HTTPStatus.NOT_FOUND, f"there are {', '.join(self._routes)}")
        if request.method not in (b"GET", b"HEAD"):
            return Answer(
                HTTPStatus.METHOD_NOT_ALLOWED, {"error": "GET or HEAD"}, (("Allow", "GET, HEAD"),)
            )
        if _has_body(request):
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a probe has no body")
        return await route()


async def fetch(host: str, port: int, path: str, within_s: float) -> Answer:
    """Ask a server of this kind.

    Args:
        host: Its address.
        port: Its port.
        path: What to ask for.
        within_s: Seconds that it may take.

    Raises:
        OSError: It cannot be reached, or answers no such thing, in time.
    """
    async with asyncio.timeout(within_s):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            return await _received(reader)
        except h11.ProtocolError as error:
            raise OSError(f"it speaks no HTTP: {error}") from error
        finally:
            writer.transport.abort()


async def _received(reader: asyncio.StreamReader) -> Answer:
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "-")]))
    peer.send(h11.EndOfMessage())
    status, body = HTTPStatus.BAD_GATEWAY, b""
    while True:
        event = await _next_event(peer, reader)
        if isinstance(event, h11.Response):
            status = HTTPStatus(event.status_code)
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            break
        if len(body) > _ANSWER_LIMIT:
            raise OSError("its answer is too long")
    document: dict[str, Any] = codec.loads(body, "the answer")
    if not isinstance(document, dict):
        raise OSError("its answer is no JSON object")
    return Answer(status, document)


async def _next_event(peer: h11.Connection, reader: asyncio.StreamReader) -> h11.Event | type:
    while (event := peer.next_event()) is h11.NEED_DATA:
        peer.receive_data(await reader.read(_CHUNK))
    return event


async def _linger(reader: asyncio.StreamReader) -> None:
    """Read on for a moment: closing with something unread would take the answer back."""
    with cancel_after(SystemClock(), _LINGER_S):
        for _ in range(_LINGERING):
            if not await reader.read(_CHUNK):
                return


def _written(peer: h11.Connection, answer: Answer, *, has_body: bool) -> bytes:
    body = codec.dumps(answer.document) + b"\n"
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
        *answer.headers,
    ]
    status = answer.status
    response = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
    data = (h11.Data(data=body),) if has_body else ()
    events: tuple[h11.Event, ...] = (response, *data, h11.EndOfMessage())
    return b"".join(peer.send(event) or b"" for event in events)


def _refusal(status: HTTPStatus, reason: str) -> Answer:
    return Answer(status, {"error": reason})


def _path(target: bytes) -> str:
    try:
        return urlsplit(target.decode("ascii", errors="replace")).path
    except ValueError:
        return ""


def _has_body(request: h11.Request) -> bool:
    headers = dict(request.headers)
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
