"""URLs without secrets, and the names of schemas."""

import pytest

from flow.errors import ConfigurationError
from flow.names import check_name
from store.postgres.address import Address, quoted, schema_of

LONG = "n" * 200


@pytest.mark.parametrize(
    ("dsn", "url"),
    [
        ("postgresql://db/shop", "postgresql://db/shop"),
        ("postgres://db:5433/shop", "postgres://db:5433/shop"),
        ("postgresql://me:secret@db/shop?sslmode=require", "postgresql://***@db/shop"),
        ("postgresql://me:se@cret@db/shop#secret", "postgresql://***@db/shop"),
        ("postgresql://me:secret@a:1,b:2/shop", "postgresql://***@a:1,b:2/shop"),
        ("postgresql:///shop?host=/run&password=secret", "postgresql:///shop"),
    ],
)
def test_url_shows_where(dsn: str, url: str) -> None:
    """A URL is shown without user, password, query and fragment."""
    address = Address.of(dsn)
    assert (address.dsn, address.url) == (dsn, url)


@pytest.mark.parametrize(
    "dsn", ["", "shop", "mysql://me:secret@db/shop", "//db/shop", "postgresql://me:secret@[::1/s"]
)
def test_other_urls_are_refused(dsn: str) -> None:
    """What is no URL of a PostgreSQL database is refused without being repeated."""
    with pytest.raises(ConfigurationError) as caught:
        Address.of(dsn)
    assert "secret" not in str(caught.value)


def test_secrets_are_cleaned() -> None:
    """Whatever text a secret turns up in, plain or as in the URL, it is taken out."""
    address = Address.of("postgresql://me:pa%2Fss@db/shop?sslpassword=inner")
    for text in ("it is pa/ss", "it is pa%2Fss", address.dsn, "x sslpassword=inner y"):
        assert not address.hides(text)
        cleaned = address.clean(text)
        assert "pa/ss" not in cleaned
        assert "pa%2Fss" not in cleaned
        assert "inner" not in cleaned
    assert address.hides("connection refused")
    assert Address.of("postgresql://db/shop").clean("password=other") == "password=***"


def test_schema_is_named_after_the_namespace() -> None:
    """A name that fits is kept as it is, so that a person finds it."""
    assert schema_of("shop") == "flow_shop"
    assert schema_of("Shop.eu-1_x") == "flow_Shop.eu-1_x"
    assert schema_of("public") == "flow_public"


def test_long_names_differ() -> None:
    """A name that would be cut off ends in a hash, and is never another name's schema."""
    fits = "n" * 58
    assert schema_of(fits) == f"flow_{fits}"
    names = [LONG, LONG[:-1], f"{fits}x", f"{fits}y"]
    schemas = [schema_of(name) for name in names]
    assert len(set(schemas)) == len(names)
    for schema in schemas:
        assert len(schema.encode()) <= 63
        with pytest.raises(Exception, match="letters"):
            check_name("namespace", schema.removeprefix("flow_"))


def test_names_are_quoted() -> None:
    """A name stands in SQL as it is, whatever it contains."""
    assert quoted("flow_Shop.eu") == '"flow_Shop.eu"'
    assert quoted('a"; DROP') == '"a""; DROP"'
