"""The clearing plan: everything about a session's clearing that does not depend on its amounts.

Owns: who plays which role, which supply each leg is, its VAT, its exchange lock, its due date.
Must not know: amounts, the repository. A plan is made once for all sessions that share it and is reused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Final
from zoneinfo import ZoneInfo

from clearing.calendar import due_date
from clearing.captured_session import CapturedSession
from clearing.errors import UnclearableError
from clearing.fx import FxLock, publication_day, require_currency
from clearing.ledger.journal_entry import payable_account
from clearing.parties.agreement import Agreement, LegalModel, Role, Terms, UnregisteredSeller
from clearing.parties.party import PLATFORM_ID, Party, PartyKind
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.sessions.identities import trader_on
from clearing.tax.vat import NOT_REGISTERED, CustomerKind, SupplyLeg, Trader, VatDecision, decide
from clearing.tax.vat_rates import VatRates

RULING_DIGITS: Final = 16
DRIVER: Final = "driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLeg:
    """One role's part: which supply it pays for, by which VAT.

    `opening` is the constant start of its JSON.
    """

    role: Role
    leg: SupplyLeg
    supplier_id: str
    customer_id: str
    decision: VatDecision
    opening: str
    ending: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """A party that is owed something: where, in which currency, through which lock, and when."""

    party_id: str
    role: Role
    account: str
    currency: str
    lock: FxLock | None
    due: date


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingPlan:
    """How every session of one agreement, day, tax jurisdiction and set of parties is cleared."""

    agreement: Agreement
    currency: str
    driver: PlannedLeg
    legs: Sequence[PlannedLeg]
    payees: Mapping[str, Payee]
    party_of_role: Mapping[Role, str]
    rulings: Mapping[str, str]
    flags: tuple[str, ...]


def plan_clearing(
    session: CapturedSession,
    *,
    agreement: Agreement,
    parties: Mapping[str, Party],
    references: RatesAndCalendars,
) -> ClearingPlan:
    """The plan for `session` and all that share its parties, day, tax jurisdiction and currency.

    Raises UnclearableError (missing party, unknown tax jurisdiction), RateUnavailableError,
    CalendarExhaustedError.
    """
    sale_day = session.sale_at.astimezone(ZoneInfo(session.time_zone)).date()
    require_currency(session.currency, sale_day)
    roles = _roles(session, parties)
    buyer = None if session.buyer_id is None else parties.get(session.buyer_id)
    if session.buyer_id is not None and buyer is None:
        raise UnclearableError("unknown_party", f"buyer {session.buyer_id!r} is not registered")
    builder = _LegBuilder(session, roles, sale_day, references.vat, agreement.terms.legal_model, buyer=buyer)
    driver = builder.driver()
    _require_registration(driver, agreement.terms, sale_day)
    legs = builder.legs()
    flags = sorted({flag for leg in (driver, *legs) for flag in leg.decision.flags})
    return ClearingPlan(
        agreement=agreement,
        currency=session.currency,
        driver=driver,
        legs=legs,
        payees=_payees(session, roles, agreement, references),
        party_of_role={role: party.id for role, party in roles.items()},
        rulings={ruling_id(leg.decision): ruling_content(leg.decision) for leg in (driver, *legs)},
        flags=tuple(flags),
    )


def _require_registration(driver: PlannedLeg, terms: Terms, day: date) -> None:
    """Where agreed, a seller who is not registered where it owes the VAT is waited for."""
    if NOT_REGISTERED in driver.decision.flags and terms.unregistered_seller is UnregisteredSeller.EXCEPTION:
        raise UnclearableError(
            NOT_REGISTERED,
            f"{driver.supplier_id!r} has no VAT id of {driver.decision.vat_of} proven on {day}; "
            "add it to its vat_registrations with evidence and clear again",
        )


def _roles(session: CapturedSession, parties: Mapping[str, Party]) -> dict[Role, Party]:
    named = {
        Role.CPO: session.cpo_id,
        Role.PLATFORM: PLATFORM_ID,
        Role.DEMAND_PARTNER: session.demand_partner_id,
        Role.EMSP: session.emsp_id,
        Role.SITE_HOST: session.site_host_id,
    }
    roles: dict[Role, Party] = {}
    for role, party_id in named.items():
        if party_id is None:
            continue
        party = parties.get(party_id)
        if party is None:
            raise UnclearableError(
                "unknown_party", f"{role} {party_id!r} is not registered; register it and clear again"
            )
        roles[role] = party
    if roles[Role.CPO].kind is not PartyKind.CPO:
        raise UnclearableError(
            "wrong_party_kind", f"{session.cpo_id!r} is registered as {roles[Role.CPO].kind}, not as cpo"
        )
    return roles


def _payees(
    session: CapturedSession, roles: Mapping[Role, Party], agreement: Agreement, references: RatesAndCalendars
) -> dict[str, Payee]:
    fx_day = publication_day(session.captured_at)
    payees: dict[str, Payee] = {}
    for role, party in roles.items():
        if party.kind is PartyKind.PLATFORM or party.id in payees:
            continue
        lock = None
        if party.settlement_currency != session.currency:
            lock = references.fx.lock(
                base=session.currency,
                quote=party.settlement_currency,
                day=fx_day,
                markup_bps=agreement.terms.fx_markup_bps,
            )
        payees[party.id] = Payee(
            party_id=party.id,
            role=role,
            account=payable_account(party),
            currency=party.settlement_currency,
            lock=lock,
            due=due_date(session.sale_at, party, references.calendars),
        )
    return payees


class _LegBuilder:
    """Decides each leg's VAT once."""

    def __init__(
        self,
        session: CapturedSession,
        roles: Mapping[Role, Party],
        day: date,
        rates: VatRates,
        model: LegalModel,
        *,
        buyer: Party | None,
    ) -> None:
        self._buyer = buyer
        self._roles = roles
        self._day = day
        self._rates = rates
        self._model = model
        self._place = rates.tax_jurisdiction(session.tax_jurisdiction)

    def driver(self) -> PlannedLeg:
        seller = Role.PLATFORM if self._model is LegalModel.RESELLER else Role.CPO
        supplier = self._trader(self._roles[seller])
        decision = decide(
            SupplyLeg.TO_DRIVER,
            supplier=supplier,
            customer=None if self._buyer is None else self._trader(self._buyer),
            customer_kind=CustomerKind.CONSUMER if self._buyer is None else CustomerKind.BUSINESS,
            place=self._place,
            day=self._day,
            rates=self._rates,
        )
        customer = DRIVER if self._buyer is None else self._buyer.id
        return planned_leg(seller, SupplyLeg.TO_DRIVER, supplier.party_id, customer, decision)

    def legs(self) -> tuple[PlannedLeg, ...]:
        buyer = Role.PLATFORM if self._model is LegalModel.RESELLER else Role.CPO
        planned = (
            [self._leg(Role.CPO, SupplyLeg.TO_DEALER, Role.CPO, Role.PLATFORM)]
            if buyer is Role.PLATFORM
            else []
        )
        if buyer is Role.CPO:
            planned.append(self._leg(Role.PLATFORM, SupplyLeg.FEE, Role.PLATFORM, Role.CPO))
        for role, leg in (
            (Role.DEMAND_PARTNER, SupplyLeg.COMMISSION),
            (Role.EMSP, SupplyLeg.COMMISSION),
            (Role.SITE_HOST, SupplyLeg.SITE),
        ):
            # A role played by the buyer itself is no supply between two parties; what the platform keeps is
            # its own, as reseller, and its fee, as agent.
            if role in self._roles and self._roles[role].id not in (PLATFORM_ID, self._roles[buyer].id):
                planned.append(self._leg(role, leg, role, buyer))
        return tuple(planned)

    def _leg(self, role: Role, leg: SupplyLeg, supplier_role: Role, customer_role: Role) -> PlannedLeg:
        supplier, customer = (
            self._trader(self._roles[supplier_role]),
            self._trader(self._roles[customer_role]),
        )
        decision = decide(
            leg, supplier=supplier, customer=customer, place=self._place, day=self._day, rates=self._rates
        )
        return planned_leg(role, leg, supplier.party_id, customer.party_id, decision)

    def _trader(self, party: Party) -> Trader:
        return trader_on(party, self._day, self._rates)


