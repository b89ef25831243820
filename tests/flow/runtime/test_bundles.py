"""Tests of `flow.runtime.bundles`."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from flow.errors import CorruptRecord
from flow.ports import Delivery, Envelope, Publication, Settlement
from flow.runtime.bundles import BUNDLE, BYTES_MAX, MESSAGES_MAX, Bundler, messages_of, unpacked
from flow.runtime.protocol import ANSWER, REPLY, REQUEST
from flow.testing import FlowHarness
from tests.flow.runtime.clocks import CountingChance
from tests.flow.runtime.letters import Letter, bundle_of
from tests.flow.runtime.worlds import chain, stub_chain

Publish = Callable[[Sequence[Publication]], Awaitable[Sequence[Settlement]]]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
envelopes = st.builds(
    Envelope,
    type=texts,
    body=st.binary(max_size=50),
    message_id=texts,
    correlation_id=texts,
    reply_to=texts,
    headers=st.dictionaries(texts.map(lambda name: f"x{name}"), texts, max_size=3),
    content_type=texts,
)


def is_ours(exchange: str, _key: str) -> bool:
    """Return whether bundles are known there."""
    return exchange == "ours"


def bundler() -> Bundler:
    """Return a bundler: whoever reads from the exchange `ours` knows bundles."""
    return Bundler(is_ours, CountingChance().new_id)


def to(exchange: str, key: str, body: bytes = b"1", *, mandatory: bool = True) -> Publication:
    """Return a message."""
    return Publication(exchange, key, Envelope("t", body), mandatory)


def bodies(publication: Publication) -> list[bytes]:
    """Return the bodies of what travels in a publication."""
    envelope = publication.envelope
    each = messages_of(envelope) if envelope.type == BUNDLE else (envelope,)
    return [one.body for one in each]


@given(st.lists(envelopes, min_size=2, max_size=5))
def test_messages_come_out_as_they_went_in(given_envelopes: list[Envelope]) -> None:
    """Whatever the messages are, they arrive as they were, in their order."""
    packed = bundler().pack([Publication("ours", "q", each) for each in given_envelopes])
    assert packed is not None
    (bundle,) = packed.publications
    assert bundle.envelope.type == BUNDLE
    assert bundle.envelope.message_id
    assert messages_of(bundle.envelope) == given_envelopes


def test_only_what_goes_the_same_way_travels_together() -> None:
    """Another queue, a reader who knows no bundles, or a different promise keep messages apart."""
    publications = [
        to("ours", "a", b"1"),
        to("theirs", "a", b"2"),
        to("ours", "b", b"3"),
        to("ours", "a", b"4"),
        to("theirs", "a", b"5"),
        to("ours", "a", b"6", mandatory=False),
    ]
    packed = bundler().pack(publications)
    assert packed is not None
    kept = [publications[place] for place in (1, 2, 4, 5)]
    assert packed.publications[1:] == kept
    bundle = packed.publications[0]
    assert (bundle.exchange, bundle.routing_key, bundle.mandatory) == ("ours", "a", True)
    assert bodies(bundle) == [b"1", b"4"]


def test_each_learns_what_became_of_what_it_travelled_in() -> None:
    """A settlement of a bundle is that of each of its messages; unknown stays unknown."""
    publications = [to("ours", "a"), to("x", "y"), to("ours", "a"), to("ours", "b")]
    packed = bundler().pack(publications)
    assert packed is not None
    confirmed, unroutable = Settlement.CONFIRMED, Settlement.UNROUTABLE
    assert packed.of_each([confirmed, unroutable, None]) == [confirmed, unroutable, confirmed, None]


@pytest.mark.parametrize(
    "publications",
    [
        [to("ours", "a"), to("ours", "b")],
        [to("theirs", "a"), to("theirs", "a")],
        [to("ours", "a", bytes(BYTES_MAX)), to("ours", "a", bytes(BYTES_MAX))],
        # The broker says what is wrong with them.
        [to("ours", "a" * 300), to("ours", "a" * 300)],
    ],
)
def test_nothing_changes_if_each_travels_alone(publications: list[Publication]) -> None:
    """Where no two messages can travel together, nothing is packed."""
    assert bundler().pack(publications) is None


def test_bundles_have_limits() -> None:
    """A bundle has so many messages and bytes; what is too large for any travels alone."""
    many = [to("ours", "a", b"%d" % number) for number in range(2 * MESSAGES_MAX + 1)]
    packed = bundler().pack(many)
    assert packed is not None
    assert [len(bodies(each)) for each in packed.publications] == [MESSAGES_MAX, MESSAGES_MAX, 1]
    sizes = [40_000, 20_000, 20_000, BYTES_MAX, 100, 100]
    packed = bundler().pack([to("ours", "a", bytes(size)) for size in sizes])
    assert packed is not None
    found = [[len(body) for body in bodies(each)] for each in packed.publications]
    assert found == [[40_000, 20_000], [20_000], [BYTES_MAX], [100, 100]]


def parts_of(letter: Letter) -> list[Delivery]:
    """Return the messages of a bundle of three that arrived."""
    letter.envelope = bundle_of(*(Envelope("t", b"%d" % number) for number in range(3)))
    return list(unpacked(letter))


@pytest.mark.parametrize(
    ("ends", "end"),
    [
        (["ack", "ack", "ack"], "ack"),
        (["ack", "reject", "ack"], "reject"),
        (["requeue", "reject", "ack"], "requeue"),
        (["ack", "ack", "requeue"], "requeue"),
    ],
)
def test_a_bundle_is_settled_with_its_last_message(ends: list[str], end: str) -> None:
    """It is settled when all of its messages are, by the gravest; a second word changes nothing."""
    letter = Letter(Envelope("", b""), "a", redelivered=True)
    parts = parts_of(letter)
    for part, how in zip(parts, ends, strict=True):
        assert letter.settled == []
        assert (part.routing_key, part.redelivered) == ("a", True)
        getattr(part, how)()
        part.ack()
    assert letter.settled == [end]


def body_of(*heads: object, rest: bytes = b"") -> bytes:
    """Return the body of something like a bundle."""
    return orjson.dumps(heads) + b"\n" + rest


FINE: list[Any] = ["t", "m", "c", "", {}, "application/json", 1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json\n",
        b"7\n",
        b"{}\n",
        body_of(),
        body_of(FINE),
        body_of(FINE, rest=b"11"),
        body_of(FINE[:6], rest=b"1"),
        body_of([*FINE[:6], -1], FINE, FINE, rest=b"1"),
        body_of([*FINE[:6], "1"], rest=b"1"),
        body_of([1, *FINE[1:]], rest=b"1"),
        body_of([*FINE[:4], {"name": 7}, *FINE[5:]], rest=b"1"),
        body_of("1234567", rest=b"1"),
    ],
)
def test_what_is_no_bundle_is_corrupt(body: bytes) -> None:
    """A bundle that cannot be taken apart raises an error that says so, and is not settled."""
    letter = Letter(Envelope(BUNDLE, body))
    with pytest.raises(CorruptRecord, match="the bundle cannot be decoded"):
        unpacked(letter)
    assert letter.settled == []


@given(st.binary(max_size=80) | st.lists(st.from_type(object).map(repr)).map(orjson.dumps))
def test_garbage_raises_typed_errors_only(body: Any) -> None:
    """Whatever arrives, reading it works or raises CorruptRecord."""
    with contextlib.suppress(CorruptRecord):
        assert messages_of(Envelope(BUNDLE, body))


async def test_a_busy_flow_sends_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts, replies and answers of many executions travel together, and requests alone."""
    app, workflow = chain()
    published: list[Publication] = []
    async with FlowHarness(app) as test:
        stub_chain(test)
        broker: Any = test._broker
        real: Publish = broker.publish

        async def publish(publications: Sequence[Publication]) -> Sequence[Settlement]:
            published.extend(publications)
            return await real(publications)

        monkeypatch.setattr(broker, "publish", publish)
        assert await asyncio.gather(*(workflow.run() for _ in range(100))) == [3] * 100
    kinds = Counter(each.envelope.type for each in published)
    assert kinds[REQUEST] == 300
    assert 0 < kinds[BUNDLE] < 100
    assert kinds[REPLY] + kinds[ANSWER] < 50
