"""The journal in PostgreSQL: entries, transfers, payables and the batch that seals them.

Owns: the order of writes, the bulk forms, the hashing of what is written. Must not know: what the entries
mean.

A writer locks the books open (shared), inserts its entries first (a second writer of the same entry waits
there and then finds it posted), copies transfers and payables, and only at the end locks its chain,
so that writers side by side wait for each other no longer than a commit. A batch is booked no
earlier than the one before it in its chain. No balance row is ever updated.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from uuid import UUID

from clearing.captured_session import CapturedSession, shard_of
from clearing.connection import (
    Connection,
    InternalServerError,
    UniqueViolationError,
    named_queries,
    rows,
)
from clearing.errors import ClosedPeriodError
from clearing.ledger import hash_chain as hashing
from clearing.ledger.journal_entry import Deltas, EntryKind, JournalEntry, Transfer

_sql = named_queries("ledger")
_SCHEMA = "clearing"
BLINDING_KEY_BYTES = 32
# Citus passes on what a node says of a copied row without its code. What had another reason comes back as the
# rows are inserted one by one.
_WITHOUT_CODE = "XX000"
_COPY_FROM = 32  # entries from which on a copy is worth its savepoint
_ENTRY_COLUMNS = (
    "shard",
    "subject_id",
    "kind",
    "reference",
    "batch_id",
    "booked_at",
    "currency",
    "gross_minor",
    "legs",
    "flags",
    "hash",
    "sale_at",
    "cpo_id",
    "demand_partner_id",
    "authorization_method",
    "tax_jurisdiction",
    "agreement_id",
    "agreement_version",
    "tariff_sha256",
    "cdr_id",
    "psp_object_id",
    "priced_minor",
    "energy_kwh",
)
_NO_LINKS = (None,) * 12
_TRANSFER_COLUMNS = (
    "shard",
    "subject_id",
    "kind",
    "reference",
    "ordinal",
    "debit_account",
    "credit_account",
    "amount_minor",
    "currency",
)
_PAYABLE_COLUMNS = (
    "shard",
    "subject_id",
    "kind",
    "reference",
    "party_id",
    "amount_minor",
    "currency",
    "due_date",
)
_LOCK_COLUMNS = ("shard", "session_id", "base", "quote", "rate", "source", "rate_date", "markup_bps")
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
class PostedBatch:
    """The entries that this writer posted, by key, and the batch's hash.

    None when there was nothing to post.
    """

    keys: frozenset[EntryKey]
    hash: bytes | None


def key_of(entry: JournalEntry) -> EntryKey:
    """What makes an entry the same entry."""
    return (entry.subject_id, entry.kind, entry.reference)


async def lock_open(connection: Connection, *, now: datetime) -> None:
    """Prevent the books from being closed until the transaction ends.

    Raises ClosedPeriodError for a closed instant.
    """
    await _sql.lock_books_open(connection)
    until = await find_closed_until(connection)
    if until is not None and now < until:
        raise ClosedPeriodError(at=now, closed_until=until)


async def find_closed_until(connection: Connection) -> datetime | None:
    """Up to which instant the books are closed, exclusive."""
    until: datetime | None = await _sql.closed_until(connection)
    return until


async def find_posted(connection: Connection, keys: Sequence[tuple[int, UUID, str, str]]) -> set[EntryKey]:
    """Which of these entries (shard, subject, kind, reference) are posted already."""
    if not keys:
        return set()
    shards, subjects, kinds, references = zip(*keys, strict=True)
    found = await rows(
        _sql.known_entries(connection, shards=shards, subjects=subjects, kinds=kinds, refs=references)
    )
    return {(row["subject_id"], row["kind"], row["reference"]) for row in found}


async def find_captured(connection: Connection, sessions: Sequence[CapturedSession]) -> set[UUID]:
    """Which of these sessions have been cleared already."""
    capture = EntryKind.CAPTURE.value
    found = await find_posted(
        connection, [(session.shard, session.session_id, capture, "") for session in sessions]
    )
    return {subject for subject, _, _ in found}


async def post(connection: Connection, entries: Sequence[JournalEntry], *, seal: Seal) -> PostedBatch:
    """Write entries in one batch; those that another writer posted meanwhile are left out, whole.

    The caller has locked the books open. Entries are written in the order of their keys, so that two writers
    can't deadlock.
    """
    ordered = sorted(entries, key=attrgetter("shard", "subject_id", "kind", "reference"))
    sealed = [(entry, entry_hash(entry, seal.blinding_key)) for entry in ordered]
    fresh = await _insert_entries(connection, sealed, seal)
    if len(fresh) < len(sealed):
        sealed = [(entry, digest) for entry, digest in sealed if key_of(entry) in fresh]
    if not sealed:
        return PostedBatch(keys=frozenset(), hash=None)
    posted = [entry for entry, _ in sealed]
    count = await _copy_rows(connection, posted)
    digest = await _seal(connection, posted, [digest for _, digest in sealed], count, seal)
    return PostedBatch(keys=fresh, hash=digest)


def entry_hash(entry: JournalEntry, blinding_key: bytes) -> bytes:
    """The hash of an entry as `clearing.ledger.hash_chain` defines it."""
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
    """Insert the entries that are not posted yet; their keys.

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
        except InternalServerError as error:
            if error.sqlstate != _WITHOUT_CODE:  # damaged pages and indexes have codes of their own
                raise
            return await _insert_missing(connection, sealed, seal)
        return frozenset(key_of(entry) for entry, _ in sealed)
    return await _insert_missing(connection, sealed, seal)


