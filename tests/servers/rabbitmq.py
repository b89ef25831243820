"""A RabbitMQ of one's own: on free ports, in its own folder, unknown to every other one."""

import asyncio
import itertools
import os
import secrets
import shutil
import signal
import socket
from pathlib import Path

from tests.servers.daemon import Account, Daemon, ServerFailed, until
from tests.servers.ports import HOST, Port
from tests.servers.server import Server

__all__ = ["RabbitServer", "missing_rabbitmq"]

# Debian keeps the plain scripts here; those in its PATH change the user and read /etc.
PACKAGE = Path("/usr/lib/rabbitmq/bin")
# What a client says first, and how every answer begins.
GREETING, ANSWER = b"AMQP\x00\x00\x09\x01", b"\x01"
NUMBERS = itertools.count(1)

CONFIG = """\
listeners.tcp.1 = {host}:{port}
loopback_users = none
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console = false
log.file.level = info
"""
# Few threads and a small start: there may be several of them on a small machine.
EMULATOR = (
    "+S 2:2 +SDcpu 1:1 +SDio 2 +A 2 +stbt u"
    " -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
)


def _script(name: str) -> str | None:
    packaged = PACKAGE / name
    return str(packaged) if packaged.exists() else shutil.which(name)


def missing_rabbitmq() -> str | None:
    """Return what has to be installed before a RabbitMQ can be started here."""
    commands = (_script("rabbitmq-server"), _script("rabbitmqctl"), shutil.which("epmd"))
    return None if all(commands) else "RabbitMQ (Debian: apt-get install rabbitmq-server)"


class RabbitServer(Server):
    """One node, with the user `guest` and the password `guest`, reachable from this machine only.

    It has its own name, cookie, ports, folder and port mapper (epmd), so that any number of them
    run side by side, and beside one that the system has started.
    """

    def __init__(self) -> None:
        self._account = Account("rabbitmq")
        self._ports = [Port(), Port(), Port()]
        self.port = self._ports[0].number
        self.folder = self._account.folder("rabbitmq")
        self.node = f"flow-{os.getpid()}-{next(NUMBERS)}@localhost"
        self._data = self.folder / "data"
        self._log = self.folder / "log" / f"{self.node}.log"
        self._cookie = secrets.token_hex(16)
        self._vhosts: list[str] = []
        self._lost_vhosts: list[str] = []
        self._environment = self._prepare()
        server = _script("rabbitmq-server") or "rabbitmq-server"
        output = self.folder / "printed.log"
        daemon = Daemon(self._account, [server], self._environment, output)
        super().__init__(daemon, end=signal.SIGTERM)
        mapper = ["epmd", "-port", str(self._ports[2].number), "-address", HOST]
        output = self.folder / "epmd.log"
        self._mapper = Daemon(self._account, mapper, self._environment, output)

    @property
    def url(self) -> str:
        """The URL of its first virtual host, which is there again after a wipe."""
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    @property
    def log(self) -> str:
        """The end of its log."""
        log = self._log.read_text(errors="replace")[-6_000:] if self._log.exists() else ""
        return f"{self._daemon.printed}\n{log}"

    async def start(self) -> None:
        """Start it on its ports with the data it has, and wait until it answers clients.

        Raises:
            ServerFailed: It ended, or did not answer in time.
        """
        if not self._mapper.runs:
            self._mapper.start()
        self._daemon.start()
        came = await until(lambda: not self._daemon.runs or self.answers())
        if not came or not self._daemon.runs:
            await self.kill()
            raise ServerFailed(f"RabbitMQ did not start:\n{self.log}")
        for vhost in self._lost_vhosts:
            await self._add_vhost(vhost)
        self._lost_vhosts = []

    def answers(self) -> bool:
        """Return whether it greets a client now."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as client:
                client.sendall(GREETING)
                return client.recv(1) == ANSWER
        except OSError:
            return False

    def wipe(self) -> None:
        """Delete everything that it knew, while it does not run.

        The virtual hosts of `new_vhost` are made anew, empty, after the next start.
        """
        assert not self._daemon.runs, "it runs: stop or kill it first"
        shutil.rmtree(self._data)
        self._data.mkdir()
        self._account.own(self._data)
        self._lost_vhosts = list(self._vhosts)

    async def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` for this node, which takes half a second or more.

        Args:
            arguments: What it is told.

        Returns:
            What it printed.

        Raises:
            ServerFailed: It failed.
        """
        command = [_script("rabbitmqctl") or "rabbitmqctl", "-q", "-n", self.node, *arguments]
        return await asyncio.to_thread(self._account.run, command, self._environment)

    async def evaluate(self, expressions: str) -> str:
        """Evaluate Erlang expressions inside the node: `ctl("eval", …)`, but in milliseconds.

        Args:
            expressions: One or more, separated by commas, ending with a full stop.

        Returns:
            The last one's value, as Erlang prints it.

        Raises:
            ServerFailed: They failed.
        """
        call = shutil.which("erl_call")
        if call is None:
            return (await self.ctl("eval", expressions)).strip()
        command = [call, "-n", self.node, "-c", self._cookie, "-e"]
        printed = await asyncio.to_thread(
            self._account.run, command, self._environment, f"{expressions}\n"
        )
        if not (printed.startswith("{ok, ") and printed.endswith("}")):
            raise ServerFailed(f"{expressions}\n{printed}")
        return printed[len("{ok, ") : -1]

    async def new_vhost(self) -> str:
        """Make an empty virtual host; return its URL."""
        vhost = f"v{len(self._vhosts) + 1}"
        await self._add_vhost(vhost)
        self._vhosts.append(vhost)
        return f"{self.url}{vhost}"

    async def settle(self) -> None:
        """Have it write down which quorum queues it has.

        It does so every half second by itself. RabbitMQ 3.10 that is killed sooner after a
        declaration may come back with a queue that never has a leader again.
        """
        await self.evaluate("[dets:sync(Table) || Table <- dets:all()], ok.")

    async def close_connections(self) -> None:
        """Close all connections from the broker's side, as an administrator would."""
        await self.evaluate(
            '[rabbit_networking:close_connection(Connection, <<"closed by a test">>)'
            " || Connection <- rabbit_networking:connections()], ok."
        )

    def close(self) -> None:
        """End it at once, and remove all that it leaves behind."""
        self._daemon.slay()
        self._mapper.slay()
        shutil.rmtree(self.folder, ignore_errors=True)
        for port in self._ports:
            port.give_back()

    async def _add_vhost(self, vhost: str) -> None:
        name, user, everything = (f'<<"{word}">>' for word in (vhost, "guest", ".*"))
        rights = f"{user}, {name}, {everything}, {everything}, {everything}, {user}"
        await self.evaluate(
            f"ok = rabbit_vhost:add({name}, {user}),"
            f" ok = rabbit_auth_backend_internal:set_permissions({rights})."
        )

    def _prepare(self) -> dict[str, str]:
        """Write its files, and return its environment."""
        texts = {
            "rabbitmq.conf": CONFIG.format(host=HOST, port=self.port),
            "enabled_plugins": "[].\n",
            "environment.conf": "",
            ".erlang.cookie": self._cookie,
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text)
        (self.folder / ".erlang.cookie").chmod(0o400)
        folders = [self._data, self._log.parent]
        for folder in folders:
            folder.mkdir()
        self._account.own(*folders, *(self.folder / name for name in texts))
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._ports[2].number),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._ports[1].number),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "config"),
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_LOG_BASE": str(self._log.parent),
            # With "input", the script becomes the server instead of watching over it.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput +B i",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": EMULATOR,
        }
