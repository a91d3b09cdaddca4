"""Properties of posting and taking back, over agreements, currencies, models and amounts."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.captured_session import CapturedSession
from clearing.errors import ClearingConflictError
from clearing.fx import RateTable
from clearing.ledger.journal_entry import PSP_EXPENSE, Deltas, EntryKind, JournalEntry, check
from clearing.money import net_and_vat
from clearing.parties.agreement import Deficit, LegalModel, Role, Share
from clearing.reference_data import bundled_data
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.sessions.clearing_plan import ClearingPlan, plan_clearing
from clearing.sessions.posting import Amounts, compose, post_capture
from clearing.sessions.reversal import ClearedCapture, Reversal, amounts_at, reinstate, reverse
from clearing.sessions.split import split
from tests.fakes import clearing_fixtures as world

REFERENCES = RatesAndCalendars(
    vat=bundled_data.vat_rates(),
    fx=RateTable(bundled_data.ecb_reference_rates()),
    calendars=bundled_data.calendars(),
)
CPOS = st.sampled_from([world.NL_CPO, world.DE_CPO, world.CH_CPO, world.GB_CPO])
SHARES = st.lists(
    st.builds(
        Share,
        role=st.sampled_from([Role.PLATFORM, Role.DEMAND_PARTNER, Role.SITE_HOST, Role.EMSP]),
        basis_points=st.integers(0, 2500),
        fixed_minor=st.integers(0, 60),
        per_kwh=st.decimals("0", "0.05", places=3),
    ),
    max_size=4,
    unique_by=lambda share: share.role,
)


@st.composite
def captures(draw: st.DrawFn) -> tuple[CapturedSession, ClearingPlan]:
    cpo = draw(CPOS)
    session = world.session(
        draw(st.integers(1, 2**40)),
        cpo=cpo,
        captured_minor=draw(st.integers(1, 500_000)),
        demand_partner_id=draw(st.sampled_from(["superapp", "parking", "platform"])),
        site_host_id=draw(st.sampled_from([None, "hotel"])),
        emsp_id=draw(st.sampled_from([None, "NL-EMP"])),
        psp_fee_minor=draw(st.integers(0, 50)),
    )
    agreement = world.agreement(
        cpo,
        shares=tuple(draw(SHARES)),
        legal_model=draw(st.sampled_from(LegalModel)),
        deficit=draw(st.sampled_from(Deficit)),
        psp_cost_charged_to=draw(st.sampled_from([Role.PLATFORM, Role.CPO])),
        fx_markup_bps=draw(st.sampled_from([0, 25])),
    )
    plan = plan_clearing(session, agreement=agreement, parties=world.PARTIES, references=REFERENCES)
    return session, plan


BEARERS = st.sampled_from([None, *Role])


def posted(session: CapturedSession, plan: ClearingPlan) -> JournalEntry:
    return post_capture(session, world.repriced(session), plan)


def stored(session: CapturedSession, plan: ClearingPlan, entry: JournalEntry) -> ClearedCapture:
    net, vat = net_and_vat(session.captured_minor, plan.driver.decision.rate)
    parts = split(
        net,
        energy_kwh=Decimal(10),
        terms=plan.agreement.terms,
        currency=session.currency,
        present=plan.party_of_role.keys(),
    )
    assert entry.links is not None
    return ClearedCapture(
        shard=session.shard,
        session_id=session.session_id,
        gross_minor=session.captured_minor,
        amounts=Amounts(net=net, vat=vat, parts=parts),
        source=entry.transfers[0].debit_account,
        plan=plan,
        links=entry.links,
    )


def step(
    minor: int, before: int, kind: EntryKind = EntryKind.REFUND, charged_to: Role | None = None
) -> Reversal:
    due = dict.fromkeys(world.PARTIES, date(2026, 10, 20))
    return Reversal(
        kind=kind, reference=str(before), minor=minor, before_minor=before, charged_to=charged_to, due=due
    )


def effect(*entries: JournalEntry) -> dict[tuple[str, str], int]:
    deltas = Deltas()
    for entry in entries:
        deltas.add(entry.transfers)
    return {key: credit - debit for key, (debit, credit) in deltas.sums.items() if credit != debit}


@given(made=captures())
def test_every_minor_unit_of_a_capture_reaches_an_account(
    made: tuple[CapturedSession, ClearingPlan],
) -> None:
    session, plan = made
    entry = posted(session, plan)
    check(entry.transfers)
    assert entry.transfers[0].amount_minor == session.captured_minor
    owed: dict[tuple[str, str], int] = {}
    for (account, currency), minor in effect(entry).items():
        if account.endswith(":payable"):
            owed[account.split(":")[1], currency] = minor
    assert owed == {(payable.party_id, payable.currency): payable.amount_minor for payable in entry.payables}


@given(made=captures(), cuts=st.lists(st.integers(1, 10**6), max_size=5), charged_to=BEARERS)
def test_any_series_of_refunds_ends_where_one_of_the_whole_does(
    made: tuple[CapturedSession, ClearingPlan], cuts: list[int], charged_to: Role | None
) -> None:
    session, plan = made
    entry = posted(session, plan)
    capture = stored(session, plan, entry)
    points = [*sorted({cut % session.captured_minor for cut in cuts} - {0}), session.captured_minor]
    entries, before = [], 0
    for point in points:
        entries.append(reverse(capture, step(point - before, before, charged_to=charged_to)))
        before = point
    whole = reverse(capture, step(session.captured_minor, 0, charged_to=charged_to))
    assert effect(*entries) == effect(whole)
    assert sum(reversed_part.gross_minor for reversed_part in entries) == session.captured_minor
    with pytest.raises(ClearingConflictError):
        reverse(capture, step(1, session.captured_minor))


@given(made=captures())
def test_a_whole_refund_mirrors_the_capture_but_for_the_psp_fee(
    made: tuple[CapturedSession, ClearingPlan],
) -> None:
    session, plan = made
    unburdened = replace(session, psp_fee_minor=None, psp_fee_currency=None)
    entry = posted(unburdened, plan)
    reversed_part = reverse(stored(unburdened, plan, entry), step(session.captured_minor, 0))
    assert effect(entry, reversed_part) == {}
    assert {(p.party_id, p.amount_minor) for p in reversed_part.payables} == {
        (p.party_id, -p.amount_minor) for p in entry.payables
    }


@given(made=captures(), minor=st.integers(1, 500_000), charged_to=st.sampled_from(list(Role)))
def test_with_cost_allocation_only_the_charged_party_and_the_seller_pay(
    made: tuple[CapturedSession, ClearingPlan], minor: int, charged_to: Role
) -> None:
    session, plan = made
    capture = stored(session, plan, posted(session, plan))
    minor = min(minor, session.captured_minor)
    reversed_part = reverse(capture, step(minor, 0, charged_to=charged_to))
    back = amounts_at(capture, minor)
    charged_party = plan.party_of_role.get(charged_to, "platform")
    seller = "platform" if plan.agreement.terms.legal_model is LegalModel.RESELLER else session.cpo_id
    assert {payable.party_id for payable in reversed_part.payables} <= {charged_party, seller} - {"platform"}
    gross = {
        line.debit_account: line.amount_minor
        for line in reversed_part.transfers
        if line.credit_account == capture.source
    }
    assert sum(gross.values()) == back.net + back.vat == minor
    if charged_party != "platform" and back.net and plan.payees[charged_party].lock is None:
        own = back.net + (back.vat if charged_party == seller else 0)
        assert {p.party_id: p.amount_minor for p in reversed_part.payables}[charged_party] == -own


@given(made=captures(), minor=st.integers(1, 500_000))
def test_the_parts_of_a_partial_refund_are_proportional_to_the_unit(
    made: tuple[CapturedSession, ClearingPlan], minor: int
) -> None:
    session, plan = made
    capture = stored(session, plan, posted(session, plan))
    reversed_part = amounts_at(capture, min(minor, session.captured_minor))
    assert reversed_part.net + reversed_part.vat == min(minor, session.captured_minor)
    assert sum(reversed_part.parts.values()) == reversed_part.net
    whole = amounts_at(capture, session.captured_minor)
    assert (whole.net, whole.vat, whole.parts) == (
        capture.amounts.net,
        capture.amounts.vat,
        capture.amounts.parts,
    )
    assert compose(plan, whole, source=capture.source).transfers[0].amount_minor == session.captured_minor


@given(made=captures(), minor=st.integers(1, 500_000), charged_to=BEARERS)
def test_a_dispute_that_is_won_leaves_no_trace_in_any_balance(
    made: tuple[CapturedSession, ClearingPlan], minor: int, charged_to: Role | None
) -> None:
    session, plan = made
    capture = stored(session, plan, posted(session, plan))
    request = replace(
        step(min(minor, session.captured_minor), 0, EntryKind.DISPUTE, charged_to), fee_minor=2000
    )
    lost = reverse(capture, request)
    won = reinstate(lost, kind=EntryKind.DISPUTE_WON, due=request.due)
    left = effect(lost, won)
    assert left == {(PSP_EXPENSE, session.currency): -2000, ("psp:stripe:receivable", session.currency): 2000}
