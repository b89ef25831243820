"""Tests of `brokers.rabbitmq.url`."""

from __future__ import annotations

import pytest

from brokers.rabbitmq.url import Address, parse
from flow.errors import ConfigurationError

SECRET = "s3cr3t-canary"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amqp://h", Address("h", 5672, "/", "guest", "guest")),
        ("amqp://h/", Address("h", 5672, "/", "guest", "guest")),
        ("amqp://h//", Address("h", 5672, "/", "guest", "guest")),
        ("amqp://h/%2F", Address("h", 5672, "/", "guest", "guest")),
        ("amqp://h:1/shop", Address("h", 1, "shop", "guest", "guest")),
        ("amqp://u:p%40%2F@h/a%2Fb%20%C3%BC", Address("h", 5672, "a/b ü", "u", "p@/")),
        ("amqp://[::1]:7/v", Address("::1", 7, "v", "guest", "guest")),
        ("amqp://h?heartbeat=3", Address("h", 5672, "/", "guest", "guest", heartbeat_s=3)),
        ("amqp://h?wire=native", Address("h", 5672, "/", "guest", "guest")),
        ("amqp://h?wire=aio-pika", Address("h", 5672, "/", "guest", "guest", is_native=False)),
        (
            "amqps://h?cafile=ca.pem&certfile=c.pem&keyfile=k.pem",
            Address(
                host="h",
                port=5671,
                vhost="/",
                user="guest",
                password="guest",
                is_secure=True,
                cafile="ca.pem",
                certfile="c.pem",
                keyfile="k.pem",
            ),
        ),
    ],
)
def test_urls_are_taken_apart(text: str, expected: Address) -> None:
    """Every part of a URL is found and decoded, or has its default."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://h", "amqp or amqps"),
        ("amqp:///v", "names no host"),
        ("amqp://h:99999", "malformed"),
        ("amqp://h:x", "malformed"),
        ("amqp://[::1", "malformed"),
        ("amqp://h/a/b", "written %2F"),
        ("amqp://h/v#x", "written %23"),
        ("amqp://h?heartbeat=0", "from 1 to 600"),
        ("amqp://h?heartbeat=601", "from 1 to 600"),
        ("amqp://h?heartbeat=x", "from 1 to 600"),
        ("amqp://h?heartbeat=-1", "from 1 to 600"),
        ("amqp://h?wire=tin", "wire is one of: native, aio-pika"),
        ("amqp://h?cafile=x", "for amqps only"),
        ("amqps://h?keyfile=x", "needs its certfile"),
        ("amqp://h?hartbeat=5", r"unknown option 'hartbeat'.*heartbeat"),
    ],
)
def test_wrong_urls_are_refused(text: str, why: str) -> None:
    """What is wrong with a URL is said."""
    with pytest.raises(ConfigurationError, match=why):
        parse(text)


@pytest.mark.parametrize(
    "option",
    [
        "no_verify_ssl=1",
        "no_verify_ssl=0",
        "verify=0",
        "ssl_verify=false",
        "VERIFY_SSL=no",
        "ssl=0",
        "cert_reqs=0",
        "check_hostname=0",
    ],
)
def test_certificates_cannot_be_left_unchecked(option: str) -> None:
    """Options by which other clients stop to check certificates are refused, whatever they say."""
    with pytest.raises(ConfigurationError, match="they always are"):
        parse(f"amqps://h?{option}")


@pytest.mark.parametrize(
    "text",
    [
        f"http://u:{SECRET}@h",
        f"amqp://u:{SECRET}@",
        f"amqp://u:{SECRET}@h:x",
        f"amqp://u:{SECRET}@h#{SECRET}",
        f"amqp://u:{SECRET}@h/{SECRET}/{SECRET}",
        f"amqp://u@h?token={SECRET}",
        f"amqp://u@h?heartbeat={SECRET}",
        f"amqps://u:{SECRET}@h?keyfile={SECRET}",
    ],
)
def test_errors_keep_secrets(text: str) -> None:
    """No error about a URL shows its password, nor the value of an option."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert SECRET not in f"{caught.value!r}{caught.value}{caught.value.__cause__!r}"


def test_it_is_shown_without_secrets() -> None:
    """Text and representation have neither the password nor the options."""
    address = parse(f"amqps://u:{SECRET}@h/a%2Fb?cafile={SECRET}")
    assert str(address) == "amqps://u@h:5671/a%2Fb"
    assert repr(address) == "Address('amqps://u@h:5671/a%2Fb')"
    assert str(parse("amqp://[::1]")) == "amqp://guest@[::1]:5672/"


def test_the_library_gets_no_option_of_the_user() -> None:
    """What the client library is given has the login, the virtual host and a heartbeat only."""
    address = parse("amqps://u:p%40@h/a%2Fb?cafile=ca.pem")
    url = address.dial(10)
    assert (url.user, url.password, url.host, url.port) == ("u", "p@", "h", 5671)
    assert (url.path, dict(url.query)) == ("/a/b", {"heartbeat": "10"})
    assert parse("amqp://h").dial(5).path == "//"
    assert dict(parse("amqp://h?heartbeat=2").dial(5).query) == {"heartbeat": "2"}


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("localhost", True), ("127.0.0.9", True), ("[::1]", True), ("10.0.0.1", False), ("h", False)],
)
def test_it_knows_this_machine(*, host: str, is_local: bool) -> None:
    """Only loopback addresses count as this machine."""
    assert parse(f"amqp://{host}").is_local is is_local
