"""Where a database is: its URL without secrets, and the schema of a namespace."""

import re
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote, urlsplit

from flow.errors import ConfigurationError

_SCHEMES = ("postgresql", "postgres")
_PREFIX = "flow_"
_LONGEST = 63
"""Bytes of a name in PostgreSQL; what is longer would be cut off without a word."""
_HASH_DIGITS = 16
_PASSWORD = re.compile(r"(pass(word|file)?|sslpassword|sslkey)\s*=\s*[^\s&]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is.

    Args:
        dsn: The whole URL, with its secrets. Only for the driver.
        url: The URL without user, password and query.
        secrets: What must not stand in any message.
    """

    dsn: str
    url: str
    secrets: tuple[str, ...]

    @classmethod
    def of(cls, dsn: str) -> "Address":
        """Return the address that a URL means.

        Args:
            dsn: The URL.

        Raises:
            ConfigurationError: It is not the URL of a PostgreSQL database.
        """
        scheme, separator, rest = dsn.partition("://")
        shown = _redacted(dsn)
        if not separator or scheme not in _SCHEMES:
            raise ConfigurationError(f"the store {shown}", "it has to begin with postgresql://")
        try:
            parts = urlsplit(dsn)
        except ValueError:
            raise ConfigurationError(f"the store {shown}", "it is no URL") from None
        authority = rest.partition("/")[0].partition("?")[0].rpartition("@")[0]
        password = authority.partition(":")[2]
        secrets = {dsn, parts.query, password, unquote(password)}
        return cls(dsn, shown, tuple(sorted(secrets - {""}, key=len, reverse=True)))

    def hides(self, text: str) -> bool:
        """Return whether a text has nothing that has to stay secret.

        Args:
            text: A message.
        """
        return self.clean(text) == text

    def clean(self, text: str) -> str:
        """Return a text without secrets.

        Args:
            text: A message.
        """
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return _PASSWORD.sub(r"\1=***", text)


def schema_of(namespace: str) -> str:
    """Return the name of the schema that a namespace has, not quoted.

    Args:
        namespace: The namespace's name.
    """
    name = f"{_PREFIX}{namespace}"
    if len(name.encode()) <= _LONGEST:
        return name
    digest = sha256(namespace.encode()).hexdigest()[:_HASH_DIGITS]
    kept = name.encode()[: _LONGEST - _HASH_DIGITS - 1].decode(errors="ignore")
    return f"{kept}~{digest}"


def quoted(name: str) -> str:
    """Return a name as it stands in SQL.

    Args:
        name: The name.
    """
    return '"' + name.replace('"', '""') + '"'


def _redacted(dsn: str) -> str:
    scheme, separator, rest = dsn.partition("://")
    if not separator:
        return "(not a URL)"
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    return f"{scheme}://{'***@' if at else ''}{host}{slash}{path}"
