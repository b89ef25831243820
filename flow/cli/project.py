"""The file flow.toml: what every command in a folder, or below it, is about.

    name = "shop"
    app = "shop.py:app"
    broker = "amqp://mq"
    store = "postgresql://db/shop"

Files that it names are meant from its own folder. Options and the environment win over it, and it
wins over what the program says.
"""

import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flow.cli.failures import one_line
from flow.config import Url, has_password, moved, parse_url
from flow.errors import ConfigurationError, listed, nearest
from flow.names import check_part

__all__ = ["FILE", "Project", "find_project"]

FILE: Final = "flow.toml"
_KEYS: Final = ("name", "app", "broker", "store")
_SIZE_LIMIT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Project:
    """What a flow.toml says.

    Args:
        folder: Where it is; the present folder if there is none.
        name: The flow's name, or an empty string.
        app: The program, `FILE:APP`, or an empty string.
        broker: The broker, or None.
        store: The store, or None.
        exists: Whether there is such a file at all.
    """

    folder: Path
    name: str = ""
    app: str = ""
    broker: Url | None = None
    store: Url | None = None
    exists: bool = False

    @property
    def file(self) -> Path:
        """The file."""
        return self.folder / FILE

    @property
    def is_open_secret(self) -> bool:
        """Whether it holds a password that every user of this machine can read."""
        urls = [url.text for url in (self.broker, self.store) if url is not None]
        if not any(map(has_password, urls)):
            return False
        return bool(self.file.stat().st_mode & stat.S_IROTH)


def find_project() -> Project:
    """Return what the flow.toml of the present folder says, or of the nearest folder above it.

    A file above that belongs to somebody else is passed over: it could name any program.

    Raises:
        ConfigurationError: It cannot be read, or something in it is wrong.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / FILE
        if file.is_file() and (folder == here or file.stat().st_uid == os.getuid()):
            return _project(file)
    return Project(here)


def _project(file: Path) -> Project:
    shown = os.path.relpath(file)
    found = _read(file, shown)
    wrong = [key for key in found if key not in _KEYS]
    if wrong:
        reason = f"it may hold {listed(_KEYS)}{nearest(wrong[0], _KEYS)}"
        raise ConfigurationError(f"{shown}: {wrong[0]!r} is unknown", reason)
    for key, value in found.items():
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"{shown}: {key}", 'it is a text: "…"')
    if "name" in found:
        check_part("namespace", found["name"])
    return Project(
        file.parent,
        found.get("name", ""),
        found.get("app", ""),
        _url(shown, "broker", found, file.parent),
        _url(shown, "store", found, file.parent),
        exists=True,
    )


def _read(file: Path, shown: str) -> dict[str, Any]:
    try:
        if file.stat().st_size > _SIZE_LIMIT:
            raise ConfigurationError(shown, f"it has more than {_SIZE_LIMIT:,} bytes")
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(shown, f"it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(shown, f"it is no TOML: {one_line(str(error))}") from error


def _url(shown: str, what: str, found: dict[str, Any], folder: Path) -> Url | None:
    if what not in found:
        return None
    try:
        return moved(parse_url(what, found[what]), folder)
    except ConfigurationError as error:
        raise ConfigurationError(f"{shown}: {error.what}", error.reason) from error
