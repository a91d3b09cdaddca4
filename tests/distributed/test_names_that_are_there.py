"""A name that another session has, on a distributed database: tests of one machine."""

from tests.integration.test_payments import (
    system,
    test_a_second_card_may_pay_a_session_whose_first_was_declined,
    test_two_authorizations_cannot_both_hold_one_session,
    test_two_authorizations_racing_for_one_session_leave_one_hold,
)

__all__ = [
    "system",
    "test_a_second_card_may_pay_a_session_whose_first_was_declined",
    "test_two_authorizations_cannot_both_hold_one_session",
    "test_two_authorizations_racing_for_one_session_leave_one_hold",
]
