"""What the tests of the adapter share: both ways to publish and to receive."""

from __future__ import annotations

import pytest

from brokers.rabbitmq import url as url_module
from brokers.rabbitmq.url import WIRES


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the wire that connections use in this test, which is run once for each."""
    name = str(request.param)
    monkeypatch.setattr(url_module, "DEFAULT_WIRE", name)
    return name
