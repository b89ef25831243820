"""Tests of `runtime.keeping`: what attempts leave behind, in headers."""

from __future__ import annotations

import pytest

from flow.bags import Bag
from flow.errors import FlowError, TooLarge
from flow.kept import SHARED_LIMIT, Kept
from flow.message import user_headers
from flow.ports import Envelope, Publication, check_publication
from flow.runtime.keeping import kept_of, with_kept
from flow.runtime.protocol import Outcome, StepReply, StepRequest

KEPT = Kept({"a": b"9007199254740993"}, {"ü": b"null"}, {"c": b'{"$bytes":"AA=="}'})


def test_what_was_kept_travels_in_headers() -> None:
    """Each of the three is a JSON object in a header of the system, beside those of the user."""
    headers = with_kept({"tenant": "blue"}, KEPT)
    assert headers == {
        "tenant": "blue",
        "flow-state": '{"a":9007199254740993}',
        "flow-shared": '{"ü":null}',
        "flow-metadata": '{"c":{"$bytes":"AA=="}}',
    }
    assert kept_of(headers) == KEPT
    assert user_headers(headers) == {"tenant": "blue"}


def test_nothing_costs_nothing() -> None:
    """Without anything kept the headers are the same ones, and nothing is read."""
    headers = {"tenant": "blue"}
    assert with_kept(headers, None) is headers
    assert kept_of(headers) is None
    assert with_kept(headers, Kept(state={"a": b"1"})) == {**headers, "flow-state": '{"a":1}'}
    assert kept_of({"flow-state": "{}"}) == Kept()


@pytest.mark.parametrize("text", ["[]", "{", '{"a":1e999}'])
@pytest.mark.parametrize("name", ["flow-state", "flow-shared", "flow-metadata"])
def test_what_makes_no_sense_fails_the_step(name: str, text: str) -> None:
    """A reply whose state cannot be read is a failure that no other attempt can mend."""
    with pytest.raises(FlowError, match=name):
        kept_of({name: text})
    reply = StepReply.read(Envelope("step.reply", b"1", headers={name: text}))
    assert (reply.outcome, reply.retryable) == (Outcome.FAILURE, False)
    assert reply.failure is not None
    assert name in reply.failure.message


def test_too_much_fails_the_step() -> None:
    """A worker in another language cannot share more than ours may."""
    much = '{"a":"' + "x" * SHARED_LIMIT + '"}'
    reply = StepReply.read(Envelope("step.reply", b"1", headers={"flow-shared": much}))
    assert reply.failure is not None
    assert reply.failure.type == "flow.errors.TooLarge"


def test_as_much_as_is_allowed_fits_into_a_message() -> None:
    """All limits together are below what a broker takes, for a request and for a reply."""
    state, shared, own = ({"a": b'"' + b"x" * (n * 1024 - 7) + b'"'} for n in (16, 48, 16))
    headers = {"mine": "y" * (16 * 1024 - 4)}
    reply = StepReply(Outcome.FAILURE, headers=headers, kept=Kept(state, shared, own))
    ids = "i" * 255
    check_publication(Publication(ids, ids, reply.envelope(ids, ids)))
    texts = [f'{{"a":{values["a"].decode()}}}' for values in (state, shared)]
    asked = StepRequest(
        "pay.charge", b"1", ids, ids, headers, ids, ids, state=texts[0], shared=texts[1]
    )
    check_publication(Publication(ids, ids, asked.envelope(ids)))
    read = StepRequest.read(asked.envelope(ids), "")
    assert (read.state, read.shared, read.is_again) == (texts[0], texts[1], False)


def test_many_small_values_fit_too() -> None:
    """What stands around names and values counts, so that no object is larger than its limit."""
    bag = Bag("the shared state", SHARED_LIMIT)

    def fill() -> None:
        for number in range(SHARED_LIMIT):
            bag[f"\x00{number}"] = 1

    with pytest.raises(TooLarge):
        fill()
    assert len(bag) > SHARED_LIMIT // 20
    assert len(with_kept({}, Kept(shared=bag.written))["flow-shared"]) <= SHARED_LIMIT + 1
