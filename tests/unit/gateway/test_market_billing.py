"""The operator's bill beside the tariff's price: agreed, or flagged."""

from clearing.pricing.cdr import parse_cdr
from clearing.pricing.engine import compile_tariff, price
from clearing.pricing.tariff import OcpiVersion, parse_tariff
from gateway.payments.complete import CPO_TOTAL_DIFFERS, flags_of
from sandbox.market.billing import OVERBILLED_BY, bill
from sandbox.market.charging import charge_detail_record
from sandbox.market.client import encode_json
from sandbox.market.participants import CPO_BY_ID
from sandbox.market.plan import COMPLETING, PlannedSession, SessionScenario, plan_day
from sandbox.market.tariffs import tariff

VERSION = OcpiVersion("2.2.1")
SESSIONS = [session for seed in range(4) for session in plan_day(sessions=60, seed=seed).sessions]


def flags(session: PlannedSession) -> list[str]:
    record = charge_detail_record(session, authorization_reference="auth_1", token_uid="T", contract_id="C")
    record, _ = bill(session, record)
    public = encode_json(tariff(cpo_id=session.site.cpo_id, tariff_id=session.site.tariff_id))
    cdr = parse_cdr(encode_json(record), version=VERSION)
    program = compile_tariff(parse_tariff(public, version=VERSION))
    return flags_of(price(program, cdr, time_zone=CPO_BY_ID[session.site.cpo_id].time_zone), cdr)


def test_a_total_above_the_tariff_is_flagged_and_an_honest_one_is_not() -> None:
    for session in SESSIONS:
        if session.scenario in COMPLETING:
            overbilled = session.scenario is SessionScenario.OVERBILLED
            assert (CPO_TOTAL_DIFFERS in flags(session)) is overbilled, session.site.tariff_id


def test_the_market_s_records_are_priced_without_a_note() -> None:
    for session in SESSIONS:
        if session.scenario is SessionScenario.CHARGES and session.site.tariff_id != "free":
            assert flags(session) == [], session.site.tariff_id


def test_the_overbilled_total_is_above_the_public_price_by_the_same_amount() -> None:
    session = next(session for session in SESSIONS if session.scenario is SessionScenario.OVERBILLED)
    record = charge_detail_record(session, authorization_reference="auth_1", token_uid="T", contract_id="C")
    record, billed = bill(session, record)
    asked = record["total_cost"]["incl_vat"] * 100
    assert asked == billed["incl_vat"] + OVERBILLED_BY * 100
