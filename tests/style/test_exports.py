"""What the packages show: façade, docstrings, typing markers, and no cycles of imports."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from types import ModuleType

import grimp
import networkx as nx
import pytest

from tests.style.source import (
    PACKAGES,
    ROOT,
    Fault,
    Source,
    expect_none,
    python_files,
    read,
    report,
)

FACADE = "flow/__init__.py"
STUB = "flow/__init__.pyi"


def sort_key(name: str) -> tuple[int, str]:
    """Order names as ruff (RUF022) does: CONSTANTS, then Classes, then functions."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def facade_faults(names: list[str], namespace: Mapping[str, object]) -> Iterator[Fault]:
    """Yield what is wrong with `__all__` = *names* in a façade that holds *namespace*."""
    if names != sorted(set(names), key=sort_key):
        yield Fault(FACADE, 1, f"__all__ must be {sorted(set(names), key=sort_key)}")
    for name in names:
        if name not in namespace:
            yield Fault(FACADE, 1, f"__all__ names {name}, which is not defined: import it")
        if name.startswith("Test"):
            yield Fault(FACADE, 1, f"{name} would be collected by pytest: rename it")
    for name, value in namespace.items():
        hidden = name.startswith("_") or isinstance(value, ModuleType)
        if not hidden and name not in names and not _is_future(value):
            yield Fault(FACADE, 1, f"{name} is public but not in __all__: add it")


def stub_homes() -> dict[str, str]:
    """Return the names that the stub of the façade imports, with their modules."""
    tree = ast.parse((ROOT / STUB).read_text(encoding="utf-8"))
    froms = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {each.name: node.module or "" for node in froms for each in node.names}


def _is_future(value: object) -> bool:
    return type(value).__module__ == "__future__"


def collected_classes(source: Source) -> Iterator[Fault]:
    """Yield the public classes that pytest would take for tests."""
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and re.match("Test", node.name):
            yield source.fault(node, f"{node.name} would be collected by pytest: rename it")


def undocumented(source: Source) -> Iterator[Fault]:
    """Yield the module if it has no docstring."""
    if not ast.get_docstring(source.tree):
        yield Fault(source.path, 1, "a module needs a docstring that says what it is for")


def cycles(imports: nx.DiGraph[str]) -> list[list[str]]:
    """Return the groups of modules that import each other."""
    knots = [sorted(group) for group in nx.strongly_connected_components(imports)]
    return sorted(group for group in knots if len(group) > 1)


def test_the_facade_is_complete() -> None:
    """`flow.__all__` is sorted, and names exactly what type checkers are told that `flow` has."""
    flow = importlib.import_module("flow")
    names = list(getattr(flow, "__all__", []))
    expect_none(facade_faults(names, {name: getattr(flow, name) for name in stub_homes()}))


def test_the_facade_is_imported_from_where_its_stub_says() -> None:
    """What type checkers read and what is imported at run time are the same names and modules."""
    flow = importlib.import_module("flow")
    assert vars(flow)["_HOMES"] == stub_homes()
    assert set(flow.__all__) <= set(dir(flow))
    with pytest.raises(AttributeError, match="has no attribute 'Flaw'"):
        flow.Flaw  # noqa: B018 - it is looked up


@pytest.mark.parametrize("path", python_files(*PACKAGES))
def test_modules_are_presentable(path: str) -> None:
    """Every module has a docstring, and no class that pytest would collect."""
    source = read(path)
    expect_none([*undocumented(source), *collected_classes(source)])


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    """Every package ships the marker that tells type checkers to trust it."""
    assert (ROOT / package / "py.typed").is_file()


def test_no_module_is_in_a_cycle() -> None:
    """No chain of imports leads back to where it began, TYPE_CHECKING imports included."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports: nx.DiGraph[str] = nx.DiGraph()
    for module in graph.modules:
        imports.add_edges_from(
            (module, other) for other in graph.find_modules_directly_imported_by(module)
        )
    assert cycles(imports) == []


@pytest.mark.parametrize(
    ("names", "namespace", "wrong"),
    [
        (["Step", "Flow"], {"Step": 1, "Flow": 1}, "must be ['Flow', 'Step']"),
        (["Flow", "run", "LIMIT"], {"Flow": 1, "run": 1, "LIMIT": 1}, "must be ['LIMIT', "),
        (["Flow"], {}, "Flow, which is not defined"),
        (["TestFlow"], {"TestFlow": 1}, "TestFlow would be collected"),
        (["Flow"], {"Flow": 1, "Step": 1}, "Step is public but not in __all__"),
    ],
)
def test_a_wrong_facade_is_found(
    names: list[str], namespace: dict[str, object], wrong: str
) -> None:
    """A façade that is unsorted, incomplete or misleading is reported."""
    assert wrong in report(facade_faults(names, namespace))


def test_a_right_facade_is_left_alone() -> None:
    """A sorted and complete façade has no faults."""
    namespace: dict[str, object] = {"Flow": 1, "run": 1, "_private": 1, "inspect": inspect}
    assert report(facade_faults(["Flow", "run"], namespace)) == ""


def test_a_bare_module_is_found() -> None:
    """A module without a docstring, or with a class named like a test, is reported."""
    source = Source("flow/a.py", "class TestBroker: pass")
    assert report(undocumented(source)).startswith("flow/a.py:1: ")
    assert report(collected_classes(source)).startswith("flow/a.py:1: TestBroker")


def test_a_cycle_is_found() -> None:
    """Modules that import each other through a third are reported together."""
    knot: nx.DiGraph[str] = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")])
    assert cycles(knot) == [["a", "b", "c"]]
