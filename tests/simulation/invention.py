"""Invents scenarios: from a seed to processes, workflows, executions, controls and faults.

What goes wrong is drawn in `adversity`, and what takes steps back in `sagas`.
"""

from __future__ import annotations

from dataclasses import replace

from tests.simulation.adversity import Adversity, Setting
from tests.simulation.dice import Dice
from tests.simulation.programs import INSTEAD, SERVICES, Kind, PlannedStep, StepsProgram
from tests.simulation.sagas import with_sagas
from tests.simulation.scenario import Control, Scenario, Sizes, Start, Verb, Way

__all__ = ["invent"]


def invent(seed: int) -> Scenario:
    """Return the scenario of a seed.

    Args:
        seed: Any number.
    """
    return with_sagas(_Inventor(seed).scenario())


class _Inventor:
    """Draws one scenario.

    Args:
        seed: What it follows from.
    """

    def __init__(self, seed: int) -> None:
        """Draw how many of everything there are."""
        self._seed = seed
        self._random = chance = Dice(f"{seed} scenario of a run")
        self._orchestrators = chance.choice((1, 2, 2, 2, 3))
        self._workers = chance.choice((1, 2, 2, 3))
        self._clients = chance.choice((1, 2))
        self._partitions = chance.choice((1, 1, 2, 3, 4, 8))
        self._fault_s = chance.choice((20.0, 60.0, 120.0)) * chance.uniform(0.5, 1.0)

    def scenario(self) -> Scenario:
        """Return the scenario."""
        chance = self._random
        programs = tuple(self._program(f"w{n}") for n in range(chance.randrange(1, 5)))
        executions = tuple(
            self._start(n, programs) for n in range(chance.choice((3, 3, 3, 4, 4, 5, 6, 8, 12)))
        )
        setting = Setting(
            self._orchestrators, self._workers, self._clients, self._partitions, self._fault_s
        )
        adversity = Adversity(chance, setting)
        return Scenario(
            seed=self._seed,
            orchestrators=self._orchestrators,
            workers=self._workers,
            clients=self._clients,
            does_all=self._random.often(0.2),
            specialists=self._random.often(0.2),
            sizes=self._sizes(),
            partitions=self._partitions,
            disorder=chance.choice((0.0, 0.2, 0.5, 0.9)),
            step_s=chance.choice((0.00002, 0.0002, 0.002)),
            chances=adversity.chances(),
            fault_s=self._fault_s,
            programs=programs,
            executions=executions,
            controls=self._controls(programs, executions),
            faults=adversity.faults(),
        )

    # ------------------------------------------------------------------------- programs

    def _sizes(self) -> Sizes:
        chance = self._random
        if self._random.often(0.5):
            return Sizes()
        return Sizes(
            live_bytes=chance.choice((1_000, 20_000, 256 * 1024 * 1024)),
            unsettled=chance.choice((1, 5, 20_000)),
            batch=chance.choice((1, 3, 512)),
            # Fewer than commands about many executions at once, and their owner waits for itself.
            prefetch=chance.choice((20, 1_000)),
            page=chance.choice((1, 2, 200)),
            snapshot_every=chance.choice((2, 5, 256)),
            concurrency=chance.choice((1, 2, 100)),
        )

    def _program(self, id: str, depth: int = 0) -> StepsProgram:
        chance = self._random
        trouble = chance.choice((0.0, 0.0, 0.2, 0.6))
        count = chance.choice((2, 2, 3, 3, 4, 5, 6, 8)) if depth == 0 else chance.randrange(1, 4)
        shape = chance.choice((_chain, _fan, _diamond, self._any))
        steps: list[PlannedStep] = []
        for number in range(count):
            before = shape(number, count)
            names = tuple(f"s{each}" for each in before)
            steps.append(self._step(id, number, names, trouble, depth))
        return StepsProgram(
            id=id,
            steps=tuple(self._with_fallbacks(steps)),
            barrier=self._random.often(0.15),
            hook=self._random.often(0.15),
        )

    def _step(
        self, program: str, number: int, requires: tuple[str, ...], trouble: float, depth: int
    ) -> PlannedStep:
        chance = self._random
        is_inner = depth == 0 and self._random.often(0.08)
        kinds: tuple[Kind, ...] = ("run", "block", "publish")
        kind = chance.choices(kinds, (8, 2, 1))[0]
        step = PlannedStep(
            id=f"s{number}",
            kind="nested" if is_inner else kind,
            service=chance.choice(SERVICES),
            requires=requires,
            uses=bool(requires) and self._random.often(0.5),
            trouble=trouble,
            longest_s=chance.choice((0.05, 0.05, 1.0, 6.0, 20.0)),
            optional=self._random.often(0.1),
        )
        if is_inner:
            return replace(step, nested=self._program(f"{program}-{number}", depth + 1))
        if kind not in {"run", "block"}:
            return step
        return replace(
            step,
            at_most_once=self._random.often(0.1),
            is_long=kind == "run" and self._random.often(0.12),
            is_retried=self._random.often(0.9),
            concurrency=1 if self._random.often(0.05) else None,
        )

    def _any(self, number: int, _: int) -> list[int]:
        return [before for before in range(number) if self._random.random() < 0.4]

    def _with_fallbacks(self, steps: list[PlannedStep]) -> list[PlannedStep]:
        found: list[PlannedStep] = []
        for step in steps:
            if step.kind not in {"run", "block"} or not self._random.often(0.08):
                found.append(step)
                continue
            stand_in = PlannedStep(id=f"{step.id}{INSTEAD}", requires=step.requires)
            found += [replace(step, fallback=stand_in.id), stand_in]
        return found

    # ----------------------------------------------------------------------- executions

    def _start(self, number: int, programs: tuple[StepsProgram, ...]) -> Start:
        chance = self._random
        program = chance.randrange(len(programs))
        ways: tuple[Way, ...] = ("execute", "run", "trigger", "trigger and wait")
        way = chance.choices(ways, (4, 4, 1, 1))[0]
        clients: tuple[int, ...] = (chance.randrange(self._clients),)
        if self._random.often(0.25):
            clients = (*clients, chance.randrange(self._clients))
        plain = [step.id for step in programs[program].steps if not step.fallback]
        is_client = way in {"execute", "run"}
        return Start(
            id=f"e{number}",
            program=program,
            at_s=chance.uniform(0.0, self._fault_s * 0.7),
            way=way,
            clients=clients,
            optional=(chance.choice(plain),)
            if plain and is_client and self._random.often(0.1)
            else (),
        )

    def _controls(
        self, programs: tuple[StepsProgram, ...], executions: tuple[Start, ...]
    ) -> tuple[Control, ...]:
        chance = self._random
        if self._random.often(0.35):
            return ()
        found: list[Control] = []
        for start in executions:
            if self._random.often(0.5):
                found += self._controls_of(start)
        if self._random.often(0.3):
            program = chance.choice(programs).id
            begin = chance.uniform(0.0, self._fault_s)
            found.append(self._control(begin, "pause", program))
            if self._random.often(0.7):
                end = begin + chance.uniform(0.0, 30.0)
                found.append(self._control(end, "unpause", program))
        if self._random.often(0.15):
            begin = chance.uniform(0.0, self._fault_s)
            found.append(self._control(begin, "suspend all", ""))
            found.append(self._control(begin + chance.uniform(0.0, 20.0), "resume all", ""))
        return tuple(sorted(found, key=lambda control: control.at_s))

    def _controls_of(self, start: Start) -> list[Control]:
        chance = self._random
        at_s = start.at_s + chance.choice((0.02, 0.5, 5.0, 30.0)) * chance.random()
        patterns: tuple[tuple[Verb, ...], ...] = (
            ("suspend",),
            ("suspend", "resume"),
            ("stop", "resume"),
            ("suspend", "resume", "suspend", "resume"),
            ("abort",),
            ("suspend", "abort"),
            ("retry",),
            ("retry", "retry", "abort"),
            ("resume", "abort"),
        )
        found: list[Control] = []
        for verb in chance.choice(patterns):
            found.append(self._control(at_s, verb, start.id))
            at_s += chance.choice((0.0, 0.05, 2.0, 20.0)) * chance.random()
        return found

    def _control(self, at_s: float, verb: Verb, target: str) -> Control:
        client = self._random.randrange(self._clients)
        return Control(at_s=round(at_s, 3), verb=verb, target=target, client=client)


# ------------------------------------------------------------------------------------ shapes


def _chain(number: int, _: int) -> list[int]:
    return [number - 1] if number else []


def _fan(number: int, _: int) -> list[int]:
    return [0] if number else []


def _diamond(number: int, count: int) -> list[int]:
    if number == count - 1:
        return list(range(1, number)) or list(range(number))
    return [0] if number else []
