"""YAML: what JSON has survives, and what it has not is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from flow.codec import dumps
from flow.codec.yaml import read_yaml, write_yaml
from flow.errors import InvalidInput
from tests.flow.codec.strategies import VALUES

ROOT = Path(__file__).parents[3]
ODD = [
    *("2026-06-17", "null", "~", "yes", "0x1F", "1:30", "1_0", "1e3", ".inf", "=", "<<"),
    *("", " a ", "a: b", "#", "\n", "- a", "&a", "*a", "!a"),
    *("\x85", "\u2028", "\ufeff", "\x07", "\U0001f600"),
]


@pytest.fixture(params=[True, False], ids=["library", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose between the library that PyYAML wraps, where it has it, and its own Python."""
    if request.param and not yaml.__with_libyaml__:
        pytest.skip("PyYAML has been built without the library")
    monkeypatch.setattr(yaml, "__with_libyaml__", request.param)


@pytest.mark.usefixtures("parser")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_json_values_come_back(value: Any) -> None:
    """Every JSON value survives the way to YAML and back, strings that look like others too."""
    assert dumps(read_yaml(write_yaml(value), "it")) == dumps(value)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("text", ODD)
def test_texts_remain_texts(text: str) -> None:
    """A text that YAML could take for something else is a text still, as a key and as a value."""
    value = {text: text, "list": [text]}
    assert read_yaml(write_yaml(value), "it") == value


@pytest.mark.usefixtures("parser")
def test_what_looks_like_a_time_is_text() -> None:
    """A time without quotation marks is the text that it was."""
    text = "a: 2026-06-17T10:30:00.5Z\nb: 2026-06-17\n"
    assert read_yaml(text, "it") == {"a": "2026-06-17T10:30:00.5Z", "b": "2026-06-17"}


BOMB = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n"
    for before, name in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [*{before}, *{before}]}}\n"
    for before, name in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("a: [", "it is not valid YAML"),
        ("a: 1\n b: 2", "it is not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "it is not valid YAML"),
        ("!!bool perhaps", "it is not valid YAML"),
        ("!!int ''", "it is not valid YAML"),
        ("!!timestamp x", "it is not valid YAML"),
        ("? [a]\n: b", "it is not valid YAML"),
        (b"\xff\xfe\x00", "it is not valid YAML"),
        ("a\x00b", "it is not valid YAML"),
        ("9" * 5_000, "it is not valid YAML"),
        ("[" * 10_000, "it is nested more than 200 levels deep"),
        ("{a: " * 201, "it is nested more than 200 levels deep"),
        ("a: &a [*a]", "it has an alias"),
        (BOMB, "it has an alias"),
        (MERGED, "it has an alias"),
        ("--- 1\n--- 2", "it is not valid YAML"),
    ],
)
def test_what_is_wrong_is_refused(text: str | bytes, wrong: str) -> None:
    """Text that is no YAML, that makes objects, or that repeats itself is refused."""
    with pytest.raises(InvalidInput, match=f"^the report: {wrong}"):
        read_yaml(text, "the report")


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("value", [object(), {"a": {1j}}])
def test_what_yaml_has_no_form_for_is_refused(value: object) -> None:
    """What cannot be written is refused."""
    with pytest.raises(InvalidInput, match=r"^the value: it cannot be written as YAML"):
        write_yaml(value)


def test_half_a_character_is_refused() -> None:
    """A text that has no form in UTF-8 is refused by the library."""
    if not yaml.__with_libyaml__:
        pytest.skip("PyYAML has been built without the library")
    with pytest.raises(InvalidInput, match="surrogates not allowed"):
        write_yaml("\ud800")


@pytest.mark.usefixtures("parser")
def test_a_deep_value_comes_back() -> None:
    """Two hundred levels are not too many, and brackets side by side are no levels."""
    value: Any = [[], [[]], {}]
    for _ in range(197):
        value = [value]
    assert read_yaml(write_yaml(value), "it") == value
    assert read_yaml("[" + "[]," * 300 + "]", "it") == [[]] * 300


def test_nobody_loads_yaml_in_vain() -> None:
    """Reports, and all that knows them, are imported without PyYAML."""
    program = "import sys, flow, flow.app, flow.report; print('yaml' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert ended.stdout == "False\n"
