"""The ECB's file of exchange rates over HTTP.

Owns: the one request, its bounds and retries. Must not know: what the file says, when it is asked for. Only a
plain 200 is a file; a redirect is not followed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from gateway.errors import GatewayError
from gateway.outbound import AnswerTooLargeError, read_bounded

MAX_BYTES: Final = 4 * 2**20  # the whole history is 2 MB as CSV, 90 days are 0.3 MB as XML
PAUSES_S: Final = (2.0, 10.0)  # between at most three tries
TIMEOUT_S: Final = 30.0
_CONNECT_S: Final = 5.0
_OK: Final = 200
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFile:
    """Nothing came that could be read; `passing`: worth another try within the minute."""

    problem: str
    passing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EcbFeed:
    """Fetches the file at `url`; `pauses_s` are the waits between tries."""

    client: aiohttp.ClientSession
    url: str
    pauses_s: Sequence[float] = PAUSES_S
    timeout_s: float = TIMEOUT_S

    async def fetch(self) -> bytes | NoFile:
        """The file as it came, at most 4 MiB; what is no plain answer is none."""
        found = await self._ask()
        for pause_s in self.pauses_s:
            if not (isinstance(found, NoFile) and found.passing):
                break
            await asyncio.sleep(pause_s)
            found = await self._ask()
        return found

    async def _ask(self) -> bytes | NoFile:
        timeout = aiohttp.ClientTimeout(total=self.timeout_s, connect=_CONNECT_S)
        try:
            async with self.client.get(self.url, timeout=timeout, allow_redirects=False) as response:
                if response.status != _OK:
                    passing = response.status >= _SERVER_ERROR
                    return NoFile(problem=f"status {response.status}", passing=passing)
                return await read_bounded(response, limit=MAX_BYTES)
        except AnswerTooLargeError as error:
            return NoFile(problem=str(error))
        except TimeoutError:
            return NoFile(problem=f"no answer within {self.timeout_s:g} s", passing=True)
        except (aiohttp.ClientError, GatewayError, OSError) as error:
            return NoFile(problem=f"unreachable ({type(error).__name__})", passing=True)
