"""Medians, and ratios within a round."""

import pytest

from benchmarks.suite import BENCHMARKS, Figure, Measurement, benchmark, summarize


def test_figures_are_medians_with_their_extremes() -> None:
    """A figure is the median of its rounds, whatever order they came in."""
    rounds = [[Measurement("ours", {"ms": value})] for value in (9.0, 1.0, 2.0)]
    (row,) = summarize(rounds)
    assert row.figures == {"ms": Figure(2.0, 1.0, 9.0)}


def test_a_ratio_is_made_within_a_round() -> None:
    """A ratio compares what was measured side by side, although the machine slowed down."""
    rounds = [
        [Measurement("ours", {"per s": ours}, "floor"), Measurement("floor", {"per s": floor})]
        for ours, floor in ((50.0, 100.0), (10.0, 20.0), (2.0, 8.0))
    ]
    ours, floor = summarize(rounds)
    assert ours.ratios == {"per s ÷ floor": Figure(0.5, 0.25, 0.5)}
    assert floor.ratios == {}


def test_a_row_may_be_compared_with_several() -> None:
    """Each base has ratios of its own, named after who it belongs to, for the chosen columns."""
    rounds = [
        [
            Measurement("ours, all", {"a": 6.0, "b": 9.0}, ("x, all", "y, all"), ("a", "b")),
            Measurement("x, all", {"a": 2.0, "b": 0.0}),
            Measurement("y, all", {"a": 3.0}),
        ]
    ]
    ratios = summarize(rounds)[0].ratios
    assert {what: figure.median for what, figure in ratios.items()} == {"a ÷ x": 3.0, "a ÷ y": 2.0}


def test_a_round_may_lack_a_row() -> None:
    """A row that only some rounds have is the median of these, and cores are medians too."""
    cores = [{"worker": 0.2}, {"worker": 0.6}, {"worker": 0.4}]
    rounds = [[Measurement("ours", {"ms": 1.0}, cores=each)] for each in cores]
    rounds.append([Measurement("other", {"ms": 1.0})])
    ours, other = summarize(rounds)
    assert ours.cores == {"worker": 0.4}
    assert other.name == "other"


def test_a_name_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second benchmark with the same name is refused, and the first one stays."""
    monkeypatch.setattr("benchmarks.suite.BENCHMARKS", {})
    measure = benchmark("one", "One")(lambda session: [])
    with pytest.raises(ValueError, match="one"):
        benchmark("one", "Other")(lambda session: [])
    assert measure is not None
    assert "one" not in BENCHMARKS
