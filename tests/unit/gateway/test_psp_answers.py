"""What the caller gets for each answer of the PSP to a request that moves no money."""

import pytest

from gateway.api.error_mapping import problem_for
from gateway.payments.errors import PaymentError
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import INVALID_CUSTOMER
from gateway.payments.psp.terminal_port import INVALID_REGISTRATION_CODE
from gateway.payments.psp_answers import known

FIELDS = {
    INVALID_CUSTOMER: ("customer", "a customer"),
    INVALID_REGISTRATION_CODE: ("registration_code", "a code"),
}


def test_an_answer_is_itself() -> None:
    assert known("reader", FIELDS) == "reader"


@pytest.mark.parametrize(
    ("outcome", "status", "code", "pointers", "retry"),
    [
        (
            Declined(code=INVALID_CUSTOMER, retryable=False),
            422,
            "payment_method_invalid",
            ["/customer"],
            None,
        ),
        (
            Declined(code=INVALID_REGISTRATION_CODE, retryable=False),
            400,
            "invalid_parameters",
            ["/registration_code"],
            None,
        ),
        (Declined(code="terminal_reader_busy", retryable=True), 409, "state_conflict", [], None),
        (PspOutcomeUnknown(reason="timeout"), 503, "unavailable", [], "1"),
        (PspOutcomeUnknown(reason="key", ours=True), 503, "psp_configuration", [], "60"),
    ],
)
def test_a_refusal_belongs_to_whoever_can_mend_it(
    outcome: Declined | PspOutcomeUnknown, status: int, code: str, pointers: list[str], retry: str | None
) -> None:
    with pytest.raises(PaymentError) as raised:
        known(outcome, FIELDS)
    problem = problem_for(raised.value)
    assert problem is not None
    assert (problem.kind.status, problem.kind.code) == (status, code)
    assert [one.pointer for one in problem.errors] == pointers
    assert problem.headers.get("Retry-After") == retry
    assert "key" not in problem.detail
