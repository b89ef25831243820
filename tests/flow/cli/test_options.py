"""Values of options, taken apart."""

from pathlib import Path

import pytest

from flow.cli.options import Where, counts, input_body, output_of, pairs, values
from flow.errors import ConfigurationError, InvalidInput, TooLarge
from flow.names import BODY_LIMIT
from tests.flow.cli.console import flow


def test_pairs_keep_what_follows_the_first_sign() -> None:
    """A value may hold the sign itself, and may be empty."""
    assert pairs("--label", ["a=b=c", "d="]) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_a_pair_has_a_name_and_a_sign(text: str) -> None:
    """What is no pair is refused, with the option's name."""
    with pytest.raises(ConfigurationError, match="--label"):
        pairs("--label", [text])


@pytest.mark.parametrize("text", ["a=0", "a=-1", "a=x", "a=", "a=\u00b2"])
def test_a_count_is_a_positive_number(text: str) -> None:
    """A count is a whole number of at least 1."""
    assert counts("--retry", ["a=3"]) == {"a": 3}
    with pytest.raises(ConfigurationError, match="at least 1"):
        counts("--retry", [text])


def test_values_are_json() -> None:
    """A value is decoded, or refused with the name of its step."""
    assert values("--result", ['a={"b": 1}']) == {"a": {"b": 1}}
    with pytest.raises(InvalidInput, match="--result a"):
        values("--result", ["a={"])


def test_input_comes_from_the_command_or_a_file(tmp_path: Path) -> None:
    """The input is JSON, a file, or null."""
    (tmp_path / "in.json").write_text("[1]")
    assert input_body("") == b"null"
    assert input_body("5") == b"5"
    assert input_body(f"@{tmp_path}/in.json") == b"[1]"
    with pytest.raises(InvalidInput, match="No such file"):
        input_body(f"@{tmp_path}/nowhere.json")


def test_input_comes_from_standard_input(store: Path) -> None:
    """A dash means standard input, which is checked like any other."""
    done = flow("start", "checkout", "--input", "-", "--id", "order-1", given=b'{"total": 5}')
    assert (done.code, done.out) == (0, "order-1\n")
    large = flow("start", "checkout", "--input", "-", given=b" " * (BODY_LIMIT + 10))
    assert f"standard input has {BODY_LIMIT + 10:,} bytes" in large.err
    assert "not valid JSON" in flow("start", "checkout", "--input", "-", given=b"").err


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    """A file over the limit is refused by its size."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(BODY_LIMIT + 1)
    with pytest.raises(TooLarge):
        input_body(f"@{tmp_path}/large")


def test_output_follows_the_options() -> None:
    """Commands print for people unless --json is given."""
    assert not output_of(None).is_json
    assert output_of(Where(json=True)).is_json
