"""More worked examples of clearing, each with the whole journal that it must give.

What the table of `test_clearing_worked_examples.py` can't say in one line: business drivers, registrations,
corrections after a change of rates, currencies of three decimals, closing days.
"""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from clearing.calendar import Calendars, ClosingDays, due_date
from clearing.errors import UnclearableError
from clearing.fx import RateTable
from clearing.ledger.journal_entry import EntryKind, JournalEntry
from clearing.parties.agreement import LegalModel, Role, Share, UnregisteredSeller
from clearing.parties.party import Party, PartyKind
from clearing.reference_data import bundled_data
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.sessions.clearing_plan import ClearingPlan, plan_clearing, planned_leg
from clearing.sessions.identities import trader_on
from clearing.sessions.posting import Amounts, post_capture
from clearing.sessions.reversal import ClearedCapture, Reversal, reverse
from clearing.tax.vat import CustomerKind, SupplyLeg, decide
from tests.fakes import clearing_fixtures as world

RATES = bundled_data.vat_rates()
REFERENCES = RatesAndCalendars(
    vat=RATES, fx=RateTable(bundled_data.ecb_reference_rates()), calendars=bundled_data.calendars()
)
PLATFORM_ONLY = (Share(role=Role.PLATFORM, basis_points=1000),)


def planned(cpo: Party, *, terms: dict[str, Any] | None = None, **changes: Any) -> tuple[Any, ClearingPlan]:
    parties = {**world.PARTIES, cpo.id: cpo, **changes.pop("parties", {})}
    references = changes.pop("references", REFERENCES)
    session = world.session(1, cpo=cpo, psp_fee_minor=None, psp_fee_currency=None, **changes)
    agreed = world.agreement(cpo, **{"shares": PLATFORM_ONLY, **(terms or {})})
    agreed = replace(agreed, terms=replace(agreed.terms, currency=session.currency))
    return session, plan_clearing(session, agreement=agreed, parties=parties, references=references)


def journal(entry: JournalEntry) -> list[str]:
    return [f"{line[0]} -> {line[1]} {line[2]} {line[3]}" for line in entry.transfers]


def posted(session: Any, plan: ClearingPlan) -> list[str]:
    return journal(post_capture(session, world.repriced(session), plan))