def _entry_record(entry: JournalEntry, digest: bytes, seal: Seal) -> tuple[object, ...]:
    links = entry.links
    linked: tuple[object, ...] = _NO_LINKS
    if links is not None:
        linked = (
            links.sale_at,
            links.cpo_id,
            links.demand_partner_id,
            links.authorization_method,
            links.tax_jurisdiction,
            links.agreement_id,
            links.agreement_version,
            links.tariff_sha256,
            links.cdr_id,
            links.psp_object_id,
            links.priced_minor,
            links.energy_kwh,
        )
    return (
        entry.shard,
        entry.subject_id,
        entry.kind,
        entry.reference,
        seal.batch_id,
        seal.now,
        entry.currency,
        entry.gross_minor,
        entry.legs,
        entry.flags,
        digest,
        *linked,
    )


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
            shards=[entry.shard for entry in entries],
            subjects=[entry.subject_id for entry in entries],
            kinds=[entry.kind for entry in entries],
            refs=[entry.reference for entry in entries],
            currencies=[entry.currency for entry in entries],
            gross=[entry.gross_minor for entry in entries],
            sales=[link and link.sale_at for link in links],
            cpos=[link and link.cpo_id for link in links],
            partners=[link and link.demand_partner_id for link in links],
            authorization_methods=[link and link.authorization_method for link in links],
            tax_jurisdictions=[link and link.tax_jurisdiction for link in links],
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
        (entry.shard, entry.subject_id, entry.kind, entry.reference, ordinal, *transfer)
        for entry in entries
        for ordinal, transfer in enumerate(entry.transfers)
    ]
    await connection.copy_records_to_table(
        "transfer", schema_name=_SCHEMA, columns=_TRANSFER_COLUMNS, records=transfers
    )
    payables = [
        (entry.shard, entry.subject_id, entry.kind, entry.reference, party_id, minor, currency, due)
        for entry in entries
        for party_id, _, minor, currency, due in entry.payables
    ]
    if payables:
        await connection.copy_records_to_table(
            "payable", schema_name=_SCHEMA, columns=_PAYABLE_COLUMNS, records=payables
        )
    locks = [
        (
            entry.shard,
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
    await _sql.lock_chain(connection, chain=seal.chain)
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


async def load_posted_amount(
    connection: Connection, *, subject_id: UUID, kind: EntryKind, reference: str
) -> tuple[str, int] | None:
    """Currency and minor units of the posted entry of that subject, kind and reference."""
    row = await _sql.posted_amount(
        connection, shard=shard_of(subject_id), subject_id=subject_id, kind=kind, reference=reference
    )
    return None if row is None else (row["currency"], row["gross_minor"])


async def load_posted_transfers(connection: Connection, entry: JournalEntry) -> list[Transfer]:
    """The transfers of the posted entry of that subject, kind and reference, in their order."""
    found = await rows(
        _sql.posted_transfers(
            connection,
            shard=entry.shard,
            subject_id=entry.subject_id,
            kind=entry.kind,
            reference=entry.reference,
        )
    )
    return [Transfer(*row.values()) for row in found]
