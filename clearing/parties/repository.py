"""Parties and agreements in PostgreSQL.

Owns: rows to values and back; every change renews the epoch by which caches see it. Must not know: what is
cleared with them.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from clearing.connection import Connection, named_queries, rows
from clearing.errors import ClearingConflictError, InvalidPartyError
from clearing.parties import payout_terms_repository
from clearing.parties.agreement import Agreement
from clearing.parties.business_details import parse_details
from clearing.parties.party import DocumentCadence, Party, PartyKind, VatEvidence, VatRegistration
from clearing.parties.payout_terms import DAILY_TERMS
from clearing.parties.terms_json import encode_terms, parse_terms, terms_sha256

_sql = named_queries("parties")


async def put_party(connection: Connection, party: Party, *, now: datetime) -> None:
    """Add or renew a party with its VAT registrations and evidence.

    Raises InvalidPartyError when the id is known as another kind.
    """
    row = await _sql.put_party(
        connection,
        id=party.id,
        kind=party.kind,
        name=party.name,
        country=party.country,
        tax_jurisdiction=party.tax_jurisdiction,
        vat_id=party.vat_id,
        taxable_dealer=party.taxable_dealer,
        small_business=party.small_business,
        self_billing_since=party.self_billing_since,
        settlement_currency=party.settlement_currency,
        terms_days=party.terms_days,
        time_zone=party.time_zone,
        cut_off_minute=party.cut_off_minute,
        minimum_payout_minor=party.minimum_payout_minor,
        connected_account=party.connected_account,
        payout_hold=party.payout_hold,
        document_cadence=party.document_cadence,
        details=party.details.to_json(),
        now=now,
    )
    if row is None:
        raise InvalidPartyError(party.id, f"kind: it is registered as another kind than {party.kind}")
    await _sql.forget_vat_registrations(connection, party_id=party.id)
    for one in party.vat_registrations:
        await _sql.put_vat_registration(
            connection,
            party_id=party.id,
            tax_jurisdiction=one.tax_jurisdiction,
            vat_id=one.vat_id,
            valid_from=one.valid_from,
            valid_to=one.valid_to,
        )
    for evidence in party.vat_evidence:
        await _put_evidence(connection, party.id, evidence)
    await _sql.renew_epoch(connection, name="party")


async def add_vat_evidence(connection: Connection, party_id: str, evidence: VatEvidence) -> None:
    """Store what a register found; it binds supplies from its first day on.

    Workers read the parties again only where it changes what holds: `renew_parties` once after a round shows
    the rest.
    """
    before = await _sql.last_finding(connection, party_id=party_id, vat_id=evidence.vat_id)
    await _put_evidence(connection, party_id, evidence)
    await _sql.forget_vat_attempt(connection, party_id=party_id, vat_id=evidence.vat_id)
    if before is not evidence.valid:
        await renew_parties(connection)


async def renew_parties(connection: Connection) -> None:
    """Let every worker read the parties again."""
    await _sql.renew_epoch(connection, name="party")


async def record_vat_attempt(
    connection: Connection, *, party_id: str, vat_id: str, problem: str, now: datetime
) -> None:
    """Store that a register gave no answer; earlier evidence stays valid, with its date."""
    await _sql.put_vat_attempt(connection, party_id=party_id, vat_id=vat_id, problem=problem, now=now)


async def list_vat_ids_to_check(
    connection: Connection,
    *,
    prefixes: Sequence[str],
    before: datetime,
    retry_before: datetime,
    today: date,
    limit: int,
) -> list[tuple[str, str]]:
    """(party, VAT id) in use that no register has checked since `before`, the oldest first."""
    found = await rows(
        _sql.vat_ids_to_check(
            connection,
            prefixes=list(prefixes),
            before=before,
            retry_before=retry_before,
            today=today,
            limit=limit,
        )
    )
    return [(row["party_id"], row["vat_id"]) for row in found]


async def _put_evidence(connection: Connection, party_id: str, evidence: VatEvidence) -> None:
    await _sql.put_vat_evidence(
        connection,
        party_id=party_id,
        effective_from=evidence.effective_from,
        vat_id=evidence.vat_id,
        valid=evidence.valid,
        source=evidence.source,
        reference=evidence.reference,
        checked_at=evidence.checked_at,
    )


async def load_parties(connection: Connection) -> dict[str, Party]:
    """Every party with its evidence, by id."""
    evidence: dict[str, list[VatEvidence]] = {}
    for row in await rows(_sql.vat_evidence(connection)):
        evidence.setdefault(row["party_id"], []).append(
            VatEvidence(**{name: row[name] for name in VatEvidence.__dataclass_fields__})
        )
    registrations: dict[str, list[VatRegistration]] = {}
    for row in await rows(_sql.vat_registrations(connection)):
        registrations.setdefault(row["party_id"], []).append(
            VatRegistration(**{name: row[name] for name in VatRegistration.__dataclass_fields__})
        )
    terms = await payout_terms_repository.load_all_terms(connection)
    return {
        row["id"]: _party(
            row,
            vat_registrations=tuple(registrations.get(row["id"], ())),
            vat_evidence=tuple(evidence.get(row["id"], ())),
            payout_terms=terms.get(row["id"], DAILY_TERMS),
        )
        for row in await rows(_sql.parties(connection))
    }


def _party(row: Any, **more: Any) -> Party:
    fields = {**dict(row.items()), **more}
    fields["kind"] = PartyKind(fields["kind"])
    fields["document_cadence"] = DocumentCadence(fields["document_cadence"])
    fields["details"] = parse_details(fields["details"])
    return Party(**fields)


async def put_agreement(connection: Connection, agreement: Agreement, *, now: datetime) -> None:
    """Store a version once.

    The same again is a no-op; raises ClearingConflictError for other terms under that version.
    """
    digest = terms_sha256(agreement.terms)
    row = await _sql.insert_agreement(
        connection,
        id=agreement.id,
        version=agreement.version,
        cpo_id=agreement.cpo_id,
        demand_partner_id=agreement.demand_partner_id,
        valid_from=agreement.valid_from,
        valid_until=agreement.valid_until,
        terms=encode_terms(agreement.terms).decode(),
        terms_sha256=digest,
        now=now,
    )
    if row is not None:
        await _sql.renew_epoch(connection, name="agreement")
        return
    known = await _sql.agreement_version(connection, id=agreement.id, version=agreement.version)
    same = (
        agreement.cpo_id,
        agreement.demand_partner_id,
        agreement.valid_from,
        agreement.valid_until,
        digest,
    )
    if tuple(known.values()) != same:
        raise ClearingConflictError(
            f"agreement {agreement.id!r} version {agreement.version} exists with other terms; "
            "add a new version instead"
        )


async def load_agreements(connection: Connection) -> dict[str, list[Agreement]]:
    """Every version of every agreement, by CPO."""
    found: dict[str, list[Agreement]] = {}
    for row in await rows(_sql.agreements(connection)):
        fields = dict(row.items())
        agreement = Agreement(**{**fields, "terms": parse_terms(fields["terms"].encode())})
        found.setdefault(agreement.cpo_id, []).append(agreement)
    return found
