"""The SQL of the store: one statement a file, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a version of the schema to the next.

    Args:
        version: The version that it leads to.
        script: Statements. They run in one transaction, along with those of the other steps.
    """

    version: int
    script: str


def _read_folder(folder: str) -> Mapping[str, str]:
    entries = files("store.postgres").joinpath(folder).iterdir()
    texts = {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in entries
        if entry.name.endswith(".sql")
    }
    return MappingProxyType(texts)


QUERIES: Final = _read_folder("queries")
"""Statements by the names of their files."""

MIGRATIONS: Final = tuple(
    Migration(int(name.partition("_")[0]), script)
    for name, script in sorted(_read_folder("migrations").items())
)
"""All migrations, in their order."""
