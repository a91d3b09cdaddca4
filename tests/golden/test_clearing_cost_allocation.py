"""Who bears a refund or a dispute, each with the whole journal that it must give.

A capture of 12.10 at 21 %: net 10.00, VAT 2.10; the demand partner's 8 % and the platform's 12 % are shares
of the net. A refund of 6.05 reverses 5.00 net and 1.05 VAT. Source: the agreement's `refund_charged_to` and
`dispute_charged_to`; Directive 2006/112/EC art. 90 for the VAT of what is given back, art. 73 for
set-off, which is no consideration and bears none.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from clearing.fx import RateTable
from clearing.ledger.journal_entry import EntryKind, JournalEntry
from clearing.money import net_and_vat
from clearing.parties.agreement import LegalModel, Role
from clearing.reference_data import bundled_data
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.sessions.clearing_plan import plan_clearing
from clearing.sessions.posting import Amounts, post_capture
from clearing.sessions.reversal import ClearedCapture, Reversal, reverse
from clearing.sessions.split import split
from tests.fakes import clearing_fixtures as world

REFERENCES = RatesAndCalendars(
    vat=bundled_data.vat_rates(),
    fx=RateTable(bundled_data.ecb_reference_rates()),
    calendars=bundled_data.calendars(),
)


@dataclass(frozen=True, kw_only=True)
class Example:
    name: str
    charged_to: Role | None
    kind: EntryKind = EntryKind.REFUND
    minor: int = 605
    session: dict[str, Any] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)
    payables: dict[str, int]
    journal: str


AGENT = {"legal_model": LegalModel.DISCLOSED_AGENT}
EXAMPLES = [
    Example(
        name="each_its_own_part",
        charged_to=None,
        payables={"NL-ABC": -400, "superapp": -40},
        journal="""
            session:transit -> psp:stripe:receivable 605 EUR
            vat:NL:output -> session:transit 105 EUR
            platform:fee:revenue -> session:transit 60 EUR
            vat:CH:acquisition -> vat:CH:input 35 EUR
            cpo:NL-ABC:payable -> session:transit 400 EUR
            partner:superapp:payable -> session:transit 40 EUR
        """,
    ),
    Example(
        name="a_refund_borne_by_the_platform",
        charged_to=Role.PLATFORM,
        payables={},
        journal="""
            session:transit -> psp:stripe:receivable 605 EUR
            vat:NL:output -> session:transit 105 EUR
            platform:fee:revenue -> session:transit 500 EUR
        """,
    ),
    Example(
        name="a_refund_borne_by_the_cpo",
        charged_to=Role.CPO,
        payables={"NL-ABC": -500},
        journal="""
            session:transit -> psp:stripe:receivable 605 EUR
            vat:NL:output -> session:transit 105 EUR
            cpo:NL-ABC:payable -> session:transit 500 EUR
        """,
    ),
    Example(
        name="a_refund_borne_by_a_partner_in_its_own_currency_at_the_captures_lock",
        charged_to=Role.DEMAND_PARTNER,
        session={"demand_partner_id": "parking"},
        payables={"parking": -466},  # 5.00 EUR at the lock of the capture
        journal="""
            session:transit -> psp:stripe:receivable 605 EUR
            vat:NL:output -> session:transit 105 EUR
            fx:EUR-CHF:position -> session:transit 500 EUR
            partner:parking:payable -> fx:EUR-CHF:position 466 CHF
        """,
    ),
    Example(
        name="a_bearer_that_plays_no_role_is_the_platform",
        charged_to=Role.SITE_HOST,
        payables={},
        journal="""
            session:transit -> psp:stripe:receivable 605 EUR
            vat:NL:output -> session:transit 105 EUR
            platform:fee:revenue -> session:transit 500 EUR
        """,
    ),
    Example(
        name="as_agent_the_vat_comes_back_from_the_cpo_who_sold",
        charged_to=Role.PLATFORM,
        terms=AGENT,
        payables={"NL-ABC": -105},
        journal="""
            session:transit -> psp:stripe:receivable 605 EUR
            platform:fee:revenue -> session:transit 500 EUR
            cpo:NL-ABC:payable -> session:transit 105 EUR
        """,
    ),
    Example(
        name="as_agent_the_partner_bears_the_net",
        charged_to=Role.DEMAND_PARTNER,
        terms=AGENT,
        payables={"NL-ABC": -105, "superapp": -500},
        journal="""
            session:transit -> psp:stripe:receivable 605 EUR
            cpo:NL-ABC:payable -> session:transit 105 EUR
            partner:superapp:payable -> session:transit 500 EUR
        """,
    ),
    Example(
        name="a_dispute_borne_by_the_cpo_leaves_the_vat_due",
        charged_to=Role.CPO,
        kind=EntryKind.DISPUTE,
        minor=1210,
        payables={"NL-ABC": -1000},
        journal="""
            session:transit -> psp:stripe:receivable 1210 EUR
            platform:dispute:expense -> session:transit 210 EUR
            cpo:NL-ABC:payable -> session:transit 1000 EUR
        """,
    ),
    Example(
        name="a_dispute_borne_by_the_partner_who_brought_the_driver",
        charged_to=Role.DEMAND_PARTNER,
        kind=EntryKind.DISPUTE,
        minor=1210,
        payables={"superapp": -1000},
        journal="""
            session:transit -> psp:stripe:receivable 1210 EUR
            platform:dispute:expense -> session:transit 210 EUR
            partner:superapp:payable -> session:transit 1000 EUR
        """,
    ),
]


def entry_of(example: Example) -> JournalEntry:
    session = world.session(
        1, captured_minor=1210, psp_fee_minor=None, psp_fee_currency=None, **example.session
    )
    agreement = world.agreement(world.NL_CPO, **example.terms)
    plan = plan_clearing(session, agreement=agreement, parties=world.PARTIES, references=REFERENCES)
    entry = post_capture(session, world.repriced(session), plan)
    assert entry.links is not None
    net, vat = net_and_vat(1210, plan.driver.decision.rate)
    parts = split(
        net,
        energy_kwh=world.repriced(session).energy_kwh,
        terms=agreement.terms,
        currency="EUR",
        present=plan.party_of_role.keys(),
    )
    stored = ClearedCapture(
        shard=session.shard,
        session_id=session.session_id,
        gross_minor=1210,
        amounts=Amounts(net=net, vat=vat, parts=parts),
        source=entry.transfers[0].debit_account,
        plan=plan,
        links=entry.links,
    )
    due = dict.fromkeys(world.PARTIES, date(2026, 10, 20))
    step = Reversal(
        kind=example.kind,
        reference="r",
        minor=example.minor,
        before_minor=0,
        charged_to=example.charged_to,
        due=due,
    )
    return reverse(stored, step)


@pytest.mark.parametrize("terms", [{}, AGENT], ids=["reseller", "agent"])
def test_a_dispute_credits_the_driver_nothing_whoever_sold(terms: dict[str, Any]) -> None:
    # The supply stands: no credit note may say that its VAT is no longer due. A refund does credit it.
    given = {"name": "x", "charged_to": None, "terms": terms, "minor": 1210, "payables": {}, "journal": ""}
    disputed = entry_of(Example(**given, kind=EntryKind.DISPUTE))
    assert "to_driver" not in disputed.legs
    assert "to_driver" in entry_of(Example(**given)).legs


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_to_whom_a_reversal_is_charged(example: Example) -> None:
    entry = entry_of(example)
    expected = sorted(line.strip() for line in example.journal.strip().splitlines())
    assert sorted(f"{line[0]} -> {line[1]} {line[2]} {line[3]}" for line in entry.transfers) == expected
    assert {payable.party_id: payable.amount_minor for payable in entry.payables} == example.payables
