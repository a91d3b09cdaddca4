"""VIES, the Commission's register of VAT ids, over its REST interface.

Owns: the HTTP of it, retries, and what counts as an answer. Must not know: whose ids are checked, when,
or what follows. An answer that is not clearly "valid" or "not valid" of the same id counts as none.
Source: VIES technical information (POST check-vat-number: countryCode, vatNumber, requesterMemberStateCode,
requesterNumber; answer: valid, requestDate, requestIdentifier; faults in errorWrappers); Regulation (EU)
904/2010 art. 31; Implementing Regulation 282/2011 art. 18.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import aiohttp
from typing_extensions import override

from clearing.parties.party import VatEvidence
from clearing.ports import NoFinding, VatEvidenceSource
from gateway.errors import GatewayError
from gateway.outbound import read_bounded
from gateway.retry_policy import RetryPolicy

ADDRESS: Final = "https://ec.europa.eu/taxation_customs/vies/rest-api"
SOURCE: Final = "VIES"
# Member states with VIES's own code for Greece, and Northern Ireland for goods.
PREFIXES: Final = (
    "AT",
    "BE",
    "BG",
    "CY",
    "CZ",
    "DE",
    "DK",
    "EE",
    "EL",
    "ES",
    "FI",
    "FR",
    "HR",
    "HU",
    "IE",
    "IT",
    "LT",
    "LU",
    "LV",
    "MT",
    "NL",
    "PL",
    "PT",
    "RO",
    "SE",
    "SI",
    "SK",
    "XI",
)
RETRY: Final = RetryPolicy.of_seconds(1, 4, max_attempts=3)
_ZONE: Final = ZoneInfo("Europe/Brussels")
_MAX_BYTES: Final = 65_536
_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, connect=5)
_OK: Final = 200
_PREFIX_LENGTH: Final = 2
_PLAIN: Final = ("VALID", "INVALID")
# Worth another attempt within the minute; a member state that is unavailable stays so for longer.
_PASSING: Final = frozenset({"GLOBAL_MAX_CONCURRENT_REQ", "MS_MAX_CONCURRENT_REQ", "TIMEOUT", "unreachable"})


class Vies(VatEvidenceSource):
    """Checks ids at VIES; `retry` says how often a passing failure is retried."""

    def __init__(
        self, *, client: aiohttp.ClientSession, address: str = ADDRESS, retry: RetryPolicy = RETRY
    ) -> None:
        self._client = client
        self._url = f"{address}/check-vat-number"
        self._retry = retry

    @property
    @override
    def prefixes(self) -> Sequence[str]:
        return PREFIXES

    @override
    async def check(self, vat_id: str, *, requester: str | None, now: datetime) -> VatEvidence | NoFinding:
        request = _request(vat_id, requester)
        found, attempts = await self._send(vat_id, request, now=now), 1
        while isinstance(found, NoFinding) and found.problem in _PASSING:
            delay = self._retry.delay_after(attempts)
            if delay is None:
                break
            await asyncio.sleep(delay.total_seconds())
            found, attempts = await self._send(vat_id, request, now=now), attempts + 1
        return found

    async def _send(
        self, vat_id: str, request: Mapping[str, str], *, now: datetime
    ) -> VatEvidence | NoFinding:
        try:
            async with self._client.post(
                self._url, json=request, timeout=_TIMEOUT, allow_redirects=False
            ) as response:
                body = await read_bounded(response, limit=_MAX_BYTES)
                status = response.status
        except (aiohttp.ClientError, GatewayError, OSError):
            return NoFinding(problem="unreachable")
        try:
            answer = json.loads(body)
        except ValueError:
            return NoFinding(problem=f"status {status} without JSON")
        if not isinstance(answer, dict):
            return NoFinding(problem=f"status {status} without an object")
        return _finding(vat_id, request, answer, status=status, now=now)


def _request(vat_id: str, requester: str | None) -> dict[str, str]:
    question = {"countryCode": vat_id[:_PREFIX_LENGTH], "vatNumber": vat_id[_PREFIX_LENGTH:]}
    if requester is not None:
        question["requesterMemberStateCode"] = requester[:_PREFIX_LENGTH]
        question["requesterNumber"] = requester[_PREFIX_LENGTH:]
    return question


def _finding(
    vat_id: str, question: Mapping[str, str], answer: Mapping[str, Any], *, status: int, now: datetime
) -> VatEvidence | NoFinding:
    faults = answer.get("errorWrappers")
    if faults:
        first = faults[0] if isinstance(faults, list) else faults
        code = first.get("error") if isinstance(first, dict) else None
        return NoFinding(problem=str(code or "an unnamed fault")[:100])
    if status != _OK:
        return NoFinding(problem=f"status {status}")
    problem = answer.get("userError")  # beside "valid": false it may say that a member state was away
    if problem is not None and problem not in _PLAIN:
        return NoFinding(problem=str(problem)[:100])
    valid, identifier = answer.get("valid"), answer.get("requestIdentifier")
    if not isinstance(valid, bool):
        return NoFinding(problem="neither valid nor not valid")
    if any(answer.get(name) != question[name] for name in ("countryCode", "vatNumber")):
        return NoFinding(problem="an answer about another id")
    return VatEvidence(
        effective_from=now.astimezone(_ZONE).date(),
        vat_id=vat_id,
        valid=valid,
        source=SOURCE,
        reference=identifier[:100] if isinstance(identifier, str) else "",
        checked_at=now,
    )
