"""What the PSP can charge of a currency: steps, least charges, and what a price comes to within them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.money import exponent
from gateway.ids import new_id
from gateway.payments.capture_steps import (
    CaptureStep,
    IncrementStep,
    ReleaseStep,
    may_charge_residual,
    next_step,
)
from gateway.payments.psp.stripe.amount_rules import STRIPE_AMOUNTS
from gateway.payments.psp.stripe.objects import fee_minor, from_stripe_amount, to_stripe_amount
from gateway.payments.records import AuthorizationRecord, CaptureRecord
from gateway.payments.state_machine import PaymentState
from sandbox.stripe.currencies import MINIMUM_CHARGE

NOW = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)
CURRENCIES = [
    "EUR",
    "CHF",
    "JPY",
    "KRW",
    "KWD",
    "BHD",
    "JOD",
    "OMR",
    "TND",
    "ISK",
    "UGX",
    "MGA",
    "HUF",
    "TWD",
]
money = st.integers(min_value=0, max_value=9_999_999)


def held(currency: str, hold_minor: int, **changes: object) -> AuthorizationRecord:
    identifier = new_id()
    record = AuthorizationRecord(
        shard=identifier.int & 63,
        id=identifier,
        session_id=identifier,
        party_id="parking",
        authorization_method="card",
        funding="psp",
        account_party_id=None,
        state=PaymentState.AUTHORIZED,
        version=1,
        hold_minor=hold_minor,
        currency=currency,
        payment_method="pm",
        customer=None,
        off_session=False,
        psp_payment="pi_1",
        capture_before=None,
        incrementable=False,
        max_capture_minor=None,
        next_action=None,
        decline_code=None,
        metadata={},
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def capture_of(currency: str, receivable_minor: int) -> CaptureRecord:
    identifier = new_id()
    return CaptureRecord(
        shard=identifier.int & 63,
        session_id=identifier,
        id=identifier,
        authorization_id=identifier,
        state="succeeded",
        amount_minor=1000,
        receivable_minor=receivable_minor,
        currency=currency,
        psp_charge="ch_1",
        fee_minor=None,
        fee_currency=None,
        residual_charge_minor=0,
        refunded_minor=0,
        disputed_minor=0,
        captured_at=NOW,
        created_at=NOW,
    )


# docs.stripe.com/currencies: 5.124 KWD is charged as 5.120 or 5.130, MGA without decimals, ISK, UGX with two.
@pytest.mark.parametrize(
    ("price", "currency", "hold", "capture", "at_stripe"),
    [
        (5124, "KWD", 5130, 5120, 5120),
        (5120, "BHD", 5120, 5120, 5120),
        (1_234_567, "MGA", 1_234_600, 1_234_500, 12_345),
        (1234, "ISK", 1234, 1234, 123_400),
        (1234, "UGX", 1234, 1234, 123_400),
        (1234, "JPY", 1234, 1234, 1234),
        (20_050, "HUF", 20_050, 20_050, 20_050),
        (20_050, "TWD", 20_050, 20_050, 20_050),
    ],
)
def test_a_hold_is_rounded_up_and_a_capture_down_to_the_currencys_step(
    price: int, currency: str, hold: int, capture: int, at_stripe: int
) -> None:
    assert STRIPE_AMOUNTS.hold(price, currency) == hold
    step = next_step(
        price_minor=price, authorization=held(currency, hold), rejected=set(), amounts=STRIPE_AMOUNTS
    )
    assert step == CaptureStep(amount_minor=capture, receivable_minor=price - capture)
    assert to_stripe_amount(capture, currency) == at_stripe


@given(price=money, currency=st.sampled_from(CURRENCIES))
def test_what_is_captured_never_exceeds_the_price_and_lacks_less_than_a_step(
    price: int, currency: str
) -> None:
    hold = STRIPE_AMOUNTS.hold(price, currency)
    assert from_stripe_amount(to_stripe_amount(hold, currency), currency) == hold >= price
    step = next_step(
        price_minor=price, authorization=held(currency, hold), rejected=set(), amounts=STRIPE_AMOUNTS
    )
    if isinstance(step, ReleaseStep):
        assert price < STRIPE_AMOUNTS.step(currency)
        return
    assert isinstance(step, CaptureStep)
    assert from_stripe_amount(to_stripe_amount(step.amount_minor, currency), currency) == step.amount_minor
    assert step.amount_minor + step.receivable_minor == price
    assert 0 <= step.receivable_minor < STRIPE_AMOUNTS.step(currency)
    # What the step leaves over is never sent for, whatever the mandate.
    mandate = held(currency, hold, customer="cus_1")
    assert not may_charge_residual(
        mandate, capture_of(currency, step.receivable_minor), amounts=STRIPE_AMOUNTS
    )


@given(price=money, hold=money, most=money, currency=st.sampled_from(CURRENCIES), within=st.booleans())
def test_above_the_hold_no_more_is_captured_than_the_psp_allows(
    price: int, hold: int, most: int, currency: str, *, within: bool
) -> None:
    current = held(currency, STRIPE_AMOUNTS.up(hold, currency), max_capture_minor=most)
    step = next_step(
        price_minor=price, authorization=current, rejected=set(), amounts=STRIPE_AMOUNTS, within_hold=within
    )
    if isinstance(step, CaptureStep):
        bound = current.hold_minor if within else max(current.hold_minor, most)
        assert step.amount_minor <= min(price, bound)
        assert step.amount_minor + step.receivable_minor == price


def test_an_increment_asks_for_what_the_psp_can_hold() -> None:
    current = held("KWD", 5000, incrementable=True)
    step = next_step(price_minor=5124, authorization=current, rejected=set(), amounts=STRIPE_AMOUNTS)
    assert step == IncrementStep(amount_minor=5120)


def test_a_price_no_cdr_confirms_takes_no_more_than_is_held() -> None:
    current = held("EUR", 1000, incrementable=True, max_capture_minor=1150)
    step = next_step(
        price_minor=1100, authorization=current, rejected=set(), amounts=STRIPE_AMOUNTS, within_hold=True
    )
    assert step == CaptureStep(amount_minor=1000, receivable_minor=100)


@pytest.mark.parametrize(
    ("currency", "least"),
    [("EUR", 50), ("GBP", 30), ("HUF", 17_500), ("CZK", 1500), ("JPY", 50), ("MXN", 1000), ("KWD", 1000)],
)
def test_the_least_hold_is_the_currencys_own(currency: str, least: int) -> None:
    assert STRIPE_AMOUNTS.hold(0, currency) == least


def test_no_least_charge_is_below_the_sandboxs() -> None:
    below = {
        code: (STRIPE_AMOUNTS.least(code.upper()), least)
        for code, least in MINIMUM_CHARGE.items()
        if STRIPE_AMOUNTS.least(code.upper()) < least
    }
    assert not below


@pytest.mark.parametrize("rule", STRIPE_AMOUNTS.rules.values(), ids=lambda rule: rule.currency)
def test_every_rule_has_its_source_and_a_least_charge_of_whole_steps(rule: object) -> None:
    assert rule.source  # type: ignore[attr-defined]
    assert STRIPE_AMOUNTS.least(rule.currency) % rule.step_minor == 0  # type: ignore[attr-defined]
    assert exponent(rule.currency) >= 0  # type: ignore[attr-defined]


def test_a_contracts_limit_is_not_exceeded_by_rounding() -> None:
    assert STRIPE_AMOUNTS.hold(9996, "KWD", most_minor=9999) == 9990


def test_a_rest_below_the_least_charge_is_not_charged_off_session() -> None:
    mandate = held("EUR", 1000, customer="cus_1")
    assert not may_charge_residual(mandate, capture_of("EUR", 49), amounts=STRIPE_AMOUNTS)
    assert may_charge_residual(mandate, capture_of("EUR", 50), amounts=STRIPE_AMOUNTS)


def test_a_fee_that_is_no_whole_unit_is_rounded_up_and_does_not_stop_a_capture() -> None:
    assert (fee_minor(12_345, "ISK"), fee_minor(1235, "EUR"), fee_minor(12, "MGA")) == (124, 1235, 1200)
