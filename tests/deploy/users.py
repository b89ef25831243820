"""Gives a broker the users of deploy/rabbitmq/definitions.json, with passwords made for a test."""

from pathlib import Path

from deploy import credentials
from tests.servers.rabbitmq import RabbitServer

__all__ = ["install", "remove"]


async def install(
    server: RabbitServer, folder: Path, *, namespace: str = "delivery", store: str = "none:1"
) -> None:
    """Make the virtual host `flow` and its users.

    Args:
        server: The broker.
        folder: Where passwords and URLs are written.
        namespace: The flow whose names they may use.
        store: HOST:PORT of the database, for the URL of the store.
    """
    broker = f"127.0.0.1:{server.port}"
    options = {"folder": str(folder), "broker": broker, "namespace": namespace, "store": store}
    credentials.main([word for name, value in options.items() for word in (f"--{name}", value)])
    made = server.folder / "definitions.json"
    made.write_bytes((folder / "definitions.json").read_bytes())
    made.chmod(0o444)
    await server.ctl("import_definitions", str(made))


async def remove(server: RabbitServer) -> None:
    """Delete the virtual host, with all that is in it.

    Args:
        server: The broker.
    """
    await server.ctl("delete_vhost", "flow")
