"""From one captured session and its plan to a journal entry that can't be unbalanced.

Owns: which amount goes to which account, the proof that the capture is the tariff's price.
Must not know: the store, rates, calendars: all of that is in the plan. Every amount goes through transit,
which ends at zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from clearing.errors import UnclearableError
from clearing.fx import FxLock, convert
from clearing.journal.ledger import (
    PLATFORM_FEE,
    PSP_EXPENSE,
    PSP_RECEIVABLE,
    SESSION_TRANSIT,
    EntryKind,
    EntryLinks,
    JournalEntry,
    Payable,
    Transfer,
    acquisition_vat_account,
    check,
    funds_account,
    input_vat_account,
    output_vat_account,
    position_account,
)
from clearing.money import half_away, net_and_vat, vat_on
from clearing.parties.agreement import LegalModel, Role, VatSource
from clearing.parties.party import PLATFORM_ID
from clearing.session import CapturedSession, Funding
from clearing.sessions.reprice import Repriced
from clearing.sessions.settlement import PlannedLeg, SettlementPlan
from clearing.sessions.split import split
from clearing.tax.vat import Category

# The tariff's own VAT may differ from ours by a unit of rounding; more means that its rate is another.
VAT_TOLERANCE_MINOR: Final = 1


def prove_capture(session: CapturedSession, repriced: Repriced) -> None:
    """The capture is the price by the frozen tariff, or less for a stated reason; never more.

    Raises UnclearableError: `price_currency`, `captured_above_price`, `captured_below_price`.
    """
    if repriced.currency != session.currency:
        raise UnclearableError(
            "price_currency", f"captured in {session.currency}, but the tariff prices in {repriced.currency}"
        )
    if session.captured_minor > repriced.incl_vat_minor:
        raise UnclearableError(
            "captured_above_price",
            f"captured {session.captured_minor}, but the tariff gives {repriced.incl_vat_minor}; "
            "refund the difference",
        )
    if session.captured_minor < repriced.incl_vat_minor and session.shortfall is None:
        raise UnclearableError(
            "captured_below_price",
            f"captured {session.captured_minor} of {repriced.incl_vat_minor}, no reason for the shortfall",
        )


def post_capture(
    session: CapturedSession, repriced: Repriced, plan: SettlementPlan, *, sessions_before: int = 0
) -> JournalEntry:
    """The entry of one capture: transfers that balance, payables with due dates, the supplies and their VAT.

    `sessions_before` are the month's earlier sessions under the agreement, for its tiers.
    Raises UnclearableError when the capture isn't proved or the agreement can't split it.
    """
    prove_capture(session, repriced)
    flags = list(plan.flags)
    net, vat = _net_and_vat(session, repriced, plan, flags)
    parts = split(
        net,
        energy_kwh=repriced.energy_kwh,
        terms=plan.agreement.terms,
        currency=plan.currency,
        present=plan.party_of_role.keys(),
        sessions_before=sessions_before,
    )
    psp_funded = session.funding is Funding.PSP
    source = PSP_RECEIVABLE if psp_funded else funds_account(session.demand_partner_id)
    posting = compose(plan, Amounts(net=net, vat=vat, parts=parts), source=source)
    _bear_psp_cost(session, plan, posting, flags)
    payables, locks = posting.settle()
    if session.shortfall is not None:
        flags.append("captured_below_price")
    check(posting.transfers)
    return JournalEntry(
        lane=session.lane,
        subject_id=session.session_id,
        kind=EntryKind.CAPTURE,
        currency=session.currency,
        gross_minor=session.captured_minor,
        transfers=posting.transfers,
        payables=payables,
        locks=locks,
        links=_links(session, repriced, plan),
        legs=legs_json(posting.legs),
        flags=flags,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What is posted.

    Net and VAT of the gross, and each role's part of the net, all in the session's currency.
    """

    net: int
    vat: int
    parts: Mapping[Role, int]


class LegAmount(NamedTuple):
    """One supply's amounts."""

    leg: PlannedLeg
    net: int
    vat: int


def legs_json(legs: Iterable[LegAmount]) -> str:
    """The supplies as the JSON array that is stored and hashed."""
    written = [f'{leg.opening}{net},"vat":{vat}{leg.ending}' for leg, net, vat in legs]
    return f"[{','.join(written)}]"


def compose(plan: SettlementPlan, amounts: Amounts, *, source: str) -> "Posting":
    """Everything of a session's posting but what parties are owed, which `settle` ends."""
    posting = Posting(plan)
    posting.receive(source, amounts)
    posting.share(amounts.parts)
    return posting


