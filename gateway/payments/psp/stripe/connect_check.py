"""The rules of `networkcore psp check` for connected accounts: which parties Stripe can't pay, and why.

Owns: a line for each account that a party is paid to and that can't receive transfers. Must not know: HTTP,
the database, how a finding is shown. None of them keeps the platform from taking money.
"""

from collections.abc import Iterator
from typing import Final

from gateway.payments.psp.stripe.account_facts import (
    AccountFacts,
    AccountFinding,
    CheckExpectation,
    ConnectedAccount,
    FindingState,
)

_MOST: Final = 20  # lines; more than that is no longer read one by one
_ACTIVE: Final = "active"
_LINK: Final = "send {party} an onboarding link: POST /v1/parties/{party}/connected-account/links"


def check_connected_accounts(facts: AccountFacts, expected: CheckExpectation) -> Iterator[AccountFinding]:
    """How many parties can be paid, then one line for each that can't. Nothing where no party is known."""
    check = "parties paid by transfer"
    if not expected.accounts:
        return
    if facts.connected is None:
        yield AccountFinding(
            check=check, state=FindingState.NOT_CHECKED, found="", advice="connected accounts were not read"
        )
        return
    known = {one.id: one for one in facts.connected}
    lines = [
        line
        for party, account in sorted(expected.accounts.items())
        if (line := _line(party, account, known.get(account), all_read=facts.all_connected)) is not None
    ]
    wrong = sum(one.state is FindingState.MEND for one in lines)
    unread = len(lines) - wrong
    yield AccountFinding(
        check=check,
        state=FindingState.MEND if wrong else FindingState.NOT_CHECKED if unread else FindingState.RIGHT,
        found=f"{len(expected.accounts) - len(lines)} of {len(expected.accounts)} can be paid",
        advice="see the lines below: their payouts are on hold" if lines else "",
    )
    yield from lines[:_MOST]


def _line(
    party: str, account_id: str, account: ConnectedAccount | None, *, all_read: bool
) -> AccountFinding | None:
    check = f"account of {party}"
    if account is None and not all_read:
        return AccountFinding(
            check=check,
            state=FindingState.NOT_CHECKED,
            found="",
            advice=f"{account_id} was not read; see GET /v1/parties/{party}/connected-account",
        )
    if account is None:
        return AccountFinding(
            check=check,
            state=FindingState.MEND,
            found=f"{account_id} is not connected to this account",
            advice=f"attach another: POST /v1/parties/{party}/connected-account/attach",
        )
    if account.transfers == _ACTIVE:
        return None
    due = f"; due: {', '.join(account.currently_due)}" if account.currently_due else ""
    why = account.disabled_reason or "no reason given"
    return AccountFinding(
        check=check,
        state=FindingState.MEND,
        found=f"{account_id}: transfers {account.transfers}, {why}{due}",
        advice=_LINK.format(party=party),
    )
