"""deploy/Dockerfile and its entry point, as far as they can be seen without building an image."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from deploy import credentials

DEPLOY = Path(credentials.__file__).parent
ROOT = DEPLOY.parent
LINES = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
INSTRUCTIONS = [line for line in LINES if line and not line.startswith("#")]


def stage(name: str) -> list[str]:
    """Return the instructions of a stage."""
    starts = [n for n, line in enumerate(INSTRUCTIONS) if line.startswith("FROM ")]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        if INSTRUCTIONS[start].endswith(f" AS {name}"):
            return INSTRUCTIONS[start:end]
    raise AssertionError(f"there is no stage {name}")


def test_the_base_is_pinned() -> None:
    """There is one base image, with an exact version."""
    bases = {line.split()[1] for line in INSTRUCTIONS if line.startswith("FROM ")}
    assert bases == {"${PYTHON}", "flow"}
    assert re.fullmatch(r"ARG PYTHON=python:3\.11\.\d+-slim-bookworm", INSTRUCTIONS[0])


def test_nothing_comes_unchecked() -> None:
    """Packages are downloaded once, each against its hash; later installs see only those."""
    installs = [line for line in INSTRUCTIONS if "pip" in line and line.startswith("RUN")]
    assert len(installs) == 2
    assert "download --require-hashes --only-binary :all:" in installs[0]
    assert "requirements.lock" in installs[0]
    assert installs[1].count(" install ") == installs[1].count(" install --no-index --find-links ")
    assert "[rabbitmq,postgres,fast]" in installs[1]


def test_what_changes_rarely_comes_first() -> None:
    """The locked packages are downloaded before any source is copied."""
    copies = [line for line in stage("build") if line.startswith(("COPY", "RUN"))]
    assert copies[0] == "COPY requirements.lock ./"
    assert copies[1].startswith("RUN python -m pip download")
    assert [line.split()[1] for line in copies[3:6]] == ["brokers/", "flow/", "store/"]


@pytest.mark.parametrize("name", ["flow", "delivery"])
def test_it_runs_as_nobody(name: str) -> None:
    """The image ends as a user without rights, by number, and never becomes root again."""
    users = [line for line in stage("flow") + stage(name) if line.startswith("USER ")]
    assert set(users) == {"USER 10001:10001"}
    assert not any("chmod 777" in line or "sudo" in line for line in stage(name))


def test_all_that_is_copied_exists_and_is_let_in() -> None:
    """Every source of a COPY exists, and .dockerignore lets it in."""
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in INSTRUCTIONS:
        words = [word for word in line.split()[1:] if not word.startswith("--chmod")]
        if line.startswith("COPY") and not words[0].startswith("--from"):
            for source in words[:-1]:
                assert (ROOT / source).exists(), source
                names = {source.rstrip("/"), *map(str, Path(source).parents)}
                assert allowed & names, source


def entered(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point with a `flow` that tells what it was given."""
    command = tmp_path / "flow"
    command.write_text('#!/bin/sh\nprintf "%s|" "$FLOW_BROKER" "$FLOW_STORE" "$@" $$\n')
    command.chmod(0o755)
    return subprocess.run(
        ["sh", str(DEPLOY / "entrypoint.sh"), "worker", "a b.py:app"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "FLOW_STORE": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_urls_may_stand_in_files(tmp_path: Path) -> None:
    """The entry point reads a URL from the file that is named, and passes on every argument."""
    (tmp_path / "url").write_text("amqp://worker:p$a'ss word@host/flow\n")
    done = entered(tmp_path, FLOW_BROKER_FILE=str(tmp_path / "url"), FLOW_STORE="sqlite:///x")
    parts = done.stdout.split("|")
    assert done.returncode == 0
    assert parts[:2] == ["amqp://worker:p$a'ss word@host/flow", "sqlite:///x"]
    assert parts[2:4] == ["worker", "a b.py:app"]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A file that is named and cannot be read ends the container with a sentence."""
    missing = str(tmp_path / "none")
    done = entered(tmp_path, FLOW_BROKER_FILE=missing)
    assert done.returncode == 2
    assert done.stderr == f"flow: FLOW_BROKER_FILE names {missing}, which cannot be read\n"