class Posting:
    """One session's working: transfers, supplies, and what each party is owed in the session's currency."""

    __slots__ = ("_acquired", "_plan", "_reseller", "legs", "owed", "transfers")

    def __init__(self, plan: SettlementPlan) -> None:
        self._plan = plan
        self._reseller = plan.agreement.terms.legal_model is LegalModel.RESELLER
        self._acquired: dict[str, int] = {}
        self.transfers: list[Transfer] = []
        self.owed = dict.fromkeys(plan.payees, 0)
        self.legs: list[LegAmount] = []

    def receive(self, source: str, amounts: Amounts) -> None:
        """The gross comes from `source`; its VAT goes to the tax office, or to the CPO that owes it."""
        self._move(source, SESSION_TRANSIT, amounts.net + amounts.vat)
        driver = self._plan.driver
        self.legs.append(LegAmount(driver, amounts.net, amounts.vat))
        if self._reseller:
            self.from_transit(output_vat_account(driver.decision.vat_of), amounts.vat)
        else:
            self.owed[self._plan.party_of_role[Role.CPO]] += amounts.vat

    def share(self, parts: Mapping[Role, int]) -> None:
        """Each part to its party, with the VAT that belongs on top of it."""
        plan = self._plan
        for role, part in parts.items():
            party_id = plan.party_of_role[role]
            if party_id == PLATFORM_ID:
                self.from_transit(PLATFORM_FEE, part)
            else:
                self.owed[party_id] += part
        for leg in plan.legs:
            part = parts.get(leg.role, 0)
            if part:
                self._tax(leg, part)
        for territory, minor in self._acquired.items():
            self._move(input_vat_account(territory), acquisition_vat_account(territory), minor)

    def _tax(self, leg: PlannedLeg, part: int) -> None:
        """VAT on top of a part.

        Reclaimed by the platform as reseller, borne by the CPO where it is the buyer.
        """
        decision = leg.decision
        vat = vat_on(part, decision.rate) if decision.category is Category.STANDARD else 0
        self.legs.append(LegAmount(leg, part, vat))
        if decision.acquisition_of is not None and leg.customer_id == PLATFORM_ID:
            due = vat_on(part, decision.acquisition_rate)
            self._acquired[decision.acquisition_of] = self._acquired.get(decision.acquisition_of, 0) + due
        if vat == 0:
            return
        if leg.supplier_id == PLATFORM_ID:
            self.owed[leg.customer_id] -= vat
            self.from_transit(output_vat_account(decision.vat_of), vat)
        elif self._reseller:
            self.owed[leg.supplier_id] += vat
            self._move(input_vat_account(decision.vat_of), SESSION_TRANSIT, vat)
        else:
            self.owed[leg.supplier_id] += vat
            self.owed[leg.customer_id] -= vat

    def settle(self) -> tuple[list[Payable], list[FxLock]]:
        """What each party is owed leaves transit, exchanged at the lock where its currency is another."""
        payables: list[Payable] = []
        locks: dict[str, FxLock] = {}
        for party_id, minor in self.owed.items():
            if minor == 0:
                continue
            payee = self._plan.payees[party_id]
            owed = minor
            if payee.lock is None:
                self.from_transit(payee.account, minor)
            else:
                locks[payee.currency] = payee.lock
                position = position_account(payee.lock.base, payee.lock.quote)
                self.from_transit(position, minor)
                owed = convert(minor, payee.lock)
                self._move(position, payee.account, owed, currency=payee.currency)
            if owed:
                payables.append(Payable(party_id, payee.role, owed, payee.currency, payee.due))
        return payables, list(locks.values())

    def from_transit(self, account: str, minor: int) -> None:
        """A signed amount of the session's currency out of transit."""
        self._move(SESSION_TRANSIT, account, minor)

    def _move(self, source: str, target: str, minor: int, *, currency: str | None = None) -> None:
        """A signed amount: negative goes the other way, zero goes nowhere."""
        unit = currency or self._plan.currency
        if minor > 0:
            self.transfers.append(Transfer(source, target, minor, unit))
        elif minor < 0:
            self.transfers.append(Transfer(target, source, -minor, unit))


def _net_and_vat(
    session: CapturedSession, price: Repriced, plan: SettlementPlan, flags: list[str]
) -> tuple[int, int]:
    """Net and VAT of the capture, by the territory's rate or, where agreed, by the tariff's own."""
    gross, decision = session.captured_minor, plan.driver.decision
    if decision.category is not Category.STANDARD:
        return gross, 0
    net, vat = net_and_vat(gross, decision.rate)
    if not price.tax_known:
        return net, vat
    # Of a capture below the price the tariff's VAT is the same part.
    tariff_vat = price.vat_minor
    if gross != price.incl_vat_minor:
        tariff_vat = half_away(price.vat_minor * gross, price.incl_vat_minor)
    if abs(tariff_vat - vat) > VAT_TOLERANCE_MINOR:
        flags.append("tariff_vat_differs")
        if plan.agreement.terms.vat_source is VatSource.TARIFF:
            return gross - tariff_vat, tariff_vat
    return net, vat


def _bear_psp_cost(
    session: CapturedSession, plan: SettlementPlan, posting: Posting, flags: list[str]
) -> None:
    """The PSP's fee is the platform's expense.

    Where another bears it, its part is lessened by the same amount.
    """
    fee, currency = session.psp_fee_minor, session.psp_fee_currency
    if not fee or currency is None:
        return
    posting.transfers.append(Transfer(PSP_EXPENSE, PSP_RECEIVABLE, fee, currency))
    bearer_id = plan.party_of_role.get(plan.agreement.terms.psp_cost_bearer, PLATFORM_ID)
    if bearer_id == PLATFORM_ID:
        return
    if currency != session.currency:
        flags.append("psp_fee_in_other_currency")
        return
    posting.owed[bearer_id] -= fee
    posting.from_transit(PSP_EXPENSE, fee)


def _links(session: CapturedSession, repriced: Repriced, plan: SettlementPlan) -> EntryLinks:
    return EntryLinks(
        cpo_id=session.cpo_id,
        demand_partner_id=session.demand_partner_id,
        rail=session.rail,
        territory=session.territory,
        sale_at=session.sale_at,
        agreement_id=plan.agreement.id,
        agreement_version=plan.agreement.version,
        tariff_sha256=session.tariff_sha256,
        cdr_id=session.cdr_id,
        psp_object_id=session.psp_object_id,
        priced_minor=repriced.incl_vat_minor,
        energy_kwh=repriced.energy_kwh,
    )
