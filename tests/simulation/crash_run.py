"""One run of a small flow on a calm cluster, in which processes crash at certain points.

Theory of operation
-------------------
Two orchestrators, two workers and a client carry out one execution of six steps, of a kind that
`crash_plans` has: it succeeds, or is undone. The network is
calm and the seed is always the same, so that every run is the same one up to its first crash.
From the moment in which the client is started, every point that a process passes is counted: its
number is its place in `passed`. Who crashes is started again a short while later under the same
name, and the client asks again.

Points are counted until nothing is left to be done: the client has its answer, everybody is
there, outbox and queues are empty. Then everything must be as it has to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from flow import Status
from flow.errors import SimulationFailed, SimulationStuck
from flow.runtime.protocol import REPLY, STARTED
from flow.testing.simulation import LoopSettings, Simulation
from flow.testing.simulation.cluster import Member
from flow.testing.simulation.failpoints import Failpoints, Passed
from flow.testing.simulation.processes import OUTSIDE
from flow.testing.simulation.trace import TraceLine
from tests.simulation import invariants, observers
from tests.simulation.closer import Closer
from tests.simulation.crash_plans import ENDS, EXECUTION, ONCE, RESULTS, CrashKind, scenario
from tests.simulation.crew import Crew
from tests.simulation.invariants.base import Violation
from tests.simulation.ledger import Answered, Entry
from tests.simulation.world import World

__all__ = ["CrashRun", "Crashing", "crash"]

SERVERS: Final = ("orchestrator-0", "orchestrator-1", "worker-0", "worker-1")
CLIENT: Final = "client-0"
RESTART_S: Final = 1.0
LOOK_S: Final = 0.2
QUIET_S: Final = 2.0
PATIENCE_S: Final = 600.0
"""Virtual seconds within which everything has to end: a silence is noticed after one or two
minutes, and whoever waits asks again within one."""
STEPS_MAX: Final = 10_000
"""So many callbacks are run at most, twice as many as in the longest runs. Whatever takes
more goes round in circles somewhere, as long as something else does not come about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashRun:
    """What came of a run.

    Args:
        crash_at: The numbers of the points at which processes had to crash.
        passed: The points that were passed while anything was left to be done.
        crashes: Those of them at which a process has crashed.
        violations: What is wrong.
        has_incident: Whether a person had to end it, as nobody knows what became of a step that
            runs at most once.
        seconds: How long it took, in virtual seconds.
        steps: How many callbacks were run.
        hash: What two runs of the same crashes have in common.
        trace: What happened.
        kind: What was run.
    """

    crash_at: tuple[int, ...]
    passed: tuple[Passed, ...]
    crashes: tuple[Passed, ...]
    violations: tuple[Violation, ...]
    has_incident: bool
    seconds: float
    steps: int
    hash: str
    trace: tuple[TraceLine, ...]
    kind: CrashKind = "flow"

    def command(self) -> str:
        """Return the command that runs it again."""
        at = ",".join(map(str, self.crash_at)) or "none"
        kind = "" if self.kind == "flow" else f" --kind {self.kind}"
        return f"python -m tests.simulation.crash_points{kind} --at {at} --trace"

    def describe(self) -> Iterator[str]:
        """Go through lines that say what is wrong."""
        where = ", ".join(f"{each.point} of {each.process}" for each in self.crashes)
        yield f"crashed at {where or 'no point'}: {len(self.violations)} violations"
        yield from (f"  {violation}" for violation in self.violations)
        yield f"  {self.command()}"


