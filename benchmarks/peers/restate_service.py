"""Both workflows on Restate, each step a durable call from one service to another one."""

# Its packages are in an environment of their own, which the checkers do not see.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false

import restate
from restate import Context, Service

LEGS = 10
steps = Service("steps")
workflows = Service("workflows")


@steps.handler()
async def increase(context: Context, number: int) -> int:
    """Return one more than a number."""
    return number + 1


@steps.handler()
async def add_up(context: Context, numbers: list[int]) -> int:
    """Return the sum of numbers."""
    return sum(numbers)


@workflows.handler()
async def three(context: Context, number: int) -> int:
    """Call three steps in a row."""
    for _ in range(3):
        number = await context.service_call(increase, arg=number)
    return number


@workflows.handler()
async def fan(context: Context, number: int) -> int:
    """Call ten steps side by side, and one that adds up what they return."""
    calls = [context.service_call(increase, arg=number) for _ in range(LEGS)]
    outputs = [await each for each in await restate.gather(*calls)]
    return await context.service_call(add_up, arg=outputs)


app = restate.app(services=[steps, workflows])
