"""Journals that were written once have to load for ever.

The files beside this one were written by `make.py` with the versions of the machine types that
were current then. They are never changed: a new version of a type gets new files, and upcasters
that bring the old ones up to date.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from flow import codec
from flow.kernel.decide import MACHINES
from flow.kernel.tree import Tree
from flow.planner import plan
from flow.programs.steps import StepsProgram
from flow.runtime.orchestrator.views import execution_view

HISTORIES = sorted(Path(__file__).parent.glob("*.json"))
# What the journal does not hold: what is only known while the execution is in memory.
IN_MEMORY_ONLY = ("seq", "waiting_for", "progress")


def load(path: Path) -> dict[str, Any]:
    """Return a history: its definition, records, and the report as it was then."""
    history: dict[str, Any] = json.loads(path.read_text())
    return history


def without_memory(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report, or a step of one, without what the journal does not hold."""
    kept = {name: value for name, value in report.items() if name not in IN_MEMORY_ONLY}
    if "steps" in kept:
        kept["steps"] = [without_memory(step) for step in kept["steps"]]
    return kept


def restored(history: dict[str, Any], length: int) -> tuple[Tree, StepsProgram]:
    """Return the tree and the program after the first *length* records."""
    texts = [codec.dumps(record) for record in history["records"][:length]]
    records = [codec.decode_record(text, MACHINES) for text in texts]
    tree = Tree.load(MACHINES, [node for record in records for node in record.nodes])
    definition = codec.decode_definition(codec.dumps(history["definition"]))
    program = StepsProgram.attach(plan(definition, history["hash"]), codec.assemble, tree)
    return tree, program


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_an_old_journal_tells_the_same_story(path: Path) -> None:
    """Folding a journal of an older program gives the report that it gave then."""
    history = load(path)
    tree, program = restored(history, len(history["records"]))
    report = execution_view(path.stem, tree, program.plan)
    expected = without_memory(history["report"])
    assert without_memory(codec.loads(codec.dumps(report))) == expected


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_every_beginning_of_an_old_journal_can_be_loaded(path: Path) -> None:
    """An execution can be taken up after any of its records."""
    history = load(path)
    for length in range(1, len(history["records"]) + 1):
        tree, program = restored(history, length)
        out = [node for node in tree.walk() if node.machine.name == "step"]
        running = [node for node in out if node.state.name == "RUNNING"]
        assert program.attempts_out == len(running)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_an_old_definition_keeps_its_hash(path: Path) -> None:
    """A definition that was saved by an older program is found by the same hash."""
    history = load(path)
    definition = codec.decode_definition(codec.dumps(history["definition"]))
    assert codec.definition_hash(codec.encode_definition(definition)) == history["hash"]


def test_there_are_histories() -> None:
    """The files are there: without them the tests above would prove nothing."""
    names = {path.stem for path in HISTORIES}
    known = {"complete", "controlled", "failed", "waiting", "waited", "paused"}
    assert names >= known | {"compensated", "resolved"}
