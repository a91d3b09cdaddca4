"""The daily audit of sessions and funded accounts: tests of one machine on a distributed database."""

from tests.integration.test_daily_audit_sessions import (
    system,
    test_a_changed_funded_account_is_found_in_its_turn,
    test_a_changed_old_session_is_found_in_the_turn_of_its_shard,
    test_a_dispute_of_an_old_session_agrees_and_is_compared_again,
)

__all__ = [
    "system",
    "test_a_changed_funded_account_is_found_in_its_turn",
    "test_a_changed_old_session_is_found_in_the_turn_of_its_shard",
    "test_a_dispute_of_an_old_session_agrees_and_is_compared_again",
]
