"""The command line on RabbitMQ and PostgreSQL: commands as a person types them."""

import asyncio
import os
import re
import signal
from pathlib import Path

import anyio
import pytest

from flow.cli.web import fetch
from tests.flow.cli.console import SHOP
from tests.flow.cli.processes import Process, ended
from tests.servers.rabbitmq import RabbitServer

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(180)]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a program, in surroundings that say nothing else."""
    for name in ("FLOW_APP", "FLOW_NAME", "FLOW_STORE", "FLOW_BROKER", "FLOW_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def write_project(shop: Path, broker: str, store: str) -> None:
    """Let flow.toml say where everything is."""
    file = shop / "flow.toml"
    file.write_text(f'name = "shop"\napp = "shop.py:app"\nbroker = "{broker}"\nstore = "{store}"\n')
    # It holds a password.
    file.chmod(0o600)


async def command(shop: Path, *arguments: str) -> tuple[int, str]:
    """Run a command to its end."""
    return await asyncio.to_thread(ended, shop, *arguments)


def port_of(line: str) -> int:
    """Return the port that a process has told."""
    found = re.search(r"http://127\.0\.0\.1:(\d+)/health", line)
    assert found is not None
    return int(found[1])


def children(parent: int) -> list[int]:
    """Return the ids of the processes that a process has started."""
    return [
        int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    ]


async def probe(port: int, path: str) -> int:
    """Return the status that a probe gets."""
    return (await fetch("127.0.0.1", port, path, 10)).status


async def becomes(port: int, status: int) -> None:
    """Wait until a process is ready, or is not."""
    told: object = None
    with anyio.move_on_after(60):
        while True:
            found = await fetch("127.0.0.1", port, "/health", 10)
            told = found.document
            if found.status == status:
                return
            await anyio.sleep(0.1)
    raise AssertionError(f"it did not become {status}: {told}")


async def test_a_flow_from_its_commands_alone(
    shop: Path, broker_url: str, database_url: str
) -> None:
    """Two orchestrators and two workers run what is started, and every command reaches them."""
    write_project(shop, broker_url, database_url)
    with (
        Process(shop, ["orchestrator", "--processes", "2"]) as orchestrators,
        Process(shop, ["worker", "--processes", "2"]) as workers,
    ):
        await asyncio.to_thread(orchestrators.expect, "shop is ready")
        await asyncio.to_thread(workers.expect, "shop is ready")
        started = ["start", "checkout", "--input", '{"total": 5}', "--id", "order-1", "--wait"]
        code, text = await command(shop, *started)
        # On a busy machine it may say before that it waits.
        assert (code, text.endswith('{\n  "paid": 5\n}\n')) == (0, True)
        assert "order-1" in (await command(shop, "list"))[1]
        assert "shop.charge" in (await command(shop, "steps"))[1]
        assert (await command(shop, "pause", "checkout"))[1].endswith("checkout  paused\n")
        assert "paused" in (await command(shop, "workflows"))[1]
        assert "checkout  goes on" in (await command(shop, "unpause", "checkout"))[1]
        code, text = await command(shop, "doctor")
        assert (code, text.splitlines()[-1]) == (0, "all is well"), text
        for process in (workers, orchestrators):
            process.send(signal.SIGTERM)
            assert await asyncio.to_thread(process.expect_end) == 0


async def test_processes_are_kept_running(shop: Path, broker_url: str) -> None:
    """A process that is killed is started again, and none outlives the one that started it."""
    (shop / "flow.toml").write_text(f'app = "shop.py:app"\nbroker = "{broker_url}"\n')
    with Process(shop, ["worker", "--processes", "2"]) as workers:
        for _ in range(2):
            await asyncio.to_thread(workers.expect, "shop is ready")
        first = children(workers.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        await asyncio.to_thread(workers.expect, "has ended with signal 9; starting it again")
        await asyncio.to_thread(workers.expect, "shop is ready")
        assert len(set(children(workers.pid)) - set(first)) == 1
        workers.send(signal.SIGKILL)
        # The end of the output means that the children, which hold it too, have ended.
        assert await asyncio.to_thread(workers.expect_end) == -signal.SIGKILL


async def test_ready_follows_the_broker(shop: Path, own_rabbitmq: RabbitServer) -> None:
    """While the broker is away a worker is alive and not ready; then it is ready by itself."""
    broker = await own_rabbitmq.new_vhost()
    arguments = ["worker", "shop.py:app", "--broker", broker, "--health-port", "0"]
    with Process(shop, arguments) as worker:
        port = port_of(await asyncio.to_thread(worker.expect, "health: "))
        await asyncio.to_thread(worker.expect, "ready; Ctrl-C stops")

        await becomes(port, 200)
        doctor = ("doctor", "--name", "shop", "--broker", broker)
        assert "connected in" in (await command(shop, *doctor))[1]
        await own_rabbitmq.kill()
        await becomes(port, 503)
        assert await probe(port, "/live") == 200
        assert "nobody listens there" in (await command(shop, *doctor))[1]
        await own_rabbitmq.start()
        await becomes(port, 200)
        worker.send(signal.SIGTERM)
        assert await asyncio.to_thread(worker.expect_end) == 0
        assert "Traceback" not in worker.text


@pytest.mark.parametrize(
    ("broker", "told"),
    [
        ("amqp://guest:wrong@{host}/{vhost}", "the login was refused"),
        ("amqp://guest:guest@{host}/nowhere", "nowhere"),
        ("amqp://guest:guest@127.0.0.1:1/", "nobody listens there"),
    ],
)
async def test_a_broker_that_lets_nobody_in(
    shop: Path, broker_url: str, broker: str, told: str
) -> None:
    """A wrong password, a missing virtual host and a broker that is down are one line each."""
    host, _, vhost = broker_url.partition("@")[2].partition("/")
    url = broker.format(host=host, vhost=vhost)
    code, text = await command(shop, "list", "--name", "shop", "--broker", url)
    assert code in (2, 4)
    assert len(text.splitlines()) == 1
    assert text.startswith("error: ")
    assert told in text
    assert "wrong" not in text
