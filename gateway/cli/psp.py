"""`networkcore psp`: whether the account at the payment service provider is ready to take money.

Owns the options and what is printed. Must not know what is right; nothing is ever charged.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import click

from clearing.services import build_clearing
from gateway.cli.command_group import CommandGroup
from gateway.cli.tables import show_rows
from gateway.cli.transaction import open_pool
from gateway.config import Environment, base_url_of, currencies_of, load_some_settings
from gateway.errors import ConfigurationError, DatabaseNotMigratedError, DatabaseUnreachableError
from gateway.ocpi.repository import objects
from gateway.payments.psp.stripe.account_check import can_take_money, check_account
from gateway.payments.psp.stripe.account_facts import (
    AccountFacts,
    AccountFinding,
    CheckExpectation,
    FindingState,
    StripeKeyKind,
)
from gateway.payments.psp.stripe.account_reader import AccountReader, WebhookChange, read_key
from gateway.payments.psp.stripe.wire import API_VERSION

_CAN_NOT_TAKE_MONEY: Final = 1
_WEBHOOK_PATH: Final = "/v1/psp/webhooks"
_PSP_SETTINGS: Final = (
    "psp_api_key",
    "psp_base_url",
    "psp_timeout_seconds",
    "environment",
    "psp_settlement_currencies",
)
_ADDRESS_SETTINGS: Final = ("public_url", "host", "port", "tls_certificate_path")
_SECRET: Final = "NETWORKCORE_PSP_WEBHOOK_SECRET"  # noqa: S105 - the name of a setting


@dataclass(frozen=True, slots=True, kw_only=True)
class PspCheck:
    """What the command shows: findings, and what became of the webhook endpoints where they were created."""

    findings: Sequence[AccountFinding]
    webhooks: Sequence[WebhookChange] = ()

    @property
    def ok(self) -> bool:
        """Whether the account can take money."""
        return can_take_money(self.findings)


@click.group(name="psp", cls=CommandGroup)
def group() -> None:
    """Check the account at the payment service provider before it takes money."""


@group.command(name="check")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
@click.option("--publishable-key", metavar="PK", help="The publishable key that apps use; it is checked too.")
@click.option(
    "--create-webhook",
    "webhook_url",
    metavar="URL",
    help="Create or update the webhook endpoints at this address of the gateway first.",
)
def check(*, as_json: bool, publishable_key: str | None, webhook_url: str | None) -> None:
    """Check key, permissions, version, capabilities, currencies, webhooks and Connect; charge nothing.

    The key is NETWORKCORE_PSP_API_KEY. Tariffs are read from DATABASE_URL where it is set. Exit status 1 if
    the account can't take money, 2 if it can't be checked.
    """
    url = None if webhook_url is None else _endpoint_url(webhook_url)
    if publishable_key is not None and read_key(publishable_key).kind is not StripeKeyKind.PUBLISHABLE:
        raise click.UsageError("--publishable-key: expected a key that begins with pk_live_ or pk_test_")
    settings = load_some_settings(os.environ, *_PSP_SETTINGS)
    address = base_url_of(**load_some_settings(os.environ, *_ADDRESS_SETTINGS)) + _WEBHOOK_PATH
    result = asyncio.run(
        _run(settings, webhook_url=url or address, create=url is not None, publishable_key=publishable_key)
    )
    if as_json:
        click.echo(json.dumps(check_json(result), ensure_ascii=False))
    else:
        show(result)
    if not result.ok:
        sys.exit(_CAN_NOT_TAKE_MONEY)


async def _run(
    settings: dict[str, Any], *, webhook_url: str, create: bool, publishable_key: str | None
) -> PspCheck:
    """Create the endpoints at `webhook_url` if that is asked for, then read and check.

    Raises:
        ClickException: the PSP does not answer, or an endpoint can't be created.
    """
    reader = AccountReader(
        api_key=settings["psp_api_key"].get_secret_value(),
        base_url=settings["psp_base_url"],
        timeout_s=settings["psp_timeout_seconds"],
        publishable_key=publishable_key,
    )
    try:
        changes = await reader.create_webhooks(webhook_url) if create else ()
        failed = next((one for one in changes if one.action == "failed" and not one.connect), None)
        if failed is not None:
            reason = failed.detail or "the key may not write webhook endpoints"
            raise click.ClickException(f"no webhook endpoint was created: {reason}")
        facts = await reader.read()
    finally:
        await reader.close()
    if not any(read.status for read in facts.reads.values()):
        raise click.ClickException(_silence(facts, settings["psp_base_url"]))
    expected = replace(
        await _expected(live=settings["environment"] is Environment.PRODUCTION, webhook_url=webhook_url),
        settlement_currencies=currencies_of(settings["psp_settlement_currencies"]),
    )
    findings = check_account(facts, expected, pinned_version=API_VERSION)
    return PspCheck(findings=findings, webhooks=changes)


def _silence(facts: AccountFacts, base_url: str | None) -> str:
    why = next(iter(facts.reads.values())).detail
    return f"the PSP does not answer at {base_url or 'its own address'}: {why}"


async def _expected(*, live: bool, webhook_url: str) -> CheckExpectation:
    """What the database expects: the currencies of its tariffs, the accounts that its parties are paid to."""
    try:
        async with open_pool("psp check") as pool, pool.acquire() as connection:
            currencies = await objects.list_tariff_currencies(connection)
            parties = await build_clearing().reference_data.load_parties(connection)
    except (ConfigurationError, DatabaseUnreachableError, DatabaseNotMigratedError) as error:
        unread = f"the tariffs could not be read: {error}"
        return CheckExpectation(
            live=live, webhook_url=webhook_url, tariff_currencies=None, tariffs_unread=unread
        )
    return CheckExpectation(
        live=live,
        webhook_url=webhook_url,
        tariff_currencies=frozenset(currencies),
        accounts={
            one.id: one.connected_account
            for one in parties.values()
            if one.connected_account is not None and one.payout_terms.bank is None
        },
    )


def _endpoint_url(text: str) -> str:
    """The gateway's address, or its address for webhooks, as the latter. Raises UsageError."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise click.UsageError(
            "--create-webhook: expected the gateway's address such as https://gateway.example"
        )
    base = text.rstrip("/").removesuffix(_WEBHOOK_PATH)
    if urlsplit(base).path:
        raise click.UsageError(f"--create-webhook: the gateway receives webhooks at {_WEBHOOK_PATH} alone")
    return base + _WEBHOOK_PATH


