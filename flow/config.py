"""Where the broker and the store are: URLs, taken apart and checked, and the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from flow.errors import ConfigurationError

__all__ = [
    "Settings",
    "Url",
    "default_store",
    "has_password",
    "moved",
    "parse_url",
    "redacted",
    "socket_path",
]

MEMORY: Final = "memory"
SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"

_SCHEMES: Final = {
    "broker": ("memory", "unix", "amqp", "amqps"),
    "store": (MEMORY, SQLITE, POSTGRESQL),
}


@dataclass(frozen=True, slots=True)
class Url:
    """A URL of a broker or a store.

    Args:
        scheme: What kind it is.
        text: All of it, with its secrets.
        path: The file, for `sqlite` and `unix`; else an empty string.
    """

    scheme: str
    text: str
    path: str = ""

    def __str__(self) -> str:
        """Return the URL without secrets."""
        return redacted(self.text)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a flow's broker and store are.

    Args:
        broker: The broker.
        store: The store, or None for a process that only works or asks.
    """

    broker: Url
    store: Url | None

    @classmethod
    def of(
        cls,
        name: str,
        broker: str | None,
        store: str | None,
        environment: Mapping[str, str],
    ) -> "Settings":
        """Return the settings of a flow; arguments win over the environment.

        Without any, it is the embedded default: everything in this process, and one SQLite file.

        Args:
            name: The namespace.
            broker: The broker's URL, or None.
            store: The store's URL, or None.
            environment: Where FLOW_BROKER and FLOW_STORE may stand.

        Raises:
            ConfigurationError: A URL is wrong.
        """
        broker_url = parse_url("broker", broker or environment.get("FLOW_BROKER") or "memory://")
        default = default_store(name) if broker_url.scheme == MEMORY else ""
        chosen = store or environment.get("FLOW_STORE") or default
        return cls(broker_url, parse_url("store", chosen) if chosen else None)

    def changed(self, name: str, broker: str, store: str) -> "Settings":
        """Return the settings with other URLs.

        The embedded store that a flow has by default goes when its broker is another one: with a
        broker of its own, a process that names no store only works and asks.

        Args:
            name: The namespace.
            broker: The broker's URL, or an empty string to keep it.
            store: The store's URL, or an empty string to keep it.

        Raises:
            ConfigurationError: A URL is wrong.
        """
        changed = replace(self, broker=parse_url("broker", broker)) if broker else self
        if store:
            return replace(changed, store=parse_url("store", store))
        is_default = changed.store is not None and changed.store.text == default_store(name)
        if is_default and self.broker.scheme == MEMORY and changed.broker.scheme != MEMORY:
            return replace(changed, store=None)
        return changed


def default_store(name: str) -> str:
    """Return the URL of the store of an embedded flow that names none.

    Args:
        name: The namespace.
    """
    return f"sqlite:///.flow/{name}.db"


def moved(url: Url, folder: Path) -> Url:
    """Return a URL whose file, if it is a relative one, is meant from a folder.

    Args:
        url: The URL.
        folder: The folder; nothing changes if it is the present one.
    """
    if not url.path or Path(url.path).is_absolute() or folder.resolve() == Path.cwd():
        return url
    path = str(folder.resolve() / url.path)
    return Url(url.scheme, f"{url.scheme}:///{path}", path)


def parse_url(what: str, text: str) -> Url:
    """Return a URL taken apart.

    Args:
        what: `broker` or `store`.
        text: The URL.

    Raises:
        ConfigurationError: Its scheme is unknown, or a part of it is missing.
    """
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigurationError(f"the {what}'s URL {redacted(text)}", str(error)) from error
    allowed = _SCHEMES[what]
    if parts.scheme not in allowed:
        known = ", ".join(f"{scheme}://" for scheme in allowed)
        shown = redacted(text) if "://" in text else repr(text)
        raise ConfigurationError(f"the {what}'s URL {shown}", f"it has to begin with {known}")
    path = _file(what, text, parts) if parts.scheme in (SQLITE, "unix") else ""
    return Url(parts.scheme, text, path)


def _file(what: str, text: str, parts: SplitResult) -> str:
    if parts.netloc:
        reason = f"a file needs three slashes: {parts.scheme}:///{parts.netloc}{parts.path}"
        raise ConfigurationError(f"the {what}'s URL {text}", reason)
    # One slash belongs to the URL; a second one makes the path absolute, as in sqlite:////tmp/x.
    path = parts.path.removeprefix("/")
    if not path:
        reason = f"it names no file; try {parts.scheme}:///.flow/shop.db"
        raise ConfigurationError(f"the {what}'s URL {text}", reason)
    return path


def redacted(text: str) -> str:
    """Return a URL without the password, and without the query, which may hold secrets too.

    Args:
        text: The URL.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    return f"{scheme}://{'***@' if at else ''}{host}{slash}{path}"


def has_password(text: str) -> bool:
    """Return whether a URL holds a password, or something that may be one.

    Args:
        text: The URL.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        return "@" in text
    return bool(parts.password) or "password" in parts.query.lower()


def socket_path(database: Path, folder: Path) -> Path:
    """Return where the socket of a running embedded flow is.

    Its name is a hash, because the path of a socket has at most 107 bytes.

    Args:
        database: The SQLite file.
        folder: The folder for sockets.
    """
    name = sha256(str(database.resolve()).encode()).hexdigest()[:24]
    return folder / f"{name}.sock"
