"""Worked examples of clearing, each with the whole journal that it must give.

Each line of a journal is `debit -> credit amount currency`. Amounts follow from the source named.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from clearing.errors import InvalidSessionError, RateUnavailableError, UnclearableError
from clearing.fx import RateTable
from clearing.ledger.journal_entry import JournalEntry
from clearing.parties.agreement import Deficit, LegalModel, Role, Share, VatSource
from clearing.parties.party import Party, PartyKind
from clearing.reference_data import bundled_data
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.sessions.clearing_plan import plan_clearing
from clearing.sessions.posting import post_capture
from tests.fakes import clearing_fixtures as world

REFERENCES = RatesAndCalendars(
    vat=bundled_data.vat_rates(),
    fx=RateTable(bundled_data.ecb_reference_rates()),
    calendars=bundled_data.calendars(),
)
NO_FEE: dict[str, Any] = {"psp_fee_minor": None, "psp_fee_currency": None}
PLATFORM_ONLY = (Share(role=Role.PLATFORM, basis_points=1000),)


@dataclass(frozen=True, kw_only=True)
class Example:
    name: str
    source: str
    cpo: Party = world.NL_CPO
    session: dict[str, Any] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=lambda: {"shares": PLATFORM_ONLY})
    parties: dict[str, Party] = field(default_factory=dict)
    price: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    journal: str


def post(example: Example) -> JournalEntry:
    session = world.session(1, cpo=example.cpo, **{**NO_FEE, **example.session})
    parties = {**world.PARTIES, example.cpo.id: example.cpo, **example.parties}
    agreement = world.agreement(example.cpo, **example.terms)
    agreement = replace(agreement, terms=replace(agreement.terms, currency=session.currency))
    plan = plan_clearing(session, agreement=agreement, parties=parties, references=REFERENCES)
    return post_capture(session, world.repriced(session, **example.price), plan)


def lines(entry: JournalEntry) -> str:
    return "\n".join(f"{line[0]} -> {line[1]} {line[2]} {line[3]}" for line in entry.transfers)


def cpo(country: str, currency: str = "EUR", **changes: Any) -> Party:
    return world.party(f"{country}-CPO", PartyKind.CPO, country, currency, **changes)


def at(*instant: int) -> dict[str, Any]:
    return {"sale_at": datetime(*instant, tzinfo=UTC)}  # type: ignore[arg-type,misc]


EXAMPLES = [
    Example(
        name="vat_change_at_local_midnight_inside_a_session",
        source="Directive 2006/112/EC art. 63: the end of the supply; RO 21 % from 2025-08-01",
        cpo=cpo("RO"),
        session={"captured_minor": 1210, "time_zone": "Europe/Bucharest", **at(2025, 7, 31, 21, 30)},
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:RO:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:RO-CPO:payable 900 EUR
        """,
    ),
    Example(
        name="romania_2025_07_31_local_evening",
        source="Codul fiscal art. 291: 19 % until 2025-07-31 in Bucharest",
        cpo=cpo("RO"),
        session={"captured_minor": 1190, "time_zone": "Europe/Bucharest", **at(2025, 7, 31, 20, 59)},
        journal="""
            psp:stripe:receivable -> session:transit 1190 EUR
            session:transit -> vat:RO:output 190 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:RO-CPO:payable 900 EUR
        """,
    ),
    Example(
        name="germany_to_the_swiss_dealer",
        source="UStG § 12(1): 19 %",
        cpo=cpo("DE"),
        session={"captured_minor": 1190},
        journal="""
            psp:stripe:receivable -> session:transit 1190 EUR
            session:transit -> vat:DE:output 190 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:DE-CPO:payable 900 EUR
        """,
    ),
    Example(
        name="ireland_electricity_9_percent",
        source="VAT Consolidation Act 2010 s. 46",
        cpo=cpo("IE"),
        session={"captured_minor": 1090},
        journal="""
            psp:stripe:receivable -> session:transit 1090 EUR
            session:transit -> vat:IE:output 90 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:IE-CPO:payable 900 EUR
        """,
    ),
    Example(
        name="northern_ireland_like_great_britain_at_the_driver",
        source="VATA 1994 s. 2: 20 % in both; the CPO's leg differs only for Union dealers",
        cpo=cpo("GB", "GBP", tax_jurisdiction="XI"),
        session={"captured_minor": 1200, "tax_jurisdiction": "XI"},
        parties={"platform": replace(world.PLATFORM, settlement_currency="GBP")},
        journal="""
            psp:stripe:receivable -> session:transit 1200 GBP
            session:transit -> vat:XI:output 200 GBP
            session:transit -> platform:fee:revenue 100 GBP
            vat:CH:input -> vat:CH:acquisition 73 GBP
            session:transit -> cpo:GB-CPO:payable 900 GBP
        """,
    ),
    Example(
        name="great_britain",
        source="VATA 1994 s. 2: 20 %",
        cpo=world.GB_CPO,
        session={"captured_minor": 1200},
        journal="""
            psp:stripe:receivable -> session:transit 1200 GBP
            session:transit -> vat:GB:output 200 GBP
            session:transit -> platform:fee:revenue 100 GBP
            vat:CH:input -> vat:CH:acquisition 73 GBP
            session:transit -> cpo:GB-VLT:payable 900 GBP
        """,
    ),
    Example(
        name="busingen_is_swiss",
        source="MWSTG art. 3(a): 8.1 %, also between the CPO there and the Swiss platform",
        cpo=cpo("DE", tax_jurisdiction="DE-BUSINGEN"),
        session={"captured_minor": 1081, "tax_jurisdiction": "DE-BUSINGEN"},
        journal="""
            psp:stripe:receivable -> session:transit 1081 EUR
            session:transit -> vat:CH:output 81 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> session:transit 73 EUR
            session:transit -> cpo:DE-CPO:payable 973 EUR
        """,
    ),
    Example(
        name="livigno_knows_no_vat",
        source="Directive 2006/112/EC art. 6(2)(f)",
        cpo=cpo("IT", tax_jurisdiction="IT-LIVIGNO"),
        session={"captured_minor": 1000, "tax_jurisdiction": "IT-LIVIGNO"},
        journal="""
            psp:stripe:receivable -> session:transit 1000 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:IT-CPO:payable 900 EUR
        """,
    ),
    Example(
        name="liechtenstein",
        source="Liechtenstein MWSTG art. 25: 8.1 %, its own tax office",
        cpo=cpo("LI", "CHF"),
        session={"captured_minor": 1081},
        journal="""
            psp:stripe:receivable -> session:transit 1081 CHF
            session:transit -> vat:LI:output 81 CHF
            session:transit -> platform:fee:revenue 100 CHF
            vat:LI:input -> session:transit 73 CHF
            session:transit -> cpo:LI-CPO:payable 973 CHF
        """,
    ),
    Example(
        name="svalbard",
        source="Merverdiavgiftsloven § 1-2(2)",
        cpo=cpo("NO", "NOK", tax_jurisdiction="SJ"),
        session={"captured_minor": 10000, "tax_jurisdiction": "SJ"},
        journal="""
            psp:stripe:receivable -> session:transit 10000 NOK
            session:transit -> platform:fee:revenue 1000 NOK
            vat:CH:input -> vat:CH:acquisition 729 NOK
            session:transit -> cpo:NO-CPO:payable 9000 NOK
        """,
    ),
    Example(
        name="greece",
        source="AADE E.2060/2023: charging is electricity, 6 %; the VAT id begins with EL",
        cpo=cpo("GR", vat_id="EL094259216"),
        session={"captured_minor": 1060},
        journal="""
            psp:stripe:receivable -> session:transit 1060 EUR
            session:transit -> vat:GR:output 60 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:GR-CPO:payable 900 EUR
        """,
    ),
    Example(
        name="dealer_and_cpo_in_one_state",
        source="MWSTG art. 25: a Swiss CPO charges the Swiss platform 8.1 %, which is reclaimed",
        cpo=world.CH_CPO,
        session={"captured_minor": 1081},
        journal="""
            psp:stripe:receivable -> session:transit 1081 CHF
            session:transit -> vat:CH:output 81 CHF
            session:transit -> platform:fee:revenue 100 CHF
            vat:CH:input -> session:transit 73 CHF
            session:transit -> cpo:CH-ALP:payable 973 CHF
        """,
    ),
    Example(
        name="foreign_cpo_to_the_swiss_dealer",
        source="Directive art. 38: outside; MWSTG art. 45(1)(d): acquisition tax, deducted at once",
        session={"captured_minor": 1210},
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:NL-ABC:payable 900 EUR
        """,
    ),
    Example(
        name="small_business_site_host",
        source="Directive art. 284: no VAT on the site's share",
        session={"captured_minor": 1210, "site_host_id": "hotel"},
        parties={"hotel": replace(world.SITE, small_business=True)},
        terms={"shares": (*PLATFORM_ONLY, Share(role=Role.SITE_HOST, basis_points=500))},
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 69 EUR
            session:transit -> cpo:NL-ABC:payable 850 EUR
            session:transit -> site:hotel:payable 50 EUR
        """,
    ),
    Example(
        name="site_host_with_vat",
        source="Directive art. 47: 21 % where the ground lies, reclaimed",
        session={"captured_minor": 1210, "site_host_id": "hotel"},
        terms={"shares": (*PLATFORM_ONLY, Share(role=Role.SITE_HOST, basis_points=500))},
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:NL:input -> session:transit 11 EUR
            vat:CH:input -> vat:CH:acquisition 69 EUR
            session:transit -> cpo:NL-ABC:payable 850 EUR
            session:transit -> site:hotel:payable 61 EUR
        """,
    ),
    Example(
        name="vat_is_not_shown_by_one_who_may_not",
        source="Directive art. 203: a Swiss CPO without a proven VAT id",
        cpo=world.without_vat_id(world.CH_CPO),
        session={"captured_minor": 1081},
        flags=("supplier_without_vat_id",),
        journal="""
            psp:stripe:receivable -> session:transit 1081 CHF
            session:transit -> vat:CH:output 81 CHF
            session:transit -> platform:fee:revenue 100 CHF
            session:transit -> cpo:CH-ALP:payable 900 CHF
        """,
    ),
    Example(
        name="vat_id_invalidated_in_the_middle_of_the_month",
        source="MWSTG art. 10: valid until 2026-10-12, the sale is of the 13th",
        cpo=replace(
            world.CH_CPO,
            vat_evidence=(
                world.evidence(world.VAT_IDS["CH"]),
                world.evidence(world.VAT_IDS["CH"], since=date(2026, 10, 13), valid=False),
            ),
        ),
        session={"captured_minor": 1081},
        flags=("supplier_without_vat_id",),
        journal="""
            psp:stripe:receivable -> session:transit 1081 CHF
            session:transit -> vat:CH:output 81 CHF
            session:transit -> platform:fee:revenue 100 CHF
            session:transit -> cpo:CH-ALP:payable 900 CHF
        """,
    ),
    Example(
        name="gross_that_its_net_does_not_reproduce",
        source="Directive art. 78: 0.03 at 21 %: net 0.02, which at 21 % gives no 0.01; VAT is the rest",
        session={"captured_minor": 3},
        terms={"shares": ()},
        journal="""
            psp:stripe:receivable -> session:transit 3 EUR
            session:transit -> vat:NL:output 1 EUR
            session:transit -> cpo:NL-ABC:payable 2 EUR
        """,
    ),
    Example(
        name="one_cent_with_four_parties",
        source="Largest remainder: the cent goes to the CPO, whose share is largest",
        session={"captured_minor": 1, "site_host_id": "hotel"},
        terms={
            "shares": (
                Share(role=Role.DEMAND_PARTNER, basis_points=800),
                Share(role=Role.PLATFORM, basis_points=1200),
                Share(role=Role.SITE_HOST, basis_points=1000),
            )
        },
        journal="""
            psp:stripe:receivable -> session:transit 1 EUR
            session:transit -> cpo:NL-ABC:payable 1 EUR
        """,
    ),
    Example(
        name="tied_remainders",
        source="Ties to the earlier part: 0.01 of net at 50/50",
        session={"captured_minor": 1},
        terms={"shares": (Share(role=Role.PLATFORM, basis_points=5000),)},
        journal="""
            psp:stripe:receivable -> session:transit 1 EUR
            session:transit -> cpo:NL-ABC:payable 1 EUR
        """,
    ),
    Example(
        name="fees_above_revenue_are_capped",
        source="Agreement: deficit cap; 0.50 fixed of a net of 0.40",
        session={"captured_minor": 48},
        terms={"shares": (Share(role=Role.PLATFORM, fixed_minor=50),)},
        journal="""
            psp:stripe:receivable -> session:transit 48 EUR
            session:transit -> vat:NL:output 8 EUR
            session:transit -> platform:fee:revenue 40 EUR
        """,
    ),
    Example(
        name="fees_above_revenue_are_carried",
        source="Agreement: deficit carry; the CPO owes the difference",
        session={"captured_minor": 48},
        terms={"shares": (Share(role=Role.PLATFORM, fixed_minor=50),), "deficit": Deficit.CARRY},
        journal="""
            psp:stripe:receivable -> session:transit 48 EUR
            session:transit -> vat:NL:output 8 EUR
            session:transit -> platform:fee:revenue 50 EUR
            vat:CH:acquisition -> vat:CH:input 1 EUR
            cpo:NL-ABC:payable -> session:transit 10 EUR
        """,
    ),
    Example(
        name="fx_on_a_weekend",
        source="ECB 2026-10-09 for a capture on Sunday 2026-10-11",
        session={"captured_minor": 1210, "demand_partner_id": "parking", **at(2026, 10, 11, 12)},
        terms={"shares": (Share(role=Role.DEMAND_PARTNER, basis_points=1000),)},
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            vat:CH:input -> session:transit 8 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:NL-ABC:payable 900 EUR
            session:transit -> fx:EUR-CHF:position 108 EUR
            fx:EUR-CHF:position -> partner:parking:payable 101 CHF
        """,
    ),
    Example(
        name="pounds_to_a_swiss_and_a_german_partner",
        source="Cross through the euro at the ECB rates of 2026-10-12",
        cpo=world.GB_CPO,
        session={"captured_minor": 1200, "emsp_id": "NL-EMP", "demand_partner_id": "parking"},
        terms={
            "shares": (
                Share(role=Role.DEMAND_PARTNER, basis_points=1000),
                Share(role=Role.EMSP, basis_points=500),
            )
        },
        journal="""
            psp:stripe:receivable -> session:transit 1200 GBP
            session:transit -> vat:GB:output 200 GBP
            vat:CH:input -> session:transit 8 GBP
            vat:CH:input -> vat:CH:acquisition 73 GBP
            session:transit -> cpo:GB-VLT:payable 850 GBP
            session:transit -> fx:GBP-CHF:position 108 GBP
            fx:GBP-CHF:position -> partner:parking:payable 119 CHF
            session:transit -> fx:GBP-EUR:position 50 GBP
            fx:GBP-EUR:position -> emsp:NL-EMP:payable 59 EUR
        """,
    ),
    Example(
        name="yen_have_no_minor_unit",
        source="ISO 4217: JPY 0 decimals; 1210 yen at a Dutch charge point, to a party in euros",
        cpo=replace(world.NL_CPO, settlement_currency="JPY"),
        session={"captured_minor": 1210, "currency": "JPY"},
        terms={"shares": (Share(role=Role.DEMAND_PARTNER, basis_points=1000),)},
        journal="""
            psp:stripe:receivable -> session:transit 1210 JPY
            session:transit -> vat:NL:output 210 JPY
            vat:CH:input -> vat:CH:acquisition 81 JPY
            session:transit -> cpo:NL-ABC:payable 900 JPY
            session:transit -> fx:JPY-EUR:position 100 JPY
            fx:JPY-EUR:position -> partner:superapp:payable 56 EUR
        """,
    ),
    Example(
        name="stacked_channels",
        source="An app on top of an eMSP, each with its part and its VAT treatment",
        session={"captured_minor": 1210, "emsp_id": "NL-EMP"},
        terms={
            "shares": (
                Share(role=Role.DEMAND_PARTNER, basis_points=500),
                Share(role=Role.EMSP, basis_points=300, fixed_minor=5),
                *PLATFORM_ONLY,
            )
        },
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:NL-ABC:payable 815 EUR
            session:transit -> partner:superapp:payable 50 EUR
            session:transit -> emsp:NL-EMP:payable 35 EUR
        """,
    ),
    Example(
        name="disclosed_agent_abroad",
        source="Directive art. 28: the CPO sells and owes the Dutch VAT; the fee: art. 44",
        session={"captured_minor": 1210},
        terms={"shares": PLATFORM_ONLY, "legal_model": LegalModel.DISCLOSED_AGENT},
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            session:transit -> cpo:NL-ABC:payable 1110 EUR
        """,
    ),
    Example(
        name="disclosed_agent_domestic",
        source="MWSTG art. 20: fee of 1.00 with 8.1 %, withheld from the CPO",
        cpo=world.CH_CPO,
        session={"captured_minor": 1081, "demand_partner_id": "parking"},
        terms={
            "shares": (Share(role=Role.DEMAND_PARTNER, basis_points=500), *PLATFORM_ONLY),
            "legal_model": LegalModel.DISCLOSED_AGENT,
        },
        journal="""
            psp:stripe:receivable -> session:transit 1081 CHF
            session:transit -> platform:fee:revenue 100 CHF
            session:transit -> vat:CH:output 8 CHF
            session:transit -> cpo:CH-ALP:payable 919 CHF
            session:transit -> partner:parking:payable 54 CHF
        """,
    ),
    Example(
        name="disclosed_agent_that_brings_the_driver_itself",
        source="MWSTG art. 20: all that the agent keeps, 1.50, is its fee and bears 8.1 %",
        cpo=world.CH_CPO,
        session={"captured_minor": 1081, "demand_partner_id": "platform"},
        terms={
            "shares": (Share(role=Role.DEMAND_PARTNER, basis_points=500), *PLATFORM_ONLY),
            "legal_model": LegalModel.DISCLOSED_AGENT,
        },
        journal="""
            psp:stripe:receivable -> session:transit 1081 CHF
            session:transit -> platform:fee:revenue 50 CHF
            session:transit -> platform:fee:revenue 100 CHF
            session:transit -> vat:CH:output 12 CHF
            session:transit -> cpo:CH-ALP:payable 919 CHF
        """,
    ),
    Example(
        name="the_cpo_bears_the_psp_cost",
        source="Agreement: PSP cost of 0.43 lessens the CPO's part",
        session={"captured_minor": 1210, "psp_fee_minor": 43, "psp_fee_currency": "EUR"},
        terms={"shares": PLATFORM_ONLY, "psp_cost_charged_to": Role.CPO},
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            platform:psp:expense -> psp:stripe:receivable 43 EUR
            session:transit -> platform:psp:expense 43 EUR
            session:transit -> cpo:NL-ABC:payable 857 EUR
        """,
    ),
    Example(
        name="funds_of_a_partner",
        source="The demand partner's prefunded account pays",
        session={
            "captured_minor": 1210,
            "funding": world.FundingSource.PARTNER_ACCOUNT,
            "authorization_method": world.AuthorizationMethod.APP,
        },
        journal="""
            partner:superapp:funds -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:NL-ABC:payable 900 EUR
        """,
    ),
    Example(
        name="funds_of_the_emsp_under_the_app",
        source="The account that was held pays, whoever brought the driver; both have their part",
        session={
            "captured_minor": 1210,
            "funding": world.FundingSource.PARTNER_ACCOUNT,
            "authorization_method": world.AuthorizationMethod.PLUG_AND_CHARGE,
            "emsp_id": "NL-EMP",
            "account_party_id": "NL-EMP",
        },
        terms={
            "shares": (
                Share(role=Role.DEMAND_PARTNER, basis_points=500),
                Share(role=Role.EMSP, basis_points=300),
                *PLATFORM_ONLY,
            )
        },
        journal="""
            partner:NL-EMP:funds -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 72 EUR
            session:transit -> cpo:NL-ABC:payable 820 EUR
            session:transit -> partner:superapp:payable 50 EUR
            session:transit -> emsp:NL-EMP:payable 30 EUR
        """,
    ),
    Example(
        name="tariff_rate_differs_from_the_tax_jurisdiction",
        source="The tax_jurisdiction's 21 % splits the gross; the tariff said 19 %",
        session={"captured_minor": 1210},
        price={"tax_known": True, "vat_minor": 193},
        flags=("tariff_vat_differs",),
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:NL:output 210 EUR
            session:transit -> platform:fee:revenue 100 EUR
            vat:CH:input -> vat:CH:acquisition 73 EUR
            session:transit -> cpo:NL-ABC:payable 900 EUR
        """,
    ),
    Example(
        name="tariff_rate_wins_where_agreed",
        source="Agreement: vat_source tariff",
        session={"captured_minor": 1210},
        price={"tax_known": True, "vat_minor": 193},
        terms={"shares": PLATFORM_ONLY, "vat_source": VatSource.TARIFF},
        flags=("tariff_vat_differs",),
        journal="""
            psp:stripe:receivable -> session:transit 1210 EUR
            session:transit -> vat:NL:output 193 EUR
            session:transit -> platform:fee:revenue 102 EUR
            vat:CH:input -> vat:CH:acquisition 74 EUR
            session:transit -> cpo:NL-ABC:payable 915 EUR
        """,
    ),
    Example(
        name="capture_below_the_price",
        source="The hold was less than the price: what was captured is split",
        session={"captured_minor": 605, "shortfall": "hold_exhausted"},
        price={"incl_vat_minor": 1210},
        flags=("captured_below_price",),
        journal="""
            psp:stripe:receivable -> session:transit 605 EUR
            session:transit -> vat:NL:output 105 EUR
            session:transit -> platform:fee:revenue 50 EUR
            vat:CH:input -> vat:CH:acquisition 36 EUR
            session:transit -> cpo:NL-ABC:payable 450 EUR
        """,
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_journal(example: Example) -> None:
    entry = post(example)
    expected = "\n".join(line.strip() for line in example.journal.strip().splitlines())
    assert lines(entry) == expected
    assert tuple(entry.flags) == example.flags


def test_zero_energy_is_nothing_to_clear() -> None:
    with pytest.raises(InvalidSessionError, match="expected more than 0"):
        world.session(1, captured_minor=0)


def test_the_canaries_are_rejected_until_their_tax_is_entered() -> None:
    example = replace(
        EXAMPLES[0], cpo=cpo("ES", tax_jurisdiction="ES-CN"), session={"tax_jurisdiction": "ES-CN"}
    )
    with pytest.raises(RateUnavailableError, match="no electricity VAT rate of ES-CN"):
        post(example)


def test_the_lev_can_not_be_settled_after_2025() -> None:
    lev = replace(world.NL_CPO, settlement_currency="BGN")
    with pytest.raises(RateUnavailableError, match="last day was 2025-12-31"):
        post(replace(EXAMPLES[0], cpo=lev, session={"currency": "BGN"}))


def test_a_negative_journal_mirrors_the_positive_one() -> None:
    for example in EXAMPLES:
        entry = post(example)
        mirrored = [line.reversed() for line in entry.transfers]
        assert [(line[1], line[0], line[2], line[3]) for line in mirrored] == [
            tuple(line) for line in entry.transfers
        ]


def test_more_than_the_tariff_is_never_cleared() -> None:
    with pytest.raises(UnclearableError, match="refund the difference"):
        post(replace(EXAMPLES[0], session={"captured_minor": 1211}, price={"incl_vat_minor": 1210}))


def test_the_expected_vat_is_that_of_the_cited_rate() -> None:
    # Worked apart from the code: gross / (1 + rate) to the cent, VAT the rest.
    for gross, rate, vat in (
        (1210, "21", 210),
        (1090, "9", 90),
        (1081, "8.1", 81),
        (1240, "24", 240),
        (3, "21", 1),
    ):
        net = (Decimal(gross) / (1 + Decimal(rate) / 100)).quantize(Decimal(1))
        assert gross - net == vat
