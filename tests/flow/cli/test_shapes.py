"""`flow workflows`, `flow steps` and `flow levels`."""

import json
from pathlib import Path

import pytest

from tests.flow.cli.console import expect_golden, flow, transcript

PAGES: list[tuple[str, tuple[str, ...]]] = [
    ("workflows", ("workflows",)),
    ("steps", ("steps", "--workflow", "checkout")),
    ("steps-announced", ("steps",)),
    ("step-announced", ("steps", "charge")),
    ("levels", ("levels", "checkout")),
    ("levels-mermaid", ("levels", "checkout", "--mermaid")),
    ("levels-dot", ("levels", "checkout", "--dot")),
]


@pytest.mark.parametrize(("name", "arguments"), PAGES, ids=[name for name, _ in PAGES])
def test_pages(store: Path, name: str, arguments: tuple[str, ...]) -> None:
    """What is printed about workflows is as in the golden file."""
    ended = flow(*arguments)
    assert ended.code == 0
    expect_golden(f"page-{name}", transcript(ended, *arguments))


def test_a_program_needs_no_store(shop: Path) -> None:
    """With a program alone, its workflows are shown, and no store is made."""
    levels = flow("levels", "checkout", "--app", "shop.py:app", "--json")
    expected = {"workflow": "checkout", "levels": [["reserve"], ["charge"], ["ship"]]}
    assert json.loads(levels.out) == expected
    assert len(json.loads(flow("workflows", "--app", "shop.py:app", "--json").out)) == 4
    assert not (shop / ".flow").exists()
    unknown = flow("levels", "chekout", "--app", "shop.py:app")
    assert (unknown.code, "did you mean 'checkout'" in unknown.err) == (3, True)


def test_documents_for_programs(store: Path) -> None:
    """With --json a drawing and the steps are documents."""
    drawn = json.loads(flow("levels", "checkout", "--dot", "--json").out)
    assert drawn["drawing"].startswith("digraph")
    steps = json.loads(flow("steps", "--workflow", "checkout", "--json").out)
    assert {"id": "charge", "workflow": "checkout"}.items() <= steps[1].items()


def test_a_program_without_workflows(shop: Path) -> None:
    """A program that defines none says so."""
    (shop / "idle.py").write_text("from flow import Flow\napp = Flow('idle')\n")
    for verb in ("workflows", "steps"):
        ended = flow(verb, "--app", "idle.py:app")
        assert (ended.code, ended.out, ended.err) == (0, "", "no workflows yet\n")


def test_flow_toml_does_not_hide_what_is_saved(store: Path) -> None:
    """The workflows are those that are saved, with their pauses, unless a program is asked for."""
    (store / "flow.toml").write_text('app = "shop.py:app"')
    (store / "shop.py").write_text("from flow import Flow\napp = Flow('shop')\n")
    assert "checkout" in flow("workflows").out
    assert flow("workflows", "--app", "shop.py:app").err == "no workflows yet\n"


def test_an_announced_step_that_is_not_there(store: Path) -> None:
    """A step that nobody has announced is refused, with the nearest one."""
    ended = flow("steps", "chrge")
    assert (ended.code, "did you mean 'charge'" in ended.err) == (3, True)
    assert [row["id"] for row in json.loads(flow("steps", "--json").out)] == [
        "charge",
        "reserve",
        "ship",
    ]
    assert json.loads(flow("steps", "charge", "--json").out)["endpoint"] == "shop.charge"


def test_nothing_is_announced_yet(shop: Path) -> None:
    """A flow that no service has announced a step to says so."""
    (shop / "idle.py").write_text("from flow import Flow\napp = Flow('idle')\n")
    assert flow("list", "--app", "idle.py:app").code == 4
    assert flow("pause", "none", "--app", "idle.py:app").code == 3
    ended = flow("steps")
    assert (ended.code, ended.err) == (0, "no service has announced a step yet\n")
