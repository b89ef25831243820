"""Starts executions and waits for their results: `client.py three|fan [embedded] [advised]`.

Told `{"count": 2000, "at_once": 500}` in a line, it runs so many, never more than so many at once,
and answers in a line with how long it took. It is a client and nothing else; or, when embedded,
every role in this one process. When advised, it runs as the README advises.
"""

import sys

from benchmarks.loads import conversation, run_load
from benchmarks.programs import shapes
from benchmarks.programs.advised import ADVISED, run
from flow import Flow, Workflow


async def main(kind: str, *, is_embedded: bool) -> None:
    """Take part until there is nothing more to do.

    Args:
        kind: Which workflow.
        is_embedded: Whether it plays every role.
    """
    app: Flow = getattr(shapes, kind)
    workflow: Workflow[int] = getattr(shapes, f"{kind}_workflow")
    if not is_embedded:
        app.play()

    async def one(number: int) -> None:
        result = await workflow.run(number)
        if result != shapes.expected(kind, number):
            raise AssertionError(f"the result of {number} is {result}")

    async with app:
        await conversation(lambda count, at_once: run_load(one, count, at_once))


if __name__ == "__main__":
    kind, *options = sys.argv[1:]
    run(
        lambda: main(kind, is_embedded="embedded" in options),
        is_advised=ADVISED in options,
    )
