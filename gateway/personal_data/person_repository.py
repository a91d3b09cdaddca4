"""A person's rows in PostgreSQL: found from one name to the next, counted, erased, exported.

Owns: translation between rows and values, the order in which rows may be deleted. Must not know: when a
person may be erased, or what is said of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import format_id, shard_of
from gateway.personal_data.person import Obstacle, PersonRows, Subject, SubjectKind, spellings

_sql: Final[Any] = named_queries("gateway", "person.sql")
_PREFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {"session": "ses", "authorization": "auth", "saved payment method": "method"}
)
# In this order: what refers to another row goes first. By the rule whose rows it removes.
_ERASE: Final[Sequence[tuple[str, Any]]] = (
    ("delivery_attempt", _sql.erase_answers),
    ("event", _sql.erase_events),
    ("psp_event", _sql.erase_psp_events),
    ("session", _sql.erase_sessions),
    ("payment_authorization", _sql.erase_authorizations),
    ("refund", _sql.erase_refunds),
    ("dispute", _sql.erase_disputes),
    ("payment_method", _sql.erase_payment_methods),
    ("payment_method_setup", _sql.erase_setups),
    ("customer", _sql.erase_customers),
    ("ocpi_token_authorization", _sql.erase_token_authorizations),
    ("ocpi_token", _sql.erase_tokens),
    ("ocpi_session", _sql.erase_ocpi_sessions),
    ("ocpi_command", _sql.erase_commands),
    ("ocpi_rejected_push", _sql.erase_rejected_pushes),
    ("ocpi_booking", _sql.erase_bookings),
    ("receipt_link", _sql.erase_receipt_links),
    ("invoice_link", _sql.erase_invoice_links),
    ("driver_payment", _sql.erase_driver_payments),
    ("recent_authorization", _sql.erase_taps),
    ("exception", _sql.erase_exceptions),
    ("contract_pool_event", _sql.erase_pool_events),
    ("contract_pool_position", _sql.erase_pool_positions),
    ("contract_pool_lookup", _sql.erase_pool_lookups),
)
ERASED_RULES: Final = frozenset(rule for rule, _ in _ERASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSales:
    """Sessions with a billing record at one place of taxation, and the newest of them."""

    tax_jurisdiction: str
    newest: datetime
    sessions: int
    captures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRecord:
    """An erasure that was carried out; it names nobody."""

    id: UUID
    pseudonym: str
    erased_at: datetime
    erased_by: str
    reason: str
    erased: Mapping[str, int]
    kept: Sequence[Mapping[str, Any]]


async def find_customers(connection: Connection, subject: Subject, known: PersonRows) -> PersonRows:
    """Customers and what is saved for them."""
    customers = [
        row
        async for row in _sql.customers_of(
            connection,
            party_id=subject.party_id,
            reference=subject.of(SubjectKind.REFERENCE),
            **_only(known, "customers", "psp_customers"),
        )
    ]
    known = PersonRows(
        customers=known.customers | {row["id"] for row in customers},
        psp_customers=known.psp_customers | {row["psp_customer"] for row in customers} - {None},
        methods=known.methods,
    )
    methods = [
        row
        async for row in _sql.methods_of(
            connection,
            fingerprint=subject.of(SubjectKind.CARD_FINGERPRINT),
            **_only(known, "customers", "methods"),
        )
    ]
    return PersonRows(
        customers=known.customers | {row["customer_id"] for row in methods},
        psp_customers=known.psp_customers,
        methods=known.methods | {row["psp_method"] for row in methods},
    )


async def find_tokens(connection: Connection, subject: Subject, known: PersonRows) -> PersonRows:
    """Tokens and the authorizations that operators asked for with them."""
    uid = subject.of(SubjectKind.TOKEN_UID)
    rows = [
        row
        async for row in _sql.tokens_of(
            connection,
            uid_key=None if uid is None else uid.lower(),
            **_only(known, "psp_customers", "emaids"),
        )
    ]
    tokens = known.tokens | {(row["uid_key"], row["type"]) for row in rows}
    asked = _sql.token_authorizations_of(
        connection, uid_keys=[uid for uid, _ in sorted(tokens)], types=[kind for _, kind in sorted(tokens)]
    )
    return PersonRows(
        tokens=tokens,
        psp_customers=known.psp_customers | {row["customer"] for row in rows} - {None},
        authorizations=known.authorizations | {row["authorization_id"] async for row in asked},
        texts=known.texts
        | {text for row in rows for text in spellings(row["uid"])}
        | {text for row in rows if subject.emaids for text in spellings(row["contract_id"])},
    )


async def find_sessions(connection: Connection, subject: Subject, known: PersonRows) -> PersonRows:
    """Sessions with their authorizations."""
    email = subject.of(SubjectKind.EMAIL)
    named = {"party_id": subject.party_id, "reference": subject.of(SubjectKind.REFERENCE)}
    sessions = [
        row["id"]
        async for row in _sql.sessions_of(connection, **named, **_only(known, "shards", "sessions", "texts"))
    ]
    known = PersonRows(
        sessions=known.sessions | set(sessions),
        authorizations=known.authorizations,
        psp_customers=known.psp_customers,
        methods=known.methods,
    )
    rows = [
        row
        async for row in _sql.authorizations_of(
            connection,
            email=None if email is None else email.lower(),
            **named,
            **_only(known, "authorizations", "psp_customers", "methods", "shards", "sessions"),
        )
    ]
    return PersonRows(
        sessions=known.sessions | {row["session_id"] for row in rows},
        authorizations=known.authorizations | {row["id"] for row in rows},
        psp_customers=known.psp_customers | {row["customer"] for row in rows} - {None},
    )


async def count_rows(connection: Connection, rows: PersonRows) -> dict[str, int]:
    """How many rows of each rule are the person's and may be erased; none that are 0."""
    named = await _named(connection, rows)
    found = [row async for row in _sql.found_rows(connection, **named)]
    return {row["rule"]: row["count"] for row in found if row["count"]}


