"""Two services, a sub-workflow and a topic, each in a program of its own: who sees which headers.

`flow orchestrator …:boss` has the workflow; `flow worker …:desk`, `…:dock` and `…:mail` take part.
"""

import os
from collections.abc import Mapping

from flow import Flow, Message, RetryPolicy, Step, StepContext
from tests.system import effects

NAMESPACE = "tracing"


def tell(where: str, headers: Mapping[str, str], context: StepContext) -> None:
    """Write down what has arrived. A subscriber knows the execution by the key alone."""
    execution, _, _ = context.idempotency_key.partition(":")
    effect = {"where": where, "execution": execution, "attempt": context.attempt}
    effects.append(effects.effects_file(), {**effect, "pid": os.getpid(), "headers": dict(headers)})


async def accept(order: str, context: StepContext) -> str:
    """Accept an order, in the second attempt."""
    tell("desk", context.headers, context)
    if context.attempt == 1:
        raise ConnectionError("the line was busy")
    return order


async def ship(message: Message, context: StepContext) -> Message:
    """Ship an order, and answer with headers of its own."""
    tell("dock", message.headers, context)
    return Message({"tenant": "the dock's"}, message.body)


boss = Flow(NAMESPACE)
accepted = Step.call("desk.accept", retry=RetryPolicy(max_attempts=2, initial=0.05))
inner = boss.workflow("shipping", Step.call("dock.ship", id="ship"), output="ship")
shipping = Step.sub_workflow(inner, id="shipping", input=accepted.output, requires=[accepted])
told = Step.publish("orders.shipped", input=shipping.output, requires=[shipping])
boss.workflow("order", accepted, shipping, told, output=shipping)

desk = Flow(NAMESPACE)
desk.service("desk").endpoint(accept)

dock = Flow(NAMESPACE)
dock.service("dock").endpoint(ship)

mail = Flow(NAMESPACE)


@mail.service("mail").subscribe("orders.*")
async def write(order: str, context: StepContext) -> None:
    """Write to the customer."""
    tell(f"mail {order}", context.headers, context)
