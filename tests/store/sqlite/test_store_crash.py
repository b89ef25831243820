"""A process that is killed while it commits loses nothing that it has acknowledged."""

import subprocess
import sys
from pathlib import Path

import pytest

from store.sqlite import SqliteStore
from tests.conformance.store import NAMESPACE, load_one

ROOT = Path(__file__).parents[3]
ROUNDS = 3
COMMITS = 60
WORKER = """
import asyncio, sys
from flow.ports import Commit, ExecutionSummary, ExecutionWrite, Namespace, OutboxRow
from flow.status import Status
from store.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1], lambda: 0)
    await store.open(Namespace("suite", 4))
    lease = await store.acquire(0, "worker", 60_000)
    loaded = await store.load(["a"])
    seq = loaded["a"].seq if loaded else 0
    row = ExecutionSummary("a", 0, "w", "d", Status.RUNNING, 0, 0, wake_ms=1)
    while True:
        seq += 1
        write = ExecutionWrite(row, seq, b"%d" % seq * 300, seq == 1)
        extra = ExecutionWrite(
            row._replace(id=f"b-{seq}", created_ms=seq, updated_ms=seq), 1, b"{}", True
        )
        outbox = OutboxRow(0, seq, "a", b"{}")
        result = await store.commit(Commit((lease,), (write, extra), (outbox,)))
        assert not result.lost and not result.conflicts
        print(seq, flush=True)

asyncio.run(main())
"""


def commit_until_killed(path: Path) -> int:
    """Let a process commit, kill it, and return the last number that it has acknowledged."""
    command = [sys.executable, "-c", WORKER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(COMMITS)]
        process.kill()
        # What was acknowledged before the kill may still be in the pipe.
        lines += process.stdout.read().splitlines(keepends=True)
        process.wait(30)
    return int([line for line in lines if line.endswith("\n")][-1])


@pytest.mark.system
async def test_acknowledged_commits_survive_kill(tmp_path: Path) -> None:
    """After kill -9 every acknowledged commit is there as a whole, and work goes on from it."""
    path = tmp_path / "flow.db"
    for _ in range(ROUNDS):
        acknowledged = commit_until_killed(path)
        store = SqliteStore(path, lambda: 0)
        await store.open(NAMESPACE)
        loaded = await load_one(store, "a")
        # One commit more may have happened without being answered.
        assert acknowledged <= loaded.seq <= acknowledged + 1
        assert loaded.records == tuple(b"%d" % seq * 300 for seq in range(1, loaded.seq + 1))
        outbox = await store.outbox(0, 0, 100_000)
        assert [each.number for each in outbox] == list(range(1, loaded.seq + 1))
        active = await store.active(0, 1, "", 100_000)
        assert set(active) == {"a", *(f"b-{seq}" for seq in range(1, loaded.seq + 1))}
        await store.close()
