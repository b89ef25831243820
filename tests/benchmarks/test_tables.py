"""Tables, and the parts of a document that they are written into."""

import pytest

from benchmarks.suite import Figure, Goal, Row
from benchmarks.tables import number, replace_part, table, verdicts


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12_345.6, "12,346"), (56.78, "56.8"), (1.234, "1.23"), (0.01234, "0.0123")],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    """A number is written with about three digits that mean something."""
    assert number(value) == text


def test_a_table_has_a_column_for_everything() -> None:
    """Figures, bases and cores have columns, and a row without one of them an empty cell."""
    ratios = {"ms ÷ floor": Figure(2, 2, 2), "s ÷ floor": Figure(3, 1, 4)}
    rows = [
        Row("ours", {"ms": Figure(2, 1, 3)}, ratios, {"worker": 0.51}),
        Row("floor", {"ms": Figure(1, 1, 1)}, {}, {}),
    ]
    assert table(rows).splitlines() == [
        "| what | ms | ÷ floor | cores used |",
        "| --- | --: | --- | --- |",
        "| ours | 2.00 [1.00–3.00] | **2.00** ms, **3.00 [1.00–4.00]** s | worker 0.51 |",
        "| floor | 1.00 |  |  |",
    ]


def test_a_table_without_cores_has_no_such_column() -> None:
    """The column of cores is left out when nothing has measured them."""
    assert table([Row("ours", {"ms": Figure(1, 1, 1)}, {}, {})]).splitlines() == [
        "| what | ms |",
        "| --- | --: |",
        "| ours | 1.00 |",
    ]


def test_goals_are_judged_by_the_median() -> None:
    """A goal is met or not met by the median; one that was not measured is left out."""
    rows = [Row("ours", {"ms": Figure(2, 1, 9)}, {"ms ÷ floor": Figure(1.5, 1, 3)}, {})]
    goals = [
        Goal("ours", "ms", most=2),
        Goal("ours", "ms ÷ floor", least=2, most=3),
        Goal("ours", "ms ÷ peer", most=1),
        Goal("other", "ms", most=1),
    ]
    assert verdicts(rows, goals).splitlines() == [
        "- ms of ours, at most 2: 2.00, met",
        "- ms ÷ floor of ours, at least 2 and at most 3: 1.50, **not met**",
    ]


def test_only_the_named_part_is_replaced() -> None:
    """What stands outside of a part, and in other parts, is kept as it is."""
    parts = "<!-- begin a -->\nold\n<!-- end a -->\nprose\n<!-- begin b -->\nold\n<!-- end b -->\n"
    found = replace_part(parts, "b", "new \\1")
    assert found == parts.replace("b -->\nold", "b -->\nnew \\1")


def test_a_new_part_comes_last() -> None:
    """A part that the document lacks is appended to it, and replaced from then on."""
    once = replace_part("# Title\n", "a", "one")
    assert once == "# Title\n\n<!-- begin a -->\none\n<!-- end a -->\n"
    assert replace_part(once, "a", "two") == once.replace("one", "two")
