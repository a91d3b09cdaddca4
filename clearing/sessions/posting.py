"""From one captured session and its plan to a journal entry that can't be unbalanced.

Owns: which amount goes to which account, the proof that the capture is the tariff's price.
Must not know: the repository, rates, calendars: all of that is in the plan. Every amount goes through
transit, which ends at zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from clearing.captured_session import CapturedSession, FundingSource
from clearing.errors import UnclearableError
from clearing.fx import FxLock, convert
from clearing.ledger.journal_entry import (
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
from clearing.sessions.clearing_plan import ClearingPlan, PlannedLeg
from clearing.sessions.reprice import RepricedSession
from clearing.sessions.split import percentages, split
from clearing.tax.vat import Category, SupplyLeg

# A named tuple without a call of its own constructor: half the cost, ten a session.
_new: Final = tuple.__new__
# The tariff's own VAT may differ from ours by a unit of rounding; more means that its rate is another.
VAT_TOLERANCE_MINOR: Final = 1


def prove_capture(session: CapturedSession, repriced: RepricedSession) -> None:
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


class CompiledPlan:
    """A plan with what posting derives from it, once for every session that shares it.

    Its accounts by name, and the split where integers alone can do it.
    """

    __slots__ = (
        "cost_charged_to",
        "cpo_id",
        "driver_vat",
        "percentages",
        "plan",
        "positions",
        "reseller",
        "supplies",
        "terms",
        "tiered",
    )

    def __init__(self, plan: ClearingPlan) -> None:
        self.plan = plan
        self.terms = plan.agreement.terms
        self.tiered = self.terms.tiered
        self.reseller = self.terms.legal_model is LegalModel.RESELLER
        self.cpo_id = plan.party_of_role[Role.CPO]
        self.driver_vat = output_vat_account(plan.driver.decision.vat_of)
        self.supplies = tuple(_supply(leg, plan.party_of_role) for leg in plan.legs)
        self.percentages = percentages(self.terms, present=plan.party_of_role.keys())
        self.cost_charged_to = plan.party_of_role.get(self.terms.psp_cost_charged_to, PLATFORM_ID)
        self.positions = {
            party_id: position_account(payee.lock.base, payee.lock.quote)
            for party_id, payee in plan.payees.items()
            if payee.lock is not None
        }


class _Supply(NamedTuple):
    """A leg, whether VAT is added to it, and who owes that VAT.

    `also` are the other roles whose parts it pays for: all that an agent retains is its fee, whatever roles
    it plays.
    """

    leg: PlannedLeg
    also: tuple[Role, ...]
    taxed: bool
    from_platform: bool
    acquired_of: str | None


def _supply(leg: PlannedLeg, party_of_role: Mapping[Role, str]) -> _Supply:
    decision = leg.decision
    also: tuple[Role, ...] = ()
    if leg.leg is SupplyLeg.FEE:
        also = tuple(
            role
            for role, party_id in party_of_role.items()
            if party_id == leg.supplier_id and role is not leg.role
        )
    return _Supply(
        leg=leg,
        also=also,
        taxed=decision.category is Category.STANDARD,
        from_platform=leg.supplier_id == PLATFORM_ID,
        acquired_of=decision.acquisition_of if leg.customer_id == PLATFORM_ID else None,
    )


def post_capture(
    session: CapturedSession,
    repriced: RepricedSession,
    plan: ClearingPlan,
    *,
    sessions_before: int = 0,
    compiled: CompiledPlan | None = None,
) -> JournalEntry:
    """The entry of one capture: transfers that balance, payables with due dates, the supplies and their VAT.

    `sessions_before` are the month's earlier sessions under the agreement, for its tiers; `compiled` is that
    of the plan, where it was compiled before.
    Raises UnclearableError when the capture isn't proved or the agreement can't split it.
    """
    prove_capture(session, repriced)
    compiled = compiled or CompiledPlan(plan)
    flags = list(plan.flags)
    net, vat = _net_and_vat(session, repriced, plan, flags)
    if compiled.percentages is not None and net >= 0:
        parts = compiled.percentages.of(net)
    else:
        parts = split(
            net,
            energy_kwh=repriced.energy_kwh,
            terms=compiled.terms,
            currency=plan.currency,
            present=plan.party_of_role.keys(),
            sessions_before=sessions_before,
        )
    posting = Posting(compiled)
    posting.receive(_source(session), net, vat)
    posting.share(parts)
    if session.psp_fee_minor:
        _charge_psp_cost(session, compiled, posting, flags)
    payables, locks = posting.post_payables()
    if session.shortfall is not None:
        flags.append("captured_below_price")
    check(posting.transfers)
    return JournalEntry(
        shard=session.shard,
        subject_id=session.session_id,
        kind=EntryKind.CAPTURE,
        currency=session.currency,
        gross_minor=session.captured_minor,
        vat_minor=vat,
        transfers=posting.transfers,
        payables=payables,
        locks=locks,
        links=_links(session, repriced, plan),
        legs=legs_json(posting.legs),
        flags=flags,
    )


def _source(session: CapturedSession) -> str:
    """The account of the money: at the PSP, or the funded account that the authorization named."""
    if session.funding is FundingSource.PSP:
        return PSP_RECEIVABLE
    return funds_account(session.account_party_id or session.demand_partner_id)


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


def compose(plan: ClearingPlan, amounts: Amounts, *, source: str) -> "Posting":
    """Everything of a session's posting but what parties are owed, which `post_payables` adds."""
    posting = Posting(CompiledPlan(plan))
    posting.receive(source, amounts.net, amounts.vat)
    posting.share(amounts.parts)
    return posting


