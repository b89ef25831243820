"""The README's example of several processes does what the README says."""

import re
import shlex
from pathlib import Path

import pytest

from tests.system.processes import ROOT, Crew

pytestmark = [pytest.mark.system, pytest.mark.long]

README = (ROOT / "README.md").read_text()
SUPPERS = 20


def commands() -> list[list[str]]:
    """Return the commands of the block that starts the example."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    (block,) = [block for block in blocks if "examples/delivery/client.py" in block]
    return [shlex.split(line.removesuffix(" &")) for line in block.splitlines()]


def arguments_of(command: list[str]) -> list[str]:
    """Return what Python is told to do the same as a command, from whichever folder."""
    program, *rest = command
    found = [str(ROOT / part) if part.startswith("examples/") else part for part in rest]
    return ["-m", "flow", *found] if program == "flow" else found


@pytest.mark.timeout(120)
async def test_four_services_two_orchestrators_and_a_client(
    crew: Crew, broker_url: str, database_url: str
) -> None:
    """The commands of the README deliver every supper, and every process ends in order."""
    crew.broker, crew.store = broker_url, database_url
    *servers, client = commands()
    assert [command[1] for command in servers] == ["worker"] * 4 + ["orchestrator"] * 2
    assert Path(client[0]).name == "python"
    children = [crew.run(*arguments_of(command)) for command in servers]
    for child in children:
        await child.says("ready;")
    asking = crew.run(*arguments_of(client))
    assert await asking.ended() == 0, asking.output
    lines = asking.output.splitlines()
    expected = [
        f"customer-{number}, your meal is on its way to {number} Main Street"
        for number in range(1, SUPPERS + 1)
    ]
    assert lines[:-1] == expected
    for child in children:
        await child.terminate()
    messages = children[3].output.splitlines()
    heard = {line for line in messages if line.startswith("delivered to ")}
    assert heard == {
        f"delivered to customer-{number} 00-{number:032x}-{number:016x}-01"
        for number in range(1, SUPPERS + 1)
    }
