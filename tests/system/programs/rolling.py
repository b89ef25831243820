"""A service before and after a deploy: `flow orchestrator …:boss`, `flow worker …:old` and `…:new`.

Both versions serve `shop.reserve` and `mail.note`. Only the new one has `shop.pack`. What the old
one reserves can be made to last, so that it has something in hand when it is stopped.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flow import Flow, Step, StepContext
from flow.runtime.host import HostSettings
from tests.system import effects

NAMESPACE = "rolling"
CONCURRENCY = 4
DRAIN_S = 5.0
LOOK_S = 0.02

NEVER = "never"
AT_THE_GATE = "at the gate"


def gate() -> Path:
    """Return the file that lets the old version go on with what it holds at the gate."""
    return effects.effects_file().with_name("gate")


async def opened() -> None:
    """Wait for the gate."""
    while True:
        if gate().exists():
            return
        await asyncio.sleep(LOOK_S)


class Hasty(Flow):
    """A flow whose worker gives running handlers only a few seconds once it is to stop."""

    def host_settings(self) -> HostSettings:
        """Return what a process of this application does."""
        settings = super().host_settings()
        return replace(settings, worker=replace(settings.worker, drain_s=DRAIN_S))


def tell(what: str, context: StepContext) -> None:
    """Write down what a handler does."""
    who = {"execution": context.execution_id, "attempt": context.attempt, "pid": os.getpid()}
    effects.append(effects.effects_file(), {"what": what, "key": context.idempotency_key, **who})


def reserving(version: str) -> Callable[[dict[str, str], StepContext], Awaitable[dict[str, Any]]]:
    """Return what reserves in a version."""

    async def reserve(order: dict[str, str], context: StepContext) -> dict[str, Any]:
        until = order.get(version, "")
        tell(f"reserve {until}", context)
        if until == NEVER:
            await asyncio.Event().wait()
        if until == AT_THE_GATE:
            await opened()
        return {"pid": os.getpid()}

    return reserve


async def pack(reserved: dict[str, Any]) -> dict[str, Any]:
    """Say who has reserved and who has packed."""
    return {"reserved by": reserved["pid"], "packed by": os.getpid()}


async def note(_body: object) -> int:
    """Say who has noted something."""
    return os.getpid()


boss = Flow(NAMESPACE)
first = Step.call("shop.reserve")
last = Step.call("shop.pack", input=first.output, requires=[first])
boss.workflow("order", first, last, output=last)
noted = Step.call("mail.note")
boss.workflow("letter", noted, output=noted)

old = Hasty(NAMESPACE, concurrency=CONCURRENCY)
old.service("shop").endpoint(reserving("old"))
old.service("mail").endpoint(note)

new = Hasty(NAMESPACE, concurrency=CONCURRENCY)
new.service("shop").endpoint(reserving("new"))
new.service("shop").endpoint(pack)
new.service("mail").endpoint(note)
