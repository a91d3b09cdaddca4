"""Cleared sessions in PostgreSQL: the plan of each from its own rows, never from present reference data.

Owns: rows to a ClearedCapture, a stored reversal to its entry, exceptions and volumes. Must not know: why
they are read.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from clearing.captured_session import CapturedSession, shard_of
from clearing.connection import Connection, named_queries, rows
from clearing.errors import ClearingConflictError, ClearingInvariantViolation
from clearing.fx import FxLock
from clearing.identifiers import format_id
from clearing.ledger.journal_entry import (
    PLATFORM_FEE,
    SESSION_TRANSIT,
    EntryKind,
    EntryLinks,
    JournalEntry,
    Payable,
    Transfer,
    payable_path,
)
from clearing.parties.agreement import Agreement, LegalModel, Role
from clearing.parties.party import PLATFORM_ID, PartyKind
from clearing.parties.terms_json import parse_terms
from clearing.sessions.buyer_change import sold_to
from clearing.sessions.clearing_plan import ClearingPlan, Payee, PlannedLeg, planned_leg
from clearing.sessions.posting import Amounts
from clearing.sessions.reversal import ClearedCapture
from clearing.tax.vat import Category, Payer, SupplyLeg, VatDecision

_sql = named_queries("sessions")
_NO_DAY = date.min
FEE_MARK = "/fee/"  # between a dispute's reference and the number of a correction of its fee


class _LegRow(msgspec.Struct, frozen=True):
    leg: SupplyLeg
    role: Role
    supplier: str
    customer: str
    net: int
    vat: int
    ruling: str


class _Ruling(msgspec.Struct, frozen=True):
    rule: str
    category: Category
    rate: str
    vat_of: str
    payer: Payer
    reason: str
    exemption_code: str | None
    acquisition_of: str | None
    acquisition_rate: str
    flags: tuple[str, ...]


_legs_decoder = msgspec.json.Decoder(list[_LegRow])
_ruling_decoder = msgspec.json.Decoder(_Ruling)


async def lock_capture(connection: Connection, session_id: UUID) -> ClearedCapture:
    """The capture of a session as it is sold now, its row locked until the transaction ends.

    Raises ClearingConflictError if not cleared.
    """
    stored = await _lock_first_sale(connection, session_id)
    latest = await _sql.latest_issue(connection, shard=stored.shard, session_id=session_id)
    if latest is None:
        return stored
    leg = _legs_decoder.decode(latest["legs"])[0]
    rulings = await load_rulings(connection, [leg.ruling])
    return sold_to(stored, planned_leg(leg.role, leg.leg, leg.supplier, leg.customer, rulings[leg.ruling]))


async def count_issues(connection: Connection, session_id: UUID) -> int:
    """How often the sale of a session was issued anew."""
    latest = await _sql.latest_issue(connection, shard=shard_of(session_id), session_id=session_id)
    return 0 if latest is None else int(latest["reference"])


async def _lock_first_sale(connection: Connection, session_id: UUID) -> ClearedCapture:
    shard = shard_of(session_id)
    entry = await _sql.lock_capture(connection, shard=shard, session_id=session_id)
    if entry is None:
        raise ClearingConflictError(f"session {format_id('ses', session_id)} has not been cleared")
    lines = await load_transfers(connection, session_id, EntryKind.CAPTURE, "")
    legs = _legs_decoder.decode(entry["legs"])
    rulings = await load_rulings(connection, [leg.ruling for leg in legs])
    locks = {
        row["quote"]: FxLock(**dict(row.items()))
        for row in await rows(_sql.locks(connection, shard=shard, session_id=session_id))
    }
    owed = await rows(
        _sql.payables_of(connection, shard=shard, session_id=session_id, kind="capture", reference="")
    )
    currencies = {row["party_id"]: row["currency"] for row in owed}
    plan = _plan(entry, legs, rulings, await _payees(connection, entry, legs, currencies, locks))
    return ClearedCapture(
        shard=shard,
        session_id=session_id,
        gross_minor=entry["gross_minor"],
        amounts=_amounts(entry, legs, lines, plan),
        source=lines[0].debit_account,
        plan=plan,
        links=_links(entry),
    )


async def sum_reversed(connection: Connection, session_id: UUID) -> int:
    """How much of a capture was reversed so far: refunds, reversals and disputes less disputes won."""
    minor: int = await _sql.reversed_amounts(connection, shard=shard_of(session_id), session_id=session_id)
    return minor


async def sum_disputed(connection: Connection, session_id: UUID) -> int:
    """What disputes have reversed of a capture and not reinstated."""
    minor: int = await _sql.disputed(connection, shard=shard_of(session_id), session_id=session_id)
    return minor


async def sum_dispute_fees(
    connection: Connection, session_id: UUID, reference: str, *, currency: str
) -> tuple[int, int]:
    """How often the fee of a dispute was corrected, and what is booked for it in all in `currency`."""
    row = await _sql.dispute_fees(
        connection,
        shard=shard_of(session_id),
        session_id=session_id,
        reference=reference,
        mark=FEE_MARK,
        currency=currency,
    )
    return row["corrections"], row["minor"]


async def load_stored_entry(
    connection: Connection, session_id: UUID, kind: EntryKind, reference: str
) -> JournalEntry | None:
    """A correction as it was posted."""
    shard = shard_of(session_id)
    row = await _sql.entry_of(connection, shard=shard, session_id=session_id, kind=kind, reference=reference)
    if row is None:
        return None
    owed = await rows(
        _sql.payables_of(connection, shard=shard, session_id=session_id, kind=kind, reference=reference)
    )
    return JournalEntry(
        shard=shard,
        subject_id=session_id,
        kind=kind,
        reference=reference,
        currency=row["currency"],
        gross_minor=row["gross_minor"],
        transfers=await load_transfers(connection, session_id, kind, reference),
        payables=[
            Payable(line["party_id"], "", line["amount_minor"], line["currency"], line["due_date"])
            for line in owed
        ],
        links=_links(row),
        legs=row["legs"],
    )


async def load_transfers(
    connection: Connection, session_id: UUID, kind: EntryKind, reference: str
) -> list[Transfer]:
    """The transfers of an entry in their order."""
    found = await rows(
        _sql.transfers_of(
            connection, shard=shard_of(session_id), session_id=session_id, kind=kind, reference=reference
        )
    )
    return [Transfer(*row.values()) for row in found]


async def load_rulings(connection: Connection, ids: Sequence[str]) -> dict[str, VatDecision]:
    """VAT rulings by their name."""
    found = await rows(_sql.rulings(connection, ids=sorted(set(ids))))
    return {row["id"]: _decision(_ruling_decoder.decode(row["content"])) for row in found}


def _decision(ruling: _Ruling) -> VatDecision:
    return VatDecision(
        rule=ruling.rule,
        category=ruling.category,
        rate=Decimal(ruling.rate),
        vat_of=ruling.vat_of,
        payer=ruling.payer,
        reason=ruling.reason,
        exemption_code=ruling.exemption_code,
        acquisition_of=ruling.acquisition_of,
        acquisition_rate=Decimal(ruling.acquisition_rate),
        flags=ruling.flags,
    )


async def _payees(
    connection: Connection,
    entry: Any,
    legs: Sequence[_LegRow],
    currencies: Mapping[str, str],
    locks: Mapping[str, FxLock],
) -> dict[str, Payee]:
    """Everyone with a part, in the currency that it was owed in.

    A part that came to nothing stays in the session's.
    """
    # A refund may be charged to the demand partner also where it had no part in the sale.
    roles = {entry["demand_partner_id"]: Role.DEMAND_PARTNER, entry["cpo_id"]: Role.CPO}
    roles |= {leg.supplier: leg.role for leg in legs[1:]}
    roles.pop(PLATFORM_ID, None)
    payees = {}
    for row in await rows(_sql.kinds_of(connection, ids=sorted(roles))):
        currency = currencies.get(row["id"], entry["currency"])
        payees[row["id"]] = Payee(
            party_id=row["id"],
            role=roles[row["id"]],
            account=payable_path(PartyKind(row["kind"]), row["id"]),
            currency=currency,
            lock=None if currency == entry["currency"] else locks[currency],
            due=_NO_DAY,
        )
    return payees


def _plan(
    entry: Any, legs: Sequence[_LegRow], rulings: Mapping[str, VatDecision], payees: Mapping[str, Payee]
) -> ClearingPlan:
    planned = [
        planned_leg(leg.role, leg.leg, leg.supplier, leg.customer, rulings[leg.ruling]) for leg in legs
    ]
    terms = parse_terms(entry["terms"].encode())
    roles = _roles(entry, planned, terms.legal_model)
    return ClearingPlan(
        agreement=Agreement(
            id=entry["agreement_id"],
            version=entry["agreement_version"],
            cpo_id=entry["cpo_id"],
            valid_from=entry["sale_at"],
            terms=terms,
        ),
        currency=entry["currency"],
        driver=planned[0],
        legs=planned[1:],
        payees=payees,
        party_of_role=roles,
        rulings={},
        flags=(),
    )


def _roles(entry: Any, legs: Sequence[PlannedLeg], model: LegalModel) -> dict[Role, str]:
    roles = {
        Role.CPO: entry["cpo_id"],
        Role.PLATFORM: PLATFORM_ID,
        Role.DEMAND_PARTNER: entry["demand_partner_id"],
    }
    roles |= {leg.role: leg.supplier_id for leg in legs[1:]}
    if legs[0].leg is not SupplyLeg.TO_DRIVER or (model is LegalModel.RESELLER) != (
        legs[0].supplier_id == PLATFORM_ID
    ):
        raise ClearingInvariantViolation(
            f"the stored legs of {entry['subject_id']} don't begin with the driver's"
        )
    return roles


def _amounts(entry: Any, legs: Sequence[_LegRow], lines: Sequence[Transfer], plan: ClearingPlan) -> Amounts:
    """The stored parts: each supply's net, the platform's fee as posted, and the rest, which is the CPO's."""
    driver = legs[0]
    parts = {leg.role: leg.net for leg in legs[1:]}
    parts[Role.PLATFORM] = sum(
        line.amount_minor if line.credit_account == PLATFORM_FEE else -line.amount_minor
        for line in lines
        if SESSION_TRANSIT in line[:2] and PLATFORM_FEE in line[:2]
    )
    if plan.agreement.terms.legal_model is LegalModel.DISCLOSED_AGENT:
        parts[Role.CPO] = driver.net - sum(parts.values())
    parts.setdefault(Role.CPO, 0)
    if sum(parts.values()) != driver.net:
        raise ClearingInvariantViolation(
            f"the stored parts of {entry['subject_id']} don't sum to its net of {driver.net}"
        )
    return Amounts(net=driver.net, vat=driver.vat, parts=parts)


