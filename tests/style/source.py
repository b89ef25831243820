"""The files of the project, as the tests of this folder see them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flow", "brokers", "store")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Fault:
    """One place that breaks a law, and what would be right."""

    path: str
    line: int
    wrong: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.wrong}"


@dataclass(frozen=True)
class Source:
    """A Python file: its path from the root of the project, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of the tree."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """All functions and methods, nested ones too."""
        return tuple(node for node in self.nodes if isinstance(node, Function))

    def under(self, *places: str) -> bool:
        """Return whether the file is one of *places*, or lies in one (which then ends with /)."""
        return any(
            self.path.startswith(place) if place.endswith("/") else self.path == place
            for place in places
        )

    def fault(self, node: ast.AST, wrong: str) -> Fault:
        """Return the fault *wrong* at the line of *node*."""
        return Fault(self.path, getattr(node, "lineno", 1), wrong)


def report(faults: Iterable[Fault]) -> str:
    """Return one line for each fault: an empty string when there is none."""
    return "\n".join(str(fault) for fault in faults)


def expect_none(faults: Iterable[Fault]) -> None:
    """Fail the test with one line for each fault, and nothing else."""
    if lines := report(faults):
        pytest.fail(lines, pytrace=False)


@cache
def project_files() -> tuple[str, ...]:
    """Return the files git knows or would take; without git, those in no hidden or built folder."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
        paths = {path for path in found.stdout.decode().split("\0") if path}
    except (OSError, subprocess.SubprocessError):
        paths = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if not _is_made(path)}
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


def _is_made(path: Path) -> bool:
    made = {"__pycache__", "build", "dist", "htmlcov"}
    parts = path.relative_to(ROOT).parts
    return any(part in made or part.startswith(".") for part in parts)


def python_files(*folders: str) -> tuple[str, ...]:
    """Return the Python files of the project in *folders*."""
    return tuple(
        path
        for path in project_files()
        if path.endswith(".py") and PurePosixPath(path).parts[0] in folders
    )


@cache
def read(path: str) -> Source:
    """Return the Python file at *path*."""
    return Source(path, (ROOT / path).read_text(encoding="utf-8"))
