"""Where a RabbitMQ server is: its URL, taken apart and checked, and shown without secrets.

The client library takes its options from the URL too, and some of them switch off what keeps a
connection safe. So a URL is read here alone, and the library gets one that was put together anew.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from yarl import URL

from flow.errors import ConfigurationError, nearest

__all__ = ["Address", "parse"]

WHAT: Final = "the broker's URL"
PORTS: Final = {"amqp": 5672, "amqps": 5671}
OPTIONS: Final = ("cafile", "certfile", "heartbeat", "keyfile", "wire")
FILES: Final = ("cafile", "certfile", "keyfile")
HEARTBEAT_S: Final = 10
"""Seconds between two signs of life. After three missing ones the connection is given up."""
CONSUMING_HEARTBEAT_S: Final = 5
"""The same for the connection that receives: what it holds is redelivered sooner."""
HEARTBEATS_MAX_S: Final = 600
NATIVE: Final = "native"
WIRES: Final = (NATIVE, "aio-pika")
"""Who publishes and receives: the adapter itself, or the client library."""
DEFAULT_WIRE: Final = NATIVE


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and how to log in there.

    Args:
        host: Its name or IP address.
        port: Its port.
        vhost: The virtual host.
        user: Who logs in.
        password: With what.
        is_secure: Whether the connection uses TLS.
        heartbeat_s: Seconds between two signs of life, or 0 for what is best for each connection.
        cafile: A file with the certificates to trust; empty for those of the system.
        certfile: A file with the client's own certificate, or empty.
        keyfile: A file with the key of it, or empty.
        is_native: Whether the adapter publishes and receives itself, and not the client library.
    """

    host: str
    port: int
    vhost: str
    user: str
    password: str
    is_secure: bool = False
    heartbeat_s: int = 0
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""
    is_native: bool = True

    def __str__(self) -> str:
        """Return the URL without secrets and options."""
        vhost = "" if self.vhost == "/" else quote(self.vhost, safe="")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{quote(self.user)}@{host}:{self.port}/{vhost}"

    def __repr__(self) -> str:
        """Return the same: a representation ends up in logs."""
        return f"Address({str(self)!r})"

    @property
    def is_local(self) -> bool:
        """Whether nothing of the connection leaves this machine."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def _scheme(self) -> str:
        return "amqps" if self.is_secure else "amqp"

    def dial(self, heartbeat_s: int) -> URL:
        """Return the URL that the client library gets, with the password.

        Args:
            heartbeat_s: Seconds between two signs of life, unless the user asked for another time.
        """
        return URL.build(
            scheme=self._scheme,
            user=self.user,
            password=self.password,
            host=self.host,
            port=self.port,
            path="/" + self.vhost,
            query={"heartbeat": str(self.heartbeat_s or heartbeat_s)},
        )


def parse(text: str) -> Address:
    """Return the address that a URL stands for.

    Args:
        text: Such as `amqps://user:password@host:5671/vhost?cafile=ca.pem&heartbeat=10`.

    Raises:
        ConfigurationError: It is no such URL, or would switch off the check of certificates.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # The text of the error would quote the URL.
        raise ConfigurationError(WHAT, "it is malformed") from None
    if parts.scheme not in PORTS:
        raise ConfigurationError(WHAT, f"it begins with {parts.scheme!r}; use amqp or amqps")
    if not parts.hostname:
        raise ConfigurationError(WHAT, "it names no host, such as amqp://localhost")
    if parts.fragment:
        raise ConfigurationError(WHAT, "a '#' in it, say in the password, is written %23")
    options = _options(parts)
    return Address(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        vhost=_vhost(parts.path),
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        is_secure=parts.scheme == "amqps",
        heartbeat_s=_heartbeat(options.get("heartbeat")),
        cafile=options.get("cafile", ""),
        certfile=options.get("certfile", ""),
        keyfile=options.get("keyfile", ""),
        is_native=_wire(options.get("wire", DEFAULT_WIRE)) == NATIVE,
    )


def _vhost(path: str) -> str:
    if path in ("", "/", "//"):
        return "/"
    if "/" in path[1:]:
        raise ConfigurationError(WHAT, "a '/' in the virtual host is written %2F")
    return unquote(path[1:])


def _options(parts: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if "verify" in name.lower() or name.lower() in ("ssl", "cert_reqs", "check_hostname"):
            raise ConfigurationError(
                WHAT,
                f"{name!r} would have a say in whether certificates are checked; they always are. "
                "To trust a certificate of your own, name its authority: ?cafile=ca.pem",
            )
        if name not in OPTIONS:
            known = ", ".join(OPTIONS)
            hint = nearest(name, OPTIONS)
            raise ConfigurationError(
                WHAT, f"it has an unknown option {name!r}{hint}; known: {known}"
            )
        options[name] = value
    if parts.scheme != "amqps" and any(name in options for name in FILES):
        raise ConfigurationError(WHAT, "certificates are for amqps only")
    if "keyfile" in options and "certfile" not in options:
        raise ConfigurationError(WHAT, "a keyfile needs its certfile")
    return options


def _heartbeat(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= HEARTBEATS_MAX_S:
        raise ConfigurationError(
            WHAT, f"heartbeat is a whole number of seconds, from 1 to {HEARTBEATS_MAX_S}"
        )
    return int(text)


def _wire(text: str) -> str:
    if text not in WIRES:
        raise ConfigurationError(WHAT, f"wire is one of: {', '.join(WIRES)}")
    return text
