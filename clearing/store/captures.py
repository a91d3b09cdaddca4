"""Stored captures read back: the plan of a cleared session from its own rows, never from today's registers.

Owns: rows to a StoredCapture, and a stored take-back to its entry. Must not know: why it is asked for.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from clearing.connection import Connection, named_queries, rows
from clearing.errors import InvariantViolation, StateConflictError
from clearing.fx import FxLock
from clearing.journal.ledger import (
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
from clearing.session import lane_of
from clearing.sessions.posting import Amounts
from clearing.sessions.settlement import Payee, PlannedLeg, SettlementPlan, planned_leg
from clearing.sessions.unwind import StoredCapture
from clearing.tax.vat import Category, Leg, Payer, VatDecision

_sql = named_queries("corrections")
_NO_DAY = date.min
FEE_MARK = "/fee/"  # between a dispute's reference and the number of a correction of its fee


class _LegRow(msgspec.Struct, frozen=True):
    leg: Leg
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


async def lock_capture(connection: Connection, session_id: UUID) -> StoredCapture:
    """The capture of a session, its row locked until the transaction ends.

    Raises StateConflictError if not cleared.
    """
    lane = lane_of(session_id)
    entry = await _sql.lock_capture(connection, lane=lane, session_id=session_id)
    if entry is None:
        raise StateConflictError(f"session {session_id} has not been cleared")
    lines = await transfers_of(connection, session_id, EntryKind.CAPTURE, "")
    legs = _legs_decoder.decode(entry["legs"])
    rulings = await rulings_of(connection, [leg.ruling for leg in legs])
    locks = {
        row["quote"]: FxLock(**dict(row.items()))
        for row in await rows(_sql.locks(connection, lane=lane, session_id=session_id))
    }
    owed = await rows(
        _sql.payables_of(connection, lane=lane, session_id=session_id, kind="capture", reference="")
    )
    currencies = {row["party_id"]: row["currency"] for row in owed}
    plan = _plan(entry, legs, rulings, await _payees(connection, entry, legs, currencies, locks))
    return StoredCapture(
        lane=lane,
        session_id=session_id,
        gross_minor=entry["gross_minor"],
        amounts=_amounts(entry, legs, lines, plan),
        source=lines[0].debit_account,
        plan=plan,
        links=_links(entry),
    )


async def taken_back(connection: Connection, session_id: UUID) -> int:
    """How much of a capture was taken back so far: refunds, reversals and disputes less disputes won."""
    minor: int = await _sql.taken_back(connection, lane=lane_of(session_id), session_id=session_id)
    return minor


async def known_reference(connection: Connection, session_id: UUID, kind: EntryKind, reference: str) -> bool:
    """Whether that correction is in the journal already."""
    found: bool = await _sql.known_reference(
        connection, lane=lane_of(session_id), session_id=session_id, kind=kind, reference=reference
    )
    return found


async def disputed(connection: Connection, session_id: UUID) -> int:
    """What disputes have taken of a capture and not given back."""
    minor: int = await _sql.disputed(connection, lane=lane_of(session_id), session_id=session_id)
    return minor


async def dispute_fees(connection: Connection, session_id: UUID, reference: str) -> tuple[int, int]:
    """How often the fee of a dispute was corrected, and the minor units booked for it in all."""
    row = await _sql.dispute_fees(
        connection, lane=lane_of(session_id), session_id=session_id, reference=reference, mark=FEE_MARK
    )
    return row["corrections"], row["minor"]


async def gross_of(connection: Connection, entry: JournalEntry) -> tuple[str, int] | None:
    """Currency and minor units of the posted entry of that subject, kind and reference."""
    row = await _sql.entry_of(
        connection,
        lane=entry.lane,
        session_id=entry.subject_id,
        kind=entry.kind,
        reference=entry.reference,
    )
    return None if row is None else (row["currency"], row["gross_minor"])


async def stored_entry(
    connection: Connection, session_id: UUID, kind: EntryKind, reference: str
) -> JournalEntry | None:
    """A correction as it was posted."""
    lane = lane_of(session_id)
    row = await _sql.entry_of(connection, lane=lane, session_id=session_id, kind=kind, reference=reference)
    if row is None:
        return None
    owed = await rows(
        _sql.payables_of(connection, lane=lane, session_id=session_id, kind=kind, reference=reference)
    )
    return JournalEntry(
        lane=lane,
        subject_id=session_id,
        kind=kind,
        reference=reference,
        currency=row["currency"],
        gross_minor=row["gross_minor"],
        transfers=await transfers_of(connection, session_id, kind, reference),
        payables=[
            Payable(line["party_id"], "", line["amount_minor"], line["currency"], line["due_date"])
            for line in owed
        ],
        links=_links(row),
        legs=row["legs"],
    )


async def transfers_of(
    connection: Connection, session_id: UUID, kind: EntryKind, reference: str
) -> list[Transfer]:
    """The transfers of an entry in their order."""
    found = await rows(
        _sql.transfers_of(
            connection, lane=lane_of(session_id), session_id=session_id, kind=kind, reference=reference
        )
    )
    return [Transfer(*row.values()) for row in found]


async def rulings_of(connection: Connection, ids: Sequence[str]) -> dict[str, VatDecision]:
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
    # Whoever brought the driver may have to bear a refund also where it had no part in the sale.
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
) -> SettlementPlan:
    planned = [
        planned_leg(leg.role, leg.leg, leg.supplier, leg.customer, rulings[leg.ruling]) for leg in legs
    ]
    terms = parse_terms(entry["terms"].encode())
    roles = _roles(entry, planned, terms.legal_model)
    return SettlementPlan(
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
        Role.CPO: entry["cpo_id"], Role.PLATFORM: PLATFORM_ID,
        Role.DEMAND_PARTNER: entry["demand_partner_id"],
    }  # fmt: skip
    roles |= {leg.role: leg.supplier_id for leg in legs[1:]}
    if legs[0].leg is not Leg.TO_DRIVER or (model is LegalModel.RESELLER) != (
        legs[0].supplier_id == PLATFORM_ID
    ):
        raise InvariantViolation(f"the stored legs of {entry['subject_id']} don't begin with the driver's")
    return roles


def _amounts(entry: Any, legs: Sequence[_LegRow], lines: Sequence[Transfer], plan: SettlementPlan) -> Amounts:
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
        raise InvariantViolation(
            f"the stored parts of {entry['subject_id']} don't sum to its net of {driver.net}"
        )
    return Amounts(net=driver.net, vat=driver.vat, parts=parts)


def _links(entry: Any) -> EntryLinks:
    return EntryLinks(**{name: entry[name] for name in EntryLinks.__struct_fields__})
