"""The journal in PostgreSQL: entries, transfers, payables and the batch that seals them.

Owns: the order of writes, the bulk forms, the hashing of what is written. Must not know: what the entries
mean.

A writer holds the books open (shared), inserts its entries first (a second writer of the same entry waits
there and then finds itself too late), copies transfers and payables, and only at the end takes its chain's
lock, so that writers side by side wait for each other no longer than a commit takes. A batch is booked no
earlier than the one before it in its chain. No balance row is ever updated.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from operator import attrgetter
from uuid import UUID

from clearing.connection import Connection, UniqueViolationError, named_queries, rows
from clearing.errors import ClosedPeriodError
from clearing.journal import chain as hashing
from clearing.journal.ledger import Deltas, EntryKind, JournalEntry
from clearing.session import CapturedSession

_sql = named_queries("journal")
_SCHEMA = "clearing"
BLINDING_KEY_BYTES = 32
_COPY_FROM = 32  # entries from which on a copy is worth its savepoint
_ENTRY_COLUMNS = (
    "lane", "subject_id", "kind", "reference", "batch_id", "booked_at", "currency", "gross_minor", "legs",
    "flags", "hash", "sale_at", "cpo_id", "demand_partner_id", "rail", "territory", "agreement_id",
    "agreement_version", "tariff_sha256", "cdr_id", "psp_object_id", "priced_minor", "energy_kwh",
)  # fmt: skip
_NO_LINKS = (None,) * 12
_TRANSFER_COLUMNS = (
    "lane", "subject_id", "kind", "reference", "ordinal",
    "debit_account", "credit_account", "amount_minor", "currency",
)  # fmt: skip
_PAYABLE_COLUMNS = (
    "lane", "subject_id", "kind", "reference", "party_id", "amount_minor", "currency", "due_date",
)  # fmt: skip
_LOCK_COLUMNS = ("lane", "session_id", "base", "quote", "rate", "source", "rate_date", "markup_bps")
_DELTA_COLUMNS = ("account", "currency", "batch_id", "booked_at", "debit_minor", "credit_minor")

EntryKey = tuple[UUID, str, str]
_Sealed = tuple[JournalEntry, bytes]  # an entry with its hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What a batch is sealed with.

    Its id, its chain, its instant, and the key of its blinds (32 random bytes).
    """

    batch_id: UUID
    chain: int
    now: datetime
    blinding_key: bytes


