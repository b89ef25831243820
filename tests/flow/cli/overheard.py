"""A helper: keeps what a command says, for whoever waits for it."""

import asyncio
from typing import Any

from flow.cli.output import Output


class Overheard(Output):
    """Keeps what is said, and tells whoever waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: asyncio.Queue[str] = asyncio.Queue()

    def lines(self, lines: Any) -> None:
        """Keep lines as one thing that was said."""
        self.said.put_nowait("\n".join(str(line) for line in lines))

    def note(self, text: str) -> None:
        """Keep a note."""
        self.said.put_nowait(text)

    async def expect(self, text: str) -> str:
        """Return the next thing that holds a text."""
        async with asyncio.timeout(20):
            while text not in (said := await self.said.get()):
                pass
        return said
