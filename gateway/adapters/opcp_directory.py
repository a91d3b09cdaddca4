"""A contract pool that is asked for one contract, in the shape of the Open Plug & Charge Protocol.

Owns: the request, the OAuth token that it needs, and reading the answer. Must not know what follows from it.
Neither an eMAID nor an answer is logged.
Source: hubject/opcp, OPCP-1.0.0: reference/ccp.v1.json (operation lookupContract),
reference/accessToken.v1.json, docs/04_authentication.md. The protocol has no operation that
lists contracts or their changes.
"""

import base64
import binascii
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from typing_extensions import override

from gateway.errors import GatewayError
from gateway.outbound import check_url, read_bounded, session
from pnc.contract_pool import PooledCertificate
from pnc.contract_pool_directory import ContractPoolDirectory, PoolAccess
from pnc.errors import PoolNotAnsweringError

_MAX_ANSWER_BYTES: Final = 262_144
_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
_EARLIER: Final = 60.0  # a token is renewed so many seconds before it ends
_DEFAULT_LIFETIME: Final = 300.0


class _PooledContract(msgspec.Struct):
    pcid: str
    emaid: str
    contractCertificate: str  # noqa: N815 - the protocol's name
    certValidFrom: datetime  # noqa: N815 - the protocol's name


class _Contracts(msgspec.Struct):
    XMLContracts: list[_PooledContract]


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = _DEFAULT_LIFETIME


@dataclass(slots=True, kw_only=True)
class OpcpDirectory(ContractPoolDirectory):
    """Asks pools that follow OPCP 1.0.0; a client's token is kept until it ends.

    `allow_private` lets sandboxes and tests ask this machine; `resolver` replaces DNS in tests.
    """

    timeout_seconds: float = 10.0
    allow_private: bool = False
    resolver: AbstractResolver | None = None
    _tokens: dict[tuple[str, str, str], tuple[str, float]] = field(default_factory=dict)

    @override
    async def look_up(self, access: PoolAccess, emaid: str) -> Sequence[PooledCertificate]:
        status, content = await self._get(access, emaid)
        if status == _UNAUTHORIZED:  # the pool has ended the token before its time
            self._tokens.pop(_key(access), None)
            status, content = await self._get(access, emaid)
        if status == _NOT_FOUND:
            return ()
        if status != _OK:
            raise PoolNotAnsweringError(f"the pool answered the look-up with the status {status}")
        return _read(content)

    async def _get(self, access: PoolAccess, emaid: str) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {await self._token(access)}", "Accept": "application/json"}
        return await self._send(
            "GET", f"{access.url}/v1/ccp/lookupContract/{quote(emaid, safe='')}", headers=headers
        )

    async def _token(self, access: PoolAccess) -> str:
        known = self._tokens.get(_key(access))
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        asked = {
            "client_id": access.client_id,
            "client_secret": access.client_secret,
            "audience": access.audience,
            "grant_type": "client_credentials",
        }
        status, content = await self._send("POST", access.token_url, json=asked)
        if status != _OK:
            raise PoolNotAnsweringError(f"the pool's token service answered with the status {status}")
        try:
            token = msgspec.json.decode(content, type=_Token)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise PoolNotAnsweringError("the pool's token service gave an unreadable answer") from None
        self._tokens[_key(access)] = (
            token.access_token,
            time.monotonic() + max(0.0, token.expires_in - _EARLIER),
        )
        return token.access_token

    async def _send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, json: Any = None
    ) -> tuple[int, bytes]:
        try:
            check_url(url, allow_private=self.allow_private)
            async with (
                session(
                    self.allow_private, total_seconds=self.timeout_seconds, resolver=self.resolver
                ) as client,
                client.request(method, url, headers=headers, json=json, allow_redirects=False) as response,
            ):
                return response.status, await read_bounded(response, limit=_MAX_ANSWER_BYTES)
        except TimeoutError:
            problem = f"the pool does not answer within {self.timeout_seconds:g} seconds"
        except (aiohttp.ClientError, GatewayError, OSError, ValueError) as error:
            problem = f"the pool can't be reached ({type(error).__name__})"
        raise PoolNotAnsweringError(problem)


def _key(access: PoolAccess) -> tuple[str, str, str]:
    return access.token_url, access.client_id, access.client_secret


def _read(content: bytes) -> list[PooledCertificate]:
    """The certificates of an answer; one contract may have one for each edition of ISO 15118."""
    try:
        found = msgspec.json.decode(content, type=_Contracts).XMLContracts
        return [
            PooledCertificate(
                vehicle=one.pcid.upper(),
                certificate=one.contractCertificate,
                sha256=hashlib.sha256(base64.b64decode(one.contractCertificate, validate=True)).hexdigest(),
                valid_from=_aware(one.certValidFrom),
            )
            for one in found
        ]
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError):
        raise PoolNotAnsweringError("the pool's answer to the look-up can't be read") from None


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without its offset")
    return moment
