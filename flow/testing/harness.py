"""The harness: a flow in a unit test, with everything in this process and time at hand."""

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, cast

from flow.app import Adapters, Flow, adapters_for
from flow.clock import SystemThreads, sleep
from flow.config import Settings
from flow.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DeadlineExceeded,
    FlowError,
    InvalidOption,
    listed,
)
from flow.message import Message
from flow.names import check_endpoint
from flow.ports import Clock, Store
from flow.runtime.addresses import Addresses
from flow.runtime.host import Host
from flow.runtime.orchestrator.engine import EngineSettings
from flow.runtime.service import Endpoint, WorkerPorts
from flow.step import Step
from flow.testing.chance import SeededChance
from flow.testing.clock import Owner, VirtualClock, owned
from flow.testing.idleness import Idleness
from flow.testing.ports import WatchedBroker, WatchedThreads, watched_store
from flow.testing.serving import StubWorkers
from flow.testing.stubs import Call, Hook, Spy, Stub

__all__ = ["FlowHarness"]

PATIENCE = 1_000
"""So often may time move on by itself without any progress; then whoever waits is told."""


class FlowHarness:
    """Runs a flow for a test: in memory, with virtual time, and the same every time.

        async with FlowHarness(app) as test:
            test.stub("inventory.reserve", Hold(id="h1"))
            test.stub("payments.charge", [ConnectionError(), Receipt(id="r1")])
            assert await checkout.run(Order(total=5)) == Receipt(id="r1")
            assert [call.attempt for call in test.calls("payments.charge")] == [1, 2]

    The broker and the store are in memory, whatever the flow's URLs say; afterwards the flow is as
    it was before. Ids and jitter follow from the seed.

    Time moves by itself when nothing else can happen and the test awaits the flow: for a result,
    an answer, or `sleep`. It does not move while a handler awaits something of the outside world.
    A handler that waits for time has to do it with `sleep`, or by asking the flow for something.
    While a test awaits what is not the flow (an `asyncio.Event`, say), time stands still: use
    `advance`. Whatever a test awaits of the outside world while it also awaits the flow does not
    hold time up.

    Synchronous handlers run where they are called, one at a time, unless `threads` is set.

    Args:
        app: The flow. It must not be running.
        seed: What ids and jitter follow from.
        patience: How often time may move by itself without any progress, before whoever waits
            gets DeadlineExceeded.
        store: Makes the store to use instead of one in memory; it is given the clock.
        engine: How much the orchestrator takes on.
        threads: Whether synchronous handlers run in real threads.

    Attributes:
        clock: The virtual time.
    """

    def __init__(
        self,
        app: Flow,
        *,
        seed: int = 0,
        patience: int = PATIENCE,
        store: Callable[[Clock], Store] | None = None,
        engine: EngineSettings | None = None,
        threads: bool = False,
    ) -> None:
        """Prepare; nothing runs before the block is entered."""
        self.clock = VirtualClock()
        self._app = app
        self._engine = engine
        self._chance = SeededChance(seed, self.clock.now_ms)
        self._idleness = Idleness(self.clock, patience, self._give_up)
        self._threads = WatchedThreads(SystemThreads() if threads else None, self._idleness)
        self._store = store
        self._calls: list[Call] = []
        self._spies: dict[str, Spy] = {}
        self._owner = Owner()
        ports = WorkerPorts(self.clock, self._chance, self._threads)
        self._workers = StubWorkers(app.name, ports, self._owner)
        self._is_running = False
        self._settings = app.settings
        self._endpoints = app.functions.endpoints
        self._inbox = app.inbox

    # --------------------------------------------------------------------------- running

    async def __aenter__(self) -> Self:
        """Run the flow; return when it takes part."""
        app = self._app
        if app.host is not None:
            raise ConfigurationError(f"the flow {app.name!r}", "it is running already")
        self._settings, self._endpoints = app.settings, app.functions.endpoints
        app.settings = Settings.of(app.name, "memory://", "memory://", {})
        self._inbox = app.inbox
        if any(endpoint.exactly_once for endpoint in self._endpoints.values()):
            app.inbox = "memory://"
        app.functions.endpoints = {name: self._spied(name) for name in self._endpoints}
        try:
            app.use(self._adapters(), self._engine)
            await self._start()
        except BaseException:
            self._restore()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let what needs no time finish, stop at once, and leave the flow as it was."""
        try:
            if kind is None and self._is_running:
                await self.settle()
            self.crash()
            await self._stop()
        finally:
            self._restore()

    def crash(self, *, broker: bool = False) -> None:
        """Let the flow die in the middle of everything. The store keeps what it has.

        Whoever awaits the flow gets BrokerUnavailable.

        Args:
            broker: Whether the broker loses everything too.
        """
        if self._is_running:
            self._is_running = False
            self._host.kill()
            self._workers.cancel()
            self._broker.cut()
            self.clock.drop()
            reason = "the flow has crashed, because the test says so"
            self._app.client.lose(BrokerUnavailable(self._broker.url, reason))
        if broker:
            self._hub.wipe()

    async def restart(self) -> None:
        """Start the flow again after a crash, or crash it and start it again."""
        self.crash()
        await self._stop()
        await self._start()

    # ------------------------------------------------------------------------- endpoints

    def stub(self, endpoint: str | Step[Any], answer: Any) -> None:
        """Answer in place of an endpoint, or for one that no code of the flow serves.

        A value is what the endpoint returns: a JSON value, or anything that pydantic can write
        as one, or a Message. An exception (or its class) is raised: Skip, Fail and Retry too.
        A function is called like an endpoint's: with the input as the type that its parameter is
        annotated with, and a StepContext if it wants one; in place of a function that undoes a
        step it may want an UndoContext, and gets the run's input. `NEVER` does not answer.

        A list holds one of these for each call; the last one answers all further calls. So an
        endpoint that returns a list of its own is stubbed with `[[1, 2]]`.

        Args:
            endpoint: `service.method`, or a step that calls it.
            answer: See above. It takes the place of what was there before.

        Raises:
            InvalidName: It cannot be an endpoint.
            InvalidOption: The list is empty.
            BindingError: The signature of a function does not say what it takes.
        """
        name = check_endpoint(endpoint.target if isinstance(endpoint, Step) else endpoint)
        answers = cast("list[Any]", answer) if isinstance(answer, list) else [answer]
        if not answers:
            raise InvalidOption(f"the stub of {name}", "answer", "[]", "it needs an answer")
        spy = self._spies.get(name)
        if spy is None:
            spy = self._spies[name] = Spy(name, None, self._calls.append, self._idleness.handling)
        is_new, spy.stub = spy.stub is None, Stub(name, answers, self.clock)
        if self._is_running and is_new:
            self._serve(name)

    def calls(self, endpoint: str) -> list[Call]:
        """Return the calls of an endpoint so far, stubbed or not, in their order.

        Args:
            endpoint: `service.method`.
        """
        return [call for call in self._calls if call.endpoint == endpoint]

    def published(self, topic: str) -> list[Message]:
        """Return what was published to a topic so far.

        Args:
            topic: The topic, without wildcards.
        """
        return list(self._broker.published.get(topic, ()))

    # ------------------------------------------------------------------------------ time

    @property
    def automatic(self) -> bool:
        """Whether time moves by itself when nothing else can happen. It may be set."""
        return self._idleness.automatic

    @automatic.setter
    def automatic(self, value: bool) -> None:
        """Let time move by itself, or not."""
        self._idleness.automatic = value
        self._idleness.stir()

    async def settle(self) -> None:
        """Let everything finish that needs no time.

        Handlers that await something of the outside world are not waited for.
        """
        await self._idleness.calm()

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that becomes due, in order.

        Args:
            seconds: How long. Handlers at something of the outside world do not hold it up.
        """
        end = self.clock.monotonic() + seconds
        await self.settle()
        while (due := self.clock.next_s()) is not None and due <= end:
            self.clock.move_to(due)
            await self.settle()
        self.clock.move_to(end)
        await self.settle()

    async def sleep(self, seconds: float) -> None:
        """Wait for virtual time to pass; for stubs and handlers that take their time.

        Args:
            seconds: How long.
        """
        await sleep(self.clock, seconds)

    # ----------------------------------------------------------------------- privately

    @property
    def _host(self) -> Host:
        if self._app.host is None:
            raise ConfigurationError("the harness", "it is not running; use it in `async with`")
        return self._app.host

    def _adapters(self) -> Adapters:
        """Return adapters in memory, with watchers in between. They outlive a crash."""
        made = adapters_for(self._app.settings, clock=self.clock)
        store = made.store if self._store is None else self._store(self.clock)
        assert store is not None, "the settings have one"
        broker: Any = made.broker
        self._hub = broker.hub
        addresses = Addresses(self._app.name)
        self._broker = WatchedBroker(broker, addresses, self._idleness, self._workers.ready)
        return Adapters(
            broker=self._broker,
            store=watched_store(store, self._idleness),
            clock=self.clock,
            chance=self._chance,
            threads=self._threads,
        )

    async def _start(self) -> None:
        self.clock.on_set = self._idleness.stir
        with owned(self.clock, self._owner):
            await self._workers.start()
            await self._app.__aenter__()
        self._is_running = True
        for name, spy in self._spies.items():
            if spy.stub is not None:
                self._serve(name)

    async def _stop(self) -> None:
        try:
            await self._workers.stop()
        finally:
            await self._app.__aexit__(None, None, None)

    def _restore(self) -> None:
        app = self._app
        app.use(None)
        app.settings, app.functions.endpoints = self._settings, self._endpoints
        app.inbox = self._inbox

    def _spied(self, name: str) -> Endpoint:
        spy = self._spies.get(name)
        handler = self._endpoints[name].handler
        made = Spy(name, handler, self._calls.append, self._idleness.handling)
        if spy is not None:
            made.stub = spy.stub
        self._spies[name] = made
        hook = self._endpoints[name].prepare
        # What answers in place of an endpoint answers in place of all of it.
        prepare = None if hook is None else Hook(hook, made)
        return replace(self._endpoints[name], handler=made, prepare=prepare)

    def _serve(self, name: str) -> None:
        """Serve a stubbed endpoint, unless the flow's own worker does."""
        host = self._host
        if host.worker is None or name not in self._app.functions.endpoints:
            endpoint = Endpoint(name, self._spies[name])
            self._workers.serve(endpoint, self._broker, host.publisher)

    def _give_up(self) -> None:
        """Tell whoever awaits the flow that nothing but time is passing."""
        missing = listed(self._broker.missing)
        hint = f"nobody serves {missing}: stub what is missing" if missing else ""
        what = "the flow makes no progress, however much time passes"
        error: FlowError = DeadlineExceeded(what, self.clock.monotonic(), hint)
        if self._is_running:
            self._app.client.lose(error)
