"""Drivers' tokens, and CPOs' authorization requests about them, in PostgreSQL.

Owns: translation between rows and values. Must not know: HTTP, or how a payment is secured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "ocpi_tokens.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """A driver's token as OCPI shows it, whose driver it is, and the payment object of the capture API."""

    uid: str
    type: str
    country_code: str
    party_code: str
    contract_id: str
    visual_number: str | None
    issuer: str
    group_id: str | None
    valid: bool
    whitelist: str
    language: str | None
    demand_partner_id: str
    payment: Mapping[str, Any]
    last_updated: datetime
    blocked_since: datetime | None = None  # as stored; None: it is valid, or was not stored yet


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuthorizationRecord:
    """A CPO's question: may this token charge at this EVSE?"""

    cpo_id: str
    token_uid: str
    token_type: str
    evse_uid: str


async def save_token(connection: Connection, token: TokenRecord) -> bool:
    """Keep a token, new or changed; False when another demand partner has one of that uid and type.

    What is blocked stays blocked since the first time, whatever else of it changes.

    Raises asyncpg.CheckViolationError for a whitelist type that OCPI does not have.
    """
    saved = await _sql.save_token(
        connection,
        uid_key=token.uid.lower(),
        type=token.type,
        uid=token.uid,
        country_code=token.country_code,
        party_code=token.party_code,
        contract_id=token.contract_id,
        visual_number=token.visual_number,
        issuer=token.issuer,
        group_id=token.group_id,
        valid=token.valid,
        whitelist=token.whitelist,
        language=token.language,
        demand_partner_id=token.demand_partner_id,
        payment=dict(token.payment),
        last_updated=token.last_updated,
    )
    return saved is not None


async def load_token(connection: Connection, *, uid: str, token_type: str) -> TokenRecord | None:
    """One token, its uid without regard to case."""
    row = await _sql.load_token(connection, uid_key=uid.lower(), type=token_type)
    return None if row is None else TokenRecord(**dict(row))


async def find_token_of_contract(connection: Connection, *, contract_id: str) -> TokenRecord | None:
    """The token of a contract, the one changed last where it has several; compared without regard to case."""
    row = await _sql.token_of_contract(connection, contract_key=contract_id.lower())
    return None if row is None else TokenRecord(**dict(row))


async def list_tokens(
    connection: Connection,
    *,
    date_from: datetime | None,
    date_to: datetime | None,
    offset: int,
    limit: int,
) -> tuple[list[TokenRecord], int]:
    """A page of the tokens, by last_updated, and how many there are."""
    rows = _sql.list_tokens(
        connection, date_from=date_from, date_to=date_to, row_offset=offset, row_limit=limit
    )
    tokens = [TokenRecord(**dict(row)) async for row in rows]
    total: int = await _sql.count_tokens(connection, date_from=date_from, date_to=date_to)
    return tokens, total


async def list_tokens_of(
    connection: Connection,
    *,
    party_id: str | None,
    types: Sequence[str],
    after: tuple[str, str] | None,
    limit: int,
) -> list[TokenRecord]:
    """Tokens of some types, of a demand partner or of all, by uid and type, behind `after`."""
    uid, token_type = after or ("", "")
    rows = _sql.tokens_of(
        connection,
        party_id=party_id,
        types=list(types),
        after_uid=uid.lower(),
        after_type=token_type,
        row_limit=limit,
    )
    return [TokenRecord(**dict(row)) async for row in rows]


async def find_recent_request(
    connection: Connection,
    question: TokenAuthorizationRecord,
    *,
    fresh_id: UUID,
    now: datetime,
    within: timedelta | None,
) -> UUID:
    """The authorization id of the same request within `within` before `now`, else `fresh_id`, kept for it.

    `within` None: a request of exactly `now`.

    Call it in a transaction of its own: the id must be committed before it is used.
    """
    request = {
        "cpo_id": question.cpo_id,
        "uid_key": question.token_uid.lower(),
        "type": question.token_type,
        "evse_uid_key": question.evse_uid.lower(),
    }
    await _sql.lock_request(connection, **request)
    known: UUID | None
    if within is None:
        known = await _sql.request_at(connection, **request, at=now)
    else:
        known = await _sql.recent_request(connection, **request, since=now - within)
    if known is not None:
        return known
    await _sql.add_request(connection, **request, authorization_id=fresh_id, now=now)
    return fresh_id


async def add_request(
    connection: Connection, question: TokenAuthorizationRecord, *, fresh_id: UUID, now: datetime
) -> UUID:
    """Keep `fresh_id` as the newest answer to a question whose last answer is spent.

    Call it in a transaction of its own.
    """
    await _sql.add_request(
        connection,
        cpo_id=question.cpo_id,
        uid_key=question.token_uid.lower(),
        type=question.token_type,
        evse_uid_key=question.evse_uid.lower(),
        authorization_id=fresh_id,
        now=now,
    )
    return fresh_id


async def load_emaid_place(connection: Connection, *, environment: str) -> tuple[int, int]:
    """How far the contracts' changes have been made into tokens: transaction and sequence, from zero on."""
    row = await _sql.emaid_place(connection, environment=environment)
    return (0, 0) if row is None else (row["change_transaction"], row["change_sequence"])


async def move_emaid_place(
    connection: Connection,
    *,
    environment: str,
    before: tuple[int, int],
    after: tuple[int, int],
    now: datetime,
) -> bool:
    """Move that place on; False when it was moved since `before` was read."""
    moved = await _sql.move_emaid_place(
        connection,
        environment=environment,
        before_transaction=before[0],
        before_sequence=before[1],
        after_transaction=after[0],
        after_sequence=after[1],
        now=now,
    )
    return moved is not None
