"""Graphs of real scientific workflows, as WfCommons recorded them (WfFormat 1.5).

They are not part of the project: they are read from a folder beside it, where there is one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from flow import Flow, Step, Workflow
from tests.system.processes import ROOT

FOLDER = ROOT.parent / "shared" / "data" / "wfinstances"
ENDPOINT = "science.run"


@dataclass(frozen=True)
class Graph:
    """The tasks of a workflow.

    Args:
        name: The name of the file.
        parents: The tasks that have to be done before, by task; parents come first.
    """

    name: str
    parents: Mapping[str, tuple[str, ...]]

    def levels(self) -> list[set[str]]:
        """Return the tasks by the length of the longest path that leads to them."""
        depth: dict[str, int] = {}
        for task, parents in self.parents.items():
            depth[task] = max((depth[parent] + 1 for parent in parents), default=0)
        levels: list[set[str]] = [set() for _ in range(max(depth.values()) + 1)]
        for task, number in depth.items():
            levels[number].add(task)
        return levels


def names() -> list[str]:
    """Return the names of all graphs, smallest file first: none where the folder is absent."""
    files = sorted(FOLDER.glob("*.json"), key=lambda path: path.stat().st_size)
    return [path.stem for path in files]


def legal_name(task: str) -> str:
    """Return a task's id as a name that a step may have."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", task).lstrip("._-")[:200]


@cache
def load(name: str) -> Graph:
    """Return a graph.

    Args:
        name: The name of its file, without the ending.
    """
    document = json.loads((FOLDER / f"{name}.json").read_text())
    tasks = document["workflow"]["specification"]["tasks"]
    parents = {
        legal_name(task["id"]): tuple(map(legal_name, task.get("parents", ()))) for task in tasks
    }
    assert len(parents) == len(tasks), "two tasks have the same name"
    order = TopologicalSorter(parents).static_order()
    return Graph(name, {task: parents[task] for task in order})


def define(app: Flow, graph: Graph) -> Workflow[object]:
    """Make a workflow of a graph: each task a step that gets its parents' outputs.

    Args:
        app: Where to.
        graph: The graph.
    """
    steps: dict[str, Step[object]] = {}
    for task, parents in graph.parents.items():
        seen = {parent: steps[parent].output for parent in parents}
        requires = [steps[parent] for parent in parents]
        steps[task] = Step.call(
            ENDPOINT, id=task, requires=requires, input={"task": task, "parents": seen}
        )
    return app.workflow(legal_name(graph.name), *steps.values())


def missing_folder() -> str:
    """Return why there are no graphs: an empty string if there are."""
    return "" if Path(FOLDER).is_dir() else "the graphs of WfCommons are not beside the project"
