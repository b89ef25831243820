"""The TLS side of a connection: certificates are always checked, and so is the host's name."""

import ssl

from brokers.rabbitmq.url import Address
from flow.errors import ConfigurationError

__all__ = ["context_for"]


def context_for(address: Address) -> ssl.SSLContext | None:
    """Return what a connection to *address* is secured with, or None for a plain one.

    Args:
        address: The server, and which certificates to use.

    Raises:
        ConfigurationError: A file of certificates cannot be used.
    """
    if not address.is_secure:
        return None
    try:
        context = ssl.create_default_context(cafile=address.cafile or None)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("cafile", address.cafile, error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if address.certfile:
        try:
            # Without a password here, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(address.certfile, address.keyfile or None, password="")
        except (OSError, ssl.SSLError) as error:
            raise _unusable("certfile", address.certfile, error) from error
    return context


def _unusable(option: str, path: str, error: OSError) -> ConfigurationError:
    reason = error.strerror or str(error)
    return ConfigurationError(
        f"{option} {path!r} of the broker's URL", f"it cannot be used: {reason}"
    )
