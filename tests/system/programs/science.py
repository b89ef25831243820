"""Runs one graph to its end: `science.py GRAPH KILL_AT`.

With KILL_AT above zero the process kills itself: when so many tasks have had an effect or soon
after, and before the last one can be recorded.
"""

import asyncio
import os
import random
import signal
import sys
import threading
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from flow import Flow
from tests.system import effects, wfinstances

EXECUTION = "run-1"


@dataclass
class Request:
    """What a task gets: its id, and the outputs of its parents."""

    task: str
    parents: dict[str, Any]


class Laboratory:
    """Does the tasks of one graph.

    Args:
        graph: The graph.
        kill_at: So many tasks have an effect when the process is killed; 0 for never.
    """

    def __init__(self, graph: wfinstances.Graph, kill_at: int) -> None:
        self._file = effects.effects_file()
        self._tasks = len(graph.parents)
        self._kill_at = kill_at
        self._done = {effect["task"] for effect in effects.load(self._file)}
        self._chance = random.Random(f"{graph.name} {kill_at}")
        self._is_doomed = False

    async def run(self, request: Request) -> dict[str, str]:
        """Have the effect of one task, and return something that is new each time."""
        token = uuid4().hex
        seen = {parent: output["token"] for parent, output in request.parents.items()}
        effects.append(
            self._file, {"task": request.task, "token": token, "seen": seen, "pid": os.getpid()}
        )
        self._done.add(request.task)
        if 0 < self._kill_at <= len(self._done):
            await self._meet_fate()
        await asyncio.sleep(0.002)
        return {"task": request.task, "token": token}

    async def _meet_fate(self) -> None:
        if not self._is_doomed:
            self._is_doomed = True
            if self._chance.random() < 0.5:
                # Right now, while whatever led here may not be durable yet.
                os.kill(os.getpid(), signal.SIGKILL)
            delay = self._chance.random() * 0.01
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        if len(self._done) == self._tasks:
            await asyncio.Event().wait()


async def main(name: str, kill_at: int) -> None:
    """Start the execution, or go on with it, and wait for its end."""
    graph = wfinstances.load(name)
    app = Flow("science")
    workflow = wfinstances.define(app, graph)
    app.service("science").endpoint(Laboratory(graph, kill_at).run)
    async with app:
        await workflow.run(id=EXECUTION)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