async def list_obstacles(connection: Connection, rows: PersonRows) -> Sequence[Obstacle]:
    """What of the person's is under way."""
    found = [row async for row in _sql.why_not_erased(connection, **rows.parameters())]
    return [Obstacle(subject=_subject(row["kind"], row["id"]), reason=row["reason"]) for row in found]


async def list_kept(connection: Connection, rows: PersonRows) -> Sequence[KeptSales]:
    """What the law keeps, by place of taxation."""
    return [KeptSales(**dict(row)) async for row in _sql.kept_rows(connection, **rows.parameters())]


async def list_operators(connection: Connection, rows: PersonRows) -> Sequence[str]:
    """The CPOs that have had the person's data."""
    return [row["cpo_id"] async for row in _sql.operators_of(connection, **rows.parameters())]


async def lock(connection: Connection, rows: PersonRows) -> None:
    """Let nothing about the person's sessions change until the transaction ends."""
    by_shard: dict[int, list[UUID]] = {}
    for session_id in sorted(rows.sessions):
        by_shard.setdefault(shard_of(session_id), []).append(session_id)
    for shard, sessions in sorted(by_shard.items()):
        async for _ in _sql.lock_person(connection, shard=shard, sessions=sessions):
            pass


async def erase(connection: Connection, rows: PersonRows, *, pseudonym: str) -> dict[str, int]:
    """Erase the person's rows; how many, by rule, none that are 0."""
    named = await _named(connection, rows) | {"pseudonym": pseudonym}
    erased: dict[str, int] = {}
    for rule, statement in _ERASE:
        outcome: str = await statement(connection, **named)
        count = int(outcome.rpartition(" ")[2])
        if count:
            erased[rule] = count
    return erased


async def record(connection: Connection, made: ErasureRecord) -> None:
    """Keep that an erasure was carried out."""
    await _sql.record_erasure(
        connection,
        id=made.id,
        pseudonym=made.pseudonym,
        now=made.erased_at,
        by=made.erased_by,
        reason=made.reason,
        erased=dict(made.erased),
        kept=list(made.kept),
    )


async def list_erasures(
    connection: Connection, *, before: UUID | None = None, limit: int
) -> Sequence[ErasureRecord]:
    """Erasures, newest first."""
    rows = _sql.list_erasures(connection, before=before, limit=limit)
    return [ErasureRecord(**dict(row)) async for row in rows]


async def export(connection: Connection, rows: PersonRows) -> dict[str, list[Any]]:
    """Every row of the person, by table, as JSON values."""
    found: dict[str, list[Any]] = {}
    async for row in _sql.export_rows(connection, **rows.parameters()):
        found.setdefault(row["place"], []).append(row["data"])
    return found


async def _named(connection: Connection, rows: PersonRows) -> dict[str, Any]:
    named = dict(rows.parameters())
    names = [row["name"] async for row in _sql.psp_names_of(connection, **named)]
    return named | {"psp_names": [f'"{name}"' for name in names if name]}


def _only(rows: PersonRows, *names: str) -> dict[str, Any]:
    known = rows.parameters()
    return {name: known[name] for name in names}


def _subject(kind: str, identifier: UUID | None) -> str:
    prefix = _PREFIXES.get(kind)
    return kind if prefix is None or identifier is None else f"{kind} {format_id(prefix, identifier)}"
