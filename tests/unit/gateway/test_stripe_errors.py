"""Each error of the provider, and whose mistake it is: one row a case (docs.stripe.com/error-codes)."""

from typing import Any

import pytest

from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.port import FeaturesRefused
from gateway.payments.psp.rules import DeclineAdvice
from gateway.payments.psp.stripe.adapter import STRIPE_RULES
from gateway.payments.psp.stripe.errors import StripeError, outcome_of

INVALID = "invalid_request_error"
NOT_ELIGIBLE = "This account is not eligible for the requested card features. See https://stripe.com/docs"


def error(status: int | None, kind: str | None = None, **body: Any) -> StripeError:
    return StripeError(name="Error", status=status, body={"type": kind, **body} if kind else body)


@pytest.mark.parametrize(
    ("met", "code", "retryable"),
    [
        (error(402, "card_error", code="card_declined", decline_code="lost_card"), "lost_card", False),
        (error(402, "card_error", code="expired_card"), "expired_card", False),
        (
            error(402, "card_error", code="card_declined", decline_code="insufficient_funds"),
            "insufficient_funds",
            True,
        ),
        (error(402, "card_error", code="authentication_required"), "authentication_required", True),
        (error(402, "card_error"), "card_declined", False),
    ],
)
def test_a_card_error_is_a_decline_with_the_issuers_code(
    met: StripeError, code: str, *, retryable: bool
) -> None:
    assert outcome_of(met) == Declined(code=code, retryable=retryable)


@pytest.mark.parametrize(
    ("param", "code", "ours"),
    [
        ("payment_method", "resource_missing", "invalid_payment_method"),
        ("payment_method", "payment_method_unexpected_state", "invalid_payment_method"),
        ("payment_method", None, "invalid_payment_method"),  # it belongs to another customer
        ("customer", "resource_missing", "invalid_customer"),
        ("amount", "amount_too_small", "invalid_amount"),
        ("amount", "amount_too_large", "invalid_amount"),
        ("registration_code", None, "invalid_registration_code"),
        ("registration_code", "resource_missing", "invalid_registration_code"),
        ("address[state]", "parameter_missing", "invalid_address"),
        ("address[country]", "terminal_location_country_unsupported", "invalid_address"),
        ("display_name", "parameter_invalid_string_too_long", "invalid_display_name"),
        ("label", None, "invalid_label"),
    ],
)
@pytest.mark.parametrize("status", [400, 404])
def test_a_partners_wrong_value_is_named_by_its_field(
    status: int, param: str, code: str | None, ours: str
) -> None:
    met = error(status, INVALID, code=code, param=param, message="No such thing")
    assert outcome_of(met) == Declined(code=ours, retryable=False)


@pytest.mark.parametrize(
    ("code", "param"),
    [
        ("parameter_unknown", "payment_method"),
        ("parameter_missing", "amount"),
        ("parameters_exclusive", "allowed_payment_method_types"),
        ("payment_method_types_no_longer_supported", "payment_method_types"),
        ("livemode_mismatch", "payment_method"),
        ("payment_method_unactivated", "payment_method"),
        ("capability_not_active", None),
        ("a_code_of_tomorrow", "payment_method"),
        (None, "return_url"),
        ("parameter_unknown", "address[planet]"),
        (None, None),
    ],
)
def test_every_other_invalid_request_is_a_mistake_of_ours(code: str | None, param: str | None) -> None:
    outcome = outcome_of(error(400, INVALID, code=code, param=param, message="why\n  not"))
    assert isinstance(outcome, PspMisconfigured)
    assert outcome.definite
    assert outcome.code == (code or "invalid_request")
    assert "why not" in outcome.detail


@pytest.mark.parametrize(("status", "code"), [(401, "psp_authentication"), (403, "psp_permission")])
def test_a_refused_key_is_ours_and_says_nothing_about_an_earlier_attempt(status: int, code: str) -> None:
    outcome = outcome_of(error(status, INVALID, message="no"))
    assert outcome == PspMisconfigured(code=code, detail="no", definite=False)


def test_a_key_with_other_parameters_is_ours_and_its_effect_unknown() -> None:
    outcome = outcome_of(error(400, "idempotency_error", message="other"))
    assert outcome == PspMisconfigured(code="idempotency_error", detail="other", definite=False)


def test_features_that_the_account_may_not_have_are_set_apart_from_other_mistakes() -> None:
    assert outcome_of(error(400, INVALID, message=NOT_ELIGIBLE)) == FeaturesRefused()


@pytest.mark.parametrize(
    "code",
    [
        "payment_intent_unexpected_state",
        "charge_expired_for_capture",
        "charge_already_captured",
        "charge_already_refunded",
        "charge_disputed",
        "refund_disputed_payment",
        "balance_insufficient",
    ],
)
def test_the_state_of_an_object_is_the_answer_to_its_own_request(code: str) -> None:
    assert outcome_of(error(400, INVALID, code=code)) == Declined(code=code, retryable=False)


@pytest.mark.parametrize("status", [400, 402, 409])
@pytest.mark.parametrize("code", ["terminal_reader_busy", "terminal_reader_offline"])
def test_what_a_reader_can_not_do_now_may_be_tried_again(status: int, code: str) -> None:
    assert outcome_of(error(status, INVALID, code=code)) == Declined(code=code, retryable=True)


@pytest.mark.parametrize("param", ["location", "reader", "payment_intent"])
def test_an_object_that_the_provider_does_not_have_is_the_answer(param: str) -> None:
    met = error(404, INVALID, code="resource_missing", param=param)
    assert outcome_of(met) == Declined(code="resource_missing", retryable=False)


@pytest.mark.parametrize(
    "met",
    [
        error(None),
        error(409, "idempotency_error", code="idempotency_key_in_use"),
        error(424, "api_error"),
        error(429, INVALID, code="rate_limit"),
        error(429, INVALID, code="lock_timeout"),
        error(500, "api_error"),
        error(503),
    ],
)
def test_what_says_nothing_leaves_the_outcome_unknown(met: StripeError) -> None:
    assert isinstance(outcome_of(met), PspOutcomeUnknown)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("try_again_later", DeclineAdvice.TRY_AGAIN_LATER),
        ("authentication_required", DeclineAdvice.AUTHENTICATE),
        ("insufficient_funds", DeclineAdvice.LOWER_AMOUNT_OR_LATER),
        ("expired_card", DeclineAdvice.CORRECT_CARD_DETAILS),
        ("stolen_card", DeclineAdvice.OTHER_PAYMENT_METHOD),
        (None, DeclineAdvice.OTHER_PAYMENT_METHOD),
    ],
)
def test_a_decline_code_says_what_helps(code: str | None, advice: DeclineAdvice) -> None:
    assert STRIPE_RULES.advice(code) is advice
