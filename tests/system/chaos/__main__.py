"""Breaks a real system for some minutes, and tells what came of it: `make chaos MINUTES=10`.

Everything runs on servers of its own, in temporary folders. The plan of what is broken follows
from the seed, which is printed first. The exit code is 1 if something is wrong; the logs of all
processes are then kept, and it is said where.
"""

import argparse
import asyncio
import logging
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.system.chaos import checker, report
from tests.system.chaos.evidence import Evidence, save
from tests.system.chaos.run import Settings, perform

__all__ = ["main"]


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.system.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long things break (10)")
    parser.add_argument("--seed", type=int, help="where all chance comes from")
    parser.add_argument("--rate", type=float, default=5.0, help="executions in a second (5)")
    parser.add_argument("--patience", type=float, default=180.0, help="seconds to end after (180)")
    parser.add_argument("--report", type=Path, help="a file that gets the report too")
    parser.add_argument("--keep", action="store_true", help="keep the logs in any case")
    return parser.parse_args(words)


async def perform_alone(folder: Path, settings: Settings) -> Evidence:
    """Carry out a run on servers of its own; return what is known about it.

    Args:
        folder: An empty folder, for everything that processes write.
        settings: What kind of run it is.
    """
    rabbitmq, postgres = RabbitServer(), PostgresServer()
    try:
        await rabbitmq.start()
        await postgres.start()
        return await perform(folder, rabbitmq, postgres, settings)
    finally:
        rabbitmq.close()
        postgres.close()


def main(words: Sequence[str]) -> int:
    """Do it.

    Args:
        words: The arguments of the command.

    Returns:
        The exit code.
    """
    chosen = _arguments(words)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    # What clients log about outages is of no interest here.
    for name in ("flow", "asyncio", "aiormq"):
        logging.getLogger(name).setLevel(logging.ERROR)
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    folder = Path(tempfile.mkdtemp(prefix="flow-chaos-", dir="/tmp"))
    sys.stdout.write(f"seed {seed}; logs in {folder}\n")
    sys.stdout.flush()
    settings = Settings(
        seconds=chosen.minutes * 60, seed=seed, rate=chosen.rate, patience_s=chosen.patience
    )
    evidence = asyncio.run(perform_alone(folder, settings))
    finding = checker.check(evidence)
    text, wrong = report.table(evidence, finding, seed), report.offenders(finding)
    if finding.is_clean and not chosen.keep:
        shutil.rmtree(folder)
        kept = ""
    else:
        save(evidence, folder)
        kept = f"the logs, and the evidence, are in {folder}"
    if chosen.report is not None:
        chosen.report.write_text("\n".join(filter(None, (text, wrong))) + "\n")
    sys.stdout.write("\n".join(filter(None, (wrong, kept, text))) + "\n")
    return int(not finding.is_clean)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
