"""What `flow doctor` looks at: each check is one function, has a deadline, and never raises.

Nothing is changed by looking: no store is migrated, and nothing is declared on a broker.
"""

import platform
import resource
import sqlite3
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flow.app import adapters_for, holder_of, reading_store
from flow.cli.failures import one_line
from flow.cli.project import Project
from flow.cli.session import reading
from flow.cli.target import Target
from flow.clock import SystemClock, cancel_after
from flow.config import POSTGRESQL, SQLITE, Settings, Url
from flow.errors import FlowError, UnavailableError
from flow.ports import Broker, Finding, Level, Namespace
from flow.runtime.addresses import Addresses

__all__ = ["bounded", "look_at_broker", "look_at_flow", "look_at_machine", "look_at_store"]

WITHIN_S: Final = 5.0
"""Seconds that each check may take."""
FILES: Final = 1024
"""Open files that a process should be allowed to have: each connection is one."""
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", ""})
_EXTRAS: Final = {"amqp": ("aio-pika", "rabbitmq"), "postgresql": ("asyncpg", "postgres")}


async def bounded(
    subject: str, check: Callable[[], Awaitable[Sequence[Finding]]], advice: str = ""
) -> list[Finding]:
    """Return what a check finds; or what it fails with, as a finding.

    Args:
        subject: What is looked at.
        check: Looks at it.
        advice: What to do if that fails.
    """
    with cancel_after(SystemClock(), WITHIN_S):
        try:
            return list(await check())
        except FlowError as error:
            return [Finding(Level.PROBLEM, subject, one_line(str(error)), advice)]
        except Exception as error:  # noqa: BLE001 - a fault of ours is a finding too
            text = one_line(f"{type(error).__name__}: {error}")
            return [Finding(Level.PROBLEM, subject, text, "report it, with FLOW_DEBUG=1")]
    return [Finding(Level.PROBLEM, subject, f"no answer within {WITHIN_S:g} s", advice)]


