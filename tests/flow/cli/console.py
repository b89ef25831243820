"""Helpers: a small program in a folder, commands run in this process, and golden files.

The golden files hold what commands print, with ids, times and folders made the same everywhere.
After a change that is meant, write them anew and look at the difference:

    FLOW_UPDATE_GOLDEN=1 python -m pytest tests/flow/cli
"""

import io
import os
import re
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from flow.cli.program import run

GOLDEN = Path(__file__).parent / "golden"

SHOP = '''\
"""A shop: what the tests of the command line run."""

import asyncio

from flow import Fail, Flow, RetryPolicy, Step

app = Flow("shop")
other = "no flow"


@app.step
async def reserve(order: dict) -> dict:
    return {"id": "h1"}


@app.step(requires=[reserve], retry=RetryPolicy(max_attempts=3, initial=0.1))
async def charge(order: dict, reserve: dict) -> dict:
    await asyncio.sleep(float(order.get("slow", 0)))
    if order.get("bad"):
        raise Fail("the card was refused")
    return {"paid": order.get("total", 0)}


@app.step(requires=[charge], timeout=5, optional=True)
async def ship(order: dict) -> str:
    return "shipped"


checkout = app.workflow("checkout", reserve, charge, ship, output=charge)
notice = app.workflow("notice", Step.publish("orders.noticed"))
parcels = app.workflow("parcels", Step.sub_workflow(checkout, id="buy"), labels={"kind": "test"})
lost = app.workflow("lost", Step.call("nobody.there"))
'''


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class _Text(io.TextIOWrapper):
    """Text that is kept, with the buffer that a real stream has."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        self.seek(0)
        return self.read()


def flow(*arguments: str, given: bytes = b"") -> Ended:
    """Run a command in this process.

    Args:
        arguments: What would be typed behind `flow`.
        given: Standard input.
    """
    out, err = _Text(), _Text()
    before, sys.stdin = sys.stdin, _Text(given)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = run(arguments)
    finally:
        sys.stdin = before
    return Ended(code, out.text, err.text)


def transcript(ended: Ended, *arguments: str) -> str:
    """Return a command and what it printed, as a golden file has it."""
    command = " ".join(shlex.quote(item) for item in ("flow", *arguments))
    text = f"$ {command}\n{ended.out}"
    text += "".join(f"2> {line}\n" for line in ended.err.splitlines())
    return f"{text}[{ended.code}]\n"


def expect_golden(name: str, text: str) -> None:
    """Compare a text with a golden file; write the file if the environment asks for it."""
    found = normal(text)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("FLOW_UPDATE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


def normal(text: str) -> str:
    """Return a text with ids, times and folders that are the same on every machine and day."""
    text = text.replace(str(Path.cwd().resolve()), "HERE")
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "TIME", text)
    text = re.sub(r"just now|\b\d+ (s|min|h|d) ago", "AGO", text)
    text = re.sub(r"\b\d+(\.\d)? (ms|s)(?=$|  |,)", "SPAN", text, flags=re.MULTILINE)
    text = re.sub(r"process \d+ on \S+?(?=[;,])", "process PID on HOST", text)
    text = re.sub(r"by cli/\w+", "by cli/USER", text)
    # Columns are as wide as what stood in them before.
    return re.sub(r"(AGO|SPAN|STARTED) {2,}", r"\1  ", text)


@contextmanager
def folder(path: Path) -> Generator[Path]:
    """Make a folder with the program the present one, and forget what was imported there."""
    before, paths, modules = Path.cwd(), list(sys.path), set(sys.modules)
    (path / "shop.py").write_text(SHOP)
    os.chdir(path)
    try:
        yield path
    finally:
        os.chdir(before)
        sys.path[:] = paths
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(path):
                del sys.modules[name]