def new_seal(batch_id: UUID, chain: int, now: datetime) -> Seal:
    """A seal with a fresh blinding key."""
    return Seal(batch_id=batch_id, chain=chain, now=now, blinding_key=secrets.token_bytes(BLINDING_KEY_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """The entries that this writer posted, by key, and the batch's hash.

    None when there was nothing to post.
    """

    keys: frozenset[EntryKey]
    hash: bytes | None


def key_of(entry: JournalEntry) -> EntryKey:
    """What makes an entry the same entry."""
    return (entry.subject_id, entry.kind, entry.reference)


async def hold_open(connection: Connection, *, now: datetime) -> None:
    """Keep the books from being closed until the transaction ends.

    Raises ClosedPeriodError for a closed instant.
    """
    await _sql.hold_books_open(connection)
    until = await closed_until(connection)
    if until is not None and now < until:
        raise ClosedPeriodError(at=now, closed_until=until)


async def closed_until(connection: Connection) -> datetime | None:
    """Up to which instant the books are closed, exclusive."""
    until: datetime | None = await _sql.closed_until(connection)
    return until


async def known(connection: Connection, keys: Sequence[tuple[int, UUID, str, str]]) -> set[EntryKey]:
    """Which of these entries (lane, subject, kind, reference) are posted already."""
    if not keys:
        return set()
    lanes, subjects, kinds, references = zip(*keys, strict=True)
    found = await rows(
        _sql.known_entries(connection, lanes=lanes, subjects=subjects, kinds=kinds, refs=references)
    )
    return {(row["subject_id"], row["kind"], row["reference"]) for row in found}


async def captured(connection: Connection, sessions: Sequence[CapturedSession]) -> set[UUID]:
    """Which of these sessions have been cleared already."""
    capture = EntryKind.CAPTURE.value
    found = await known(connection, [(session.lane, session.session_id, capture, "") for session in sessions])
    return {subject for subject, _, _ in found}


async def post(connection: Connection, entries: Sequence[JournalEntry], *, seal: Seal) -> Posted:
    """Write entries in one batch; those that another writer posted meanwhile are left out, whole.

    The caller holds the books open. Entries are written in the order of their keys, so that two writers can't
    deadlock.
    """
    ordered = sorted(entries, key=attrgetter("lane", "subject_id", "kind", "reference"))
    sealed = [(entry, entry_hash(entry, seal.blinding_key)) for entry in ordered]
    fresh = await _insert_entries(connection, sealed, seal)
    if len(fresh) < len(sealed):
        sealed = [(entry, digest) for entry, digest in sealed if key_of(entry) in fresh]
    if not sealed:
        return Posted(keys=frozenset(), hash=None)
    posted = [entry for entry, _ in sealed]
    count = await _copy_rows(connection, posted)
    digest = await _seal(connection, posted, [digest for _, digest in sealed], count, seal)
    return Posted(keys=fresh, hash=digest)


def entry_hash(entry: JournalEntry, blinding_key: bytes) -> bytes:
    """The hash of an entry as `clearing.journal.chain` defines it."""
    links, kind = entry.links, entry.kind.value
    header = hashing.entry_header(
        subject_id=entry.subject_id,
        kind=kind,
        reference=entry.reference,
        tariff_sha256=links.tariff_sha256 if links else "",
        cdr_id=links.cdr_id if links else "",
        legs_sha256=sha256(entry.legs.encode()).hexdigest(),
    )
    blinds = hashing.blinds(
        blinding_key,
        subject_id=entry.subject_id,
        kind=kind,
        reference=entry.reference,
        count=len(entry.transfers),
    )
    return hashing.hash_entry(header, entry.transfers, blinds)


async def _insert_entries(
    connection: Connection, sealed: Sequence[_Sealed], seal: Seal
) -> frozenset[EntryKey]:
    """Insert the entries that nobody posted; their keys.

    What was posted before is known by now, so a batch is copied, which is the fastest way in. Where another
    writer posts one of them meanwhile, the copy waits for it, fails whole, and the others go in one by one.
    """
    if len(sealed) >= _COPY_FROM:
        try:
            async with connection.transaction():
                await connection.copy_records_to_table(
                    "entry",
                    schema_name=_SCHEMA,
                    columns=_ENTRY_COLUMNS,
                    records=[_entry_record(entry, digest, seal) for entry, digest in sealed],
                )
        except UniqueViolationError:
            return await _insert_missing(connection, sealed, seal)
        return frozenset(key_of(entry) for entry, _ in sealed)
    return await _insert_missing(connection, sealed, seal)


def _entry_record(entry: JournalEntry, digest: bytes, seal: Seal) -> tuple[object, ...]:
    links = entry.links
    linked: tuple[object, ...] = _NO_LINKS
    if links is not None:
        linked = (
            links.sale_at, links.cpo_id, links.demand_partner_id, links.rail, links.territory,
            links.agreement_id, links.agreement_version, links.tariff_sha256, links.cdr_id,
            links.psp_object_id, links.priced_minor, links.energy_kwh,
        )  # fmt: skip
    return (
        entry.lane, entry.subject_id, entry.kind, entry.reference, seal.batch_id, seal.now, entry.currency,
        entry.gross_minor, entry.legs, entry.flags, digest, *linked,
    )  # fmt: skip


async def _insert_missing(
    connection: Connection, sealed: Sequence[_Sealed], seal: Seal
) -> frozenset[EntryKey]:
    entries = [entry for entry, _ in sealed]
    links = [entry.links for entry in entries]
    found = await rows(
        _sql.insert_entries(
            connection,
            batch_id=seal.batch_id,
            now=seal.now,
            lanes=[entry.lane for entry in entries],
            subjects=[entry.subject_id for entry in entries],
            kinds=[entry.kind for entry in entries],
            refs=[entry.reference for entry in entries],
            currencies=[entry.currency for entry in entries],
            gross=[entry.gross_minor for entry in entries],
            sales=[link and link.sale_at for link in links],
            cpos=[link and link.cpo_id for link in links],
            partners=[link and link.demand_partner_id for link in links],
            rails=[link and link.rail for link in links],
            territories=[link and link.territory for link in links],
            agreements=[link and link.agreement_id for link in links],
            versions=[link and link.agreement_version for link in links],
            tariffs=[link and link.tariff_sha256 for link in links],
            cdrs=[link and link.cdr_id for link in links],
            psp_objects=[link and link.psp_object_id for link in links],
            priced=[link and link.priced_minor for link in links],
            energies=[link and link.energy_kwh for link in links],
            legs=[entry.legs for entry in entries],
            flags=[",".join(entry.flags) for entry in entries],
            hashes=[digest for _, digest in sealed],
        )
    )
    return frozenset((row["subject_id"], row["kind"], row["reference"]) for row in found)


async def _copy_rows(connection: Connection, entries: Sequence[JournalEntry]) -> int:
    transfers = [
        (entry.lane, entry.subject_id, entry.kind, entry.reference, ordinal, *transfer)
        for entry in entries
        for ordinal, transfer in enumerate(entry.transfers)
    ]
    await connection.copy_records_to_table(
        "transfer", schema_name=_SCHEMA, columns=_TRANSFER_COLUMNS, records=transfers
    )
    payables = [
        (entry.lane, entry.subject_id, entry.kind, entry.reference, party_id, minor, currency, due)
        for entry in entries
        for party_id, _, minor, currency, due in entry.payables
    ]
    if payables:
        await connection.copy_records_to_table(
            "payable", schema_name=_SCHEMA, columns=_PAYABLE_COLUMNS, records=payables
        )
    locks = [
        (
            entry.lane,
            entry.subject_id,
            lock.base,
            lock.quote,
            lock.rate,
            lock.source,
            lock.rate_date,
            lock.markup_bps,
        )
        for entry in entries
        for lock in entry.locks
    ]
    if locks:
        await connection.copy_records_to_table(
            "fx_lock", schema_name=_SCHEMA, columns=_LOCK_COLUMNS, records=locks
        )
    return len(transfers)


async def _seal(
    connection: Connection, entries: Sequence[JournalEntry], leaves: Sequence[bytes], count: int, seal: Seal
) -> bytes:
    deltas = Deltas()
    for entry in entries:
        deltas.add(entry.transfers)
    root = hashing.merkle_root(leaves)
    await _sql.hold_chain(connection, chain=seal.chain)
    head = await _sql.chain_head(connection, chain=seal.chain)
    position, previous = (head["position"] + 1, head["hash"]) if head else (1, hashing.GENESIS)
    booked_at = seal.now
    if head and head["booked_at"] > booked_at:
        booked_at = head["booked_at"]
        await _sql.book_later(connection, batch_id=seal.batch_id, booked_at=booked_at)
    digest = hashing.batch_hash(
        previous=previous, root=root, chain=seal.chain, position=position, booked_at=booked_at
    )
    await _sql.insert_batch(
        connection,
        id=seal.batch_id,
        chain=seal.chain,
        position=position,
        now=booked_at,
        entry_count=len(entries),
        transfer_count=count,
        blinding_key=seal.blinding_key,
        merkle_root=root,
        previous_hash=previous,
        hash=digest,
    )
    lines = [
        (account, currency, seal.batch_id, booked_at, debit, credit)
        for (account, currency), (debit, credit) in sorted(deltas.sums.items())
    ]
    await connection.copy_records_to_table(
        "account_delta", schema_name=_SCHEMA, columns=_DELTA_COLUMNS, records=lines
    )
    return digest


async def volumes(connection: Connection, agreement_ids: Sequence[str]) -> dict[tuple[str, date], int]:
    """Sessions posted so far by agreement and month, held for this writer until its transaction ends."""
    if not agreement_ids:
        return {}
    await _sql.hold_volumes(connection, ids=agreement_ids)
    found = await rows(_sql.volumes(connection, ids=agreement_ids))
    return {(row["agreement_id"], row["month"]): row["sessions"] for row in found}


async def add_volumes(
    connection: Connection, added: Mapping[tuple[str, date], int], *, batch_id: UUID
) -> None:
    """Add what a batch posted to its agreements' months."""
    if added:
        ids, months = zip(*added, strict=True)
        await _sql.insert_volumes(
            connection, batch_id=batch_id, ids=ids, months=months, counts=list(added.values())
        )


async def put_rulings(connection: Connection, rulings: dict[str, str]) -> None:
    """Store VAT rulings by their content's name; known ones are left."""
    if rulings:
        await _sql.insert_rulings(connection, ids=list(rulings), contents=list(rulings.values()))


async def park(
    connection: Connection, parked: Sequence[tuple[int, UUID, str, str]], *, now: datetime
) -> None:
    """Set sessions (lane, id, reason, detail) aside, counting the attempts."""
    if parked:
        lanes, sessions, reasons, details = zip(*parked, strict=True)
        await _sql.park(connection, now=now, lanes=lanes, sessions=sessions, reasons=reasons, details=details)


async def resolve_parked(
    connection: Connection, sessions: Sequence[CapturedSession], *, now: datetime
) -> None:
    """Mark those of these sessions that were parked once as cleared."""
    if sessions and await _sql.any_parked(connection):
        await _sql.resolve_parked(
            connection,
            now=now,
            lanes=[session.lane for session in sessions],
            sessions=[session.session_id for session in sessions],
        )
