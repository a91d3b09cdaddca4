"""The rules of `networkcore psp check`: facts of a Stripe account in, findings out.

Owns: what is right, what is to be mended and what was not checked. Must not know: HTTP, the database, how a
finding is shown. Nothing is right that was not read.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.payments.psp.stripe.account_facts import (
    NEEDED_FOR_MONEY,
    READS,
    AccountFacts,
    AccountFinding,
    CheckExpectation,
    FindingState,
    ReadState,
    StripeAccount,
    StripeKeyKind,
    StripeWebhookEndpoint,
)
from gateway.payments.psp.stripe.connect_check import check_connected_accounts
from gateway.payments.psp.stripe.event_types import ACCOUNT_EVENTS, CONNECT_EVENTS

_RIGHT: Final = FindingState.RIGHT
_MEND: Final = FindingState.MEND
_NOT_CHECKED: Final = FindingState.NOT_CHECKED
_UNAUTHENTICATED: Final = 401
_NOT_READ: Final = "the account could not be read"
# docs.stripe.com/get-started/account/statement-descriptors: 2 to 10 characters, Latin, at least one letter.
_PREFIX: Final = re.compile(r"(?=.*[A-Za-z])[ -~]{2,10}\Z")
_NOT_IN_PREFIX: Final = frozenset("<>\\'\"*")
_MODES: Final = {True: "live", False: "test", None: "unknown"}
_CREATE: Final = "run: networkcore psp check --create-webhook"


def check_account(
    facts: AccountFacts, expected: CheckExpectation, *, pinned_version: str
) -> tuple[AccountFinding, ...]:
    """All findings in the order in which they are mended."""
    return (
        _key(facts),
        _mode(facts, expected),
        *_permissions(facts),
        _version(facts, pinned_version),
        *_capabilities(facts.account),
        *_currencies(facts, expected),
        *_webhook(facts, expected, pinned_version),
        _deliveries(facts, expected),
        _connect(facts),
        *check_connected_accounts(facts, expected),
        _descriptor(facts.account),
        _publishable_key(facts),
    )


def can_take_money(findings: Sequence[AccountFinding]) -> bool:
    """Whether everything that a payment needs was read and is right."""
    return not any(one.blocks and one.state is not _RIGHT for one in findings)


def _key(facts: AccountFacts) -> AccountFinding:
    kind, mode = facts.key.kind, _MODES[facts.key.live]
    if kind not in {StripeKeyKind.SECRET, StripeKeyKind.RESTRICTED}:
        return AccountFinding(
            check="key",
            state=_MEND,
            found="a publishable key" if kind is StripeKeyKind.PUBLISHABLE else "neither sk_... nor rk_...",
            advice="set NETWORKCORE_PSP_API_KEY to the secret key or to a restricted key of the account",
            blocks=True,
        )
    name = "secret" if kind is StripeKeyKind.SECRET else "restricted"
    if any(read.status == _UNAUTHENTICATED for read in facts.reads.values()):
        return AccountFinding(
            check="key",
            state=_MEND,
            found=f"Stripe refuses this {name} {mode} key (401)",
            advice="it is wrong, expired or revoked: take a new one from the account's page of API keys",
            blocks=True,
        )
    account = f" of account {facts.account.id}" if facts.account else ""
    return AccountFinding(check="key", state=_RIGHT, found=f"a {name} {mode} key{account}", blocks=True)


def _mode(facts: AccountFacts, expected: CheckExpectation) -> AccountFinding:
    if facts.live is None:
        return _unread("mode", facts, "balance", blocks=True)
    agree = facts.live is expected.live
    wanted = "production" if facts.live else "sandbox"
    return AccountFinding(
        check="mode",
        state=_RIGHT if agree else _MEND,
        found=f"the key is of {_MODES[facts.live]} mode; the settings expect {_MODES[expected.live]} mode",
        advice="" if agree else f"set NETWORKCORE_ENVIRONMENT to {wanted}, or use a key of the other mode",
        blocks=True,
    )


def _permissions(facts: AccountFacts) -> Iterator[AccountFinding]:
    """One line for each resource that the key may not read, one for those that it may."""
    answered = [name for name, read in facts.reads.items() if read.state is ReadState.ANSWERED]
    refused = [name for name, read in facts.reads.items() if read.state is ReadState.REFUSED]
    yield AccountFinding(
        check="permissions",
        state=_MEND if refused else _RIGHT if answered else _NOT_CHECKED,
        found=f"{len(answered)} of {len(READS)} resources can be read",
        advice="see the lines below" if refused else "" if answered else "no read was answered",
        blocks=not answered,
    )
    for name, read in facts.reads.items():
        if read.state is ReadState.REFUSED:
            permission = f"permission {read.detail}" if read.detail else f"the permission to read {name}"
            yield AccountFinding(
                check=f"permission: {name}",
                state=_MEND,
                found="the key may not read it",
                advice=f"give the restricted key {permission}",
                blocks=name in NEEDED_FOR_MONEY,
            )
        elif read.state is ReadState.FAILED and name in NEEDED_FOR_MONEY and answered:
            yield AccountFinding(
                check=f"permission: {name}",
                state=_NOT_CHECKED,
                found="",
                advice=f"the read was not answered: {read.detail}",
                blocks=True,
            )
    if facts.key.kind is StripeKeyKind.RESTRICTED:
        yield AccountFinding(
            check="permissions to write",
            state=_NOT_CHECKED,
            found="",
            advice="only a change shows them: try a session in test mode with a key of the same permissions",
        )


def _version(facts: AccountFacts, pinned: str) -> AccountFinding:
    found = {
        read.version
        for read in facts.reads.values()
        if read.state is ReadState.ANSWERED and read.version is not None
    }
    if not found:
        return AccountFinding(
            check="API version",
            state=_NOT_CHECKED,
            found="",
            advice="no read was answered with its version",
        )
    others = ", ".join(sorted(found - {pinned}))
    return AccountFinding(
        check="API version",
        state=_MEND if others else _RIGHT,
        found=f"answers in {others}" if others else f"answers in {pinned}",
        advice=f"this release speaks {pinned}: check what is between it and Stripe" if others else "",
        blocks=True,
    )


def _capabilities(account: StripeAccount | None) -> Iterator[AccountFinding]:
    if account is None:
        yield AccountFinding(check="charges", state=_NOT_CHECKED, found="", advice=_NOT_READ, blocks=True)
        for name in ("card_payments", "transfers", "payouts"):
            yield AccountFinding(check=name, state=_NOT_CHECKED, found="", advice=_NOT_READ)
        return
    due = ", ".join(account.currently_due) or "nothing is named as due"
    yield AccountFinding(
        check="charges",
        state=_RIGHT if account.charges_enabled else _MEND,
        found="enabled" if account.charges_enabled else f"disabled: {account.disabled_reason or 'no reason'}",
        advice="" if account.charges_enabled else f"complete the account's details at Stripe: {due}",
        blocks=True,
    )
    for name, blocks in (("card_payments", True), ("transfers", False)):
        yield _capability(account, name, blocks=blocks)
    yield AccountFinding(
        check="payouts",
        state=_RIGHT if account.payouts_enabled else _MEND,
        found="enabled" if account.payouts_enabled else "disabled",
        advice="" if account.payouts_enabled else "add a bank account at Stripe, and complete what is due",
    )


def _capability(account: StripeAccount, name: str, *, blocks: bool) -> AccountFinding:
    state = account.capabilities.get(name)
    if state is None:
        return AccountFinding(
            check=name, state=_NOT_CHECKED, found="", advice="the account does not list this capability"
        )
    active = state == "active"
    return AccountFinding(
        check=name,
        state=_RIGHT if active else _MEND,
        found=state,
        advice="" if active else f"request the capability {name} at Stripe and complete what it requires",
        blocks=blocks,
    )


_SETTLEMENT = "NETWORKCORE_PSP_SETTLEMENT_CURRENCIES"


def _currencies(facts: AccountFacts, expected: CheckExpectation) -> Iterator[AccountFinding]:
    """Whether each currency of the tariffs settles unconverted (docs.stripe.com/payouts/multicurrency)."""
    if expected.tariff_currencies is None:
        yield AccountFinding(check="currencies", state=_NOT_CHECKED, found="", advice=expected.tariffs_unread)
        return
    if not expected.tariff_currencies:
        yield AccountFinding(
            check="currencies", state=_NOT_CHECKED, found="", advice="no operator has published a tariff yet"
        )
    for currency in sorted(expected.tariff_currencies):
        yield _currency(facts, currency, expected.settlement_currencies)
    yield from _settings_of_currencies(facts, expected)


def _settings_of_currencies(facts: AccountFacts, expected: CheckExpectation) -> Iterator[AccountFinding]:
    """Whether the settings know the account: what they call settled and Stripe does not is named."""
    listed, said = facts.settlement_currencies, expected.settlement_currencies
    if listed is None or said is None:
        return
    default = facts.account.default_currency if facts.account else None
    settles = {currency for currency, state in listed.items() if state == "enabled"} | {default}
    wrong = ", ".join(sorted(said - settles))
    yield AccountFinding(
        check="settlement currencies",
        state=_MEND if wrong else _RIGHT,
        found=f"the settings name {wrong}, which does not settle" if wrong else "as the settings name them",
        advice=f"correct {_SETTLEMENT}, or enable {wrong} for settlement at Stripe" if wrong else "",
    )


def _currency(facts: AccountFacts, currency: str, said: frozenset[str] | None) -> AccountFinding:
    check = f"currency {currency}"
    default = facts.account.default_currency if facts.account else None
    states = facts.settlement_currencies
    if default == currency:
        return AccountFinding(check=check, state=_RIGHT, found="settles: it is the account's own")
    if states is not None:
        state = states.get(currency, "disabled")
        if state == "enabled":
            return AccountFinding(check=check, state=_RIGHT, found="settles unconverted")
        into = f" into {default}" if default else ""
        return AccountFinding(
            check=check,
            state=_MEND,
            found=f"does not settle ({state}): Stripe converts it{into} at its own rate",
            advice=f"enable {currency} for settlement at Stripe, with a bank account in {currency}",
        )
    if facts.balance_currencies and currency in facts.balance_currencies:
        return AccountFinding(check=check, state=_RIGHT, found="settles: the balance holds it")
    if said is not None:
        settles = currency in said
        return AccountFinding(
            check=check,
            state=_RIGHT if settles else _MEND,
            found=f"{'settles' if settles else 'does not settle'}, by {_SETTLEMENT}",
            advice="" if settles else f"enable {currency} for settlement at Stripe, then name it there",
        )
    return AccountFinding(
        check=check,
        state=_NOT_CHECKED,
        found="",
        advice="Stripe did not list the settlement currencies: see them on the page of payout settings, and "
        f"set {_SETTLEMENT}",
    )


def _webhook(facts: AccountFacts, expected: CheckExpectation, pinned: str) -> Iterator[AccountFinding]:
    url = expected.webhook_url
    if facts.endpoints is None:
        yield _unread("webhook", facts, "webhook_endpoints", blocks=True)
        return
    there = [one for one in facts.endpoints if one.url == url]
    enabled = [one for one in there if one.enabled]
    for connect, events, of in (
        (False, ACCOUNT_EVENTS, "webhook"),
        (True, CONNECT_EVENTS, "webhook of connected accounts"),
    ):
        mine = [one for one in enabled if one.connect is connect]
        if not mine:
            disabled = [one.id for one in there if one.connect is connect]
            yield AccountFinding(
                check=of,
                state=_MEND,
                found=f"{', '.join(disabled)} is disabled" if disabled else f"no endpoint at {url}",
                advice=f"{_CREATE} {url}" + ("" if disabled else "; or NETWORKCORE_PUBLIC_URL is wrong"),
                blocks=not connect,
            )
        for endpoint in mine:
            yield _endpoint(endpoint, events, of, url=url, pinned=pinned)


def _endpoint(
    endpoint: StripeWebhookEndpoint, events: frozenset[str], of: str, *, url: str, pinned: str
) -> AccountFinding:
    """An enabled endpoint at our URL: its events are exactly ours, in our version."""
    wrong = []
    missing, surplus = sorted(events - endpoint.events), sorted(endpoint.events - events)
    if "*" in endpoint.events:
        missing, surplus = [], ["* (every other event)"]
    if missing:
        wrong.append(f"missing: {', '.join(missing)}")
    if surplus:
        wrong.append(f"surplus: {', '.join(surplus)}")
    if endpoint.api_version != pinned:
        wrong.append(f"its events come in {endpoint.api_version or 'the default version of the account'}")
    return AccountFinding(
        check=of,
        state=_MEND if wrong else _RIGHT,
        found="; ".join([endpoint.id, *wrong]) if wrong else f"{endpoint.id}: {len(events)} events, {pinned}",
        advice=f"{_CREATE} {url}" if wrong else "",
    )


def _deliveries(facts: AccountFacts, expected: CheckExpectation) -> AccountFinding:
    """Whether the endpoint has accepted what was sent to it, which proves its secret and its address."""
    check = "webhook deliveries"
    if facts.endpoints is None or facts.events is None:
        return _unread(check, facts, "webhook_endpoints" if facts.endpoints is None else "events")
    since = [
        one.created
        for one in facts.endpoints
        if one.url == expected.webhook_url and one.enabled and not one.connect
    ]
    sent = [one for one in facts.events if since and one.created > max(since)]
    if not sent:
        return AccountFinding(
            check=check,
            state=_NOT_CHECKED,
            found="",
            advice="no payment since the endpoint exists: only a delivery proves its secret and its address",
        )
    waiting = sum(one.pending > 0 for one in sent)
    if not sent[0].pending:
        return AccountFinding(check=check, state=_RIGHT, found=f"the newest, {sent[0].type}, was accepted")
    if waiting < len(sent):
        return AccountFinding(
            check=check,
            state=_NOT_CHECKED,
            found="",
            advice=f"{waiting} of the newest {len(sent)} events wait for an endpoint: check again later",
        )
    return AccountFinding(
        check=check,
        state=_MEND,
        found=f"none of the newest {len(sent)} events was accepted by all endpoints",
        advice="compare NETWORKCORE_PSP_WEBHOOK_SECRET with the endpoint's secret, and try its address",
    )


def _connect(facts: AccountFacts) -> AccountFinding:
    read = facts.reads.get("connected_accounts")
    if read is None or read.state is ReadState.REFUSED or read.status == _UNAUTHENTICATED:
        return _unread("Connect", facts, "connected_accounts")
    if read.state is ReadState.ANSWERED:
        return AccountFinding(check="Connect", state=_RIGHT, found="connected accounts can be read")
    if not read.status:
        return AccountFinding(check="Connect", state=_NOT_CHECKED, found="", advice=read.detail)
    return AccountFinding(
        check="Connect",
        state=_MEND,
        found=f"Stripe rejects the list of connected accounts: {read.detail}",
        advice="enable Connect for the account: without it parties are paid by bank only",
    )


def _descriptor(account: StripeAccount | None) -> AccountFinding:
    check = "statement descriptor prefix"
    if account is None:
        return AccountFinding(check=check, state=_NOT_CHECKED, found="", advice=_NOT_READ)
    prefix = account.descriptor_prefix
    valid = prefix is not None and _PREFIX.match(prefix) and not _NOT_IN_PREFIX & set(prefix)
    return AccountFinding(
        check=check,
        state=_RIGHT if valid else _MEND,
        found=repr(prefix) if prefix else "none",
        advice=""
        if valid
        else "set 2 to 10 characters by which drivers know you: what they don't recognize they dispute",
    )


def _publishable_key(facts: AccountFacts) -> AccountFinding:
    check, found = "publishable key", facts.publishable_key
    if found is None:
        return AccountFinding(
            check=check, state=_NOT_CHECKED, found="", advice="none was given: --publishable-key pk_..."
        )
    if found.key.kind is not StripeKeyKind.PUBLISHABLE:
        return AccountFinding(
            check=check,
            state=_MEND,
            found="it does not begin with pk_",
            advice="give the publishable key; a secret key must never reach an app",
        )
    if found.key.live is not facts.key.live:
        return AccountFinding(
            check=check,
            state=_MEND,
            found=f"of {_MODES[found.key.live]} mode; the secret key is of {_MODES[facts.key.live]} mode",
            advice="take both keys from one account and mode",
        )
    if found.same_account is None:
        return AccountFinding(check=check, state=_NOT_CHECKED, found="", advice=found.reason)
    return AccountFinding(
        check=check,
        state=_RIGHT if found.same_account else _MEND,
        found="of the same account" if found.same_account else "it can't read a payment of this account",
        advice="" if found.same_account else "take both keys from one account and mode",
    )


def _unread(check: str, facts: AccountFacts, resource: str, *, blocks: bool = False) -> AccountFinding:
    """What could not be checked for want of a read, and why."""
    read = facts.reads.get(resource)
    why = "it was not read"
    if read is not None:
        refused = read.state is ReadState.REFUSED
        named = f" ({read.detail})" if read.detail else ""
        why = f"the key may not read it{named}" if refused else read.detail or "the answer can't be read"
    return AccountFinding(
        check=check, state=_NOT_CHECKED, found="", advice=f"{resource}: {why}", blocks=blocks
    )
