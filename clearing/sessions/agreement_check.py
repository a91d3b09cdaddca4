"""Why sessions of an agreement can't clear, and which effects its parties may not expect.

Owns: the checks and their texts. Must not know: the repository, how findings are shown. It clears made-up
sessions in memory by the same plan and split as real ones, so that it can't be of another opinion.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from clearing.captured_session import AuthorizationMethod, CapturedSession, FundingSource
from clearing.errors import ClearingError
from clearing.money import to_major
from clearing.parties.agreement import (
    BASIS_POINTS,
    Agreement,
    Deficit,
    LegalModel,
    Role,
    Terms,
    UnregisteredSeller,
    total_basis_points,
)
from clearing.parties.party import PLATFORM_ID, Party, PartyKind
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.sessions.clearing_plan import ClearingPlan, plan_clearing
from clearing.sessions.split import split
from clearing.tax.vat import NOT_REGISTERED

_SESSION_ID: Final = UUID("00000000-0000-7000-8000-000000000000")
# Nets in minor units of a session that was hardly begun, a short one and a usual one, with their energy.
_SAMPLES: Final = ((1, Decimal("0.01")), (100, Decimal(2)), (1500, Decimal(30)))
_OPTIONAL: Final = frozenset({Role.EMSP, Role.SITE_HOST})
_FLAG_TEXTS: Final[Mapping[str, str]] = {
    NOT_REGISTERED: "has no VAT id proven where it owes the driver's VAT: drivers get receipts, no invoices",
    "supplier_without_vat_id": "a supplier has proven no VAT id: no VAT is shown on its documents",
    "dealer_not_proven": "the platform is not proven to be a taxable dealer: the CPO's supply is taxed at "
    "the charge point",
    "customer_without_vat_id": "a customer has proven no VAT id: no reverse charge",
}


class CheckSeverity(StrEnum):
    """Whether sessions would wait, or clear in a way that somebody may not expect."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementFinding:
    """One thing to mend or to know; `path` is the JSON path in the agreement, "$" for the whole."""

    severity: CheckSeverity
    path: str
    text: str


def check_agreement(
    agreement: Agreement,
    *,
    parties: Mapping[str, Party] | None,
    others: Sequence[Agreement] = (),
    references: RatesAndCalendars,
    at: datetime,
) -> list[AgreementFinding]:
    """What is wrong with `agreement` for a sale at `at` (aware), errors first.

    `parties` None checks the terms alone. `others` are the CPO's stored agreements.
    """
    found = list(_of_terms(agreement.terms))
    if not agreement.covers(at):
        found.append(
            _error("$.valid_from", f"it is not in force at {at.isoformat()}: no session clears by it")
        )
    found += _of_others(agreement, others)
    if parties is not None:
        found += _of_parties(agreement, parties, references, at)
    return sorted(found, key=lambda one: one.severity is CheckSeverity.WARNING)


def _error(path: str, text: str) -> AgreementFinding:
    return AgreementFinding(severity=CheckSeverity.ERROR, path=path, text=text)


def _warning(path: str, text: str) -> AgreementFinding:
    return AgreementFinding(severity=CheckSeverity.WARNING, path=path, text=text)


def _of_terms(terms: Terms) -> Iterator[AgreementFinding]:
    if total_basis_points(terms.shares) == BASIS_POINTS:
        yield _warning("$.terms.shares", "percentages are the whole net: nothing remains for the CPO")
    for name, role in (
        ("psp_cost_charged_to", terms.psp_cost_charged_to),
        ("refund_charged_to", terms.refund_charged_to),
        ("dispute_charged_to", terms.dispute_charged_to),
    ):
        if role in _OPTIONAL:
            yield _warning(f"$.terms.{name}", f"in sessions without {role} it is charged to the platform")
    roles = {share.role for share in terms.shares} | {Role.CPO, Role.PLATFORM, Role.DEMAND_PARTNER}
    for net, energy in _SAMPLES:
        parts = split(net, energy_kwh=energy, terms=terms, currency=terms.currency, present=roles)
        rest = parts[Role.CPO]
        shown = f"{to_major(net, terms.currency)} {terms.currency}"
        if rest < 0 and terms.deficit is Deficit.CARRY:
            owed = to_major(-rest, terms.currency)
            yield _warning(
                "$.terms.deficit", f"of a net of {shown} the CPO would owe {owed}, carried forward"
            )
        elif rest == 0 and net > 1:
            yield _warning("$.terms.shares", f"of a net of {shown} nothing remains for the CPO")


