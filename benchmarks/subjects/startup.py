"""How long commands and imports take, against a Python that does nothing."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Final

from benchmarks.processes import ROOT
from benchmarks.suite import Measurement, Session, benchmark

__all__: list[str] = []

BASE: Final = "Python, nothing"
COMMANDS: Final = {
    BASE: ("-c", "pass"),
    "networkx, imported": ("-c", "import networkx"),
    "flowmq, import flow": ("-c", "import flow"),
    "flowmq, from flow import Flow": ("-c", "from flow import Flow"),
    "flowmq, flow --help": ("-P", "-m", "flow", "--help"),
    "flowmq, flow list": ("-P", "-m", "flow", "list"),
}
_TIMES: Final = 5


@benchmark("startup", "Starting")
def startup(session: Session) -> Iterator[Measurement]:
    """Measure the processor time of commands from their start to their end, the least of five."""
    with tempfile.TemporaryDirectory() as folder:
        for name, words in COMMANDS.items():
            spent = min(_cpu_s(words, folder) for _ in range(session.scaled(_TIMES)))
            against = "" if name == BASE else BASE
            yield Measurement(name, {"CPU ms": spent * 1e3}, against=against)


def _cpu_s(words: tuple[str, ...], folder: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
