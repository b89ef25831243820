"""Health endpoints: whether a process is alive, whether it is ready, and how it is in detail.

`/live` says that the event loop turns and the parts run: if it fails, restart the process.
`/ready` says that the process can do its work now: the broker is connected and takes messages,
the store answers, the worker receives, and the partitions are settled. It fails during an outage,
which a restart would not end. `/health` says why, as a JSON document without secrets.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

from cyclopts import Parameter

from flow.app import Flow, Role
from flow.cli.web import Answer, Route, WebServer
from flow.runtime.host import Host

__all__ = ["Health", "HealthOptions", "server_of"]

LOCAL: Final = "127.0.0.1"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class HealthOptions:
    """Where probes are answered.

    Args:
        health_port: Answer GET /live, /ready and /health here; with --processes, those behind it
            are taken too.
        health_host: The address for that.
    """

    health_port: Annotated[int | None, Parameter(show_default=False)] = None
    health_host: str = LOCAL

    def words(self) -> list[str]:
        """Return the options as they are typed."""
        if self.health_port is None:
            return []
        return ["--health-port", str(self.health_port), "--health-host", self.health_host]

    def for_child(self, number: int) -> list[str]:
        """Return the options of a child of several, which is asked on this machine only.

        Args:
            number: Which child, from 1.
        """
        if self.health_port is None:
            return []
        return HealthOptions(health_port=self.health_port + number).words()


def server_of(options: HealthOptions, routes: Mapping[str, Route]) -> WebServer:
    """Return the server for probes; it listens while its block is open.

    Args:
        options: Where.
        routes: What answers.
    """
    return WebServer(options.health_host, options.health_port or 0, routes)


class Health:
    """How a process that plays roles of a program is.

    Args:
        app: The program.
        roles: What it plays.

    Attributes:
        trouble: Why it does not take part at the moment; empty while it does.
        is_stopping: Whether it drains.
    """

    def __init__(self, app: Flow, roles: Sequence[Role]) -> None:
        """Begin outside."""
        self._app = app
        self._roles = tuple(roles)
        self.trouble = "it is starting"
        self.is_stopping = False

    def serve(self, options: HealthOptions) -> AbstractAsyncContextManager[Any]:
        """Return the server that answers while its block is open.

        Args:
            options: Where.
        """
        routes = {"/live": self._live, "/ready": self._ready, "/health": self._tell_all}
        return server_of(options, routes)

    async def _live(self) -> Answer:
        host = self._app.host
        parts: Mapping[str, bool] = {} if host is None else host.health().parts
        return _answer(
            "live", [f"the {name} has ended" for name, runs in parts.items() if not runs]
        )

    async def _ready(self) -> Answer:
        return _answer("ready", self._troubles())

    async def _tell_all(self) -> Answer:
        troubles, host = self._troubles(), self._app.host
        document = {
            "ready": not troubles,
            "trouble": troubles,
            "flow": self._app.name,
            "roles": list(self._roles),
            **({} if host is None else _document(host)),
        }
        return Answer(_status(troubles), document)

    def _troubles(self) -> list[str]:
        host = self._app.host
        if self.is_stopping:
            return ["it is stopping"]
        if self.trouble or host is None:
            return [self.trouble or "it is starting"]
        return list(host.health().reasons)


def _document(host: Host) -> dict[str, Any]:
    """Return how the parts of a process are, in detail."""
    health = host.health()
    document: dict[str, Any] = {
        "parts": dict(health.parts),
        "broker": {"url": health.broker_url, **asdict(health.broker)},
    }
    if health.orchestrator is not None:
        document["orchestrator"] = asdict(health.orchestrator)
    if host.engine is not None:
        document["counters"] = dict(host.engine.counters)
    if host.worker is not None:
        document["worker"] = asdict(host.worker.snapshot())
    return document


def _answer(what: str, troubles: Sequence[str]) -> Answer:
    return Answer(_status(troubles), {what: not troubles, "trouble": list(troubles)})


def _status(troubles: Sequence[str]) -> HTTPStatus:
    return HTTPStatus.SERVICE_UNAVAILABLE if troubles else HTTPStatus.OK