def look_at_machine(settings: Settings | None, project: Project) -> list[Finding]:
    """Return what is found about this machine and what is installed on it.

    Args:
        settings: Where the broker and the store are, if that is known.
        project: What flow.toml says.
    """
    found = [
        Finding(Level.FINE, "Python", f"{platform.python_version()} at {sys.executable}"),
        Finding(Level.FINE, "flowmq", metadata.version("flowmq")),
    ]
    urls = () if settings is None else (settings.broker, settings.store)
    for url in urls:
        found += [] if url is None else _look_at_extra(url)
    found.append(_look_at_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    if project.exists:
        found.append(_look_at_project(project))
    return found


async def look_at_broker(settings: Settings, name: str) -> list[Finding]:
    """Return what is found about the broker, and about what is declared on it.

    Args:
        settings: Where it is.
        name: The namespace.
    """
    url = settings.broker
    found: list[Finding] = []

    async def check() -> Sequence[Finding]:
        broker = adapters_for(Settings(url, None)).broker
        async with _opened(broker, found):
            found.extend(await broker.examine())
            found.append(await look_at_topology(broker, name))
        return ()

    hint = "start it, or mend the URL (--broker, FLOW_BROKER or flow.toml)"
    return found + await bounded("reachable", check, hint)


async def look_at_topology(broker: Broker, name: str) -> Finding:
    """Return whether every exchange that a flow needs is declared on its broker.

    Queues are not looked for: whoever consumes one hears of it, and says so in its health.

    Args:
        broker: The broker, open.
        name: The namespace.
    """
    names = [each.name for each in Addresses(name).exchanges().exchanges]
    gone = [each for each in names if not await broker.has_exchange(each)]
    if not gone:
        return Finding(Level.FINE, "topology", f"{len(names)} exchanges are there")
    detail = "nothing of it is declared yet"
    if len(gone) < len(names):
        detail = f"not declared: {', '.join(gone)}"
    return Finding(Level.WARNING, "topology", detail, "starting an orchestrator declares it")


async def look_at_store(target: Target) -> list[Finding]:
    """Return what is found about the store.

    Args:
        target: The flow.
    """
    store = target.settings.store
    if store is None:
        detail = "this process knows none; workers and clients need none"
        return [Finding(Level.FINE, "store", detail)]
    found = [_look_at_encryption(store)] if store.scheme == POSTGRESQL else []

    async def check() -> Sequence[Finding]:
        return await _look_at_open_store(store, target.name)

    hint = "start it, or mend the URL (--store, FLOW_STORE or flow.toml)"
    return found + await bounded("reachable", check, hint)


async def look_at_flow(target: Target, broker: Sequence[Finding] = ()) -> list[Finding]:
    """Return whether an orchestrator answers, and what it tells.

    Args:
        target: The flow.
        broker: What was found about the broker; what cannot answer is not asked.
    """

    async def check() -> Sequence[Finding]:
        clock = SystemClock()
        begun = clock.monotonic()
        try:
            async with reading(target) as session:
                told = await session.ask("namespace", {}, "", WITHIN_S - 1)
        except UnavailableError as error:
            return [Finding(Level.PROBLEM, "orchestrator", one_line(str(error)), _START)]
        took_ms = (clock.monotonic() - begun) * 1000
        detail = f"it answers in {took_ms:.0f} ms; {told['partitions']} partitions"
        members = told.get("members")
        detail += f", {len(members)} orchestrators" if members else ""
        return [Finding(Level.FINE, "orchestrator", detail)]

    if target.file is not None and not holder_of(target.file):
        detail = "no process runs this flow at the moment"
        return [Finding(Level.WARNING, "orchestrator", detail, _START_ALL)]
    bad = {each.subject for each in broker if each.level is not Level.FINE}
    if "reachable" in bad:
        detail = "it cannot be asked while the broker cannot be reached"
        return [Finding(Level.PROBLEM, "orchestrator", detail, "mend that first")]
    if "topology" in bad:
        # Asking would declare some of it.
        detail = "none has run on this broker yet"
        return [Finding(Level.PROBLEM, "orchestrator", detail, _START)]
    return await bounded("orchestrator", check, _START)


_WAL_RESET: Final = ((3, 7, 0), (3, 51, 2))
_HARMLESS: Final = (
    "this SQLite has it (sqlite.org/wal.html#walresetbug): let nothing but flowmq write to the file"
)
_START: Final = "start one: flow orchestrator FILE:APP"
_START_ALL: Final = "start one: flow serve FILE:APP"


async def _look_at_open_store(url: Url, name: str) -> Sequence[Finding]:
    is_file = url.scheme == SQLITE
    if is_file and not _exists(url):
        advice = "mend the URL if there should be one"
        return [Finding(Level.WARNING, "file", "it is made when the flow first runs", advice)]
    store = reading_store(url, SystemClock())
    try:
        await store.open(Namespace(name, 0))
        found = list(await store.examine())
    finally:
        await store.close()
    return [*found, *_look_at_file(url)] if is_file else found


def _exists(url: Url) -> bool:
    return Path(url.path).exists()


def _look_at_file(url: Url) -> list[Finding]:
    """Return what matters where a file is the store."""
    found = [Finding(Level.FINE, "used by", holder_of(url) or "nobody at the moment")]
    if _WAL_RESET[0] <= sqlite3.sqlite_version_info <= _WAL_RESET[1]:
        found.append(Finding(Level.FINE, "WAL-reset bug", _HARMLESS))
    return found


@asynccontextmanager
async def _opened(broker: Broker, found: list[Finding]) -> AsyncGenerator[None]:
    clock = SystemClock()
    begun = clock.monotonic()
    await broker.open()
    took_ms = (clock.monotonic() - begun) * 1000
    found.append(Finding(Level.FINE, "reachable", f"connected in {took_ms:.0f} ms"))
    try:
        yield
    finally:
        await broker.close()


def _look_at_extra(url: Url) -> list[Finding]:
    """Return whether what an adapter needs is installed."""
    package, extra = _EXTRAS.get(url.scheme.removesuffix("s"), ("", ""))
    if not package:
        return []
    try:
        return [Finding(Level.FINE, package, metadata.version(package))]
    except metadata.PackageNotFoundError:
        advice = f"pip install 'flowmq[{extra}]'"
        return [Finding(Level.PROBLEM, package, f"{url.scheme}:// needs it", advice)]


def _look_at_files(limit: int) -> Finding:
    if limit == resource.RLIM_INFINITY or limit >= FILES:
        shown = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"
        return Finding(Level.FINE, "open files", shown)
    return Finding(Level.WARNING, "open files", f"{limit:,}", f"ulimit -n {FILES}, or more")


def _look_at_project(project: Project) -> Finding:
    if project.is_open_secret:
        detail = f"{project.file} holds a password, and every user of this machine can read it"
        return Finding(Level.WARNING, "flow.toml", detail, f"chmod 600 {project.file}")
    return Finding(Level.FINE, "flow.toml", str(project.file))


def _look_at_encryption(url: Url) -> Finding:
    """Return whether somebody in between could read and change what a database is sent."""
    parts = urlsplit(url.text)
    if "sslmode=verify" in parts.query:
        return Finding(Level.FINE, "encryption", "TLS, the certificate is checked")
    if (parts.hostname or "") in _LOCAL:
        return Finding(Level.FINE, "encryption", "not needed: it is on this machine")
    advice = "add ?sslmode=verify-full, unless nobody else is on the network"
    detail = "TLS only if the server offers it, and its certificate is not checked"
    if "sslmode=disable" in parts.query:
        detail = "none"
    return Finding(Level.WARNING, "encryption", detail, advice)