def check_json(result: PspCheck) -> dict[str, Any]:
    """The result as JSON-ready values; secrets of endpoints that were just created appear here alone."""
    return {
        "can_take_money": result.ok,
        "findings": [
            {
                "check": one.check,
                "state": one.state.value,
                "found": one.found,
                "advice": one.advice,
                "blocks": one.blocks,
            }
            for one in result.findings
        ],
        "webhooks": [
            {
                "of": "connected accounts" if one.connect else "account",
                "action": one.action,
                "endpoint": one.detail if one.action != "failed" else None,
                "reason": one.detail if one.action == "failed" else None,
                "secret": one.secret,
                "replaces": one.replaced,
            }
            for one in result.webhooks
        ],
    }


def show(result: PspCheck) -> None:
    """The endpoints' secrets first, then the table, then one sentence."""
    for line in webhook_lines(result.webhooks):
        click.echo(line)
    rows = [
        {
            "check": one.check,
            "state": one.state.value,
            "found": one.found or "-",
            "to mend, or why not checked": one.advice,
        }
        for one in result.findings
    ]
    show_rows(rows, title="The account at the PSP", none="Nothing was checked.", as_json=False)
    click.echo(verdict(result.findings))


def verdict(findings: Sequence[AccountFinding]) -> str:
    """One sentence: whether money can be taken, and how many lines are to be mended or were not checked."""
    mend = sum(one.state is FindingState.MEND for one in findings)
    unchecked = sum(one.state is FindingState.NOT_CHECKED for one in findings)
    counted = f"{mend} to mend, {unchecked} not checked"
    if can_take_money(findings):
        return f"The account can take money: {counted}."
    names = ", ".join(one.check for one in findings if one.blocks and one.state is not FindingState.RIGHT)
    return f"The account can't take money, or it is not known ({names}): {counted}."


def webhook_lines(changes: Sequence[WebhookChange]) -> list[str]:
    """What became of each endpoint, and how the secrets are set; they are never shown again."""
    lines: list[str] = []
    for one in changes:
        of = "of connected accounts" if one.connect else "of the account"
        if one.action == "failed":
            lines.append(f"No endpoint for events {of} was created: {one.detail or 'the key may not'}")
            continue
        lines.append(f"{one.action.capitalize()} {one.detail}, which receives events {of}.")
        if one.secret is None:
            lines.append("  Its secret has not changed.")
        if one.replaced is not None:
            lines.append(f"  It replaces {one.replaced}: delete that one once the new secret is set.")
    secrets = [one.secret for one in changes if one.secret is not None]
    if secrets:
        lines += [
            f"Set {_SECRET}, or the file that {_SECRET}_FILE names, to this; it is shown only now.",
            "Add the secret of an endpoint that has not changed, after a comma. Then restart serve.",
            ",".join(secrets),
        ]
    return lines
