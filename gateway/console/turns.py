"""How many pages a process makes at once: the others wait their turn for a while, then are answered 503.

Owns: the turns and who waits for one. Must not know what a page is. People share their process with each
other, and where no console process runs with those who charge: a page that waits here uses neither processor
time nor a database connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import GatewayError

PATIENCE_SECONDS: Final = 5.0
WAITING_FOR_EACH: Final = 25  # who comes to a longer queue would only wait in vain
RETRY_AFTER_SECONDS: Final = 2


class TooManyPagesError(GatewayError):
    """So many pages are being made that this one's turn did not come."""


@dataclass(slots=True)
class PageTurn:
    """One page's turn, which may be given back before its answer has ended."""

    _turns: asyncio.Semaphore
    _given_back: bool = False

    def give_back(self) -> None:
        """Let the next page begin; a second call does nothing."""
        if not self._given_back:
            self._given_back = True
            self._turns.release()


@dataclass(slots=True)
class PageTurns:
    """The turns of one process."""

    at_once: int
    patience_seconds: float = PATIENCE_SECONDS
    _turns: asyncio.Semaphore = field(init=False)
    _waiting: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """All turns are free."""
        self._turns = asyncio.Semaphore(self.at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[PageTurn]:
        """A turn while the block runs, or until it is given back. Raises TooManyPagesError."""
        await self._take()
        turn = PageTurn(self._turns)
        try:
            yield turn
        finally:
            turn.give_back()

    async def _take(self) -> None:
        if self._waiting >= WAITING_FOR_EACH * self.at_once:
            raise TooManyPagesError("Too many pages are waiting")
        self._waiting += 1
        try:
            async with asyncio.timeout(self.patience_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise TooManyPagesError("The page's turn did not come in time") from None
        finally:
            self._waiting -= 1
