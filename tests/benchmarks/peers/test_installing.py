"""Other systems are installed once, and what cannot be is told."""

import sys
from pathlib import Path

import pytest

from benchmarks.peers import installing
from benchmarks.peers.installing import NotInstalled, environment, node_package, version_of


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Note what would be run, instead of running it."""
    ran: list[str] = []

    def run(command: list[str]) -> str:
        ran.append(" ".join(command))
        (tmp_path / "some").mkdir(exist_ok=True)
        return ""

    monkeypatch.setattr(installing, "FOLDER", tmp_path)
    monkeypatch.setattr(installing, "_run", run)
    return ran


def test_an_environment_is_made_once(commands: list[str], tmp_path: Path) -> None:
    """An environment is made anew only when other packages are wanted of it."""
    assert environment("some", ["a", "b"]) == tmp_path / "some" / "bin" / "python"
    environment("some", ["a", "b"])
    assert [command.rpartition("install ")[2] for command in commands[1:]] == ["--quiet a b"]
    environment("some", ["a"])
    assert len(commands) == 4


def test_a_node_package_is_installed_once(commands: list[str], tmp_path: Path) -> None:
    """A package of Node.js is installed into a folder of its own, once."""
    assert node_package("some", "@a/b") == tmp_path / "some" / "node_modules"
    node_package("some", "@a/b")
    assert len(commands) == 1
    assert commands[0].endswith(f"--prefix {tmp_path / 'some'} @a/b")


def test_what_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A failed installation raises what the installer has said, and is tried again next time."""
    monkeypatch.setattr(installing, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(NotInstalled, match="nothing"):
        environment("some", ["a"])
    assert not (tmp_path / "some" / "ready.txt").exists()


def test_a_version_is_that_of_the_environment() -> None:
    """The version of a package is asked of the environment that has it."""
    assert version_of(Path(sys.executable), "orjson")[0].isdigit()
    with pytest.raises(NotInstalled, match="PackageNotFound"):
        version_of(Path(sys.executable), "no-such-package")
