"""The ECB's file of exchange rates over HTTP.

Owns: the one request, its bounds and retries. Must not know: what the file says, when it is fetched. Only a
plain 200 is a file; a redirect is not followed.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import aiohttp

from gateway.errors import GatewayError
from gateway.outbound import AnswerTooLargeError, read_bounded
from gateway.retry_policy import RetryPolicy

MAX_BYTES: Final = 4 * 2**20  # the whole history is 2 MB as CSV, 90 days are 0.3 MB as XML
RETRY: Final = RetryPolicy.of_seconds(2, 10, max_attempts=3)
TIMEOUT_S: Final = 30.0
_CONNECT_S: Final = 5.0
_OK: Final = 200
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFile:
    """No file that can be read; `passing`: worth another attempt within the minute."""

    problem: str
    passing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EcbFeed:
    """Fetches the file at `url`; `retry` says how often a passing failure is retried."""

    client: aiohttp.ClientSession
    url: str
    retry: RetryPolicy = RETRY
    timeout_s: float = TIMEOUT_S

    async def fetch(self) -> bytes | NoFile:
        """The file as it came, at most 4 MiB; what is no plain answer is none."""
        found, attempts = await self._fetch_once(), 1
        while isinstance(found, NoFile) and found.passing:
            delay = self.retry.delay_after(attempts)
            if delay is None:
                break
            await asyncio.sleep(delay.total_seconds())
            found, attempts = await self._fetch_once(), attempts + 1
        return found

    async def _fetch_once(self) -> bytes | NoFile:
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
