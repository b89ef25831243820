"""All mutants: deliberate bugs of the product, which the simulation has to see.

A mutant is a function that returns what it changes, and says in its docstring what goes wrong.
Where one bug alone is harmless because another safeguard stands behind it, the mutant removes
both and says so.
"""

import inspect
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.simulation.mutants import kernel, owner, sagas, store, worker
from tests.simulation.mutants.patching import Change

__all__ = ["MUTANTS", "Mutant", "planted"]


@dataclass(frozen=True)
class Mutant:
    """A deliberate bug.

    Args:
        name: Its name.
        description: What goes wrong, in one sentence.
        changes: What it changes.
        beside: What else is changed, because it would make up for that.
    """

    name: str
    description: str
    changes: Sequence[Change]
    beside: Sequence[Change] = ()

    @contextmanager
    def planted(self) -> Generator[None]:
        """Have the bug in the product inside the block.

        Raises:
            StaleMutantError: The product does not hold any more what it changes.
        """
        with planted([*self.beside, *self.changes]):
            yield


@contextmanager
def planted(changes: Iterable[Change]) -> Generator[None]:
    """Have the product changed inside the block.

    Args:
        changes: What is changed.

    Raises:
        StaleMutantError: The product does not hold any more what is changed.
    """
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(change.planted())
        yield


def _mutant(make: Callable[[], Sequence[Change]]) -> Mutant:
    description = (inspect.getdoc(make) or "").partition("\n\n")[0]
    return Mutant(make.__name__, description.replace("\n", " "), make(), owner.BESIDE.get(make, ()))


MUTANTS: Mapping[str, Mutant] = {
    make.__name__: _mutant(make)
    for module in (store, kernel, owner, worker, sagas)
    for make in module.MUTANTS
}
"""All of them, by name."""