def planned_leg(
    role: Role, leg: SupplyLeg, supplier_id: str, customer_id: str, decision: VatDecision
) -> PlannedLeg:
    """A leg with the constant parts of its JSON; party ids and legs are slugs and need no escapes."""
    return PlannedLeg(
        role=role,
        leg=leg,
        supplier_id=supplier_id,
        customer_id=customer_id,
        decision=decision,
        opening=f'{{"leg":"{leg}","role":"{role}","supplier":"{supplier_id}","customer":"{customer_id}","net":',
        ending=f',"ruling":"{ruling_id(decision)}"}}',
    )


def ruling_content(decision: VatDecision) -> str:
    """The decision as canonical JSON: what is stored, and what an invoice is written from."""
    fields = {
        "rule": decision.rule,
        "category": decision.category,
        "rate": str(decision.rate),
        "vat_of": decision.vat_of,
        "payer": decision.payer,
        "reason": decision.reason,
        "exemption_code": decision.exemption_code,
        "acquisition_of": decision.acquisition_of,
        "acquisition_rate": str(decision.acquisition_rate),
        "flags": list(decision.flags),
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ruling_id(decision: VatDecision) -> str:
    """The name of a decision: the first 16 hex digits of its content's SHA-256."""
    return sha256(ruling_content(decision).encode()).hexdigest()[:RULING_DIGITS]
