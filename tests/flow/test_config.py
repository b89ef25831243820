"""Tests of `flow.config`: URLs and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow.config import (
    Settings,
    Url,
    has_password,
    moved,
    parse_url,
    redacted,
    socket_path,
)
from flow.errors import ConfigurationError


def test_without_anything_it_is_embedded() -> None:
    """The default is an in-process broker and a SQLite file named after the flow."""
    settings = Settings.of("shop", None, None, {})
    assert settings.broker == Url("memory", "memory://")
    assert settings.store == Url("sqlite", "sqlite:///.flow/shop.db", ".flow/shop.db")


def test_arguments_win_over_the_environment() -> None:
    """URLs come from the arguments, else from FLOW_BROKER and FLOW_STORE."""
    environment = {"FLOW_BROKER": "amqp://mq", "FLOW_STORE": "postgresql://db/shop"}
    settings = Settings.of("shop", None, None, environment)
    assert settings.store is not None
    assert (settings.broker.text, settings.store.text) == ("amqp://mq", "postgresql://db/shop")
    settings = Settings.of("shop", "memory://", "memory://", environment)
    assert settings.store is not None
    assert (settings.broker.scheme, settings.store.scheme) == ("memory", "memory")


def test_a_real_broker_has_no_default_store() -> None:
    """A process with a broker of its own and no store only works and asks."""
    assert Settings.of("shop", "amqp://mq", None, {}).store is None


@pytest.mark.parametrize(
    ("what", "text", "reason"),
    [
        ("broker", "redis://x", "has to begin with memory://, unix://, amqp://, amqps://"),
        ("store", "mysql://x", "has to begin with memory://, sqlite://, postgresql://"),
        ("broker", "nonsense", "the broker's URL 'nonsense'"),
        ("store", "sqlite://shop.db", "three slashes: sqlite:///shop.db"),
        ("store", "sqlite:///", "names no file"),
        ("broker", "amqp://[", "Invalid IPv6 URL"),
    ],
)
def test_a_wrong_url_says_what_is_right(what: str, text: str, reason: str) -> None:
    """A URL that cannot be used is refused, with what it should be."""
    with pytest.raises(ConfigurationError) as caught:
        parse_url(what, text)
    assert reason in str(caught.value)


def test_files_are_relative_or_absolute() -> None:
    """Three slashes name a file from here, four from the root."""
    assert parse_url("store", "sqlite:///a/b.db").path == "a/b.db"
    assert parse_url("store", "sqlite:////a/b.db").path == "/a/b.db"
    assert parse_url("broker", "unix:////run/x.sock").path == "/run/x.sock"


def test_secrets_are_not_shown() -> None:
    """Neither the password nor the query of a URL is ever shown."""
    url = parse_url("broker", "amqp://user:secret@mq:5672/vhost?key=secret#secret")
    assert str(url) == "amqp://***@mq:5672/vhost"
    assert redacted("amqp://mq") == "amqp://mq"
    assert redacted("nonsense") == "nonsense"
    with pytest.raises(ConfigurationError) as caught:
        parse_url("store", "http://user:secret@db")
    assert "secret" not in str(caught.value)


def test_the_socket_is_named_after_the_file(tmp_path: Path) -> None:
    """The same file has the same socket, whatever it is called on the way, in few bytes."""
    (tmp_path / "sub").mkdir()
    direct = socket_path(tmp_path / "shop.db", Path("/run/flow"))
    around = socket_path(tmp_path / "sub" / ".." / "shop.db", Path("/run/flow"))
    assert direct == around
    assert direct != socket_path(tmp_path / "other.db", Path("/run/flow"))
    assert len(str(direct)) < 60


def test_changing_a_broker_drops_the_default_store() -> None:
    """The file that nobody chose goes with the embedded broker; a chosen store stays."""
    default = Settings.of("shop", None, None, {})
    assert default.changed("shop", "amqp://mq", "").store is None
    assert default.changed("shop", "", "") == default
    chosen = Settings.of("shop", None, "sqlite:///my.db", {})
    assert chosen.changed("shop", "amqp://mq", "").store == chosen.store
    other = default.changed("shop", "amqp://mq", "postgresql://db/shop")
    assert other == Settings.of("shop", "amqp://mq", "postgresql://db/shop", {})


def test_files_move_with_their_folder(tmp_path: Path) -> None:
    """A relative file is meant from another folder; everything else stays as it is."""
    file = moved(parse_url("store", "sqlite:///.flow/a.db"), tmp_path)
    assert file.path == str(tmp_path / ".flow" / "a.db")
    assert file.text == f"sqlite:///{file.path}"
    assert parse_url("store", file.text) == file
    for text in ("sqlite:////a.db", "postgresql://db/a"):
        assert moved(parse_url("store", text), tmp_path).text == text
    here = parse_url("store", "sqlite:///a.db")
    assert moved(here, Path.cwd()) == here


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("amqp://mq", False),
        ("amqp://user@mq", False),
        ("amqp://user:x@mq", True),
        ("postgresql://db/a?password=x", True),
        ("amqp://user:x@[", True),
    ],
)
def test_passwords_are_noticed(text: str, answer: object) -> None:
    """A password is found wherever a URL can hold one."""
    assert has_password(text) is answer
