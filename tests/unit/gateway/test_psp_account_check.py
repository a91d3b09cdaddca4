"""The rules of `networkcore psp check`: each finding from the side where it is right, and from the other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway.payments.psp.stripe.account_check import can_take_money, check_account
from gateway.payments.psp.stripe.account_facts import (
    NEEDED_FOR_MONEY,
    READS,
    AccountFacts,
    AccountFinding,
    CheckExpectation,
    ConnectedAccount,
    FindingState,
    PublishableKey,
    ReadState,
    ResourceRead,
    SentEvent,
    StripeAccount,
    StripeKey,
    StripeKeyKind,
    StripeWebhookEndpoint,
)
from gateway.payments.psp.stripe.event_types import ACCOUNT_EVENTS, CONNECT_EVENTS

PINNED = "2026-10-28.endive"
URL = "https://gateway.example/v1/psp/webhooks"
ANSWERED = ResourceRead(state=ReadState.ANSWERED, status=200, version=PINNED)
ACCOUNT = StripeAccount(
    id="acct_1",
    country="NL",
    default_currency="EUR",
    charges_enabled=True,
    payouts_enabled=True,
    capabilities={"card_payments": "active", "transfers": "active"},
    disabled_reason=None,
    currently_due=(),
    descriptor_prefix="CHARGECO",
)
PLATFORM = StripeWebhookEndpoint(
    id="we_1",
    url=URL,
    enabled=True,
    api_version=PINNED,
    events=ACCOUNT_EVENTS,
    connect=False,
    created=100,
)
ACCEPTED = SentEvent(type="payment_intent.succeeded", created=200, pending=0)
WAITING = replace(ACCEPTED, pending=1)
CONNECTED = replace(PLATFORM, id="we_2", events=CONNECT_EVENTS, connect=True)
LIVE_PUBLIC = StripeKey(kind=StripeKeyKind.PUBLISHABLE, live=True)
READY = AccountFacts(
    key=StripeKey(kind=StripeKeyKind.SECRET, live=True),
    reads=dict.fromkeys(READS, ANSWERED),
    account=ACCOUNT,
    live=True,
    balance_currencies=frozenset({"EUR"}),
    settlement_currencies={"EUR": "enabled", "CHF": "enabled"},
    endpoints=(PLATFORM, CONNECTED),
    events=(ACCEPTED,),
    publishable_key=PublishableKey(key=LIVE_PUBLIC, same_account=True),
)
EXPECTED = CheckExpectation(live=True, webhook_url=URL, tariff_currencies=frozenset({"EUR", "CHF"}))


def checked(facts: AccountFacts = READY, expected: CheckExpectation = EXPECTED) -> dict[str, AccountFinding]:
    findings = check_account(facts, expected, pinned_version=PINNED)
    by_name = {one.check: one for one in findings}
    assert len(by_name) == len(findings), "two lines of one name"
    for one in findings:
        assert (one.state is FindingState.RIGHT) is (one.advice == ""), one
        assert one.found or one.state is FindingState.NOT_CHECKED, one
    return by_name


def takes_money(findings: dict[str, AccountFinding]) -> bool:
    return can_take_money(list(findings.values()))


def with_read(name: str, **changes: Any) -> AccountFacts:
    return replace(READY, reads={**READY.reads, name: replace(ANSWERED, **changes)})


def test_an_account_that_is_ready_has_nothing_to_mend() -> None:
    findings = checked()
    assert {one.state for one in findings.values()} == {FindingState.RIGHT}
    assert takes_money(findings)
    assert {
        "key",
        "mode",
        "permissions",
        "API version",
        "charges",
        "card_payments",
        "transfers",
        "payouts",
        "currency CHF",
        "currency EUR",
        "webhook",
        "webhook of connected accounts",
        "webhook deliveries",
        "Connect",
        "statement descriptor prefix",
        "publishable key",
    } == set(findings)


def test_what_was_not_read_is_never_right() -> None:
    failed = ResourceRead(state=ReadState.FAILED, status=0, detail="timeout")
    nothing = AccountFacts(key=READY.key, reads=dict.fromkeys(READS, failed))
    unread = replace(EXPECTED, tariff_currencies=None, tariffs_unread="no database")
    findings = checked(nothing, unread)
    right = {name for name, one in findings.items() if one.state is FindingState.RIGHT}
    assert right == {"key"}  # its prefix is all that this says
    assert {one.state for name, one in findings.items() if name != "key"} == {FindingState.NOT_CHECKED}
    assert findings["currencies"].advice == "no database"
    assert not takes_money(findings)


@pytest.mark.parametrize("kind", [StripeKeyKind.PUBLISHABLE, StripeKeyKind.OTHER])
def test_a_key_that_is_no_secret_takes_no_money(kind: StripeKeyKind) -> None:
    findings = checked(replace(READY, key=StripeKey(kind=kind, live=True)))
    assert findings["key"].state is FindingState.MEND
    assert not takes_money(findings)


def test_a_key_that_stripe_does_not_accept_takes_no_money() -> None:
    rejected = ResourceRead(state=ReadState.FAILED, status=401, version=PINNED, detail="not accepted")
    facts = AccountFacts(key=READY.key, reads=dict.fromkeys(READS, rejected))
    findings = checked(facts)
    assert findings["key"].state is FindingState.MEND
    assert findings["API version"].state is FindingState.NOT_CHECKED
    assert findings["Connect"].state is FindingState.NOT_CHECKED
    assert not takes_money(findings)


@pytest.mark.parametrize(("live", "setting"), [(True, "production"), (False, "sandbox")])
def test_the_mode_of_the_key_is_that_of_the_settings(*, live: bool, setting: str) -> None:
    facts = replace(READY, live=live, key=replace(READY.key, live=live))
    assert checked(facts, replace(EXPECTED, live=live))["mode"].state is FindingState.RIGHT
    findings = checked(facts, replace(EXPECTED, live=not live))
    assert findings["mode"].state is FindingState.MEND
    assert setting in findings["mode"].advice
    assert not takes_money(findings)


@pytest.mark.parametrize("name", READS)
def test_each_resource_that_a_key_may_not_read_is_named(name: str) -> None:
    facts = with_read(name, state=ReadState.REFUSED, status=403, detail="rak_x_read")
    findings = checked(facts)
    line = findings[f"permission: {name}"]
    assert line.state is FindingState.MEND
    assert "rak_x_read" in line.advice
    assert takes_money(findings) is (name not in NEEDED_FOR_MONEY)


def test_a_read_without_an_answer_is_not_checked_and_a_payment_needs_it() -> None:
    findings = checked(with_read("payment_intents", state=ReadState.FAILED, status=500, detail="api_error"))
    assert findings["permission: payment_intents"].state is FindingState.NOT_CHECKED
    assert not takes_money(findings)


def test_that_a_restricted_key_may_write_is_not_known() -> None:
    findings = checked(replace(READY, key=replace(READY.key, kind=StripeKeyKind.RESTRICTED)))
    assert findings["permissions to write"].state is FindingState.NOT_CHECKED
    assert takes_money(findings)


def test_an_answer_in_another_version_is_named() -> None:
    findings = checked(with_read("charges", version="2025-03-31.basil"))
    assert findings["API version"].state is FindingState.MEND
    assert "2025-03-31.basil" in findings["API version"].found
    assert not takes_money(findings)


@pytest.mark.parametrize(
    ("changes", "check", "blocks"),
    [
        ({"charges_enabled": False, "disabled_reason": "listed", "currently_due": ["x"]}, "charges", True),
        ({"capabilities": {"card_payments": "inactive", "transfers": "active"}}, "card_payments", True),
        ({"capabilities": {"card_payments": "pending", "transfers": "active"}}, "card_payments", True),
        ({"capabilities": {"card_payments": "active", "transfers": "inactive"}}, "transfers", False),
        ({"payouts_enabled": False}, "payouts", False),
        ({"descriptor_prefix": None}, "statement descriptor prefix", False),
        ({"descriptor_prefix": "A"}, "statement descriptor prefix", False),
        ({"descriptor_prefix": "12345"}, "statement descriptor prefix", False),
        ({"descriptor_prefix": "CHARGE*CO"}, "statement descriptor prefix", False),
        ({"descriptor_prefix": "CHARGECOMPANY"}, "statement descriptor prefix", False),
    ],
)
def test_what_the_account_lacks_is_to_be_mended(*, changes: dict[str, Any], check: str, blocks: bool) -> None:
    findings = checked(replace(READY, account=replace(ACCOUNT, **changes)))
    assert findings[check].state is FindingState.MEND
    assert takes_money(findings) is not blocks
    assert [name for name, one in findings.items() if one.state is not FindingState.RIGHT] == [check]


def test_a_capability_that_is_not_listed_is_not_checked() -> None:
    findings = checked(replace(READY, account=replace(ACCOUNT, capabilities={})))
    assert findings["card_payments"].state is FindingState.NOT_CHECKED
    assert findings["transfers"].state is FindingState.NOT_CHECKED


@pytest.mark.parametrize(
    ("listed", "balance", "state"),
    [
        ({"CHF": "enabled"}, set(), FindingState.RIGHT),
        ({"CHF": "disabled"}, {"CHF"}, FindingState.MEND),
        ({"CHF": "restricted_by_application"}, set(), FindingState.MEND),
        ({}, {"CHF"}, FindingState.MEND),
        (None, {"CHF"}, FindingState.RIGHT),
        (None, {"EUR"}, FindingState.NOT_CHECKED),
        (None, None, FindingState.NOT_CHECKED),
    ],
)
def test_a_currency_settles_where_stripe_says_so(
    listed: dict[str, str] | None, balance: set[str] | None, state: FindingState
) -> None:
    held = None if balance is None else frozenset(balance)
    facts = replace(READY, settlement_currencies=listed, balance_currencies=held)
    findings = checked(facts)
    assert findings["currency CHF"].state is state
    assert findings["currency EUR"].state is FindingState.RIGHT  # the account's own
    assert takes_money(findings)  # a conversion costs, yet takes the money


@pytest.mark.parametrize(
    ("said", "listed", "chf", "settings"),
    [
        (None, None, FindingState.NOT_CHECKED, None),
        ({"EUR", "CHF"}, None, FindingState.RIGHT, None),
        ({"EUR"}, None, FindingState.MEND, None),
        (set(), None, FindingState.MEND, None),
        ({"EUR", "CHF"}, {"CHF": "enabled"}, FindingState.RIGHT, FindingState.RIGHT),
        ({"EUR", "CHF"}, {"CHF": "disabled"}, FindingState.MEND, FindingState.MEND),
        ({"EUR"}, {"CHF": "enabled"}, FindingState.RIGHT, FindingState.RIGHT),
    ],
)
def test_the_settings_say_what_stripe_does_not_and_never_overrule_it(
    said: set[str] | None,
    listed: dict[str, str] | None,
    chf: FindingState,
    settings: FindingState | None,
) -> None:
    facts = replace(READY, settlement_currencies=listed, balance_currencies=None)
    named = None if said is None else frozenset(said)
    findings = checked(facts, replace(EXPECTED, settlement_currencies=named))
    assert findings["currency CHF"].state is chf
    shown = findings.get("settlement currencies")
    assert (None if shown is None else shown.state) is settings
    assert takes_money(findings)


def test_no_tariff_yet_leaves_the_currencies_unchecked() -> None:
    findings = checked(expected=replace(EXPECTED, tariff_currencies=frozenset()))
    assert findings["currencies"].state is FindingState.NOT_CHECKED


@pytest.mark.parametrize(
    ("endpoints", "words", "blocks"),
    [
        ((CONNECTED,), "no endpoint at", True),
        ((replace(PLATFORM, url="https://other.example/v1/psp/webhooks"), CONNECTED), "no endpoint at", True),
        ((replace(PLATFORM, enabled=False), CONNECTED), "we_1 is disabled", True),
        (
            (replace(PLATFORM, events=ACCOUNT_EVENTS - {"charge.expired"}), CONNECTED),
            "missing: charge.expired",
            False,
        ),
        (
            (replace(PLATFORM, events=ACCOUNT_EVENTS | {"invoice.paid"}), CONNECTED),
            "surplus: invoice.paid",
            False,
        ),
        ((replace(PLATFORM, events=frozenset({"*"})), CONNECTED), "surplus: *", False),
        ((replace(PLATFORM, api_version="2025-03-31.basil"), CONNECTED), "come in 2025-03-31.basil", False),
        ((replace(PLATFORM, api_version=None), CONNECTED), "the default version", False),
    ],
)
def test_a_webhook_is_ours_exactly_or_its_difference_is_named(
    *, endpoints: Sequence[StripeWebhookEndpoint], words: str, blocks: bool
) -> None:
    findings = checked(replace(READY, endpoints=endpoints))
    assert findings["webhook"].state is FindingState.MEND
    assert words in findings["webhook"].found
    assert f"--create-webhook {URL}" in findings["webhook"].advice
    assert takes_money(findings) is not blocks


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((ACCEPTED, WAITING), FindingState.RIGHT),
        ((WAITING, ACCEPTED), FindingState.NOT_CHECKED),
        ((WAITING, WAITING), FindingState.MEND),
        ((replace(ACCEPTED, created=100),), FindingState.NOT_CHECKED),  # sent before there was an endpoint
        ((), FindingState.NOT_CHECKED),
        (None, FindingState.NOT_CHECKED),
    ],
)
def test_only_an_accepted_delivery_proves_the_secret(
    events: Sequence[SentEvent] | None, state: FindingState
) -> None:
    findings = checked(replace(READY, events=events))
    assert findings["webhook deliveries"].state is state
    assert takes_money(findings)


def test_a_delivery_to_another_address_proves_nothing() -> None:
    other = replace(PLATFORM, url="https://shop.example/hook")
    findings = checked(replace(READY, endpoints=(other, CONNECTED)))
    assert findings["webhook deliveries"].state is FindingState.NOT_CHECKED


def test_without_an_endpoint_for_connected_accounts_money_is_taken_all_the_same() -> None:
    findings = checked(replace(READY, endpoints=(PLATFORM,)))
    assert findings["webhook of connected accounts"].state is FindingState.MEND
    assert takes_money(findings)


def test_endpoints_at_other_addresses_are_left_alone() -> None:
    other = replace(PLATFORM, id="we_3", url="https://shop.example/hook", events=frozenset({"*"}))
    findings = checked(replace(READY, endpoints=(PLATFORM, CONNECTED, other)))
    assert findings["webhook"].state is FindingState.RIGHT


def test_each_party_that_can_not_be_paid_has_a_line_and_money_is_taken() -> None:
    paid = ConnectedAccount(id="acct_a", transfers="active", disabled_reason=None, currently_due=())
    held = ConnectedAccount(
        id="acct_b",
        transfers="inactive",
        disabled_reason="requirements.past_due",
        currently_due=("external_account",),
    )
    accounts = {"NL-ABC": "acct_a", "DE-XYZ": "acct_b", "FR-OLD": "acct_gone"}
    expected = replace(EXPECTED, accounts=accounts)
    facts = replace(READY, connected=(paid, held), all_connected=True)
    findings = checked(facts, expected)
    assert findings["parties paid by transfer"].found == "1 of 3 can be paid"
    assert findings["parties paid by transfer"].state is FindingState.MEND
    assert "account of NL-ABC" not in findings
    assert "requirements.past_due; due: external_account" in findings["account of DE-XYZ"].found
    assert "/v1/parties/DE-XYZ/connected-account/links" in findings["account of DE-XYZ"].advice
    assert "not connected" in findings["account of FR-OLD"].found
    assert takes_money(findings)
    some = checked(replace(facts, all_connected=False), replace(expected, accounts={"FR-OLD": "acct_gone"}))
    assert some["account of FR-OLD"].state is FindingState.NOT_CHECKED
    assert some["parties paid by transfer"].state is FindingState.NOT_CHECKED
    right = checked(facts, replace(expected, accounts={"NL-ABC": "acct_a"}))
    assert right["parties paid by transfer"].state is FindingState.RIGHT
    unread = checked(replace(facts, connected=None), expected)
    assert unread["parties paid by transfer"].state is FindingState.NOT_CHECKED
    assert "parties paid by transfer" not in checked()


def test_without_connect_parties_are_not_paid_and_money_is_taken() -> None:
    facts = with_read("connected_accounts", state=ReadState.FAILED, status=403, detail="Only platforms")
    findings = checked(facts)
    assert findings["Connect"].state is FindingState.MEND
    assert "Only platforms" in findings["Connect"].found
    assert takes_money(findings)


@pytest.mark.parametrize(
    ("key", "state"),
    [
        (None, FindingState.NOT_CHECKED),
        (
            PublishableKey(key=LIVE_PUBLIC, same_account=None, reason="no payment yet"),
            FindingState.NOT_CHECKED,
        ),
        (PublishableKey(key=LIVE_PUBLIC, same_account=False), FindingState.MEND),
        (PublishableKey(key=replace(LIVE_PUBLIC, live=False), same_account=True), FindingState.MEND),
        (
            PublishableKey(key=replace(LIVE_PUBLIC, kind=StripeKeyKind.SECRET), same_account=True),
            FindingState.MEND,
        ),
    ],
)
def test_the_publishable_key_is_right_only_where_it_read_a_payment(
    key: PublishableKey | None, state: FindingState
) -> None:
    findings = checked(replace(READY, publishable_key=key))
    assert findings["publishable key"].state is state
    assert takes_money(findings)
