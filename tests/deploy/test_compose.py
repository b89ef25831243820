"""deploy/compose.yaml says what it should, as far as this can be seen without running it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from deploy import credentials
from flow import Flow
from flow.cli.loading import load, locate
from tests.deploy import commands

DEPLOY = Path(credentials.__file__).parent
ROOT = DEPLOY.parent
FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PARTS = {name: each for name, each in SERVICES.items() if each["image"] == "flowmq-delivery"}
SERVERS = {name: each for name, each in SERVICES.items() if name not in PARTS}
# Seconds that handlers have to end, after SIGTERM.
DRAIN_S = 30


def test_it_keeps_the_specification() -> None:
    """It is a compose file, without a key that the specification does not know."""
    # The parser knows no merge keys, so it is given what they stand for.
    parsed = PyCompose.from_yaml(yaml.safe_dump({**COMPOSE, "x-part": None, "x-service": None}))
    assert sorted(parsed.service_names()) == sorted(SERVICES)


def test_the_parts_are_all_there() -> None:
    """There are both servers, two orchestrators, and every service that the workflow needs."""
    assert sorted(SERVERS) == ["postgres", "rabbitmq"]
    assert SERVICES["orchestrator"]["deploy"] == {"replicas": 2}
    assert sorted(PARTS) == ["cli", "couriers", "kitchen", "messages", "orchestrator", "payments"]


@pytest.mark.parametrize("name", SERVERS)
def test_servers_are_pinned_and_checked(name: str) -> None:
    """A server has an exact version, a check of its health, and a volume for its data."""
    server = SERVERS[name]
    version = server["image"].partition(":")[2]
    assert version.count(".") >= 1
    assert server["healthcheck"]["test"][0] == "CMD"
    assert any(volume.startswith(f"{name}:") for volume in server["volumes"])
    assert name in COMPOSE["volumes"]


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_locked_down(name: str) -> None:
    """Our processes write nothing, gain nothing, and get the time that they need to end."""
    part = PARTS[name]
    assert part["read_only"]
    assert part["tmpfs"] == ["/tmp"]
    assert part["cap_drop"] == ["ALL"]
    assert part["security_opt"] == ["no-new-privileges:true"]
    assert int(part["stop_grace_period"].removesuffix("s")) > DRAIN_S
    assert "ports" not in part


@pytest.mark.parametrize("name", PARTS)
def test_commands_exist(name: str) -> None:
    """Each command is one that `flow` understands, about a program of this repository."""
    words: list[str] = PARTS[name]["command"]
    commands.check(words)
    programs = [word for word in words if word.endswith(":app")]
    programs += [PARTS[name]["environment"].get("FLOW_APP", "")]
    for program in filter(None, programs):
        app = load(locate(program, ROOT))
        assert isinstance(app, Flow)
        assert app.name == COMPOSE["name"]


@pytest.mark.parametrize("name", [name for name in PARTS if name != "cli"])
def test_the_check_asks_whether_it_is_ready(name: str) -> None:
    """What asks for the health asks the port that the command listens on."""
    words = PARTS[name]["command"]
    port = words[words.index("--health-port") + 1]
    assert f"http://127.0.0.1:{port}/ready" in PARTS[name]["healthcheck"]["test"][-1]
    compile(PARTS[name]["healthcheck"]["test"][-1], "the check", "exec")


def test_everybody_waits_for_what_they_need() -> None:
    """Orchestrators wait for the servers, and workers for orchestrators, to be healthy."""
    needs = {name: part.get("depends_on", {}) for name, part in PARTS.items()}
    healthy = {"condition": "service_healthy"}
    for name in ("kitchen", "payments", "couriers", "messages"):
        assert needs[name] == {"orchestrator": healthy}
    assert needs["orchestrator"] == {"rabbitmq": healthy, "postgres": healthy}


def test_everybody_is_only_who_they_are() -> None:
    """Each part gets the URL of its own role, and only orchestrators get the store's."""
    roles = {"orchestrator": "orchestrator", "cli": "client"}
    for name, part in PARTS.items():
        environment = part["environment"]
        role = roles.get(name, "worker")
        assert environment["FLOW_BROKER_FILE"] == f"/run/secrets/{role}_broker_url"
        assert ("FLOW_STORE_FILE" in environment) == (name == "orchestrator")
        paths = [value for value in environment.values() if value.startswith("/run/secrets/")]
        assert sorted(paths) == sorted(f"/run/secrets/{secret}" for secret in part["secrets"])


def test_secrets_are_files_that_are_made(tmp_path: Path) -> None:
    """Each secret is a file that credentials.py writes, and that git does not keep."""
    credentials.main(["--folder", str(tmp_path / "secrets")])
    used = {secret for each in SERVICES.values() for secret in each["secrets"]}
    assert used == set(COMPOSE["secrets"])
    for secret in COMPOSE["secrets"].values():
        assert (tmp_path / secret["file"]).is_file()
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_no_password_is_written_down() -> None:
    """No file under deploy/ holds a URL with a password, or a variable that is one."""
    for path in DEPLOY.rglob("*"):
        if path.is_file() and "secrets" not in path.parts and path.suffix in {".yaml", ".json"}:
            text = path.read_text()
            assert "amqp://" not in text
            assert "postgresql://" not in text
            assert "PASSWORD:" not in text


def test_the_users_are_those_of_the_definitions() -> None:
    """Every role that a part plays is a user of the broker."""
    users = json.loads((DEPLOY / "rabbitmq" / "definitions.json").read_text())["users"]
    roles = {
        secret.removesuffix("_broker_url")
        for secret in COMPOSE["secrets"]
        if secret.endswith("_broker_url")
    }
    assert roles < {user["name"] for user in users}


def test_credentials_are_kept(tmp_path: Path) -> None:
    """Running it again changes no password, and nobody else may look into the folder."""
    command = [sys.executable, str(DEPLOY / "credentials.py"), "--folder", str(tmp_path / "made")]
    subprocess.run(command, check=True, capture_output=True)
    first = (tmp_path / "made" / "worker_broker_url").read_text()
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "made" / "worker_broker_url").read_text() == first
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
