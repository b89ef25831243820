"""Of two processes that want the same file at the same moment, one gets it."""

import logging
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from flow.app import holder_of
from flow.config import parse_url
from flow.status import Status
from tests.system import effects, journal
from tests.system.processes import Child, Crew

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

_log = logging.getLogger("tests.system")

PAIRS = 3
RACES = 4


async def role(child: Child, name: str) -> str:
    """Return as what a process has entered."""
    entered = await child.says(f"{name}-entered")
    assert entered in {"owner", "joined"} or entered.startswith(
        ("refused: StoreLocked: ", "refused: BrokerUnavailable: ")
    ), entered
    return entered.partition(":")[0]


async def join_late(child: Child, name: str) -> None:
    """Let a process that was refused enter again, now that the owner can be joined."""
    child.tell(f"go {name}")
    assert await role(child, name) == "joined"


async def race(crew: Crew, pair: list[Child], number: str) -> tuple[Counter[str], dict[str, Child]]:
    """Let two processes enter at once; return as what they did, and by name, the owner last."""
    names = {f"{number}-{child.pid}": child for child in pair}
    for name, child in names.items():
        child.tell(f"go {name}")
    roles = {name: await role(child, name) for name, child in names.items()}
    assert Counter(roles.values())["owner"] == 1, roles
    entered: dict[str, Child] = {}
    for name in sorted(roles, key=lambda name: roles[name] == "owner"):
        late = f"{name}-late" if roles[name] == "refused" else name
        if late != name:
            await join_late(names[name], late)
        entered[late] = names[name]
        await names[name].says(f"{late}-done")
    held = holder_of(parse_url("store", crew.store))
    assert held.startswith(f"process {list(entered.values())[-1].pid} "), held
    return Counter(roles.values()), entered


async def leave(entered: dict[str, Child]) -> None:
    """Let processes leave in order, one after the other."""
    for name, child in entered.items():
        child.tell("leave")
        await child.says(f"{name}-left")


async def test_one_of_two_writes(crew: Crew) -> None:
    """Two processes that start together never both have the file, whether they leave or die."""
    seen: Counter[str] = Counter()
    for pair in range(PAIRS):
        children = [crew.start("rival"), crew.start("rival")]
        for child in children:
            await child.says("ready")
        for turn in range(RACES):
            number = f"race-{pair}-{turn}"
            roles, entered = await race(crew, children, number)
            seen += roles
            if turn < RACES - 1:
                await leave(entered)
        for child in children:
            await child.kill()
    _log.info("entered as: %s", dict(seen))
    done = Counter(effect["execution"] for effect in effects.load(crew.effects))
    assert len(done) == PAIRS * RACES * 2
    assert set(done.values()) == {1}
    found = await journal.read(crew.database, "rivals", list(done))
    for each in found.values():
        assert each.status is Status.SUCCESS
        assert each.told == each.recorded == {"steps/act": 1}
    with closing(sqlite3.connect(f"file:{crew.database}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
