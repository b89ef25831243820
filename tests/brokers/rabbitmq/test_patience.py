"""Tests of `brokers.rabbitmq.patience`."""

from __future__ import annotations

from brokers.rabbitmq.patience import FIRST_S, LONGEST_S, Patience


def test_patience_is_over_when_nothing_was_confirmed_for_long() -> None:
    """It counts from the first call that was not confirmed, and not from the last one."""
    patience = Patience()
    assert not patience.is_over(1_000.0)
    patience.begin(100.0)
    patience.begin(110.0)
    assert not patience.is_over(100.0 + FIRST_S - 0.1)
    assert patience.is_over(100.0 + FIRST_S)


def test_a_confirm_or_a_block_begins_anew() -> None:
    """Whatever was confirmed, or could not be, excuses the silence before it."""
    for excuse in (Patience.end, Patience.pardon):
        patience = Patience()
        patience.begin(100.0)
        excuse(patience)
        assert not patience.is_over(200.0)
        patience.begin(200.0)
        assert not patience.is_over(200.0 + FIRST_S - 0.1)
        assert patience.is_over(200.0 + FIRST_S)


def test_each_connection_gets_twice_as_long_until_something_is_confirmed() -> None:
    """A destination that never confirms costs fewer and fewer connections."""
    patience, limits = Patience(), list[float]()
    for _ in range(8):
        patience.begin(0.0)
        limits.append(next(now for now in range(1_000) if patience.is_over(float(now))))
    assert limits == [20, 40, 80, 160, 320, 640, LONGEST_S, LONGEST_S]
    patience.end()
    patience.begin(0.0)
    assert patience.is_over(FIRST_S)
