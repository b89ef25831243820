"""Lengths of time as people type them."""

import pytest

from flow.cli.times import span_s
from flow.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90m", 5_400), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)],
)
def test_a_number_and_a_unit(text: str, seconds: int) -> None:
    """A whole number with a unit is so many seconds, in capitals too."""
    assert span_s("--older-than", text) == span_s("--older-than", text.upper()) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "1 d", "1y", "9999999999d"])
def test_everything_else_is_refused(text: str) -> None:
    """What is not clear is refused, with an example."""
    with pytest.raises(ConfigurationError, match=r"--older-than .* such as 30d"):
        span_s("--older-than", text)
