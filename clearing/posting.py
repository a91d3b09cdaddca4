"""From one captured session and its plan to a journal entry that can't be unbalanced.

Owns: which amount goes to which account, the proof that the capture is the tariff's price.
Must not know: the store, rates, calendars: all of that is in the plan. Every amount goes through transit,
which ends at zero.
"""

from typing import Final

from clearing.agreement import LegalModel, VatSource
from clearing.errors import UnclearableError
from clearing.fx import FxLock, convert
from clearing.ledger import (
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
from clearing.money import allocate, net_and_vat, vat_on
from clearing.party import PLATFORM_ID
from clearing.reprice import Repriced
from clearing.session import CapturedSession, Funding
from clearing.settlement import PlannedLeg, SettlementPlan
from clearing.split import split
from clearing.vat import Category

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
    """The entry of one capture.

    Transfers that balance, payables with their due dates, the supplies and their VAT.

    `sessions_before` are the month's earlier sessions under the agreement, for its tiers.
    Raises UnclearableError when the capture isn't proved or the agreement can't split it.
    """
    prove_capture(session, repriced)
    return _Posting(session, repriced, plan).entry(sessions_before)


class _Posting:
    """One session's working: transfers and what each party is owed, in the session's currency."""

    __slots__ = ("_acquired", "_flags", "_legs", "_owed", "_plan", "_repriced", "_session", "_transfers")

    def __init__(self, session: CapturedSession, repriced: Repriced, plan: SettlementPlan) -> None:
        self._session = session
        self._repriced = repriced
        self._plan = plan
        self._transfers: list[Transfer] = []
        self._owed = dict.fromkeys(plan.payees, 0)
        self._acquired: dict[str, int] = {}
        self._legs: list[str] = []
        self._flags = list(plan.flags)

    def entry(self, sessions_before: int) -> JournalEntry:
        session, plan = self._session, self._plan
        psp_funded = session.funding is Funding.PSP
        source = PSP_RECEIVABLE if psp_funded else funds_account(session.demand_partner_id)
        self._transfers.append(Transfer(source, SESSION_TRANSIT, session.captured_minor, session.currency))
        net, vat = self._net_and_vat()
        self._record(plan.driver, net, vat)
        if plan.agreement.terms.legal_model is LegalModel.RESELLER:
            self._from_transit(output_vat_account(plan.driver.decision.vat_of), vat)
        else:
            self._owed[session.cpo_id] += vat  # the CPO sells to the driver, so it pays this VAT
        self._share(net, sessions_before)
        self._bear_psp_cost()
        payables, locks = self._settle()
        if session.shortfall is not None:
            self._flags.append("captured_below_price")
        check(self._transfers)
        return JournalEntry(
            lane=session.lane,
            subject_id=session.session_id,
            kind=EntryKind.CAPTURE,
            currency=session.currency,
            gross_minor=session.captured_minor,
            transfers=self._transfers,
            payables=payables,
            locks=locks,
            links=self._links(),
            legs=f"[{','.join(self._legs)}]",
            flags=self._flags,
        )

    def _net_and_vat(self) -> tuple[int, int]:
        """Net and VAT of the capture, by the territory's rate or, where agreed, by the tariff's own."""
        gross, decision = self._session.captured_minor, self._plan.driver.decision
        if decision.category is not Category.STANDARD:
            return gross, 0
        net, vat = net_and_vat(gross, decision.rate)
        price = self._repriced
        if not price.tax_known:
            return net, vat
        tariff_net, tariff_vat = allocate(gross, (price.incl_vat_minor - price.vat_minor, price.vat_minor))
        if abs(tariff_vat - vat) > VAT_TOLERANCE_MINOR:
            self._flags.append("tariff_vat_differs")
            if self._plan.agreement.terms.vat_source is VatSource.TARIFF:
                return tariff_net, tariff_vat
        return net, vat

    def _share(self, net: int, sessions_before: int) -> None:
        plan = self._plan
        parts = split(
            net,
            energy_kwh=self._repriced.energy_kwh,
            terms=plan.agreement.terms,
            currency=plan.currency,
            present=plan.party_of_role.keys(),
            sessions_before=sessions_before,
        )
        for role, part in parts.items():
            party_id = plan.party_of_role[role]
            if party_id == PLATFORM_ID:
                self._from_transit(PLATFORM_FEE, part)
            else:
                self._owed[party_id] += part
        reseller = plan.agreement.terms.legal_model is LegalModel.RESELLER
        for leg in plan.legs:
            self._tax(leg, parts.get(leg.role, 0), reseller=reseller)
        for territory, minor in self._acquired.items():
            self._move(input_vat_account(territory), acquisition_vat_account(territory), minor)

    def _tax(self, leg: PlannedLeg, part: int, *, reseller: bool) -> None:
        """VAT on top of a part.

        Reclaimed by the platform as reseller, borne by the CPO where the platform is its agent.
        """
        if part == 0:
            return
        decision = leg.decision
        vat = vat_on(part, decision.rate) if decision.category is Category.STANDARD else 0
        self._record(leg, part, vat)
        if decision.acquisition_of is not None and leg.customer_id == PLATFORM_ID:
            due = vat_on(part, decision.acquisition_rate)
            self._acquired[decision.acquisition_of] = self._acquired.get(decision.acquisition_of, 0) + due
        if vat == 0:
            return
        if leg.supplier_id == PLATFORM_ID:
            self._owed[leg.customer_id] -= vat
            self._from_transit(output_vat_account(decision.vat_of), vat)
        elif reseller:
            self._owed[leg.supplier_id] += vat
            self._move(input_vat_account(decision.vat_of), SESSION_TRANSIT, vat)
        else:
            self._owed[leg.supplier_id] += vat
            self._owed[leg.customer_id] -= vat

    def _bear_psp_cost(self) -> None:
        """The PSP's fee is the platform's expense.

        Where another bears it, its part is lessened by the same amount.
        """
        fee, currency = self._session.psp_fee_minor, self._session.psp_fee_currency
        if not fee or currency is None:
            return
        self._transfers.append(Transfer(PSP_EXPENSE, PSP_RECEIVABLE, fee, currency))
        bearer = self._plan.agreement.terms.psp_cost_bearer
        bearer_id = self._plan.party_of_role.get(bearer)
        if bearer_id is None or bearer_id == PLATFORM_ID:
            return
        if currency != self._session.currency:
            self._flags.append("psp_fee_in_other_currency")
            return
        self._owed[bearer_id] -= fee
        self._from_transit(PSP_EXPENSE, fee)

    def _settle(self) -> tuple[list[Payable], list[FxLock]]:
        """What each party is owed leaves transit, exchanged at the lock where its currency is another."""
        payables: list[Payable] = []
        locks: dict[str, FxLock] = {}
        for party_id, minor in self._owed.items():
            if minor == 0:
                continue
            payee = self._plan.payees[party_id]
            owed = minor
            if payee.lock is None:
                self._from_transit(payee.account, minor)
            else:
                locks[payee.currency] = payee.lock
                position = position_account(payee.lock.base, payee.lock.quote)
                self._from_transit(position, minor)
                owed = convert(minor, payee.lock)
                self._move(position, payee.account, owed, currency=payee.currency)
            if owed:
                payables.append(Payable(party_id, payee.role, owed, payee.currency, payee.due))
        return payables, list(locks.values())

    def _links(self) -> EntryLinks:
        session, plan = self._session, self._plan
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
            priced_minor=self._repriced.incl_vat_minor,
            energy_kwh=self._repriced.energy_kwh,
        )

    def _record(self, leg: PlannedLeg, net: int, vat: int) -> None:
        self._legs.append(f'{leg.opening}{net},"vat":{vat}{leg.ending}')

    def _from_transit(self, account: str, minor: int) -> None:
        self._move(SESSION_TRANSIT, account, minor)

    def _move(self, source: str, target: str, minor: int, *, currency: str | None = None) -> None:
        """A signed amount: negative goes the other way, zero goes nowhere."""
        unit = currency or self._session.currency
        if minor > 0:
            self._transfers.append(Transfer(source, target, minor, unit))
        elif minor < 0:
            self._transfers.append(Transfer(target, source, -minor, unit))
