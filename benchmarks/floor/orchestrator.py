"""The floor's orchestrator: executions of two shapes, with one durable row for each change.

`python -m benchmarks.floor.orchestrator three|fan BROKER DATABASE` is told loads in a conversation
(`benchmarks.loads`). It does what any orchestrator has to do that loses nothing: whatever waits is
decided, all of it is committed in one statement that checks a fence, and only then messages are
published and acknowledged. It does nothing else: no client, no retries, no timers, no recovery.
"""

import asyncio
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import orjson
from asyncpg.prepared_stmt import PreparedStatement

from benchmarks.floor.wire import Message, Wire, connect, consume, declare, route_to, short
from benchmarks.floor.worker import INBOX, STEPS
from benchmarks.loads import Told, conversation, summary

__all__ = ["Batch", "Shape", "main"]

LEGS: Final = 10
STEPS_IN_A_ROW: Final = 3
PREFETCH: Final = 2_000
STARTS_AT_ONCE: Final = 500
RUNNING, SUCCESS = 1, 2

SCHEMA: Final = """
CREATE TABLE fence (id int PRIMARY KEY, owner text, epoch int);
CREATE TABLE execution (id text PRIMARY KEY, status int, input bytea, output bytea);
CREATE TABLE journal (execution text, seq int, record bytea, PRIMARY KEY (execution, seq));
INSERT INTO fence VALUES (1, 'floor', 1);
"""
COMMIT: Final = """
WITH held AS (SELECT 1 FROM fence WHERE id = 1 AND owner = 'floor' AND epoch = 1 FOR SHARE),
executions AS (
  INSERT INTO execution
  SELECT new.* FROM unnest($1::text[], $2::int[], $3::bytea[], $4::bytea[]) AS new CROSS JOIN held
  ON CONFLICT (id) DO UPDATE SET status = excluded.status, output = excluded.output
),
records AS (
  INSERT INTO journal
  SELECT new.* FROM unnest($5::text[], $6::int[], $7::bytea[]) AS new CROSS JOIN held
)
SELECT count(*) FROM held
"""


@dataclass(slots=True)
class Live:
    """An execution that is under way.

    Args:
        began: When it was started.
        done: How many of its steps have ended.
        records: How many records it has.
    """

    began: float
    done: int = 0
    records: int = 0


@dataclass(slots=True)
class Batch:
    """What one transaction writes, and what is published after it."""

    ids: list[str] = field(default_factory=list[str])
    statuses: list[int] = field(default_factory=list[int])
    inputs: list[bytes | None] = field(default_factory=list["bytes | None"])
    outputs: list[bytes | None] = field(default_factory=list["bytes | None"])
    changes: dict[str, list[list[object]]] = field(default_factory=dict[str, list[list[object]]])
    requests: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])

    def write(self, id: str, status: int, input: bytes | None, output: bytes | None) -> None:
        """Write an execution's row."""
        self.ids.append(id)
        self.statuses.append(status)
        self.inputs.append(input)
        self.outputs.append(output)

    def change(self, id: str, step: str, status: str, output: object = None) -> None:
        """Write that a step has changed."""
        self.changes.setdefault(id, []).append([step, status, output])

    def request(self, id: str, step: str, value: int) -> None:
        """Have a step run, and write that down."""
        self.change(id, step, "RUNNING")
        body = orjson.dumps({"input": value, "results": {}})
        self.requests.append((f"{id}/{step}", body))


class Shape:
    """Which steps there are, and what follows from the end of one.

    Args:
        kind: `three` or `fan`.
    """

    def __init__(self, kind: str) -> None:
        self._is_fan = kind == "fan"
        self._first = [f"leg_{n}" for n in range(LEGS)] if self._is_fan else ["step_0"]

    def begin(self, batch: Batch, id: str) -> None:
        """Start an execution."""
        batch.write(id, RUNNING, b"1", None)
        for step in self._first:
            batch.request(id, step, 1)

    def go_on(self, batch: Batch, id: str, live: Live, output: int) -> bool:
        """Decide what follows from the end of a step; return whether the execution has ended."""
        if not self._is_fan and live.done < STEPS_IN_A_ROW:
            batch.request(id, f"step_{live.done}", output)
        elif self._is_fan and live.done == LEGS:
            batch.request(id, "join", output)
        return live.done == (LEGS + 1 if self._is_fan else STEPS_IN_A_ROW)


