"""Drivers' tokens as the platform issues them: what a CPO finds in our token list and may ask about.

Owns: storing a token under the platform's own eMSP role. Must not know: HTTP, or how a payment is secured.
Source: OCPI 2.2.1 mod_tokens, Token object (uid, type, contract_id, issuer, valid, whitelist).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ocpi.repository import tokens
from gateway.ocpi.repository.peers import PeerRole
from gateway.ocpi.repository.tokens import TokenRecord


class TokenType(StrEnum):
    """TokenType of OCPI 2.2.1, without the types that only a CPO issues."""

    APP_USER = "APP_USER"
    RFID = "RFID"
    OTHER = "OTHER"


class WhitelistType(StrEnum):
    """WhitelistType of OCPI 2.2.1: whether a CPO may accept the token without asking us."""

    ALWAYS = "ALWAYS"
    ALLOWED = "ALLOWED"
    ALLOWED_OFFLINE = "ALLOWED_OFFLINE"
    NEVER = "NEVER"


class TokenTakenError(Exception):
    """Another demand partner has a token of this uid and type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUpdate:
    """A token to store: whose driver it is, what pays, and how a CPO may treat it."""

    uid: str
    type: TokenType
    contract_id: str
    issuer: str
    party_id: str
    payment: Mapping[str, Any]
    valid: bool
    whitelist: WhitelistType
    visual_number: str | None = None
    group_id: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenService:
    """Stores drivers' tokens under the platform's role, each change with its time."""

    pool: Pool
    clock: Clock
    role: PeerRole

    async def save(self, update: TokenUpdate) -> TokenRecord:
        """Store a token, new or changed; CPOs get it with their next pull.

        Raises:
            TokenTakenError: another demand partner has one of that uid and type.
        """
        token = TokenRecord(
            uid=update.uid,
            type=update.type.value,
            country_code=self.role.country_code,
            party_code=self.role.party_code,
            contract_id=update.contract_id,
            visual_number=update.visual_number,
            issuer=update.issuer,
            group_id=update.group_id,
            valid=update.valid,
            whitelist=update.whitelist.value,
            language=update.language,
            demand_partner_id=update.party_id,
            payment=update.payment,
            last_updated=self.clock.now(),
        )
        async with transaction(self.pool) as connection:
            if not await tokens.save_token(connection, token):
                raise TokenTakenError(f"{update.type.value} {update.uid}")
        return token
