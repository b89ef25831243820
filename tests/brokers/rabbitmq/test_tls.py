"""Tests of `brokers.rabbitmq.tls`: of what is refused, and of a broker with certificates."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from brokers.rabbitmq import RabbitBroker
from brokers.rabbitmq.tls import context_for
from brokers.rabbitmq.url import parse
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Level, Settlement
from tests.brokers.rabbitmq.peers import connected, queue_on, send
from tests.servers.ports import HOST, Port
from tests.servers.rabbitmq import RabbitServer


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path, name: str) -> None:
    """Make the certificate of an authority: `name.pem`, with the key `name.key`."""
    subject = ("-subj", f"/CN={name}", "-days", "2")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", *subject)


def make_certificate(folder: Path, name: str, hosts: str, authority: str = "ca") -> None:
    """Make a certificate for some hosts, signed by an authority."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
    )
    (folder / f"{name}.ext").write_text(f"subjectAltName={hosts}\n")
    signer = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial")
    request = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext")
    openssl(folder, "x509", "-req", *request, *signer, "-days", "2")


class SecureServer:
    """A RabbitMQ that speaks TLS, and the certificates around it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder

    def url(self, host: str = HOST, cafile: str = "ca.pem") -> str:
        """Return its URL; without a file of certificates if *cafile* is empty."""
        query = f"?cafile={self.folder / cafile}" if cafile else ""
        return f"amqps://guest:guest@{host}:{self.port}/{query}"


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Give a folder with two authorities and a certificate for 127.0.0.1."""
    make_authority(tmp_path, "ca")
    make_authority(tmp_path, "other")
    make_certificate(tmp_path, "server", "IP:127.0.0.1")
    return tmp_path


@pytest.fixture
def port() -> Generator[Port, None, None]:
    """Give a port that is free."""
    port = Port()
    yield port
    port.give_back()


async def secured(server: RabbitServer, port: Port, certificates: Path) -> SecureServer:
    """Let a RabbitMQ speak TLS on a port."""
    texts = {name: (certificates / name).read_text() for name in ("server.pem", "server.key")}
    for name, text in texts.items():
        path = server.folder / name
        path.write_text(text)
        path.chmod(0o644)
    options = (
        f'[{{certfile, "{server.folder}/server.pem"}}, {{keyfile, "{server.folder}/server.key"}}]'
    )
    await server.evaluate(
        f'rabbit_networking:start_ssl_listener({{"{HOST}", {port.number}}}, {options}, 1), ok.'
    )
    return SecureServer(port.number, certificates)


async def test_certificates_are_checked(
    own_rabbitmq: RabbitServer, port: Port, certificates: Path
) -> None:
    """With its authority a broker is used over TLS; without it, or by another name, never."""
    server = await secured(own_rabbitmq, port, certificates)
    async with connected(server.url()) as broker:
        queue = await queue_on(broker)
        assert await send(broker, queue, b"1") == [Settlement.CONFIRMED]
        findings = {finding.subject: finding for finding in await broker.examine()}
        assert findings["encryption"].level is Level.FINE
        assert "TLS" in findings["encryption"].detail
    for wrong, why in (
        (server.url(cafile=""), "not trusted"),
        (server.url(cafile="other.pem"), "not trusted"),
        (server.url(host="localhost"), "not trusted: Hostname mismatch"),
        (own_rabbitmq.url.replace("amqp", "amqps"), "TLS failed"),
        (f"amqp://guest:guest@{HOST}:{server.port}/", "cannot be reached"),
    ):
        with pytest.raises(BrokerUnavailable, match=why):
            await RabbitBroker(wrong).open()


def test_contexts_check_everything(certificates: Path) -> None:
    """A context checks the certificate and the host's name, and refuses old versions of TLS."""
    for query in ("", f"?cafile={certificates}/ca.pem"):
        context = context_for(parse(f"amqps://h{query}"))
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    own = f"?certfile={certificates}/server.pem&keyfile={certificates}/server.key"
    assert context_for(parse(f"amqps://h{own}")) is not None


def test_plain_connections_have_no_context() -> None:
    """Without TLS there is nothing to secure."""
    assert context_for(parse("amqp://h")) is None


@pytest.mark.parametrize("option", ["cafile", "certfile"])
def test_files_that_cannot_be_used_are_named(option: str, tmp_path: Path) -> None:
    """A file of certificates that is missing, or something else, is named."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for path in (tmp_path / "missing.pem", broken):
        with pytest.raises(ConfigurationError, match=f"{option} '{path}'.*cannot be used"):
            RabbitBroker(f"amqps://h?{option}={path}")


def test_a_key_with_a_password_is_refused(certificates: Path) -> None:
    """A key that is locked does not make the program ask on the terminal."""
    locked = ("-aes256", "-passout", "pass:canary")
    openssl(certificates, "ec", "-in", "server.key", "-out", "locked.key", *locked)
    url = f"amqps://h?certfile={certificates}/server.pem&keyfile={certificates}/locked.key"
    with pytest.raises(ConfigurationError, match="certfile"):
        context_for(parse(url))
