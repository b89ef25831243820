"""The processes of deploy/compose.yaml, run without containers on real servers.

Each is started by the entry point of the image with the command, and the secrets, that its service
has there, as its user of the broker. Only ports and hosts are other ones.
"""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import credentials
from tests.deploy.users import install, remove
from tests.servers.fixtures import run
from tests.servers.ports import Port
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.system.processes import Child, eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

DEPLOY = Path(credentials.__file__).parent
ROOT = DEPLOY.parent
SERVICES: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
PARTS = ["kitchen", "payments", "couriers", "messages", "orchestrator"]
SUPPERS = 12
READY_S = 60.0


class Part:
    """A process of a service of compose.yaml.

    Args:
        service: The service.
        number: Which of its replicas.
        secrets: The folder of the secrets.
        folder: Where it writes what it prints.
    """

    def __init__(self, service: str, number: int, secrets: Path, folder: Path) -> None:
        described = SERVICES[service]
        self._port = Port()
        port = str(self._port.number)
        words = ["sh", str(DEPLOY / "entrypoint.sh")]
        words += [port if word == "8080" else word for word in described["command"]]
        words = [str(ROOT / word) if word.endswith(":app") else word for word in words]
        self._check = [word.replace("8080", port) for word in described["healthcheck"]["test"][1:]]
        self.child = Child(words, environment_of(service, secrets), folder / f"{service}-{number}")

    def is_ready(self) -> bool:
        """Ask what compose asks."""
        assert not self.child.has_ended, self.child.output
        check = [sys.executable if word == "python" else word for word in self._check]
        return subprocess.run(check, capture_output=True, check=False).returncode == 0

    def end(self) -> None:
        """End what still runs."""
        self.child.clear_away()
        self._port.give_back()


def environment_of(service: str, secrets: Path) -> dict[str, str]:
    """Return the environment of a service, with secrets of the test."""
    described: dict[str, str] = SERVICES[service]["environment"]
    found = {name: value.replace("/run/secrets", str(secrets)) for name, value in described.items()}
    commands = Path(sys.executable).parent
    return {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **found}


@pytest.fixture
def secrets(
    rabbitmq: RabbitServer, postgres: PostgresServer, tmp_path: Path
) -> Generator[Path, None, None]:
    """Give the folder of the secrets of servers that know their users."""
    folder = tmp_path / "secrets"

    async def prepare() -> None:
        await install(rabbitmq, folder, store=f"127.0.0.1:{postgres.port}")
        await postgres.execute("CREATE ROLE flow LOGIN")
        await postgres.execute("CREATE DATABASE flow OWNER flow")

    async def clean_up() -> None:
        await remove(rabbitmq)
        await postgres.execute("DROP DATABASE flow WITH (FORCE)")
        await postgres.execute("DROP ROLE flow")

    run(prepare)
    yield folder
    run(clean_up)


@asynccontextmanager
async def deployed(secrets: Path, folder: Path) -> AsyncGenerator[list[Part], None]:
    """Give all parts, once they are ready."""
    parts: list[Part] = []
    try:
        # Orchestrators come first, as workers may not declare what is shared.
        for service in reversed(PARTS):
            replicas = SERVICES[service].get("deploy", {}).get("replicas", 1)
            started = [Part(service, number, secrets, folder) for number in range(replicas)]
            parts += started
            for part in started:
                await eventually(part.is_ready, f"{service} is ready", READY_S)
        yield parts
    finally:
        for part in parts:
            part.end()


async def test_the_whole_deployment_delivers(secrets: Path, tmp_path: Path) -> None:
    """Every part becomes ready with the rights of its user, does its work, and ends in order."""
    async with deployed(secrets, tmp_path) as parts:
        client = Child(
            [sys.executable, str(ROOT / "examples" / "delivery" / "client.py"), str(SUPPERS)],
            {
                **environment_of("cli", secrets),
                "FLOW_BROKER": (secrets / "client_broker_url").read_text().strip(),
            },
            tmp_path / "client",
        )
        try:
            assert await client.ended() == 0, client.output
        finally:
            client.clear_away()
        assert len(client.output.splitlines()) == SUPPERS + 1
        assert [len(part.child.output) > 0 for part in parts] == [True] * len(parts)
        for part in parts:
            await part.child.terminate()
