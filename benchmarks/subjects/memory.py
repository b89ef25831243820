"""The memory that an execution takes in the process that runs it, embedded."""

import tempfile
from collections.abc import Iterator
from typing import Final

from benchmarks.processes import Children
from benchmarks.suite import Measurement, Session, benchmark

__all__: list[str] = []

COUNT: Final = 10_000
KINDS: Final = {
    "live": "its handler waits",
    "waiting": "its next attempt is due in a day",
}


@benchmark("memory", "Memory of an execution in one process, SQLite", rounds=1)
def memory(session: Session) -> Iterator[Measurement]:
    """Measure by how much a process grows with ten thousand executions of one step."""
    for kind, title in KINDS.items():
        with tempfile.TemporaryDirectory() as folder, Children() as children:
            place = {"FLOW_BROKER": "memory:", "FLOW_STORE": f"sqlite:///{folder}/flow.db"}
            count = str(session.scaled(COUNT, 100))
            program = ("-m", "benchmarks.programs.crowd", kind, count)
            child = children.python("process", *program, environment=place)
            yield Measurement(f"{kind}: {title}", child.answers())
