"""A token that its CPO accepted by whitelist: its payment is secured when the CDR comes.

Owns: whether such a CDR's token is ours to pay for, and the authorization made for it. Must not know: how a
CDR is matched otherwise, how a payment is secured.
Source: OCPI mod_tokens, WhitelistType (NEVER: the CPO has to ask before any use); mod_cdrs, AuthMethod
WHITELIST ("no request to the eMSP has been performed"); decision 0826.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from clearing.errors import ClearingError
from clearing.money import Rounding, round_units
from clearing.pricing.cdr import Cdr, parse_cdr
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, Pool
from gateway.ocpi.connectors import evse_key
from gateway.ocpi.real_time_authorization import (
    AllowedType,
    BegunSession,
    TokenAuthorizationRequest,
)
from gateway.ocpi.repository import cdrs, objects, tokens
from gateway.ocpi.repository.cdrs import CdrRecord
from gateway.ocpi.repository.objects import Connector
from gateway.ocpi.repository.tokens import TokenRecord
from gateway.ocpi.token_authorization import SAME_REQUEST, TokenAuthorizationService
from gateway.ocpi.token_types import stored_types, stored_uid

UNKNOWN: Final = "no session of this CPO carries its reference"
_WHITELIST: Final = "WHITELIST"
_NEVER: Final = "NEVER"
_RFID: Final = "RFID"


def earliest_request(stored: CdrRecord) -> datetime | None:
    """Since when a CPO may have asked about the session of a CDR that it says it accepted by whitelist.

    None: the CDR says nothing of the kind.
    """
    try:
        cdr = parse_cdr(stored.raw, version=stored.version)
    except ClearingError:
        return None
    return cdr.start - SAME_REQUEST if (cdr.auth_method or "").upper() == _WHITELIST else None


@dataclass(frozen=True, slots=True)
class NotSecured:
    """Why a CDR has no session; `pending`: its payment is not decided yet."""

    reason: str
    pending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WhitelistedUseService:
    """Secures the payment of sessions that began by whitelist. The caller holds no transaction."""

    pool: Pool
    authorizer: TokenAuthorizationService

    async def secure(self, stored: CdrRecord) -> UUID | NotSecured:
        """The session of a CDR without one, its payment secured now; else why there is none.

        The same CDR again has the same authorization, unless that one was declined.
        """
        try:
            cdr = parse_cdr(stored.raw, version=stored.version)
        except ClearingError:
            return NotSecured(UNKNOWN)
        if (cdr.auth_method or "").upper() != _WHITELIST:
            return NotSecured(UNKNOWN)
        async with self.pool.acquire() as connection:
            token = await _find_token(connection, cdr)
            place = await _find_place(connection, cdr, cpo_id=stored.cpo_id)
        if token is None:
            return NotSecured("accepted by whitelist, and no token of ours has its uid")
        if token.whitelist == _NEVER:
            return NotSecured("accepted by whitelist, but its token has to be authorized before each use")
        if token.blocked_since is not None and token.blocked_since <= cdr.start:
            return NotSecured("accepted by whitelist, but its token was blocked before the session began")
        if place is None:
            return NotSecured("accepted by whitelist at an EVSE that is unknown here")
        return await self._authorized(stored, cdr, token, place)

    async def _authorized(
        self, stored: CdrRecord, cdr: Cdr, token: TokenRecord, place: Connector
    ) -> UUID | NotSecured:
        energy_wh = round_units((cdr.total_energy_kwh or Decimal(0)) * 1000, rounding=Rounding.HALF_AWAY)
        result = await self.authorizer.authorize(
            TokenAuthorizationRequest(
                cpo_id=stored.cpo_id,
                token=token,
                location_id=place.location_id,
                evse_uids=(place.evse_uid,),
                requested_at=cdr.start,
                begun=BegunSession(
                    energy_wh=max(energy_wh, 0), duration_s=(cdr.end - cdr.start) // timedelta(seconds=1)
                ),
            )
        )
        if result.allowed is not AllowedType.ALLOWED:
            reason = f"accepted by whitelist, and its payment is not secured: {result.allowed.value}"
            return NotSecured(reason, pending=result.pending)
        async with self.pool.acquire() as connection:
            found = await cdrs.find_session_of_reference(
                connection, cpo_id=stored.cpo_id, reference=result.authorization_reference
            )
        return NotSecured(UNKNOWN) if found is None else found


async def _find_token(connection: Connection, cdr: Cdr) -> TokenRecord | None:
    """The token of ours that a CDR names: by uid and type, in 2.1.1 by its auth_id."""
    if cdr.version is OcpiVersion.V2_1_1:
        named = cdr.auth_id or ""
        return await tokens.find_token_of_contract(connection, contract_id=named) if named else None
    for stored in stored_types((cdr.token_type or _RFID).upper(), version=cdr.version):
        uid = stored_uid(cdr.auth_id or "", stored_type=stored)
        found = await tokens.load_token(connection, uid=uid, token_type=stored)
        if found is not None:
            return found
    return None


async def _find_place(connection: Connection, cdr: Cdr, *, cpo_id: str) -> Connector | None:
    named = cdr.evse_uid or cdr.evse_id
    if named is None:
        return None
    found = await objects.find_connectors(
        connection, evse_key=evse_key(cdr.evse_id or named), evse_uid=named, party_id=cpo_id
    )
    return found[0] if found else None