class Orchestrator:
    """Decides, commits, publishes and acknowledges, one batch after the other.

    Args:
        shape: The workflow.
        statement: The statement that commits.
        publishing: The connection to publish on.
        consuming: The connection to receive on.
    """

    def __init__(
        self,
        shape: Shape,
        statement: "PreparedStatement[asyncpg.Record]",
        publishing: Wire,
        consuming: Wire,
    ) -> None:
        self._shape = shape
        self._statement = statement
        self._publishing = publishing
        self._consuming = consuming
        self._inbox: list[Message] = []
        self._wake = asyncio.Event()
        self._live: dict[str, Live] = {}
        self._waits: list[float] = []
        self._started = 0

    def receive(self, message: Message) -> None:
        """Take a reply."""
        self._inbox.append(message)
        self._wake.set()

    async def run(self, count: int, at_once: int) -> Told:
        """Run executions.

        Args:
            count: How many.
            at_once: How many at the same time.
        """
        self._waits = []
        began = time.perf_counter()
        left = count
        route, reply_to = route_to(STEPS), short(INBOX)
        while left or self._live:
            batch = Batch()
            left -= self._start(batch, min(left, at_once - len(self._live), STARTS_AT_ONCE))
            if not self._inbox and not batch.ids:
                self._wake.clear()
                await self._wake.wait()
            messages, self._inbox = self._inbox, []
            for message in messages:
                self._decide(batch, message)
            await self._commit(batch)
            for correlation_id, body in batch.requests:
                self._publishing.publish(route, body, correlation_id, reply_to)
            if messages:
                self._consuming.ack(messages[-1][0], multiple=True)
            await asyncio.sleep(0)
        return summary(time.perf_counter() - began, self._waits)

    def _start(self, batch: Batch, count: int) -> int:
        for _ in range(count):
            self._started += 1
            name = f"{self._started:08}-{os.getpid()}"
            self._live[name] = Live(time.perf_counter())
            self._shape.begin(batch, name)
        return max(0, count)

    def _decide(self, batch: Batch, message: Message) -> None:
        _, correlation_id, _, body = message
        name, _, step = correlation_id.partition("/")
        live = self._live[name]
        live.done += 1
        output = orjson.loads(body)["output"]
        batch.change(name, step, "SUCCESS", output)
        if self._shape.go_on(batch, name, live, output):
            batch.write(name, SUCCESS, None, body)

    async def _commit(self, batch: Batch) -> None:
        names: list[str] = []
        numbers: list[int] = []
        records: list[bytes] = []
        for name, changes in batch.changes.items():
            live = self._live[name]
            names.append(name)
            numbers.append(live.records)
            records.append(orjson.dumps(changes))
            live.records += 1
        rows = (batch.ids, batch.statuses, batch.inputs, batch.outputs)
        if await self._statement.fetchval(*rows, names, numbers, records) != 1:
            raise RuntimeError("the fence is another one's")
        now = time.perf_counter()
        for name, status in zip(batch.ids, batch.statuses, strict=True):
            if status == SUCCESS:
                self._waits.append(now - self._live.pop(name).began)


async def main(kind: str, broker: str, database: str) -> None:
    """Run what is asked for in a conversation.

    Args:
        kind: `three` or `fan`.
        broker: The broker's URL.
        database: The URL of an empty database.
    """
    connection = await asyncpg.connect(database)
    await connection.execute(SCHEMA)
    statement = await connection.prepare(COMMIT)
    publishing, consuming = await connect(broker), await connect(broker)
    for queue in (STEPS, INBOX):
        await declare(consuming, queue)
    orchestrator = Orchestrator(Shape(kind), statement, publishing, consuming)
    await consume(consuming, INBOX, PREFETCH, orchestrator.receive)
    await conversation(orchestrator.run)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
