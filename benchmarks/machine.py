"""What a table was measured on: the processor, versions, and how fast Python was just then."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

__all__ = ["conditions", "python_loop_ms", "versions"]

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("aio-pika", "aiormq", "asyncpg", "orjson", "pydantic", "networkx", "uvloop")
LOOPS: Final = 300_000


def versions(servers: Mapping[str, str]) -> str:
    """Return the versions of everything that takes part, in one line.

    Args:
        servers: The versions of servers and peers, by name.
    """
    named = {"Python": platform.python_version(), **servers}
    for package in PACKAGES:
        try:
            named[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(f"{name} {version}" for name, version in named.items())


def conditions(rounds: int, scale: float) -> str:
    """Return when, where and how often something was measured, in one line.

    Args:
        rounds: How many rounds were made.
        scale: The scale of the session.
    """
    small = "" if scale == 1.0 else f" at scale {scale:g} (a trial: these figures mean nothing)"
    count = "1 round" if rounds == 1 else f"{rounds} rounds"
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    load = os.getloadavg()[0]
    return (
        f"{count}{small}, {when} UTC, commit {_commit()}; {os.cpu_count()} × {_processor()}, "
        f"load average {load:.1f} at the end, a fixed loop of Python took {python_loop_ms():.1f} ms"
    )


def python_loop_ms() -> float:
    """Return how long a fixed loop takes: it tells a slow moment of a virtual processor."""
    began = time.perf_counter()
    total = 0
    for number in range(LOOPS):
        total += number
    return (time.perf_counter() - began) * 1e3


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
