"""One session cleared under one agreement in memory, to try the agreement before it is signed.

Owns: the JSON of a made-up session and its parties. Must not know: the repository, how the result is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

import msgspec

from clearing.captured_session import AuthorizationMethod, CapturedSession, FundingSource
from clearing.errors import SimulationError, UnclearableError
from clearing.ledger.journal_entry import JournalEntry
from clearing.parties.agreement import Agreement, Role
from clearing.parties.party import PLATFORM_ID, Party, PartyKind, VatEvidence, VatRegistration
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.sessions.clearing_plan import ClearingPlan, plan_clearing
from clearing.sessions.posting import post_capture
from clearing.sessions.reprice import RepricedSession

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_SESSION_ID = UUID("00000000-0000-7000-8000-000000000000")
_KINDS = {
    Role.CPO: PartyKind.CPO,
    Role.PLATFORM: PartyKind.PLATFORM,
    Role.DEMAND_PARTNER: PartyKind.DEMAND_PARTNER,
    Role.EMSP: PartyKind.EMSP,
    Role.SITE_HOST: PartyKind.SITE_HOST,
}


class _PartyJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    country: str
    settlement_currency: str
    tax_jurisdiction: str | None = None
    vat_id: str | None = None
    vat_registrations: Mapping[str, str] = {}
    taxable_dealer: bool = False
    small_business: bool = False
    terms_days: int = 2
    time_zone: str = "Europe/Zurich"


class _SessionJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    captured_minor: int
    currency: str
    tax_jurisdiction: str
    time_zone: str
    sale_at: datetime
    energy_kwh: str
    parties: dict[Role, _PartyJson]
    psp_fee_minor: int | None = None
    sessions_before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """The entry that the session would be posted by, and the plan that explains it."""

    entry: JournalEntry
    plan: ClearingPlan
    parties: Mapping[Role, Party]


_decoder = msgspec.json.Decoder(_SessionJson)


def simulate(agreement: Agreement, raw_session: bytes, *, references: RatesAndCalendars) -> Simulation:
    """Clear one made-up session under `agreement`.

    A vat_id given counts as proven, and so do `vat_registrations`, the ids by tax jurisdiction. Raises
    SimulationError for JSON that is not a session, UnclearableError
    and the other errors of clearing where such a session could not clear.
    """
    try:
        read = _decoder.decode(raw_session)
        energy = Decimal(read.energy_kwh)
    except msgspec.DecodeError as error:
        text, _, place = str(error).partition(" - at ")
        raise SimulationError(place.strip("`") or "$", text) from error
    except InvalidOperation:
        raise SimulationError("$.energy_kwh", "is not a decimal number such as 12.5") from None
    for role in (Role.CPO, Role.PLATFORM, Role.DEMAND_PARTNER):
        if role not in read.parties:
            raise SimulationError("$.parties", f"{role} is missing")
    if read.parties[Role.PLATFORM].id != PLATFORM_ID:
        raise SimulationError("$.parties.platform.id", f"expected {PLATFORM_ID!r}")
    roles = {role: _party(party, role) for role, party in read.parties.items()}
    session = _session(read, roles)
    if agreement.cpo_id != session.cpo_id:
        raise SimulationError("$.parties.cpo.id", f"the agreement is with {agreement.cpo_id!r}")
    if not agreement.covers(session.sale_at):
        raise UnclearableError(
            "no_agreement", f"the agreement is not in force at {session.sale_at.isoformat()}"
        )
    known = {party.id: party for party in roles.values()}
    plan = plan_clearing(session, agreement=agreement, parties=known, references=references)
    price = RepricedSession(
        currency=session.currency,
        incl_vat_minor=session.captured_minor,
        vat_minor=0,
        tax_known=False,
        energy_kwh=energy,
        policy="simulation",
    )
    entry = post_capture(session, price, plan, sessions_before=read.sessions_before)
    return Simulation(entry=entry, plan=plan, parties=roles)


def _session(read: _SessionJson, roles: Mapping[Role, Party]) -> CapturedSession:
    if read.sale_at.tzinfo is None:
        raise SimulationError("$.sale_at", "needs a time zone, for example 2026-10-13T12:00:00Z")
    site, emsp = roles.get(Role.SITE_HOST), roles.get(Role.EMSP)
    return CapturedSession(
        shard=0,
        session_id=_SESSION_ID,
        cpo_id=roles[Role.CPO].id,
        demand_partner_id=roles[Role.DEMAND_PARTNER].id,
        site_host_id=None if site is None else site.id,
        emsp_id=None if emsp is None else emsp.id,
        authorization_method=AuthorizationMethod.CARD,
        funding=FundingSource.PSP,
        tax_jurisdiction=read.tax_jurisdiction,
        time_zone=read.time_zone,
        sale_at=read.sale_at,
        captured_at=read.sale_at,
        captured_minor=read.captured_minor,
        currency=read.currency,
        tariff_sha256="0" * 64,
        tariff_json=b"{}",
        tariff_version="2.2.1",
        cdr_id="simulation",
        cdr_json=b"{}",
        cdr_version="2.2.1",
        psp_fee_minor=read.psp_fee_minor,
        psp_fee_currency=None if read.psp_fee_minor is None else read.currency,
    )


def _party(read: _PartyJson, role: Role) -> Party:
    ids = [*([] if read.vat_id is None else [read.vat_id]), *read.vat_registrations.values()]
    evidence = tuple(
        VatEvidence(
            effective_from=_LONG_AGO.date(), vat_id=vat_id, valid=True, source="assumed", checked_at=_LONG_AGO
        )
        for vat_id in ids
    )
    return Party(
        id=read.id,
        kind=_KINDS[role],
        name=read.id,
        country=read.country,
        tax_jurisdiction=read.tax_jurisdiction or read.country,
        vat_id=read.vat_id,
        vat_registrations=tuple(
            VatRegistration(tax_jurisdiction=tax_jurisdiction, vat_id=vat_id, valid_from=_LONG_AGO.date())
            for tax_jurisdiction, vat_id in read.vat_registrations.items()
        ),
        vat_evidence=evidence,
        taxable_dealer=read.taxable_dealer,
        small_business=read.small_business,
        settlement_currency=read.settlement_currency,
        terms_days=read.terms_days,
        time_zone=read.time_zone,
    )
