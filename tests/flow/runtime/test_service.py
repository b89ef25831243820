"""Tests of `flow.runtime.service`."""

from __future__ import annotations

import pytest

from flow.errors import DuplicateDefinition, InvalidName, InvalidOption
from flow.runtime.service import Endpoint, WorkerSettings, endpoints_of
from tests.flow.runtime.worker_bench import FakeHandler, step

HANDLER = FakeHandler(len)


@pytest.mark.parametrize("name", ["charge", "pay.charge.now", "pay.", "", "pay.to charge"])
def test_a_name_that_is_no_endpoint_is_refused(name: str) -> None:
    """An endpoint is a service and a method."""
    with pytest.raises(InvalidName, match="endpoint"):
        Endpoint(name, HANDLER)


def test_endpoints_are_found_by_name() -> None:
    """Endpoints become a table, in their order."""
    first, second = step(len, "pay.charge"), step(len, "ship.send")
    assert list(endpoints_of([first, second]).items()) == [
        ("pay.charge", first),
        ("ship.send", second),
    ]


def test_names_that_are_there_twice_are_all_named() -> None:
    """Two handlers of one endpoint are refused, and every such name is told."""
    endpoints = [step(len, name) for name in ("a.x", "a.y", "a.x", "a.y", "a.z")]
    with pytest.raises(DuplicateDefinition, match=r"'a\.x', 'a\.y'$"):
        endpoints_of(endpoints)


def test_a_worker_has_to_be_able_to_work() -> None:
    """A worker that may not run anything is refused."""
    with pytest.raises(InvalidOption, match="concurrency=0"):
        WorkerSettings(concurrency=0)
