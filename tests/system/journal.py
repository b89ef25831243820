"""What the store says about executions while no process has it.

Records are folded by hand, so that nothing is believed because the runtime says so.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow.ports import JournalRecord, Namespace, Store
from flow.status import Status
from store.sqlite import SqliteStore

PAGE = 1_000


@dataclass
class Journal:
    """An execution as its journal has it.

    Args:
        status: Where it stands, or None if it does not exist.
        outputs: What its steps returned, by id; those that have succeeded only.
        told: How often the history says that a step has succeeded, by path.
        recorded: How often a record made a step successful that was not before, by path.
    """

    status: Status | None = None
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    told: Counter[str] = field(default_factory=Counter[str])
    recorded: Counter[str] = field(default_factory=Counter[str])

    def add(self, record: dict[str, Any]) -> None:
        """Take a record into account.

        Args:
            record: The next one; see `flow.codec.records`.
        """
        for kind, _id, _actor, reason in record["causes"]:
            if kind == "StepSucceeded":
                self.told[reason.split(" ")[0]] += 1
        for path, machine, *rest in record["nodes"]:
            assert machine is not None, f"{path} was deleted"
            state, data = rest[0], rest[1]
            if path == "":
                self.status = Status[state]
            elif path.startswith("steps/"):
                self._add_step(path, state, data)

    def _add_step(self, path: str, state: str, data: dict[str, Any]) -> None:
        step = path.removeprefix("steps/")
        if state != Status.SUCCESS.name:
            assert step not in self.outputs, f"{path} has succeeded, and is {state} now"
            return
        if step not in self.outputs:
            self.recorded[path] += 1
            self.outputs[step] = data.get("output")
        assert self.outputs[step] == data.get("output"), f"the output of {path} has changed"


async def read(database: Path, namespace: str, executions: Sequence[str]) -> dict[str, Journal]:
    """Return executions by id.

    Args:
        database: The SQLite file; no process has it.
        namespace: The name of the flow.
        executions: Their ids.
    """
    return await read_store(SqliteStore(database, lambda: 0, read_only=True), namespace, executions)


async def read_store(store: Store, namespace: str, executions: Sequence[str]) -> dict[str, Journal]:
    """Return executions by id.

    Args:
        store: Where they are; it is opened and closed.
        namespace: The name of the flow.
        executions: Their ids.
    """
    await store.open(Namespace(namespace, 1))
    try:
        return {name: await _read_one(store, name) for name in executions}
    finally:
        await store.close()


async def _read_one(store: Store, name: str) -> Journal:
    journal = Journal()
    records: list[JournalRecord] = []
    while page := await store.history(name, records[-1].seq if records else 0, PAGE):
        records += page
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    for record in records:
        journal.add(json.loads(record.record))
    return journal
