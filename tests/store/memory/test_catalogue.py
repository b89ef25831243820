"""What is particular to the catalogue in memory; the rest is in the conformance suite."""

import pytest

from flow.ports import DefinitionRecord
from store.memory.catalogue import Catalogue, CatalogueStore


def test_revision_counts_changes() -> None:
    """The revision of an empty catalogue is 0, and each change adds one."""
    catalogue = Catalogue()
    record = DefinitionRecord("checkout", "h1", "", b"1", 1)
    assert catalogue.revision == 0
    catalogue.save_definition(record)
    catalogue.save_definition(record)
    catalogue.pause("checkout", "c1")
    assert catalogue.revision == 2


async def test_answers_are_copies() -> None:
    """What was answered does not change when the catalogue does."""

    class Opened:
        """Something that has a catalogue."""

        def __init__(self) -> None:
            self.catalogue = Catalogue()

    class Store(CatalogueStore):
        """A store of nothing but a catalogue."""

        opened = Opened()

        @property
        def _opened(self) -> Opened:
            return self.opened

    store = Store()
    await store.pause("checkout", "c1")
    before = await store.pauses()
    await store.pause("refund", "c2")
    assert before == {"checkout": "c1"}


async def test_part_alone_is_no_store() -> None:
    """Whoever takes the part has to say where the catalogue is."""
    with pytest.raises(NotImplementedError):
        await CatalogueStore().revision()
