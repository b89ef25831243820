"""Which flow a command is about: a program's, a broker's, a store's, or the one of this folder.

Options win over the environment, that over flow.toml, and that over what a program says.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from flow.app import Flow
from flow.cli.loading import Location, load, locate
from flow.cli.options import Place, Where
from flow.cli.project import FILE, Project, find_project
from flow.config import MEMORY, SQLITE, Settings, Url, moved, parse_url
from flow.errors import ConfigurationError, listed
from flow.names import check_part

__all__ = ["Target", "find", "location_of", "placed", "program_of"]

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
        """Return the program, or a flow that has nothing but its settings.

        Where a broker leads to the flow, it has no store: whoever asks over a broker needs none.
        """
        settings = self.settings if self.file is not None else replace(self.settings, store=None)
        app = self.app or Flow(self.name, broker=settings.broker.text)
        app.settings = settings
        return app


def location_of(text: str) -> Location:
    """Return where the program is that a command is to run.

    Args:
        text: `FILE:APP` as it was typed, or an empty string.

    Raises:
        ConfigurationError: None is named, or there is no such file.
    """
    if text:
        return locate(text)
    project = find_project()
    if project.app:
        return locate(project.app, project.folder)
    reason = f'name it: FILE:APP, such as shop.py:app; or put app = "shop.py:app" into {FILE}'
    raise ConfigurationError("no program is named", reason)


def program_of(where: Where | None) -> Flow | None:
    """Return the program that the options or flow.toml name, at the URLs that they name.

    Args:
        where: The options that commands share.

    Returns:
        The program, or None if nothing names one.

    Raises:
        ConfigurationError: The program, or a URL, is wrong.
        ProgramBroken: It cannot be imported.
    """
    text = where.app if where is not None else ""
    if not text and not find_project().app:
        return None
    return placed(location_of(text), where)


def placed(location: Location, where: Place | None) -> Flow:
    """Return a program at the URLs that options, the environment and flow.toml name.

    Args:
        location: Where the program is.
        where: The options.

    Raises:
        ConfigurationError: The program, or a URL, is wrong.
        ProgramBroken: It cannot be imported.
    """
    where, project = where or Place(), find_project()
    app = load(location)
    for what, name in (("--name", where.name), (f"{FILE}: name", project.name)):
        if name and name != app.name:
            raise ConfigurationError(what, f"the program says that it is {app.name!r}")
    found = app.settings.changed(app.name, *_urls(where, project))
    if found.store is not None and project.exists and not (where.store or _from("STORE")):
        found = replace(found, store=moved(found.store, project.folder))
    app.settings = found
    return app


def find(where: Where | None) -> Target:
    """Return the flow that a command is about.

    Args:
        where: The options that commands share.

    Raises:
        ConfigurationError: They name none, or the folder has none or several.
        ProgramBroken: The program cannot be imported.
    """
    where, project = where or Where(), find_project()
    broker, store = _urls(where, project)
    # A program has to be loaded only for what nothing else tells.
    name = where.name or _from("NAME") or project.name
    if name:
        check_part("namespace", name)
    is_clear = bool(name and (broker or store.startswith(SQLITE)))
    if where.app or not is_clear:
        app = program_of(where)
        if app is not None:
            return _checked(Target(app.name, app.settings, app))
    if not store and (not broker or parse_url("broker", broker).scheme == MEMORY):
        store = _only_file(name, project.folder)
    settings = Settings.of(name or "unnamed", broker or None, store or None, {})
    known = name or _stem(settings.store)
    if not known and settings.broker.scheme != MEMORY:
        reason = (
            "say which flow with --name or FLOW_NAME, name its program with --app FILE:APP, or "
            f"write it into {FILE}"
        )
        raise ConfigurationError(_UNCLEAR, reason)
    return _checked(Target(known, settings, is_guessed=not name))


def _urls(where: Place, project: Project) -> tuple[str, str]:
    """Return the URLs that are named outside of the program: empty strings for none."""
    broker = where.broker or _from("BROKER")
    store = where.store or _from("STORE")
    if not broker and project.broker is not None:
        broker = project.broker.text
    if not store and project.store is not None:
        store = project.store.text
    return broker, store


def _from(name: str) -> str:
    return os.environ.get(f"FLOW_{name}", "")


def _checked(target: Target) -> Target:
    store, broker = target.settings.store, target.settings.broker
    if target.file is None and broker.scheme == MEMORY:
        kept = "" if store is None or store.scheme == MEMORY else f" (its store is {store})"
        reason = (
            f"its broker {broker} lives inside one process{kept}, which nothing else can reach; "
            "name a broker with --broker, or a SQLite file with --store"
        )
        raise ConfigurationError("cannot reach the flow", reason)
    return target


def _stem(store: Url | None) -> str:
    return Path(store.path).stem if store is not None and store.scheme == SQLITE else ""


def _only_file(name: str, folder: Path) -> str:
    """Return the URL of the only database of a folder, or of the one of a name."""
    found = sorted((folder / ".flow").glob("*.db"))
    if name:
        found = [path for path in found if path.stem == name]
    if len(found) == 1:
        return moved(parse_url("store", f"sqlite:///.flow/{found[0].name}"), folder).text
    raise ConfigurationError(_UNCLEAR, _which(found, name))


def _which(found: Sequence[Path], name: str) -> str:
    if found:
        names = listed(path.stem for path in found)
        return f"this folder has several flows: {names}; say which with --name"
    missing = f".flow/{name}.db" if name else ".flow/*.db"
    return (
        f"there is no {missing} in this folder; go to the folder of your program, name it with "
        "--app FILE:APP, or name the store or the broker with --store URL or --broker URL"
    )
