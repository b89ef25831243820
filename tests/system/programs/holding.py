"""Steps that end only when they are cancelled, or are told to end at once: three programs.

`flow orchestrator …:boss` has the workflows, and `flow worker …:near` and `…:far` serve them.
"""

import asyncio
import os
import threading

from flow import Flow, Step, StepContext
from tests.system import effects

NAMESPACE = "holding"
AT_ONCE = "at once"
LOOK_S = 0.02


def tell(what: str, context: StepContext) -> None:
    """Write down what a handler does, or what is done to it."""
    who = {"execution": context.execution_id, "path": context.path, "pid": os.getpid()}
    effects.append(effects.effects_file(), {"what": what, **who})


async def hold(body: object, context: StepContext) -> str:
    """Wait to be cancelled, and answer all the same."""
    tell("begun", context)
    if body == AT_ONCE:
        return "done"
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        # Whoever swallows it must not get a result in by that.
        tell("cancelled", context)
    return "too late"


def hold_a_thread(_body: object, context: StepContext) -> str:
    """Look again and again whether the result is still wanted; nothing can interrupt a thread."""
    tell("begun", context)
    pause = threading.Event()
    while not context.cancelled:
        pause.wait(LOOK_S)
    tell("cancelled", context)
    return "too late"


boss = Flow(NAMESPACE)
alone = Step.call("near.hold", timeout=600)
boss.workflow("single", alone, output=alone)

inside = Step.call("far.hold_a_thread", id="inside", timeout=600)
inner = Step.sub_workflow(boss.workflow("inner", inside, output=inside), id="inner")
beside = Step.call("near.hold", id="beside", timeout=600)
boss.workflow("outer", inner, beside, Step.call("near.hold", id="never", requires=[inner, beside]))

near = Flow(NAMESPACE, concurrency=1)
near.service("near").endpoint(hold)

far = Flow(NAMESPACE)
far.service("far").endpoint(hold_a_thread)
