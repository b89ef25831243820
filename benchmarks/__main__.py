"""Runs benchmarks: `python -m benchmarks [names…] --rounds 3 --peers dbos,restate`.

Each round measures everything once, so that what is compared is measured in turn. The tables go
into the marked parts of docs/benchmarks.md; with --dry-run they are only printed.
"""

import argparse
import gc
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import machine
from benchmarks.servers import LocalServers, Missing
from benchmarks.suite import BENCHMARKS, Benchmark, Measurement, Session, summarize
from benchmarks.tables import number, replace_part, table, verdicts

__all__ = ["main"]

FOLDER = Path(__file__).resolve().parent
DOCUMENT = FOLDER.parent / "docs" / "benchmarks.md"


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says.

    Args:
        arguments: The command line.

    Returns:
        The exit code.
    """
    _load()
    options = _parser().parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        _say(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
        return 2
    chosen = [BENCHMARKS[name] for name in options.names or BENCHMARKS]
    peers = frozenset(str(options.peers).replace(",", " ").split())
    with LocalServers() as servers:
        session = Session(servers, peers, options.scale)
        try:
            measured = _measure(chosen, session, options.rounds)
        except Missing as missing:
            _say(str(missing))
            return 1
        parts = {each.name: _part(each, session, measured[each.name]) for each in chosen}
    for text in parts.values():
        _say(f"\n{text}")
    if not options.dry_run:
        _write(parts)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--peers", default="", help="other systems to measure: dbos,restate")
    parser.add_argument("--scale", type=float, default=1.0, help="less than 1: a quick trial")
    parser.add_argument("--dry-run", action="store_true", help="write nothing, only print")
    return parser


def _load() -> None:
    """Import every module of the folder `subjects`, each of which registers its benchmarks."""
    for path in sorted((FOLDER / "subjects").glob("*.py")):
        importlib.import_module(f"benchmarks.subjects.{path.stem}")


def _measure(
    chosen: Sequence[Benchmark], session: Session, rounds: int
) -> dict[str, list[list[Measurement]]]:
    """Return the measurements of each round of each benchmark."""
    measured: dict[str, list[list[Measurement]]] = {each.name: [] for each in chosen}
    for count in range(1, rounds + 1):
        for each in chosen:
            if each.rounds and count > each.rounds:
                continue
            began = time.perf_counter()
            found: list[Measurement] = []
            measured[each.name].append(found)
            for one in each.measure(replace(session, round=count)):
                found.append(one)
                values = ", ".join(f"{column} {number(it)}" for column, it in one.values.items())
                _say(f"  {one.name}: {values}")
            _say(f"round {count} of {each.name}: {time.perf_counter() - began:.1f} s")
            # What one benchmark leaves behind must not be collected in the time of the next one.
            gc.collect()
    return measured


def _part(each: Benchmark, session: Session, rounds: Sequence[Sequence[Measurement]]) -> str:
    """Return the part of the document that tells what a benchmark has found."""
    rows = summarize(rounds)
    told = machine.conditions(len(rounds), session.scale)
    used = machine.versions({**session.servers.versions(), **session.versions})
    goals = verdicts(rows, each.goals)
    parts = [f"## {each.title}", table(rows), *([f"Goals:\n\n{goals}"] if goals else [])]
    return "\n\n".join([*parts, f"Median [least–most] of {told}. {used}."])


def _write(parts: Mapping[str, str]) -> None:
    document = DOCUMENT.read_text() if DOCUMENT.exists() else "# Benchmarks\n"
    for name, text in parts.items():
        document = replace_part(document, name, text)
    DOCUMENT.write_text(document)
    _say(f"written into {DOCUMENT}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
