"""Processes of a flow that share a broker and a store, and everything that can happen to them.

Each member of a cluster is a simulated process on a machine of its own, with its own clock, its own
ids and its own way to each of the two servers. What a process is to the operating system, a member
is here: it can be killed at any moment, stopped in good order, or held up for a while, and nobody
else notices but by its silence.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, cast, get_args

from flow.adapters import Adapters, Servers, memory_servers
from flow.app import Flow, Role
from flow.config import Settings
from flow.errors import ConfigurationError, UnavailableError, listed
from flow.ports import Store
from flow.runtime.orchestrator.engine import EngineSettings
from flow.testing.simulation.broker import BrokerConditions, SimulatedBroker
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import BrokerFaults, Faults, NetworkFaults, StoreFaults
from flow.testing.simulation.machine import SimulatedChance, SimulatedClock, SimulatedThreads
from flow.testing.simulation.network import Link
from flow.testing.simulation.processes import OUTSIDE, SimulatedProcess
from flow.testing.simulation.simulation import Simulation
from flow.testing.simulation.store import SimulatedStore, StoreConditions
from flow.testing.simulation.tasks import Tasks

__all__ = ["Member", "SimulatedCluster"]

RETRY_S: Final = 2.0
"""About so many seconds after a process could not begin it is started again."""
GRACE_S: Final = 60.0
"""Seconds in which a process has to leave in good order, before it is killed."""


class Member:
    """A process of a cluster.

    Args:
        name: The name that it was started under.
        process: What can be paused and killed.
        links: The ways to the broker and to the store.
        clock: The clock of its machine.
        chance: Its ids and its jitter.

    Attributes:
        adapters: What a flow has to be entered with in this process; see `Flow.use`.
        app: The flow that it runs, if the cluster runs it.
        broker: Its connection to the broker.
        store: Its way to the store, or None.
        broker_link: The network to the broker.
        store_link: The network to the store.
        ready: Set when it takes part; whoever writes a main of their own sets it.
        stopping: Set when it has to leave in good order, as by SIGTERM.
        ended: Set when it runs no more, for whatever reason.
        failure: What its main has ended with, or None.
    """

    adapters: Adapters
    broker: SimulatedBroker
    task: asyncio.Task[None]

    def __init__(
        self,
        name: str,
        process: SimulatedProcess,
        links: tuple[Link, Link],
        clock: SimulatedClock,
        chance: SimulatedChance,
    ) -> None:
        """Begin with nothing that runs."""
        self.name = name
        self.process = process
        self.broker_link, self.store_link = links
        self.clock = clock
        self.chance = chance
        self.app: Flow | None = None
        self.store: SimulatedStore | None = None
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure: BaseException | None = None

    def __repr__(self) -> str:
        """Return its process."""
        return f"<member {self.process!r}>"

    def use(self, broker: SimulatedBroker, store: SimulatedStore | None) -> None:
        """Reach the servers through these from now on.

        Args:
            broker: The connection to the broker.
            store: The way to the store, or None.
        """
        self.broker, self.store = broker, store
        self.adapters = Adapters(
            broker=broker,
            store=cast("Store | None", store),
            clock=self.clock,
            chance=self.chance,
            threads=SimulatedThreads(self.chance),
        )


class SimulatedCluster:
    """Processes that share a broker and a store.

    Args:
        simulation: Where they live.
        partitions: How many partitions the namespace gets.
        faults: What goes wrong by itself.
        failpoints: Where processes crash.
        servers: The broker and the store; by default both are in memory.

    Attributes:
        members: Those that live, by the names that they were started under.
        failures: Those whose mains ended with an error. Whoever runs the cluster has to look:
            nothing is here that was killed.
        died: Called with each member that was killed, also at a failpoint.
        servers: The broker and the store.
        broker: How the broker is at the moment.
        store: How the store is at the moment.
        clock: The clock that leases run out by, unless other servers were given.
    """

    def __init__(
        self,
        simulation: Simulation,
        *,
        partitions: int = 8,
        faults: Faults | None = None,
        failpoints: Failpoints | None = None,
        servers: Servers | None = None,
    ) -> None:
        """Begin without a member."""
        faults = faults or Faults()
        self.partitions = partitions
        self.clock = simulation.clock()
        self.servers = servers or memory_servers(self.clock.now_ms)
        self.members: dict[str, Member] = {}
        self.failures: list[Member] = []
        self.died: list[Callable[[Member], None]] = []
        self.broker = BrokerConditions(faults=faults.broker, failpoints=failpoints)
        self.store = StoreConditions(faults=faults.store, failpoints=failpoints)
        self._network = faults.network
        self._simulation = simulation
        self._tasks = Tasks(simulation.loop)
        if failpoints is not None:
            failpoints.crash = self._crash

    # ---------------------------------------------------------------------------- processes

    def start(
        self, name: str, main: Callable[[Member], Awaitable[None]], *, has_store: bool
    ) -> Member:
        """Run a coroutine in a new process.

        Args:
            name: The name of the process. None that lives may have it.
            main: Called with the member, in the process. When it returns, the process ends.
            has_store: Whether the process reaches the store.

        Raises:
            ConfigurationError: A member of this name is running, or the simulation does not run.
        """
        if name in self.members:
            raise ConfigurationError(f"the member {name!r}", "it is running already")
        if not self._simulation.loop.is_running():
            reason = "the simulation does not run: start it in the coroutine that is simulated"
            raise ConfigurationError(f"the member {name!r}", reason)

        member = self._member(name, has_store=has_store)
        self.members[name] = member
        self._note(member, "start")
        process = member.process
        member.task = self._tasks.make(self._live(member, main), process.name, process.context)
        return member

    def run(
        self, name: str, app: Flow, *roles: Role, engine: EngineSettings | None = None
    ) -> Member:
        """Run a flow in a new process until it is stopped or killed.

        If its peers are away when it begins, it is started again until it takes part, as whatever
        supervises a process does.

        Args:
            name: The name of the process.
            app: The flow; no other process may use this object.
            roles: What it plays; nothing to only start and ask.
            engine: How much its orchestrator takes on.

        Raises:
            ConfigurationError: A member of this name, or with this object, is running; there is
                no such role; or the simulation does not run.
        """
        for other in self.members.values():
            if other.app is app:
                reason = f"{other.name!r} runs the same Flow object: make one for each process"
                raise ConfigurationError(f"the member {name!r}", reason)
        if wrong := [role for role in roles if role not in get_args(Role)]:
            reason = f"{listed(wrong)} is no role; there are {listed(get_args(Role))}"
            raise ConfigurationError(f"the member {name!r}", reason)

        async def main(member: Member) -> None:
            # Whatever its URLs are: an embedded flow would look for its owner's socket.
            app.settings = Settings.of(app.name, "memory://", "memory://", {})
            app.use(member.adapters, engine)
            app.play(*roles)
            async with AsyncExitStack() as stack:
                await self._enter(app, member, stack)
                await member.stopping.wait()

        member = self.start(name, main, has_store="orchestrator" in roles)
        member.app = app
        return member

    def kill(self, name: str) -> None:
        """Kill a process, as SIGKILL does: nothing of it runs any more.

        Args:
            name: Its name.
        """
        member = self._living(name)
        self._note(member, "kill")
        self._leave(member)
        for tell in self.died:
            # Whoever is told starts another process, and not from within the one that died.
            self._simulation.loop.call_soon(tell, member, context=OUTSIDE.copy())

    async def stop(self, name: str, within_s: float = GRACE_S) -> bool:
        """Have a process leave in good order, as by SIGTERM; kill it if that takes too long.

        Args:
            name: Its name.
            within_s: How long it may take.

        Returns:
            Whether it ended by itself.
        """
        member = self._living(name)
        self._note(member, "stop")
        member.stopping.set()
        try:
            async with asyncio.timeout(within_s):
                await member.ended.wait()
        except TimeoutError:
            if self.members.get(name) is member:
                self.kill(name)
        return member.task.done()

    def pause(self, name: str) -> None:
        """Hold a process up, as SIGSTOP does.

        Args:
            name: Its name.
        """
        member = self._living(name)
        self._note(member, "pause")
        member.process.pause()

    def resume(self, name: str) -> None:
        """Let a process go on that was held up.

        Args:
            name: Its name.
        """
        member = self._living(name)
        self._note(member, "resume")
        member.process.resume()

    # ---------------------------------------------------------------- networks and machines

    def cut(
        self,
        name: str,
        *,
        broker: bool = True,
        store: bool = True,
        there: bool = True,
        back: bool = True,
    ) -> None:
        """Let nothing through any more between a process and the servers.

        Args:
            name: Its name.
            broker: Whether it is cut off from the broker.
            store: Whether it is cut off from the store.
            there: Whether what it sends is lost.
            back: Whether what it is sent is lost.
        """
        member = self._living(name)
        self._note(member, "cut", f"broker {broker} store {store} there {there} back {back}")
        if broker:
            member.broker_link.cut(there=there, back=back)
        if store:
            member.store_link.cut(there=there, back=back)

    def mend(self, name: str) -> None:
        """Let everything through again.

        Args:
            name: The name of the process.
        """
        member = self._living(name)
        self._note(member, "mend")
        member.broker_link.heal()
        member.store_link.heal()

    def jump(self, name: str, by_ms: int) -> None:
        """Have the wall clock of a machine jump.

        Args:
            name: The name of the process on it.
            by_ms: By how many milliseconds, forward or back.
        """
        member = self._living(name)
        self._note(member, "jump", f"{by_ms} ms")
        member.clock.skew_ms += by_ms

    def wipe(self) -> None:
        """Have the broker lose everything that it has, and end all connections."""
        self._simulation.note("wipe")
        self.servers.wipe()

    def heal(self) -> None:
        """End all that is wrong: from now on nothing goes wrong any more by itself."""
        self._simulation.note("heal")
        self.broker.faults, self.store.faults = BrokerFaults(), StoreFaults()
        self._network = NetworkFaults()
        self.clock.skew_ms = 0
        for member in self.members.values():
            for link in (member.broker_link, member.store_link):
                link.heal()
                link.faults = self._network
            member.clock.skew_ms = 0
            member.process.resume()
        self.broker.start()
        self.broker.block("")
        self.store.is_up = True

    # ----------------------------------------------------------------------------- privately

    def _living(self, name: str) -> Member:
        member = self.members.get(name)
        if member is None:
            reason = f"there is none that lives; there are {listed(self.members) or 'none at all'}"
            raise ConfigurationError(f"the member {name!r}", reason)
        return member

    def _member(self, name: str, *, has_store: bool) -> Member:
        simulation = self._simulation
        process = simulation.process(name)
        loop, seed = simulation.loop, f"{simulation.seed} {process.name}"
        links = tuple(
            Link(loop, process, self._network, f"{seed} {server}") for server in ("broker", "store")
        )

        def note(what: str, detail: str = "") -> None:
            simulation.note(what, detail, process.name)

        member = Member(
            name,
            process,
            (links[0], links[1]),
            simulation.clock(),
            simulation.chance(process.name),
        )
        broker = SimulatedBroker(
            self.servers.connect, process, member.broker_link, loop, self.broker, note
        )
        store = None
        if has_store:
            store = SimulatedStore(
                self.servers.store(), process, member.store_link, loop, self.store, note
            )
        member.use(broker, store)
        return member

    async def _enter(self, app: Flow, member: Member, stack: AsyncExitStack) -> None:
        while not member.stopping.is_set():
            try:
                await stack.enter_async_context(app)
            except UnavailableError as error:
                self._note(member, "not ready", str(error))
                await asyncio.sleep(RETRY_S * (0.5 + member.chance.random()))
            else:
                self._note(member, "ready")
                member.ready.set()
                return

    async def _live(self, member: Member, main: Callable[[Member], Awaitable[None]]) -> None:
        loop = self._simulation.loop
        try:
            await main(member)
        except BaseException as error:
            if loop.is_burying:
                raise
            member.failure = error
        loop.call_soon(self._end, member, context=OUTSIDE.copy())

    def _end(self, member: Member) -> None:
        """Take note that the main of a process has returned or raised."""
        if member.process.is_dead:
            return
        if member.failure is not None:
            self.failures.append(member)
            failure = f"{type(member.failure).__name__}: {member.failure}"
            self._note(member, "failed", failure)
        else:
            self._note(member, "end")
        self._leave(member)

    def _leave(self, member: Member) -> None:
        """Have nothing of a process run any more, and its servers notice that it is gone."""
        del self.members[member.name]
        member.process.kill()
        OUTSIDE.copy().run(member.broker.die)
        if member.store is not None:
            member.store.die()
        member.ended.set()

    def _crash(self, process: SimulatedProcess) -> None:
        for name, member in self.members.items():
            if member.process is process:
                self.kill(name)
                return

    def _note(self, member: Member, what: str, detail: str = "") -> None:
        self._simulation.note(what, detail, member.process.name)