def _of_others(agreement: Agreement, others: Sequence[Agreement]) -> Iterator[AgreementFinding]:
    for other in others:
        same_pair = (other.cpo_id, other.demand_partner_id) == (agreement.cpo_id, agreement.demand_partner_id)
        if not same_pair or (other.id, other.version) == (agreement.id, agreement.version):
            continue
        later, earlier = sorted((agreement, other), key=lambda one: one.valid_from, reverse=True)
        if other.id != agreement.id and earlier.covers(later.valid_from):
            yield _warning(
                "$.valid_from",
                f"{other.id!r} version {other.version} is in force for the same parties; from "
                f"{later.valid_from.isoformat()} on {later.id!r} applies, since it is valid from a later day",
            )


def _of_parties(
    agreement: Agreement, parties: Mapping[str, Party], references: RatesAndCalendars, at: datetime
) -> Iterator[AgreementFinding]:
    unknown = list(_unknown(agreement, parties))
    if unknown:
        yield from unknown
        return
    cpo = parties[agreement.cpo_id]
    try:
        plan = plan_clearing(
            _sample(agreement, cpo, parties, at), agreement=agreement, parties=parties, references=references
        )
    except ClearingError as error:
        yield _error("$", f"a session of {cpo.id!r} in its own country would become an exception: {error}")
        return
    yield from _of_plan(plan, cpo, at)


def _unknown(agreement: Agreement, parties: Mapping[str, Party]) -> Iterator[AgreementFinding]:
    cpo = parties.get(agreement.cpo_id)
    if cpo is None:
        yield _error("$.cpo_id", f"{agreement.cpo_id!r} is not registered")
    elif cpo.kind is not PartyKind.CPO:
        yield _error("$.cpo_id", f"{cpo.id!r} is registered as {cpo.kind}, not as cpo")
    if agreement.demand_partner_id is not None and agreement.demand_partner_id not in parties:
        yield _error("$.demand_partner_id", f"{agreement.demand_partner_id!r} is not registered")
    if PLATFORM_ID not in parties:
        yield _error("$", "the platform itself is not registered")


def _of_plan(plan: ClearingPlan, cpo: Party, at: datetime) -> Iterator[AgreementFinding]:
    terms = plan.agreement.terms
    for flag in plan.flags:
        who = f"{plan.driver.supplier_id!r} " if flag == NOT_REGISTERED else ""
        text = _FLAG_TEXTS.get(flag, f"sessions are flagged {flag}")
        yield _warning("$.terms.legal_model", f"{who}{text}")
    if terms.unregistered_seller is UnregisteredSeller.EXCEPTION:
        yield _warning(
            "$.terms.unregistered_seller",
            "sessions in tax jurisdictions where the seller is not registered become exceptions until it is",
        )
    if terms.legal_model is LegalModel.RESELLER and (
        cpo.self_billing_since is None or cpo.self_billing_since > at.date()
    ):
        yield _warning(
            "$.cpo_id", f"{cpo.id!r} has not agreed to self-billing: it issues its invoices itself"
        )
    for payee in plan.payees.values():
        if payee.lock is not None:
            yield _warning(
                "$.terms.currency",
                f"{payee.party_id!r} is paid in {payee.currency}: converted at the reference rate"
                f" with {terms.fx_markup_bps} basis points of mark-up",
            )


def _sample(agreement: Agreement, cpo: Party, parties: Mapping[str, Party], at: datetime) -> CapturedSession:
    partner = agreement.demand_partner_id or PLATFORM_ID
    return CapturedSession(
        shard=0,
        session_id=_SESSION_ID,
        cpo_id=cpo.id,
        demand_partner_id=partner if partner in parties else PLATFORM_ID,
        authorization_method=AuthorizationMethod.CARD,
        funding=FundingSource.PSP,
        tax_jurisdiction=cpo.tax_jurisdiction,
        time_zone=cpo.time_zone,
        sale_at=at,
        captured_at=at,
        captured_minor=1,
        currency=agreement.terms.currency,
        tariff_sha256="0" * 64,
        tariff_json=b"{}",
        tariff_version="2.2.1",
        cdr_id="check",
        cdr_json=b"{}",
        cdr_version="2.2.1",
    )