class Crashing:
    """A run.

    Args:
        crash_at: The numbers of the points at which processes crash.
        kind: What is run.
    """

    def __init__(self, crash_at: Collection[int], kind: CrashKind = "flow") -> None:
        """Make the cluster; nothing runs yet."""
        plan = scenario(kind)
        self._kind: CrashKind = kind
        settings = LoopSettings(disorder=plan.disorder, step_s=plan.step_s)
        self._crash_at = tuple(sorted(crash_at))
        self._simulation = Simulation(plan.seed, settings)
        self._failpoints = Failpoints(frozenset(crash_at))
        self._world = World(self._simulation, plan, self._failpoints)
        self._crew = Crew(self._world)
        self._answers: list[Answered] = []
        self._has_incident = False
        self._world.cluster.died.append(self._died)
        self._world.ledger.listeners.append(self._heard)

    def run(self) -> CrashRun:
        """Run it."""
        simulation, world = self._simulation, self._world
        try:
            simulation.run(lambda _: self._live())
        except (SimulationStuck, SimulationFailed) as stuck:
            world.object_to("stuck", str(stuck))
        return CrashRun(
            crash_at=self._crash_at,
            passed=tuple(self._failpoints.passed),
            crashes=tuple(self._failpoints.crashes),
            violations=tuple(world.violations),
            has_incident=self._has_incident,
            seconds=world.now_s,
            steps=simulation.loop.steps,
            hash=simulation.hash,
            trace=tuple(simulation.trace.lines),
            kind=self._kind,
        )

    async def _live(self) -> None:
        world, crew = self._world, self._crew
        observers.watch(world)
        for name in SERVERS:
            crew.start(name)
        await _until(lambda: self._are_there(SERVERS))
        self._failpoints.is_counting = True
        crew.start(CLIENT)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._end()
        except TimeoutError:
            world.object_to("unfinished", ", ".join(self._left()))
            return
        await asyncio.sleep(QUIET_S)
        self._check()

    async def _end(self) -> None:
        """Wait until nothing is left to be done; what needs a person is given up."""
        await _until(lambda: self._needs_person() or self._is_done())
        self._failpoints.is_counting = False
        self._world.ledger.healed()
        if self._needs_person():
            self._has_incident = True
            await Closer(self._world, self._crew).close()
        await _until(self._is_done)

    # ------------------------------------------------------------------------- what happens

    def _died(self, member: Member) -> None:
        """Start a process again, a short while after it was killed."""
        if member.name in {*SERVERS, CLIENT}:
            loop = self._simulation.loop
            loop.call_later(RESTART_S, self._crew.start, member.name, context=OUTSIDE.copy())

    def _heard(self, entry: Entry) -> None:
        if isinstance(entry, Answered):
            self._answers.append(entry)

    def _are_there(self, names: Collection[str]) -> bool:
        members = self._world.cluster.members
        return all(name in members and members[name].ready.is_set() for name in names)

    def _left(self) -> Iterator[str]:
        """Go through what is left to be done; what is looked up fast comes first."""
        servers = self._world.cluster.servers
        yield from (f"{each} is not answered" for each in self._crew.drivers[CLIENT].left)
        if not self._are_there((*SERVERS, CLIENT)):
            yield "not everybody is there"
        for number in range(self._world.cluster.partitions):
            yield from (f"outbox row {row}" for row in servers.database.partition(number).outbox)
        for queue in servers.hub.stats().queues:
            if queue.ready or queue.unsettled:
                yield f"{queue.name} has {queue.ready} and {queue.unsettled} unsettled"

    def _is_done(self) -> bool:
        return next(self._left(), None) is None

    def _needs_person(self) -> bool:
        row = self._world.cluster.servers.database.row(EXECUTION)
        return row is not None and bool(row.summary.incident)

    # ---------------------------------------------------------------------- what has to hold

    def _check(self) -> None:
        world = self._world
        for violation in invariants.check_end(world):
            world.object_to(violation.name, violation.text)
        self._check_crashes()
        self._check_end()
        steps = self._simulation.loop.steps
        if steps > STEPS_MAX:
            world.object_to("nothing goes round in circles", f"{steps:,} callbacks were run")
        calls = len(world.ledger.calls.get((EXECUTION, f"steps/{ONCE}"), ()))
        if calls > 1 and self._kind == "flow":
            world.object_to("at most once", f"{ONCE} was run {calls} times")
        if self._has_incident and not self._is_excused():
            world.object_to("a needless incident", "no worker crashed that could be the reason")

    def _check_crashes(self) -> None:
        if len(self._failpoints.crashes) != len(self._crash_at):
            crashes = len(self._failpoints.crashes)
            wanted = f"{crashes} of {len(self._crash_at)}"
            self._world.object_to("crashed as planned", f"only {wanted} points were passed")

    def _check_end(self) -> None:
        """Look at the row in the store, and at what the client was told."""
        world, result = self._world, RESULTS[self._kind]
        wanted = {ENDS[self._kind]}
        if self._has_incident:
            # Of a flow that was aborted, perhaps with compensation; or of a saga one undo of which
            # had to wait for a person.
            is_saga, result = self._kind != "flow", None
            wanted = {Status.COMPENSATED, Status.FAILURE if is_saga else Status.ABORTED}
        row = world.cluster.servers.database.row(EXECUTION)
        if row is None or row.summary.status not in wanted:
            status = "lost" if row is None else row.summary.status.value
            names = " or ".join(sorted(each.value for each in wanted))
            world.object_to("a wrong end", f"it is {status}, and should be {names}")
        if not self._answers:
            world.object_to("no answer", "nobody was told how it ended")
        for answer in self._answers:
            if Status.parse(answer.status) not in wanted or answer.output != result:
                world.object_to("a wrong answer", f"{answer}")

    def _is_excused(self) -> bool:
        """Return whether a worker crashed that had begun with something and had not replied.

        Of a flow it has asked for the permit. In a saga nobody knows whether it had begun.
        """
        crashed = {each.process for each in self._failpoints.crashes}
        if self._kind != "flow":
            # Nor whether one orchestrator had sent it whose place the other took, and crashed too.
            is_worker = any(process.startswith("worker") for process in crashed)
            return is_worker or len(crashed) > 1
        left = self._about(STARTED) - self._about(REPLY)
        return any(process in crashed for process, _ in left)

    def _about(self, kind: str) -> set[tuple[str, str]]:
        """Return who has published messages of a kind, and about which attempts."""
        return {
            (line.process, line.detail.split()[1])
            for line in self._simulation.trace.lines
            if line.what == "publish" and line.detail.startswith(f"{kind} ")
        }


async def _until(condition: Callable[[], bool]) -> None:
    """Wait until something holds, in virtual time, where looking often costs next to nothing."""
    while not condition():  # noqa: ASYNC110 - nobody can tell: it is about several processes
        await asyncio.sleep(LOOK_S)


def crash(*crash_at: int, kind: CrashKind = "flow") -> CrashRun:
    """Run a flow, and have processes crash.

    Args:
        crash_at: The numbers of the points at which they do.
        kind: Which flow.
    """
    return Crashing(crash_at, kind).run()
