"""One spelling of an id, whoever shows it: documents, the audit, errors, statements and the API."""

import re
from uuid import UUID

import pytest

from clearing.audit import shown_subject
from clearing.errors import InvalidSessionError
from clearing.identifiers import format_id
from gateway import ids

SESSION = UUID("01fc1cc1-2e6f-7c0d-9a43-9a0c0a1f2b3c")
BARE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")


def test_the_gateway_and_clearing_write_the_same_text() -> None:
    assert ids.format_id("ses", SESSION) == format_id("ses", SESSION)
    assert ids.parse_id("ses", format_id("ses", SESSION)) == SESSION


@pytest.mark.parametrize(
    ("check", "rest", "prefix"),
    [
        ("captures_unposted", "", "ses"),
        ("transit_not_zero", " capture EUR", "ses"),
        ("hash_chain", " refund", "ses"),
        ("orphan_payables", " capture NL-ABC", "ses"),
        ("orphan_payables", " reserve_release NL-ABC", "dis"),
        ("hash_chain", " disbursement", "dis"),
        ("disbursements_unequal", "", "dis"),
        ("approvals_unposted", "", "rdc"),
    ],
)
def test_the_audit_names_its_subject_as_the_api_does(check: str, rest: str, prefix: str) -> None:
    assert shown_subject(check, f"{SESSION}{rest}") == f"{format_id(prefix, SESSION)}{rest}"


@pytest.mark.parametrize("subject", ["EUR", "cpo:NL-ABC:payable EUR batch 1", f"{SESSION} topup EUR", ""])
def test_what_has_no_public_id_is_left_as_it_is(subject: str) -> None:
    assert shown_subject("transit_not_zero", subject) == subject


def test_an_error_about_a_session_names_it_as_the_api_does() -> None:
    text = str(InvalidSessionError(SESSION, "has no price"))
    assert format_id("ses", SESSION) in text
    assert BARE.search(text) is None
