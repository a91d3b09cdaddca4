"""The public API as a partner calls it, for commands that a partner's developer runs.

Owns: one call with its key, and its problem as one line. Must not know: what a command does with an answer.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import aiohttp
import click
from typing_extensions import override

from gateway.errors import GatewayError

_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)
_FIRST_ERROR: Final = 400


class ApiAnswerError(GatewayError):
    """The gateway answered with a problem; `code` is the problem's."""

    def __init__(self, call: str, status: int, problem: Mapping[str, Any]) -> None:
        self.code = problem.get("code")
        text = problem.get("detail") or "the answer says no more"
        super().__init__(f"{call}: {status} {self.code or 'without a code'}: {text}")


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--url` and `--api-key`, from the variables that the guides use: BASE and KEY."""
    url = click.option("--url", envvar="BASE", required=True, help="The gateway's address; else $BASE.")
    key = click.option("--api-key", envvar="KEY", required=True, help="A party's API key; else $KEY.")
    return url(key(command))


class ApiClient(AbstractAsyncContextManager["ApiClient"]):
    """Calls one gateway with one API key. Raises ApiAnswerError, GatewayError where nothing answers."""

    def __init__(self, url: str, api_key: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise click.UsageError(f"{url!r} is no address of a gateway: it begins with http:// or https://")
        self.url = url.rstrip("/")
        self.server_time: datetime | None = None  # of the last answer
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._session: aiohttp.ClientSession | None = None

    @override
    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT)
        return self

    @override
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: str | int) -> Any:
        """The JSON answer of a reading call."""
        return await self._call("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of a writing call, under a fresh Idempotency-Key."""
        return await self._call("POST", path, json=dict(body or {}), headers={"Idempotency-Key": uuid4().hex})

    async def delete(self, path: str) -> Any:
        """The JSON answer of a deleting call."""
        return await self._call("DELETE", path)

    async def _call(self, method: str, path: str, **more: Any) -> Any:
        if self._session is None:
            raise RuntimeError("an ApiClient is opened with `async with`")
        try:
            async with self._session.request(method, f"{self.url}{path}", **more) as answer:
                content = await answer.json(content_type=None) if answer.content_length != 0 else None
                date = answer.headers.get("Date")
                status = answer.status
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise GatewayError(f"no gateway answers at {self.url}: {str(error) or 'timeout'}") from error
        except ValueError as error:
            raise GatewayError(f"{method} {path}: the answer of {self.url} is no JSON") from error
        self.server_time = None if date is None else parsedate_to_datetime(date)
        if status >= _FIRST_ERROR:
            raise ApiAnswerError(f"{method} {path}", status, content if isinstance(content, dict) else {})
        return content
