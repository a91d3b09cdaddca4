"""Drivers' tokens as the platform issues them: CPOs are sent them, find them in our list, and ask about them.

Owns: storing a token under the platform's own eMSP role, and sending it to connected platforms. Must not
know: HTTP, or how a payment is secured.
Source: OCPI 2.2.1 mod_tokens, Token object (uid, type, contract_id, issuer, valid, whitelist), Receiver
Interface (PUT; nothing is deleted, a token that has ended is pushed with `valid` false).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

import msgspec

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ocpi.repository import payments as messages
from gateway.ocpi.repository import peers, tokens
from gateway.ocpi.repository.peers import PeerRole
from gateway.ocpi.repository.tokens import TokenRecord
from gateway.ocpi.token_types import type_on_wire
from gateway.ocpi.tokens import token_object

_encoder: Final = msgspec.json.Encoder()


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
        """Store a token, new or changed, and have it sent to every platform that takes tokens.

        Raises:
            TokenTakenError: another demand partner has one of that uid and type.
        """
        async with transaction(self.pool) as connection:
            return await save_token(connection, update, role=self.role, clock=self.clock)

    async def get(self, *, uid: str, token_type: TokenType, party_id: str | None) -> TokenRecord | None:
        """One token; None where there is none, or another party's than `party_id`."""
        async with self.pool.acquire() as connection:
            found = await tokens.load_token(connection, uid=uid, token_type=token_type.value)
        return None if found is None or party_id not in {None, found.demand_partner_id} else found

    async def list(
        self, *, party_id: str | None, after: tuple[str, str] | None, limit: int
    ) -> list[TokenRecord]:
        """Tokens of a party, or of all, by uid and type; `after` is the uid and type of the last one seen."""
        async with self.pool.acquire() as connection:
            return await tokens.list_tokens_of(
                connection, party_id=party_id, types=list(TokenType), after=after, limit=limit
            )


async def save_token(
    connection: Connection, update: TokenUpdate, *, role: PeerRole, clock: Clock
) -> TokenRecord:
    """Store a token and queue its push, in the caller's transaction. Raises TokenTakenError as `save`."""
    token = TokenRecord(
        uid=update.uid,
        type=update.type.value,
        country_code=role.country_code,
        party_code=role.party_code,
        contract_id=update.contract_id,
        visual_number=update.visual_number,
        issuer=update.issuer,
        group_id=update.group_id,
        valid=update.valid,
        whitelist=update.whitelist.value,
        language=update.language,
        demand_partner_id=update.party_id,
        payment=update.payment,
        last_updated=clock.now(),
    )
    if not await store_token(connection, token, clock=clock):
        raise TokenTakenError(f"{update.type.value} {update.uid}")
    return token


async def set_valid(
    connection: Connection, *, uid: str, token_type: TokenType, valid: bool, clock: Clock
) -> TokenRecord | None:
    """Block a token or make it valid again, and queue its push; None where there is no such token.

    A token that is as wanted already is not sent again. In the caller's transaction.
    """
    found = await tokens.load_token(connection, uid=uid, token_type=token_type.value)
    if found is None or found.valid == valid:
        return found
    changed = replace(found, valid=valid, last_updated=clock.now())
    await store_token(connection, changed, clock=clock)
    return changed


async def store_token(connection: Connection, token: TokenRecord, *, clock: Clock) -> bool:
    """Store a token and queue its push to every platform that takes tokens, in the caller's transaction.

    False when another demand partner has a token of this uid and type: nothing is stored then.
    """
    if not await tokens.save_token(connection, token):
        return False
    for receiver in await peers.list_receivers(connection, module="tokens"):
        version = receiver.version or OcpiVersion.V2_2_1
        named = type_on_wire(token.type, version=version)
        await messages.add_message(
            connection,
            party_id=receiver.party_id,
            module="tokens",
            method="PUT",
            path=f"/{token.country_code}/{token.party_code}/{quote(token.uid, safe='')}?type={named}",
            object_id=f"{token.type}/{token.uid}",
            body=_encoder.encode(token_object(token, version=version)),
            now=clock.now(),
            wall_now=clock.wall_now(),
        )
    return True
