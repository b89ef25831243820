"""The protocol's page says what the code does: every type, header, verb, exchange and cap."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flow import errors, names
from flow.kernel.waiters import WAITERS_MAX
from flow.runtime import protocol
from flow.runtime.addresses import Addresses
from flow.runtime.orchestrator import members
from flow.runtime.worker import cancellations
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import single

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()
SOURCES = [Path(str(module.__file__)).read_text() for module in (protocol, cancellations)]
HEADERS = sorted({name for text in SOURCES for name in re.findall(r"[\"`](flow-[a-z-]+)", text)})
TYPES = sorted(
    value
    for name, value in vars(protocol).items()
    if name.isupper() and isinstance(value, str) and not name.endswith(("_HEADER", "_PREFIX"))
)
NEWS = sorted(value for value in vars(members).values() if str(value).startswith("news."))


def mentions(word: str) -> bool:
    """Return whether the page has a word in code marks, perhaps with others behind it."""
    return re.search(rf"[`{{ ]{re.escape(word)}[`,.<: }}\n]", PAGE) is not None


@pytest.mark.parametrize("type", [*TYPES, *NEWS])
def test_every_type_is_described(type: str) -> None:
    """No message crosses the broker that the page does not name."""
    assert mentions(type)


@pytest.mark.parametrize("header", HEADERS)
def test_every_header_is_described(header: str) -> None:
    """No header is read or written that the page does not name."""
    assert mentions(header)


async def test_every_verb_is_described() -> None:
    """Every verb that an orchestrator answers is on the page, and no other."""
    app, _ = single()
    async with FlowHarness(app):
        assert app.host is not None
        orchestrator: Any = app.host._orchestrator
        requests = orchestrator._requests
        verbs = {*requests.about_one, *requests.reading}
    told = set(re.findall(r"`request\.([a-z.]+)`", PAGE))
    assert told == verbs


def test_every_exchange_is_described() -> None:
    """Every exchange of the topology is on the page, with its kind."""
    addresses = Addresses("{ns}")
    for exchange in addresses.exchanges().exchanges:
        assert f"| `{exchange.name}` | {exchange.kind} |" in PAGE, exchange
    for queue in addresses.orchestrator(1).queues:
        name = re.sub(r"\.0$", ".<partition>", queue.name)
        assert f"`{name}`" in PAGE, queue
    for name in (
        addresses.service_queue("<service>"),
        addresses.reply_queue("<client>"),
        addresses.member_queue("<owner>"),
        addresses.cancel_queue("<worker>"),
        addresses.subscriber_queue("<service>.<method>"),
        addresses.incarnation("<id>"),
    ):
        assert f"`{name}`" in PAGE, name


def test_every_cap_is_described() -> None:
    """The page tells the limits that the code has."""
    for limit in (
        names.BODY_LIMIT,
        names.REQUEST_LIMIT,
        names.HEADERS_LIMIT,
        protocol.PROGRESS_LIMIT,
    ):
        assert f"| {limit:,} bytes |" in PAGE, limit
    assert f"| {names.DEPTH_LIMIT} levels |" in PAGE
    assert f"At most {WAITERS_MAX:,} may wait" in PAGE


def test_every_error_on_the_page_exists() -> None:
    """A program that looks for an error of the page may meet it."""
    section = PAGE.split("### Errors")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([A-Z][A-Za-z]+)`", row)}
    assert len(told) > 10
    assert told <= set(errors.__all__)


def test_the_lists_above_are_not_empty() -> None:
    """What is looked for was found in the code: else nothing would be checked."""
    assert {"step.request", "step.reply", "answer", "topic", "step.announce"} <= set(TYPES)
    assert {"flow-id", "flow-wait", "flow-outcome", "flow-epoch", "flow-permit"} <= set(HEADERS)
    assert {"news.revision", "news.pruned"} <= set(NEWS)
