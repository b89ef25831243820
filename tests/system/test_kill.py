"""Two hundred executions of three steps, in a process that is killed, or asked to stop."""

import logging
from collections import Counter
from functools import partial

import anyio
import pytest

from flow import Flow
from flow.app import holder_of
from flow.config import parse_url
from flow.status import Status
from tests.system import effects, journal
from tests.system.processes import DEADLINE_S, PROGRAMS, Child, Crew, eventually
from tests.system.programs.orders import EXECUTIONS

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(120)]

_log = logging.getLogger("tests.system")

STEPS = ("reserve", "charge", "ship")
ALL = {(name, step): 1 for name in EXECUTIONS for step in STEPS}


def accepted(child: Child) -> set[str]:
    """Return the executions whose start was answered."""
    lines = [line.split() for line in child.output.splitlines() if line.startswith("accepted ")]
    return {words[1] for words in lines if words[1:] and words[1] in EXECUTIONS}


def happened(crew: Crew) -> Counter[tuple[str, str]]:
    """Return how often each step of each execution had its effect."""
    done = effects.load(crew.effects)
    return Counter((effect["execution"], effect["step"]) for effect in done)


async def reach(crew: Crew, child: Child, count: int) -> None:
    """Wait until there are so many effects."""

    def is_reached() -> bool:
        assert not child.has_ended, child.output
        return effects.count(crew.effects) >= count

    await eventually(is_reached, f"{count} effects")


async def check_recorded(crew: Crew) -> None:
    """Every execution has ended well, and each of its results was recorded once."""
    found = await journal.read(crew.database, "orders", EXECUTIONS)
    once = {f"steps/{step}": 1 for step in STEPS}
    for name, each in found.items():
        assert each.status is Status.SUCCESS, name
        assert each.told == each.recorded == once, name
        assert each.outputs == {step: f"{name}:steps/{step}" for step in STEPS}


def check_nothing_repeated(crew: Crew, before: int, recorded: dict[str, journal.Journal]) -> None:
    """No step whose result was recorded ran again; everything ran at least once."""
    later = effects.load(crew.effects)[before:]
    for effect in later:
        assert effect["step"] not in recorded[effect["execution"]].outputs, effect
    assert happened(crew).keys() == ALL.keys()


def check_durable(crew: Crew, found: dict[str, journal.Journal]) -> None:
    """No step ran before the result of the step before it was recorded for good."""
    for name, step in happened(crew):
        assert found[name].outputs.keys() >= set(STEPS[: STEPS.index(step)]), (name, step)


def recorded_in(found: dict[str, journal.Journal]) -> int:
    """Return how many results there are."""
    return sum(len(each.outputs) for each in found.values())


@pytest.mark.parametrize("count", [1, 100, 250, 420, 580])
async def test_a_killed_program_goes_on(count: int, crew: Crew) -> None:
    """A program that is killed after so many effects finishes all executions when it is back."""
    first = crew.start("orders")
    await reach(crew, first, count)
    await first.kill()
    promised = accepted(first)
    found = await journal.read(crew.database, "orders", EXECUTIONS)
    assert promised <= {name for name, each in found.items() if each.status is not None}
    check_durable(crew, found)
    before = effects.count(crew.effects)
    again = crew.start("orders")
    await again.says("finished")
    await again.terminate()
    await check_recorded(crew)
    check_nothing_repeated(crew, before, found)
    counts = before, len(promised), recorded_in(found), effects.count(crew.effects)
    _log.info("killed after %d effects, %d starts, %d results; %d effects at the end", *counts)


async def test_a_stopped_program_repeats_nothing(crew: Crew) -> None:
    """A program that is asked to stop lets its handlers finish, and nothing ever runs twice."""
    for more in (1, 25, 50):
        child = crew.start("orders")
        await child.says("ready")
        await reach(crew, child, min(effects.count(crew.effects) + more, len(ALL)))
        await child.terminate()
        done = happened(crew)
        assert effects.repeated(done.elements()) == {}
        found = await journal.read(crew.database, "orders", EXECUTIONS)
        assert {(name, step) for name in found for step in found[name].outputs} == done.keys()
        assert "Traceback" not in child.output, child.output
        _log.info("stopped: %d effects so far", effects.count(crew.effects))
    child = crew.start("orders")
    await child.says("finished")
    await child.terminate()
    assert happened(crew) == ALL
    await check_recorded(crew)


async def place_all(app: Flow) -> None:
    """Start all executions from outside."""
    order = await app.workflows.load("order")
    async with anyio.create_task_group() as group:
        for number, name in enumerate(EXECUTIONS):
            group.start_soon(partial(order.execute, number, id=name))


async def results(app: Flow) -> list[str]:
    """Wait for the end of all executions, and return their results."""
    return [await app.executions.get(name).result() for name in EXECUTIONS]


@pytest.mark.parametrize("command", ["dev", "serve"])
async def test_a_killed_command_goes_on(command: str, crew: Crew) -> None:
    """A program that `flow` runs finishes all executions after `flow` was killed and is back."""
    arguments = ("-m", "flow", command, f"{PROGRAMS / 'orders.py'}:app")
    first = crew.run(*arguments)
    await first.says("ready;")
    async with crew.joined("orders") as app:
        await place_all(app)
        await reach(crew, first, 330)
        await first.kill()
        with anyio.fail_after(DEADLINE_S):
            await app.lost()
    await eventually(lambda: not holder_of(parse_url("store", crew.store)), "the end of its child")
    found = await journal.read(crew.database, "orders", EXECUTIONS)
    assert all(each.status is not None for each in found.values())
    check_durable(crew, found)
    before = effects.count(crew.effects)
    again = crew.run(*arguments)
    await again.says("ready;")
    async with crew.joined("orders") as app:
        with anyio.fail_after(DEADLINE_S):
            assert await results(app) == [f"{name}:steps/ship" for name in EXECUTIONS]
    await again.terminate()
    await check_recorded(crew)
    check_nothing_repeated(crew, before, found)
    counts = command, before, recorded_in(found), effects.count(crew.effects)
    _log.info("flow %s killed after %d effects, %d results; %d effects at the end", *counts)
