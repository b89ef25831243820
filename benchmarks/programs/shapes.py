"""The two workflows that are measured: `three` steps in a row, and a `fan` of ten with a join.

Each is a program of its own: `flow worker benchmarks/programs/shapes.py:three`.
"""

from flow import Flow, Step, workflow_input

three = Flow("three")


@three.step
async def first(start: int) -> int:
    """Return one more than the input."""
    return start + 1


@three.step(requires=[first])
async def second(first: int) -> int:
    """Return one more than the first step."""
    return first + 1


@three.step(requires=[second])
async def third(second: int) -> int:
    """Return one more than the second step."""
    return second + 1


three_workflow = three.workflow("three", first, second, third, output=third)

fan = Flow("fan")


@fan.endpoint
async def increase(number: int) -> int:
    """Return one more than a number."""
    return number + 1


@fan.endpoint
async def add_up(numbers: list[int]) -> int:
    """Return the sum of numbers."""
    return sum(numbers)


LEGS = 10
legs = [
    Step.call("fan.increase", id=f"leg_{number}", input=workflow_input) for number in range(LEGS)
]
join = Step.call("fan.add_up", id="join", input=[leg.output for leg in legs])
fan_workflow = fan.workflow("fan", *legs, join, output=join)


def expected(kind: str, start: int) -> int:
    """Return the result of an execution.

    Args:
        kind: `three` or `fan`.
        start: Its input.
    """
    return start + 3 if kind == "three" else LEGS * (start + 1)