def _links(entry: Any) -> EntryLinks:
    return EntryLinks(**{name: entry[name] for name in EntryLinks.__struct_fields__})


async def sum_volumes(connection: Connection, agreement_ids: Sequence[str]) -> dict[tuple[str, date], int]:
    """Sessions posted so far by agreement and month, locked for this writer until its transaction ends."""
    if not agreement_ids:
        return {}
    await _sql.lock_volumes(connection, ids=agreement_ids)
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
    """Store VAT rulings by their content's name; those that are stored stay as they are."""
    if rulings:
        await _sql.insert_rulings(connection, ids=list(rulings), contents=list(rulings.values()))


async def mark_exceptions(
    connection: Connection, uncleared: Sequence[tuple[int, UUID, str, str]], *, now: datetime
) -> None:
    """Record sessions (shard, id, reason, detail) as exceptions, counting the attempts."""
    if uncleared:
        shards, sessions, reasons, details = zip(*uncleared, strict=True)
        await _sql.mark_exceptions(
            connection, now=now, shards=shards, sessions=sessions, reasons=reasons, details=details
        )


async def resolve_exceptions(
    connection: Connection, sessions: Sequence[CapturedSession], *, now: datetime
) -> None:
    """Mark those of these sessions that were exceptions as resolved."""
    if sessions and await _sql.any_uncleared(connection):
        await _sql.resolve_exceptions(
            connection,
            now=now,
            shards=[session.shard for session in sessions],
            sessions=[session.session_id for session in sessions],
        )