class Posting:
    """The posting of one session: transfers, supplies, and what each party is owed in its currency."""

    __slots__ = ("_acquired", "_compiled", "_currency", "legs", "owed", "transfers")

    def __init__(self, compiled: CompiledPlan) -> None:
        self._compiled = compiled
        self._currency = compiled.plan.currency
        self._acquired: dict[str, int] = {}
        self.transfers: list[Transfer] = []
        self.owed = dict.fromkeys(compiled.plan.payees, 0)
        self.legs: list[LegAmount] = []

    def receive(self, source: str, net: int, vat: int) -> None:
        """The gross comes from `source`; its VAT goes to the tax office, or to the CPO that owes it."""
        compiled = self._compiled
        self._move(source, SESSION_TRANSIT, net + vat, self._currency)
        self.legs.append(LegAmount(compiled.plan.driver, net, vat))
        if compiled.reseller:
            self.from_transit(compiled.driver_vat, vat)
        else:
            self.owed[compiled.cpo_id] += vat

    def share(self, parts: Mapping[Role, int]) -> None:
        """Each part to its party, with the VAT that belongs on top of it."""
        compiled, owed = self._compiled, self.owed
        party_of_role = compiled.plan.party_of_role
        for role, part in parts.items():
            party_id = party_of_role[role]
            if party_id == PLATFORM_ID:
                self.from_transit(PLATFORM_FEE, part)
            else:
                owed[party_id] += part
        for supply in compiled.supplies:
            part = parts.get(supply.leg.role, 0)
            for role in supply.also:
                part += parts.get(role, 0)
            if part:
                self._tax(supply, part)
        for tax_jurisdiction, minor in self._acquired.items():
            self._move(
                input_vat_account(tax_jurisdiction),
                acquisition_vat_account(tax_jurisdiction),
                minor,
                self._currency,
            )

    def _tax(self, supply: _Supply, part: int) -> None:
        """VAT on top of a part.

        Reclaimed by the platform as reseller, paid by the CPO where it is the buyer.
        """
        leg, _, taxed, from_platform, acquired_of = supply
        decision = leg.decision
        vat = vat_on(part, decision.rate) if taxed else 0
        self.legs.append(LegAmount(leg, part, vat))
        if acquired_of is not None:
            due = vat_on(part, decision.acquisition_rate)
            self._acquired[acquired_of] = self._acquired.get(acquired_of, 0) + due
        if vat == 0:
            return
        if from_platform:
            self.owed[leg.customer_id] -= vat
            self.from_transit(output_vat_account(decision.vat_of), vat)
        elif self._compiled.reseller:
            self.owed[leg.supplier_id] += vat
            self._move(input_vat_account(decision.vat_of), SESSION_TRANSIT, vat, self._currency)
        else:
            self.owed[leg.supplier_id] += vat
            self.owed[leg.customer_id] -= vat

    def post_payables(self) -> tuple[list[Payable], list[FxLock]]:
        """What each party is owed leaves transit, converted at its FX lock where its currency is another."""
        payables: list[Payable] = []
        locks: dict[str, FxLock] = {}
        payees = self._compiled.plan.payees
        for party_id, minor in self.owed.items():
            if minor == 0:
                continue
            payee = payees[party_id]
            owed, lock, currency = minor, payee.lock, payee.currency
            if lock is None:
                self.from_transit(payee.account, minor)
            else:
                locks[currency] = lock
                position = self._compiled.positions[party_id]
                self.from_transit(position, minor)
                owed = convert(minor, lock)
                self._move(position, payee.account, owed, currency)
            if owed:
                payables.append(Payable(party_id, payee.role, owed, currency, payee.due))
        return payables, list(locks.values())

    def from_transit(self, account: str, minor: int) -> None:
        """A signed amount of the session's currency out of transit."""
        if minor > 0:
            self.transfers.append(_new(Transfer, (SESSION_TRANSIT, account, minor, self._currency)))
        elif minor < 0:
            self.transfers.append(_new(Transfer, (account, SESSION_TRANSIT, -minor, self._currency)))

    def _move(self, source: str, target: str, minor: int, currency: str) -> None:
        """A signed amount: negative goes the other way, zero goes nowhere."""
        if minor > 0:
            self.transfers.append(_new(Transfer, (source, target, minor, currency)))
        elif minor < 0:
            self.transfers.append(_new(Transfer, (target, source, -minor, currency)))