def expect(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def cpo(country: str, currency: str = "EUR", **changes: Any) -> Party:
    return world.party(f"{country}-CPO", PartyKind.CPO, country, currency, **changes)


def sold_to(business: Party, session: Any, plan: ClearingPlan) -> ClearingPlan:
    """The plan with a business at the wheel: the driver's leg decided for it."""
    day = session.sale_at.date()
    decision = decide(
        SupplyLeg.TO_DRIVER,
        supplier=trader_on(world.PLATFORM, day, RATES),
        customer=trader_on(business, day, RATES),
        customer_kind=CustomerKind.BUSINESS,
        place=RATES.tax_jurisdiction(session.tax_jurisdiction),
        day=day,
        rates=RATES,
    )
    leg = planned_leg(Role.PLATFORM, SupplyLeg.TO_DRIVER, "platform", "driver", decision)
    return replace(plan, driver=leg, flags=decision.flags)


def test_a_german_business_at_a_swiss_charger_pays_no_swiss_vat() -> None:
    # MWSTG art. 7(2): supplied abroad; perhaps taxed nowhere, which is flagged.
    session, plan = planned(world.CH_CPO, captured_minor=1081)
    plan = sold_to(world.SUPERAPP, session, plan)
    assert plan.flags == ("possible_double_non_taxation",)
    assert posted(session, plan) == expect("""
        psp:stripe:receivable -> session:transit 1081 CHF
        session:transit -> platform:fee:revenue 108 CHF
        vat:CH:input -> session:transit 79 CHF
        session:transit -> cpo:CH-ALP:payable 1052 CHF
    """)


def test_a_swiss_business_at_a_german_charger_pays_german_vat() -> None:
    # Directive 2006/112/EC art. 39: taxed where it is used; perhaps taxed again at home, which is flagged.
    session, plan = planned(world.DE_CPO, captured_minor=1190)
    plan = sold_to(world.PARKING, session, plan)
    assert plan.flags == ("possible_double_taxation",)
    assert posted(session, plan) == expect("""
        psp:stripe:receivable -> session:transit 1190 EUR
        session:transit -> vat:DE:output 190 EUR
        session:transit -> platform:fee:revenue 100 EUR
        vat:CH:input -> vat:CH:acquisition 73 EUR
        session:transit -> cpo:DE-XYZ:payable 900 EUR
    """)


def unregistered(**terms: Any) -> tuple[Any, ClearingPlan]:
    platform = replace(world.PLATFORM, vat_registrations=())
    return planned(
        world.NL_CPO,
        captured_minor=1210,
        parties={"platform": platform},
        terms={"shares": PLATFORM_ONLY, **terms},
    )


def test_a_seller_not_registered_where_it_owes_the_vat_is_flagged_and_the_vat_set_aside() -> None:
    session, plan = unregistered()
    assert plan.flags == ("seller_not_registered",)
    assert "session:transit -> vat:NL:output 210 EUR" in posted(session, plan)


def test_a_seller_not_registered_is_waited_for_where_that_is_agreed() -> None:
    with pytest.raises(
        UnclearableError, match="'platform' has no VAT id of NL proven on 2026-10-13"
    ) as rejected:
        unregistered(unregistered_seller=UnregisteredSeller.EXCEPTION)
    assert rejected.value.reason == "seller_not_registered"
    # As disclosed agent the Dutch CPO sells, and is registered.
    _, plan = unregistered(
        unregistered_seller=UnregisteredSeller.EXCEPTION, legal_model=LegalModel.DISCLOSED_AGENT
    )
    assert plan.flags == ()


def test_a_cpo_registered_in_two_states_sells_in_both() -> None:
    # A Dutch CPO with charge points in Germany, selling as the platform's principal under its German id.
    both = world.registered(world.NL_CPO, "DE")
    agent = {"legal_model": LegalModel.DISCLOSED_AGENT}
    _, plan = planned(
        both, captured_minor=1190, tax_jurisdiction="DE", time_zone="Europe/Berlin", terms=agent
    )
    assert (plan.flags, plan.driver.decision.vat_of) == ((), "DE")
    alone = planned(
        world.NL_CPO, captured_minor=1190, tax_jurisdiction="DE", time_zone="Europe/Berlin", terms=agent
    )
    assert alone[1].flags == ("seller_not_registered",)


def test_the_dinar_has_three_decimals() -> None:
    # ISO 4217: KWD 3; 1.210 dinars at a Dutch charge point, all parties in dinars.
    dinars = replace(world.NL_CPO, settlement_currency="KWD")
    session, plan = planned(
        dinars,
        captured_minor=1210,
        currency="KWD",
        demand_partner_id="platform",
        tariff_json=world.tariff_json(dinars),
    )
    assert posted(session, plan) == expect("""
        psp:stripe:receivable -> session:transit 1210 KWD
        session:transit -> vat:NL:output 210 KWD
        session:transit -> platform:fee:revenue 100 KWD
        vat:CH:input -> vat:CH:acquisition 73 KWD
        session:transit -> cpo:NL-ABC:payable 900 KWD
    """)


def captured(
    session: Any, plan: ClearingPlan, *, net: int, vat: int, parts: dict[Role, int]
) -> ClearedCapture:
    entry = post_capture(session, world.repriced(session), plan)
    assert entry.links is not None
    return ClearedCapture(
        shard=session.shard,
        session_id=session.session_id,
        gross_minor=net + vat,
        amounts=Amounts(net=net, vat=vat, parts=parts),
        source=entry.transfers[0].debit_account,
        plan=plan,
        links=entry.links,
    )


def back(
    stored: ClearedCapture, minor: int, *, kind: EntryKind, due: date, fee_minor: int = 0
) -> JournalEntry:
    days = dict.fromkeys((*world.PARTIES, *stored.plan.payees), due)
    step = Reversal(
        kind=kind, reference="r", minor=minor, before_minor=0, charged_to=None, due=days, fee_minor=fee_minor
    )
    return reverse(stored, step)


def test_a_credit_note_after_a_rate_change_has_the_rate_of_the_sale() -> None:
    # Codul fiscal art. 291: sold at 19 % on 2025-07-31, given back in August, when 21 % applies.
    sold = datetime(2025, 7, 31, 12, 0, tzinfo=UTC)
    session, plan = planned(cpo("RO"), captured_minor=1190, sale_at=sold, time_zone="Europe/Bucharest")
    stored = captured(session, plan, net=1000, vat=190, parts={Role.CPO: 900, Role.PLATFORM: 100})
    entry = back(stored, 1190, kind=EntryKind.REFUND, due=date(2025, 8, 20))
    assert sorted(journal(entry)) == sorted(
        expect("""
        session:transit -> psp:stripe:receivable 1190 EUR
        vat:RO:output -> session:transit 190 EUR
        platform:fee:revenue -> session:transit 100 EUR
        vat:CH:acquisition -> vat:CH:input 73 EUR
        cpo:RO-CPO:payable -> session:transit 900 EUR
    """)
    )


def test_a_chargeback_after_disbursement_leaves_receivables_due_at_once() -> None:
    # The parts were paid out; they turn negative, netted against what comes. The driver's VAT stays due.
    session, plan = planned(world.NL_CPO, captured_minor=1210)
    stored = captured(session, plan, net=1000, vat=210, parts={Role.CPO: 900, Role.PLATFORM: 100})
    entry = back(stored, 1210, kind=EntryKind.DISPUTE, due=date(2026, 11, 20), fee_minor=2000)
    assert sorted(journal(entry)) == sorted(
        expect("""
        session:transit -> psp:stripe:receivable 1210 EUR
        platform:dispute:expense -> session:transit 210 EUR
        platform:fee:revenue -> session:transit 100 EUR
        vat:CH:acquisition -> vat:CH:input 73 EUR
        cpo:NL-ABC:payable -> session:transit 900 EUR
        platform:psp:expense -> psp:stripe:receivable 2000 EUR
    """)
    )
    assert [(owed.party_id, owed.amount_minor, owed.due_date) for owed in entry.payables] == [
        ("NL-ABC", -900, date(2026, 11, 20))
    ]


def test_on_ascension_day_target_is_open_and_switzerland_closed() -> None:
    # 2026-05-14: euros of a sale on Tuesday the 12th are due on Thursday; francs on Friday.
    sold = datetime(2026, 5, 12, 10, 0, tzinfo=UTC)
    assert due_date(sold, world.NL_CPO, bundled_data.calendars()) == date(2026, 5, 14)
    assert due_date(sold, world.CH_CPO, bundled_data.calendars()) == date(2026, 5, 15)


@pytest.mark.parametrize(
    ("minute", "gross", "vat"), [(59, 1160, 160), (60, 1190, 190)], ids=["16_percent", "19_percent"]
)
def test_the_german_window_of_16_percent_ends_at_local_midnight(minute: int, gross: int, vat: int) -> None:
    # UStG § 28(1): 16 % until 2020-12-31 24:00 in Berlin, which is 23:00 UTC. The closing days of
    # those years are not on file; none are assumed.
    at = datetime(2020, 12, 31, 22 + minute // 60, minute % 60, tzinfo=UTC)
    calendars = Calendars(
        [
            ClosingDays(name=name, days=frozenset(), first_year=2020, last_year=2022)
            for name in bundled_data.CALENDAR_NAMES
        ]
    )
    session, plan = planned(
        world.DE_CPO,
        captured_minor=gross,
        sale_at=at,
        time_zone="Europe/Berlin",
        references=replace(REFERENCES, calendars=calendars),
    )
    assert posted(session, plan) == expect(f"""
        psp:stripe:receivable -> session:transit {gross} EUR
        session:transit -> vat:DE:output {vat} EUR
        session:transit -> platform:fee:revenue 100 EUR
        vat:CH:input -> vat:CH:acquisition 69 EUR
        session:transit -> cpo:DE-XYZ:payable 900 EUR
    """)


@pytest.mark.parametrize(
    ("rates", "vat", "flags"),
    [
        (("21",), 210, ()),
        (("21", "9"), 210, ("tariff_component_vat_differs",)),  # two wrongs that make a right in sum
        (("19",), 193, ("tariff_component_vat_differs", "tariff_vat_differs")),
    ],
    ids=["agrees", "one_component", "the_sum"],
)
def test_a_component_taxed_at_another_rate_than_the_tax_jurisdictions_is_flagged(
    rates: tuple[str, ...], vat: int, flags: tuple[str, ...]
) -> None:
    # C-282/22: charging is one supply with one rate, whatever its components are called.
    session, plan = planned(world.NL_CPO, captured_minor=1210)
    price = world.repriced(
        session, tax_known=True, vat_minor=vat, tax_rates=tuple(Decimal(rate) for rate in rates)
    )
    entry = post_capture(session, price, plan)
    assert tuple(entry.flags) == flags
    assert "session:transit -> vat:NL:output 210 EUR" in journal(entry)  # the tax_jurisdiction's, by default


def test_vat_in_a_tariff_where_none_is_due_is_flagged_and_not_posted() -> None:
    session, plan = planned(
        cpo("IT", tax_jurisdiction="IT-LIVIGNO"), captured_minor=1220, tax_jurisdiction="IT-LIVIGNO"
    )
    price = world.repriced(session, tax_known=True, vat_minor=220)
    entry = post_capture(session, price, plan)
    assert tuple(entry.flags) == ("tariff_vat_differs",)
    assert not any("vat:IT" in line for line in journal(entry))
