"""One of two processes that want the same file: `rival.py`.

It says `ready`. At a line `go NAME` it enters, says `NAME-entered` and as what, runs an execution
of that name, and says `NAME-done`. At a line `leave` it leaves, and says `NAME-left`.
"""

import asyncio
import os
import sys

from flow import Flow, StepContext, UnavailableError
from tests.system import effects

app = Flow("rivals")


@app.step
async def act(number: int, context: StepContext) -> int:
    """Have one effect."""
    effect = {"execution": context.execution_id, "step": context.step_id, "pid": os.getpid()}
    effects.append(effects.effects_file(), effect)
    return number


single = app.workflow("single", act, output=act)


def say(text: str) -> None:
    """Tell the test something."""
    sys.stdout.write(f"{text}\n")


async def take_part(name: str) -> None:
    """Enter, say as what, and run one execution."""
    try:
        async with app:
            say(f"{name}-entered {'joined' if app.joined else 'owner'}")
            await single.run(1, id=name)
            say(f"{name}-done")
            await asyncio.to_thread(sys.stdin.readline)
        say(f"{name}-left")
    except UnavailableError as error:
        say(f"{name}-entered refused: {type(error).__name__}: {error}")


async def main() -> None:
    """Take part as often as it is asked to."""
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        await take_part(line.split()[1])


if __name__ == "__main__":
    asyncio.run(main())
