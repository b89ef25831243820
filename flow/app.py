"""The application object: what a program declares, and the roles that it plays when entered."""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from flow.adapters import (
    Adapters,
    adapters_for,
    holder_of,
    inbox_for,
    joining,
    reading_store,
    runtime_folder,
)
from flow.catalogues import Catalogue
from flow.client import Client
from flow.clock import sleep
from flow.config import Settings
from flow.declarations import Declarations
from flow.errors import (
    BrokerUnavailable,
    ConfigurationError,
    StoreLocked,
)
from flow.executions import Executions
from flow.handler import decode_result, encode_value
from flow.message import check_headers
from flow.runtime.host import Host, HostPorts, HostSettings
from flow.runtime.orchestrator.engine import EngineSettings
from flow.runtime.service import WorkerSettings
from flow.workflows import Workflows

__all__ = ["Adapters", "Flow", "adapters_for", "holder_of", "reading_store", "runtime_folder"]

_log = logging.getLogger("flow.app")

ResultT = TypeVar("ResultT")
Role = Literal["orchestrator", "worker"]

JOIN_TRIES = 100
"""How often a process tries to own a store's file, or to join whoever has it."""
JOIN_PAUSE_S = 0.1


class Flow(Declarations):
    """An application: steps, services and workflows, and where they run.

    Entered with `async with`, it plays every role that its URLs allow: with a store it
    orchestrates, with steps or endpoints it works, and it can always start and ask.

    Without URLs it is embedded: an in-process broker and a SQLite file in `.flow/`. While one
    process has that file, others on the machine join it through a socket.

    Args:
        name: The namespace: everything on the broker and in the store begins with it.
        broker: The broker's URL; by default FLOW_BROKER, or `memory://`.
        store: The store's URL; by default FLOW_STORE, or (with `memory://`) a SQLite file.
        concurrency: How many handlers run at the same time.
        partitions: How many partitions the namespace gets, if it is created now.
        inbox: The URL of the database that endpoints with `exactly_once=True` write to.

    Attributes:
        joined: Whether another process orchestrates, and this one works and asks only.

    Raises:
        InvalidName: The name breaks the rules.
        ConfigurationError: A URL is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        broker: str | None = None,
        store: str | None = None,
        concurrency: int = 100,
        partitions: int = 8,
        inbox: str | None = None,
    ) -> None:
        """Check the name and the URLs; nothing is opened yet."""
        super().__init__(name, lambda: self.client)
        self.settings = Settings.of(name, broker, store, os.environ)
        self.executions = Executions(lambda: self.client)
        self.workflows = Workflows(lambda: self.client)
        self.catalogue = Catalogue(lambda: self.client)
        self.joined = False
        self.inbox = inbox
        self._concurrency = concurrency
        self._partitions = partitions
        self._client: Client | None = None
        self._open: AsyncExitStack | None = None
        self.host: Host | None = None
        self._adapters: Adapters | None = None
        self._engine = EngineSettings()
        self._lost = asyncio.Event()
        self._roles: frozenset[Role] = frozenset({"orchestrator", "worker"})

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<Flow {self.name!r} on {self.settings.broker}>"

    # ----------------------------------------------------------------------------- using

    @property
    def client(self) -> Client:
        """What asks orchestrators and workers.

        Raises:
            ConfigurationError: The application has not been entered.
        """
        if self._client is None:
            reason = "it is not running; use it inside `async with app:`"
            raise ConfigurationError(f"the flow {self.name!r}", reason)
        return self._client

    async def call(
        self,
        endpoint: str,
        input: object = None,
        *,
        timeout: float = 60.0,
        headers: Mapping[str, str] | None = None,
        returns: Any = Any,
    ) -> Any:
        """Call an endpoint without a workflow: nothing is kept, and nothing is tried again.

        Args:
            endpoint: `service.method`.
            input: The input: a JSON value, or anything that pydantic can write as one.
            timeout: Seconds within which it has to be answered.
            headers: Metadata.
            returns: The type of the result.

        Raises:
            UnknownEndpoint: Nobody serves the endpoint.
            CallFailed: The handler failed.
            DeadlineExceeded: No answer came in time.
        """
        body = encode_value(input)
        reply = await self.client.call(endpoint, body, check_headers(headers or {}), timeout)
        return decode_result(returns, reply.body, f"the result of {endpoint}")

    # --------------------------------------------------------------------------- running

    def play(self, *roles: Role) -> Self:
        """Play only some of the roles, from the next time it is entered.

        Args:
            roles: `orchestrator` and `worker`, or none of them to only start and ask.

        Returns:
            The application itself.
        """
        self._roles = frozenset(roles)
        return self

    def use(self, adapters: Adapters | None, engine: EngineSettings | None = None) -> None:
        """Run on other adapters than those of the URLs, from the next time it is entered.

        Args:
            adapters: The adapters, or None for those of the URLs. This is for tests.
            engine: How much its orchestrator takes on.
        """
        self._adapters = adapters
        self._engine = engine or EngineSettings()

    async def lost(self) -> None:
        """Wait until the connection to the broker is lost, for as long as that takes.

        Whoever waits for an answer then gets BrokerUnavailable. To go on, leave the application
        and enter it again.
        """
        await self._lost.wait()

    def _lose(self) -> None:
        self._lost.set()
        if self._client is not None:
            self._client.lose_connection()

    async def __aenter__(self) -> Self:
        """Play every role that the URLs allow; return when it takes part."""
        if self._open is not None:
            raise ConfigurationError(f"the flow {self.name!r}", "it is running already")
        stack = AsyncExitStack()
        try:
            await self._enter(stack)
        except BaseException:
            await stack.aclose()
            raise
        self._open = stack
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what is at hand, hand over the rest, and disconnect."""
        stack, self._open = self._open, None
        self._client = self.host = None
        if stack is not None:
            await stack.__aexit__(kind, error, traceback)

    async def _enter(self, stack: AsyncExitStack) -> None:
        self._lost = asyncio.Event()
        adapters, host = await self._host(stack)
        if adapters.server is not None and adapters.store is not None:
            await adapters.server.start()
            stack.push_async_callback(adapters.server.stop)
        self.joined = adapters.store is None
        client = Client(
            adapters.broker,
            host.publisher,
            host.addresses,
            adapters.clock,
            adapters.chance,
        )
        await client.open()
        stack.push_async_callback(client.close)
        self._client, self.host = client, host

    async def _host(self, stack: AsyncExitStack) -> tuple[Adapters, Host]:
        """Own the store's file, or join the process that does.

        Between taking the file and listening on its socket an owner can be neither replaced nor
        joined, and the same holds while it leaves: for a while both are tried in turn.
        """
        tries = JOIN_TRIES
        while True:
            adapters = self._own_adapters()
            tries -= 1
            try:
                return adapters, await self._start_host(stack, adapters)
            except StoreLocked as locked:
                joined = await self._join(stack, locked if tries == 0 else None)
            if joined is not None:
                return joined
            await sleep(adapters.clock, JOIN_PAUSE_S)

    async def _join(
        self,
        stack: AsyncExitStack,
        last: StoreLocked | None,
    ) -> tuple[Adapters, Host] | None:
        """Join the process that has the store's file.

        Returns:
            What was joined with, or None if that process does not answer and *last* is None.

        Raises:
            StoreLocked: It does not answer, and this was the last try.
        """
        guest = joining(self.settings, self._guest_adapters(), self._lose)
        try:
            return guest, await self._start_host(stack, guest)
        except BrokerUnavailable as unavailable:
            if last is not None:
                raise last from unavailable
            return None

    def _own_adapters(self) -> Adapters:
        if "orchestrator" in self._roles:
            return self._adapters or adapters_for(self.settings, self._concurrency, self._lose)
        return joining(self.settings, self._guest_adapters(), self._lose)

    def _guest_adapters(self) -> Adapters:
        """Return fresh adapters without a store; they may be those of a test."""
        settings = replace(self.settings, store=None)
        return self._adapters or adapters_for(settings, self._concurrency, self._lose)

    async def _start_host(self, stack: AsyncExitStack, adapters: Adapters) -> Host:
        ports = replace(_ports(adapters), inbox=inbox_for(self.inbox))
        return await stack.enter_async_context(Host(ports, self.host_settings()))

    def host_settings(self) -> HostSettings:
        """Return what a process of this application does."""
        return HostSettings(
            namespace=self.name,
            partitions=self._partitions,
            definitions=self.definitions,
            open_definitions=self.open_definitions,
            announcements=self.functions.announcements() if "worker" in self._roles else (),
            endpoints=self.functions.endpoints if "worker" in self._roles else {},
            engine=self._engine,
            worker=WorkerSettings(concurrency=self._concurrency),
        )


def _ports(adapters: Adapters) -> HostPorts:
    return HostPorts(
        broker=adapters.broker,
        store=adapters.store,
        clock=adapters.clock,
        chance=adapters.chance,
        threads=adapters.threads,
    )
