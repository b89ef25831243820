"""Which flow a command is about: a program's, a store's, or the only one of this folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from flow.app import Flow
from flow.cli.loading import load, locate
from flow.cli.options import Where
from flow.config import MEMORY, SQLITE, Settings, Url, parse_url
from flow.errors import ConfigurationError, listed

__all__ = ["Target", "find", "program_of"]

_UNCLEAR: Final = "cannot tell which flow is meant"


@dataclass(frozen=True, slots=True)
class Target:
    """The flow that a command is about.

    Args:
        name: Its name.
        settings: Where its broker and store are.
        app: The program, or None if only URLs are known.
        is_guessed: Whether the name was taken from the name of the file.
    """

    name: str
    settings: Settings
    app: Flow | None = None
    is_guessed: bool = False

    @property
    def file(self) -> Url | None:
        """The SQLite file of an embedded flow, or None if a broker leads to the flow."""
        store = self.settings.store
        if self.settings.broker.scheme == MEMORY and store is not None and store.scheme == SQLITE:
            return store
        return None

    def flow(self) -> Flow:
        """Return the program, or a flow that has nothing but its settings."""
        if self.app is not None:
            return self.app
        store = self.settings.store
        return Flow(
            self.name,
            broker=self.settings.broker.text,
            store=None if store is None else store.text,
        )


def program_of(where: Where | None, text: str = "") -> Flow | None:
    """Return the program that the options name, at the URLs that they name; None without one.

    Args:
        where: The options that commands share.
        text: `FILE:APP`, if the command takes it by itself.

    Raises:
        ConfigurationError: The program, or a URL, is wrong.
        ProgramBroken: It cannot be imported.
    """
    where = where or Where()
    if not (text or where.app):
        return None
    app = load(locate(text or where.app))
    if where.name and where.name != app.name:
        raise ConfigurationError("--name", f"the program says that it is {app.name!r}")
    app.settings = _changed(app.settings, where)
    return app


def find(where: Where | None) -> Target:
    """Return the flow that a command is about.

    Args:
        where: The options that commands share.

    Raises:
        ConfigurationError: They name none, or the folder has none or several.
        ProgramBroken: The program cannot be imported.
    """
    where = where or Where()
    app = program_of(where)
    if app is not None:
        return _checked(Target(app.name, app.settings, app))
    store = where.store or os.environ.get("FLOW_STORE", "")
    broker = where.broker or os.environ.get("FLOW_BROKER", "")
    if not store and (not broker or parse_url("broker", broker).scheme == MEMORY):
        store = _only_file(where.name)
    settings = Settings.of(where.name or "unnamed", broker or None, store or None, {})
    name = where.name or _stem(settings.store)
    if not name and settings.broker.scheme != MEMORY:
        reason = "say which flow with --name, or name its program with --app FILE:APP"
        raise ConfigurationError(_UNCLEAR, reason)
    return _checked(Target(name, settings, is_guessed=not where.name))


def _changed(settings: Settings, where: Where) -> Settings:
    if where.broker:
        settings = replace(settings, broker=parse_url("broker", where.broker))
    if where.store:
        settings = replace(settings, store=parse_url("store", where.store))
    return settings


def _checked(target: Target) -> Target:
    store, broker = target.settings.store, target.settings.broker
    # Any other store is refused where it is opened, with a reason of its own.
    is_inside = broker.scheme == MEMORY and (store is None or store.scheme == MEMORY)
    if target.file is None and is_inside:
        reason = (
            f"the broker {target.settings.broker} and the store {target.settings.store} live "
            "inside one process, which nothing else can reach; give it a store with --store"
        )
        raise ConfigurationError("cannot reach the flow", reason)
    return target


def _stem(store: Url | None) -> str:
    return Path(store.path).stem if store is not None and store.scheme == SQLITE else ""


def _only_file(name: str) -> str:
    """Return the URL of the only database of the present folder, or of the one of a name."""
    found = sorted(Path(".flow").glob("*.db"))
    if name:
        found = [path for path in found if path.stem == name]
    if len(found) == 1:
        return f"sqlite:///{found[0]}"
    raise ConfigurationError(_UNCLEAR, _which(found, name))


def _which(found: Sequence[Path], name: str) -> str:
    if found:
        names = listed(path.stem for path in found)
        return f"this folder has several flows: {names}; say which with --name"
    missing = f".flow/{name}.db" if name else ".flow/*.db"
    return (
        f"there is no {missing} in this folder; go to the folder of your program, name it with "
        "--app FILE:APP, or name the store with --store URL"
    )
