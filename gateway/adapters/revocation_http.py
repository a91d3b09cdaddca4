"""Asking OCSP responders and fetching CRLs over HTTP, for pnc.

Owns the HTTP of it. The addresses come from certificates and stations: pnc asks only allow-listed origins,
and the outbound guard rejects every connection to an address that is not public, whatever name led there.
Must not know what an answer means: pnc verifies it.
Source: RFC 6960 appendix A.1 (OCSP over HTTP), RFC 5280 section 4.2.1.13 (CRLs).
"""

from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from typing_extensions import override

from gateway.errors import GatewayError
from gateway.outbound import check_url, read_bounded, session
from pnc.ports import FetchError, RevocationFetcher
from pnc.revocation_evidence import MAX_CRL_BYTES, MAX_OCSP_BYTES

_TOTAL_SECONDS: Final = 5.0
_OK: Final = 200


class HttpRevocationFetcher(RevocationFetcher):
    """Fetches over HTTP; an asynchronous context manager around one client session.

    `allow_private` lets sandboxes and tests ask this machine. `resolver` replaces DNS in tests.
    """

    def __init__(self, *, allow_private: bool, resolver: AbstractResolver | None = None) -> None:
        self._allow_private = allow_private
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = session(self._allow_private, total_seconds=_TOTAL_SECONDS, resolver=self._resolver)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @override
    async def fetch_ocsp(self, url: str, request: bytes) -> bytes:
        headers = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
        return await self._fetch("POST", url, limit=MAX_OCSP_BYTES, body=request, headers=headers)

    @override
    async def fetch_crl(self, url: str) -> bytes:
        return await self._fetch("GET", url, limit=MAX_CRL_BYTES, body=None, headers={})

    async def _fetch(
        self, method: str, url: str, *, limit: int, body: bytes | None, headers: dict[str, str]
    ) -> bytes:
        if self._session is None:
            raise FetchError("the fetcher is closed")
        try:
            self._check(url)
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status != _OK:
                    raise FetchError(f"{response.url.host} answered with status {response.status}")
                return await read_bounded(response, limit=limit)
        except (aiohttp.ClientError, GatewayError, OSError, ValueError) as problem:
            raise FetchError(f"{type(problem).__name__}: {problem}") from problem

    def _check(self, url: str) -> None:
        """Judge the address as any other; plain http is right here, because the answers are signed."""
        secure = f"https{url[4:]}" if url.startswith("http://") else url
        check_url(secure, allow_private=self._allow_private)
