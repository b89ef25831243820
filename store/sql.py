"""The SQL of adapters: one statement a file, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

__all__ = ["Migration", "read_migrations", "read_statements"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a version of the schema to the next.

    Args:
        version: The version that it leads to.
        script: Statements.
    """

    version: int
    script: str


def read_statements(package: str, folder: str) -> Mapping[str, str]:
    """Return the statements in a folder of a package by the names of their files.

    Args:
        package: The package, such as `store.sqlite`.
        folder: The folder.
    """
    texts = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in files(package).joinpath(folder).iterdir()
        if entry.name.endswith(".sql")
    }
    return MappingProxyType(texts)


def read_migrations(package: str) -> tuple[Migration, ...]:
    """Return the migrations of a package in their order.

    Args:
        package: The package; its folder `migrations` has files such as `0001_first.sql`.
    """
    return tuple(
        Migration(int(name.partition("_")[0]), script)
        for name, script in sorted(read_statements(package, "migrations").items())
    )