def _net_and_vat(
    session: CapturedSession, price: RepricedSession, plan: ClearingPlan, flags: list[str]
) -> tuple[int, int]:
    """Net and VAT of the capture, by the tax jurisdiction's rate or, where agreed, by the tariff's own."""
    gross, decision = session.captured_minor, plan.driver.decision
    if decision.category is not Category.STANDARD:
        if price.tax_known and price.vat_minor:
            flags.append("tariff_vat_differs")  # none is due, so none is posted, whatever was agreed
        return gross, 0
    net, vat = net_and_vat(gross, decision.rate)
    if not price.tax_known:
        return net, vat
    if any(rate != decision.rate for rate in price.tax_rates):
        flags.append("tariff_component_vat_differs")
    # Of a capture below the price the tariff's VAT is the same part.
    tariff_vat = price.vat_minor
    if gross != price.incl_vat_minor:
        tariff_vat = half_away(price.vat_minor * gross, price.incl_vat_minor)
    if abs(tariff_vat - vat) > VAT_TOLERANCE_MINOR:
        flags.append("tariff_vat_differs")
        if plan.agreement.terms.vat_source is VatSource.TARIFF:
            return gross - tariff_vat, tariff_vat
    return net, vat


def _charge_psp_cost(
    session: CapturedSession, compiled: CompiledPlan, posting: Posting, flags: list[str]
) -> None:
    """The PSP's fee is the platform's expense; where it is charged to a party, that party is owed less."""
    fee, currency = session.psp_fee_minor, session.psp_fee_currency
    if not fee or currency is None:
        return
    posting.transfers.append(Transfer(PSP_EXPENSE, PSP_RECEIVABLE, fee, currency))
    if compiled.cost_charged_to == PLATFORM_ID:
        return
    if currency != session.currency:
        flags.append("psp_fee_in_other_currency")
        return
    posting.owed[compiled.cost_charged_to] -= fee
    posting.from_transit(PSP_EXPENSE, fee)


def _links(session: CapturedSession, repriced: RepricedSession, plan: ClearingPlan) -> EntryLinks:
    return EntryLinks(
        cpo_id=session.cpo_id,
        demand_partner_id=session.demand_partner_id,
        authorization_method=session.authorization_method,
        tax_jurisdiction=session.tax_jurisdiction,
        sale_at=session.sale_at,
        agreement_id=plan.agreement.id,
        agreement_version=plan.agreement.version,
        tariff_sha256=session.tariff_sha256,
        cdr_id=session.cdr_id,
        psp_object_id=session.psp_object_id,
        priced_minor=repriced.incl_vat_minor,
        energy_kwh=repriced.energy_kwh,
    )
