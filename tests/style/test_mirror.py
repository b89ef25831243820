"""Tests mirror the source: flow/x/y.py is proved by tests/flow/x/test_y.py.

A module may have several files of tests: test_y_aborting.py also belongs to y.py, once y.py (or
the package y/) exists. A module without behaviour of its own (imports, constants, protocols, plain
values) needs no tests.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from tests.style.source import (
    PACKAGES,
    Fault,
    Function,
    Source,
    expect_none,
    python_files,
    read,
    report,
)

# Modules that are proved elsewhere, and where.
PROVED_ELSEWHERE: dict[str, str] = {
    "flow/__init__.py": "tests/test_flow.py, above the folders that are mirrored",
    **{
        f"flow/errors/{name}.py": "tests/flow/test_errors.py goes through the whole tree"
        for name in ("base", "definitions", "faults", "machines", "requests")
    },
}


def behaves(source: Source) -> bool:
    """Return whether a module has a function that does more than declare itself."""
    return any(not _is_declaration(function) for function in source.functions)


def _is_declaration(function: Function) -> bool:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def expected_test(module: str) -> str:
    """Return the file that proves *module*."""
    path = PurePosixPath(module)
    name = path.parent.name if path.stem == "__init__" else path.stem.strip("_")
    folder = path.parent.parent if path.stem == "__init__" else path.parent
    return str("tests" / folder / f"test_{name}.py")


def proves(test: str, module: str) -> bool:
    """Return whether the file *test* belongs to *module*."""
    stem = expected_test(module).removesuffix(".py")
    return test == f"{stem}.py" or test.startswith(f"{stem}_")


def unproved(modules: Collection[Source], tests: Collection[str]) -> Iterator[Fault]:
    """Yield the modules that no test mirrors."""
    for module in modules:
        if module.path in PROVED_ELSEWHERE or not behaves(module):
            continue
        if not any(proves(test, module.path) for test in tests):
            yield Fault(module.path, 1, f"has no tests: write {expected_test(module.path)}")


def orphans(modules: Collection[str], tests: Collection[str]) -> Iterator[Fault]:
    """Yield the tests that mirror no module."""
    for test in tests:
        if not any(proves(test, module) for module in modules):
            yield Fault(
                test, 1, "mirrors no module: move it, or name it after the module it proves"
            )


def mirrored_tests() -> tuple[str, ...]:
    """Return the files of tests that must mirror a module."""
    folders = tuple(f"tests/{package}/" for package in PACKAGES)
    return tuple(
        path
        for path in python_files("tests")
        if path.startswith(folders) and PurePosixPath(path).name.startswith("test_")
    )


def test_every_module_has_tests() -> None:
    """Each module that does something has a file of tests with its name."""
    modules = [read(path) for path in python_files(*PACKAGES)]
    expect_none(unproved(modules, mirrored_tests()))


def test_every_test_has_a_module() -> None:
    """Each file of tests under a mirrored folder names a module that exists."""
    expect_none(orphans(python_files(*PACKAGES), mirrored_tests()))


def test_no_exception_is_stale() -> None:
    """Each exception names a module whose test is really missing."""
    stale = [
        module
        for module in PROVED_ELSEWHERE
        if any(proves(test, module) for test in mirrored_tests())
    ]
    assert not stale, f"remove from PROVED_ELSEWHERE: {stale}"


def test_a_missing_test_is_found() -> None:
    """A module with behaviour and no tests is reported with the file to write."""
    module = Source("flow/kernel/tree.py", "def f(): return 1")
    fault = "flow/kernel/tree.py:1: has no tests: write tests/flow/kernel/test_tree.py"
    assert report(unproved([module], ["tests/flow/kernel/test_other.py"])) == fault
    assert report(unproved([module], ["tests/flow/kernel/test_tree.py"])) == ""


def test_declarations_need_no_tests() -> None:
    """A module of protocols and values is not asked for tests."""
    text = 'class P(Protocol):\n    def f(self):\n        """Do it."""\n        ...\n\nA = 1\n'
    assert report(unproved([Source("flow/ports.py", text)], [])) == ""


def test_an_orphan_is_found() -> None:
    """A file of tests is reported when its module does not exist."""
    modules = ["flow/kernel/tree.py", "flow/kernel/__init__.py", "flow/_private.py"]
    good = [
        "tests/flow/kernel/test_tree.py",
        "tests/flow/kernel/test_tree_deleting.py",
        "tests/flow/test_kernel.py",
        "tests/flow/test_private.py",
    ]
    assert report(orphans(modules, good)) == ""
    faults = list(orphans(modules, ["tests/flow/test_tree.py"]))
    assert [fault.path for fault in faults] == ["tests/flow/test_tree.py"]
