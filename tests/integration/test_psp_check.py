"""`networkcore psp check` against the sandbox PSP: every fault is found, nothing is charged."""

import json
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from gateway.payments.psp.stripe.account_facts import AccountFacts, ReadState
from gateway.payments.psp.stripe.account_reader import AccountReader
from gateway.payments.psp.stripe.event_types import ACCOUNT_EVENTS, CONNECT_EVENTS
from tests.fakes.command import networkcore
from tests.integration.sandbox_psp_client import KEY, Sandbox, process, sandbox

PUBLISHABLE = "pk_test_sandbox"
BASE = "http://127.0.0.1:8080"  # where a gateway with default settings is
WEBHOOK = f"{BASE}/v1/psp/webhooks"


@pytest.fixture
async def psp() -> AsyncIterator[Sandbox]:
    async with sandbox() as running:
        yield running


async def facts_of(psp: Sandbox, key: str = KEY, publishable_key: str | None = None) -> AccountFacts:
    reader = AccountReader(api_key=key, base_url=psp.psp.url, timeout_s=5, publishable_key=publishable_key)
    try:
        return await reader.read()
    finally:
        await reader.close()


async def test_every_resource_of_the_sandbox_can_be_read_and_says_its_version(psp: Sandbox) -> None:
    facts = await facts_of(psp)
    assert {name: read.detail for name, read in facts.reads.items() if read.state != "answered"} == {}
    assert {read.version for read in facts.reads.values()} == {"2026-10-28.endive"}
    assert facts.account is not None
    assert facts.account.charges_enabled
    assert facts.live is False
    assert facts.settlement_currencies is not None
    assert facts.settlement_currencies["EUR"] == "enabled"


async def test_reading_an_account_leaves_it_as_it_was(psp: Sandbox) -> None:
    await psp.hold()
    before = await psp.control("GET", "summary")
    count = len((await psp.v1.events.list_async({"limit": 100})).data)
    await facts_of(psp, publishable_key=PUBLISHABLE)
    assert await psp.control("GET", "summary") == before
    assert len((await psp.v1.events.list_async({"limit": 100})).data) == count


async def test_what_the_account_lacks_is_read_as_it_is(psp: Sandbox) -> None:
    await psp.control(
        "POST",
        "account",
        {
            "charges_enabled": False,
            "capabilities": {"card_payments": "inactive"},
            "settlement_currencies": {"eur": "disabled"},
            "statement_descriptor_prefix": "",
            "connect": False,
        },
    )
    facts = await facts_of(psp)
    assert facts.account is not None
    assert facts.account.charges_enabled is False
    assert facts.account.capabilities == {"card_payments": "inactive", "transfers": "active"}
    assert facts.account.disabled_reason
    assert facts.account.descriptor_prefix is None
    assert facts.settlement_currencies == {"CHF": "enabled", "EUR": "disabled"}
    assert facts.reads["connected_accounts"].state is ReadState.FAILED
    assert "Connect" in facts.reads["connected_accounts"].detail


@pytest.mark.parametrize("status", [400, 500])
async def test_a_read_that_is_not_answered_is_no_fact(psp: Sandbox, status: int) -> None:
    await psp.fault({"kind": "status", "status": status}, path_regex="balance_settings|/account$", times=0)
    facts = await facts_of(psp)
    assert (facts.account, facts.settlement_currencies) == (None, None)
    assert facts.reads["account"].state is ReadState.FAILED
    assert facts.reads["account"].status == status
    assert facts.live is False  # the balance says so, whatever became of the others


async def test_what_a_restricted_key_may_not_read_is_named_by_its_permission(psp: Sandbox) -> None:
    key = "rk_test_narrow"
    await psp.control("POST", "restricted_keys", {"key": key, "refused": ["refunds", "webhook_endpoints"]})
    facts = await facts_of(psp, key)
    refused = {name: read.detail for name, read in facts.reads.items() if read.state is ReadState.REFUSED}
    assert refused == {"refunds": "rak_refund_read", "webhook_endpoints": "rak_webhook_endpoint_read"}
    assert facts.endpoints is None


async def test_a_key_that_may_only_read_creates_no_webhook(psp: Sandbox) -> None:
    await psp.control("POST", "restricted_keys", {"key": "rk_test_reads", "read_only": True})
    reader = AccountReader(api_key="rk_test_reads", base_url=psp.psp.url, timeout_s=5)
    changes = await reader.create_webhooks(WEBHOOK)
    await reader.close()
    assert [(one.action, one.detail) for one in changes] == [("failed", "rak_webhook_endpoint_write")] * 2
    assert (await psp.v1.webhook_endpoints.list_async()).data == []


async def test_a_wrong_key_reads_nothing(psp: Sandbox) -> None:
    facts = await facts_of(psp, "sk_test_of_nobody")
    assert {read.status for read in facts.reads.values()} == {401}
    assert {read.state for read in facts.reads.values()} == {ReadState.FAILED}


async def test_the_publishable_key_is_tried_on_a_payment_of_the_account(psp: Sandbox) -> None:
    empty = (await facts_of(psp, publishable_key=PUBLISHABLE)).publishable_key
    assert empty is not None
    assert empty.same_account is None
    await psp.hold()
    own = (await facts_of(psp, publishable_key=PUBLISHABLE)).publishable_key
    other = (await facts_of(psp, publishable_key="pk_test_of_another")).publishable_key
    assert own is not None
    assert other is not None
    assert (own.same_account, other.same_account) == (True, False)


async def test_with_a_publishable_key_an_app_reads_its_payment_and_nothing_else(psp: Sandbox) -> None:
    held = await psp.hold()
    app = stripe.StripeClient(
        PUBLISHABLE,
        http_client=stripe.AIOHTTPClient(session=psp.http),
        base_addresses={"api": psp.psp.url},
        max_network_retries=0,
    )
    read = await app.v1.payment_intents.retrieve_async(held.id, {"client_secret": held.client_secret})
    assert read.id == held.id
    with pytest.raises(stripe.InvalidRequestError):
        await app.v1.payment_intents.retrieve_async(held.id, {"client_secret": "pi_1_secret_2"})
    with pytest.raises(stripe.PermissionError):
        await app.v1.balance.retrieve_async()
    with pytest.raises(stripe.PermissionError):
        await app.v1.refunds.create_async({"payment_intent": held.id})


async def test_webhooks_are_created_once_then_updated_and_each_receives_its_own_events(psp: Sandbox) -> None:
    reader = AccountReader(api_key=KEY, base_url=psp.psp.url, timeout_s=5)
    first = await reader.create_webhooks(WEBHOOK)
    ids = [one.detail for one in first]
    await psp.v1.webhook_endpoints.update_async(ids[0], {"enabled_events": ["*"], "disabled": True})
    second = await reader.create_webhooks(WEBHOOK)
    await reader.close()
    assert [one.action for one in first] == ["created", "created"]
    assert all(one.secret and one.secret.startswith("whsec_") for one in first)
    assert [(one.action, one.detail, one.secret) for one in second] == [
        ("updated", ids[0], None),
        ("updated", ids[1], None),
    ]
    found = {one.id: one for one in (await facts_of(psp)).endpoints or ()}
    assert found[ids[0]].events == ACCOUNT_EVENTS
    assert found[ids[1]].events == CONNECT_EVENTS
    assert [found[one].connect for one in ids] == [False, True]
    assert {one.enabled for one in found.values()} == {True}
    await psp.hold()
    await psp.v1.accounts.create_async({"country": "NL"})
    sent = [(webhook.endpoint_id, json.loads(webhook.body)["type"]) for webhook in psp.engine.pop_webhooks()]
    assert (ids[0], "payment_intent.amount_capturable_updated") in sent
    assert (ids[1], "account.updated") in sent
    assert {name for one, name in sent if one == ids[0]} <= ACCOUNT_EVENTS
    assert {name for one, name in sent if one == ids[1]} <= CONNECT_EVENTS


async def test_connected_accounts_are_read_to_the_end_of_their_list(psp: Sandbox) -> None:
    custom = await psp.v1.accounts.create_async({"country": "NL", "type": "custom"})
    params: Any = {"country": "NL", "type": "express", "capabilities": {"transfers": {"requested": True}}}
    made = [await psp.v1.accounts.create_async(params) for _ in range(101)]
    facts = await facts_of(psp)
    assert facts.all_connected
    found = {one.id: one for one in facts.connected or ()}
    assert found.keys() == {custom.id, *(one.id for one in made)}
    assert found[custom.id].transfers == "active"
    assert (found[made[0].id].transfers, found[made[0].id].disabled_reason) == (
        "inactive",
        "requirements.past_due",
    )


async def test_what_became_of_the_deliveries_is_read(psp: Sandbox) -> None:
    await psp.v1.webhook_endpoints.create_async({"url": WEBHOOK, "enabled_events": ["*"]})
    await psp.hold()
    waiting = (await facts_of(psp)).events
    psp.engine.pop_webhooks()
    accepted = (await facts_of(psp)).events
    assert waiting
    assert accepted
    assert {one.pending for one in waiting} == {1}
    assert {one.pending for one in accepted} == {0}
    assert {one.type for one in waiting} == {"payment_intent.amount_capturable_updated"}


@pytest.mark.parametrize(
    "params",
    [
        {"url": WEBHOOK, "enabled_events": ["payment_intent.paid"]},
        {"url": WEBHOOK, "enabled_events": ["*"], "api_version": "yesterday"},
        {"url": WEBHOOK, "enabled_events": []},
        {"url": "gateway.example", "enabled_events": ["*"]},
    ],
)
async def test_the_sandbox_refuses_an_endpoint_that_the_provider_refuses(
    psp: Sandbox, params: dict[str, Any]
) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.webhook_endpoints.create_async(params)


async def test_the_settlement_currencies_are_in_the_preview_alone(psp: Sandbox) -> None:
    settled = await psp.client.raw_request_async(
        "get", "/v1/balance_settings", stripe_version="2026-10-28.endive"
    )
    assert "settlement_currencies" not in settled.data["payments"]
    settings = await psp.v1.balance_settings.retrieve_async()
    assert settings.payments.payouts.status == "enabled"
    assert set(stripe.BalanceSettings.__annotations__) - {"OBJECT_NAME"} <= set(settings.to_dict())
    assert set(stripe.BalanceSettings.Payments.__annotations__) <= set(settings.payments.to_dict())


async def test_more_than_twenty_event_types_are_refused(psp: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.events.list_async({"types": sorted(ACCOUNT_EVENTS)[:21]})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a sandbox in its own process, set up as `networkcore dev` sets it up."""
    secret = tmp_path_factory.mktemp("psp") / "secret"
    secret.write_text("whsec_of_the_test", encoding="utf-8")
    arguments = (
        "--webhook-url",
        WEBHOOK,
        "--webhook-secret-file",
        str(secret),
        "--webhook-events",
        "gateway",
    )
    with process(*arguments) as (url, _):
        yield url


def control(url: str, path: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310 - the sandbox of this test
        f"{url}/_sandbox/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - likewise


def check(url: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    named = {f"NETWORKCORE_{name.upper()}": value for name, value in settings.items()}
    known = {"NETWORKCORE_PSP_API_KEY": KEY, "NETWORKCORE_PSP_BASE_URL": url}
    return networkcore("psp", "check", *arguments, environment=known | named)


def test_the_command_says_that_money_can_be_taken_and_what_it_did_not_check(served: str) -> None:
    run = check(served, "--json")
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["can_take_money"] is True
    unchecked = {one["check"]: one["advice"] for one in result["findings"] if one["state"] == "not checked"}
    assert set(unchecked) == {"currencies", "webhook deliveries", "publishable key"}
    assert "DATABASE_URL is missing" in unchecked["currencies"]
    assert not [one for one in result["findings"] if one["state"] == "mend"]
    table = check(served)
    assert table.returncode == 0
    assert "The account can take money: 0 to mend, 3 not checked." in table.stdout
    assert KEY not in run.stdout + table.stdout


def test_a_database_that_does_not_answer_is_said_and_stops_nothing(served: str) -> None:
    run = check(served, "--json", database_url="postgresql://nobody@127.0.0.1:9/none")
    assert run.returncode == 0, run.stderr
    (currencies,) = [one for one in json.loads(run.stdout)["findings"] if one["check"] == "currencies"]
    assert currencies["state"] == "not checked"
    assert "could not be read" in currencies["advice"]


def test_an_account_that_can_not_take_money_is_exit_status_1_with_what_to_mend(served: str) -> None:
    control(served, "account", {"capabilities": {"card_payments": "inactive"}})
    try:
        run = check(served)
    finally:
        control(served, "account", {"capabilities": {"card_payments": "active"}})
    assert run.returncode == 1
    assert "can't take money, or it is not known (card_payments)" in run.stdout
    assert "request the capability card_payments" in run.stdout


@pytest.mark.parametrize(
    ("settings", "check_name"),
    [
        ({"psp_api_key": "sk_test_of_nobody"}, "key"),
        ({"environment": "production"}, "mode"),
        ({"public_url": "https://elsewhere.example"}, "webhook"),
    ],
)
def test_settings_that_do_not_fit_the_account_are_exit_status_1(
    served: str, settings: dict[str, str], check_name: str
) -> None:
    run = check(served, "--json", **settings)
    assert run.returncode == 1, run.stderr
    states = {one["check"]: one["state"] for one in json.loads(run.stdout)["findings"]}
    assert states[check_name] == "mend"


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        ((), {"psp_base_url": "http://127.0.0.1:9"}, "the PSP does not answer at http://127.0.0.1:9"),
        ((), {"psp_api_key": ""}, "NETWORKCORE_PSP_API_KEY is missing"),
        ((), {"psp_api_ky": "x"}, "did you mean NETWORKCORE_PSP_API_KEY?"),
        (("--publishable-key", "sk_live_secret"), {}, "--publishable-key"),
        (("--create-webhook", "gateway.example"), {}, "--create-webhook"),
        (("--create-webhook", "https://gateway.example/hooks"), {}, "/v1/psp/webhooks alone"),
        (("--create-webhook", "https://gateway.example?a=b"), {}, "--create-webhook"),
    ],
)
def test_trouble_is_exit_status_2_and_one_line(
    served: str, arguments: tuple[str, ...], settings: dict[str, str], words: str
) -> None:
    run = check(served, *arguments, **settings)
    assert run.returncode == 2, run.stdout
    assert words in run.stderr
    assert run.stderr.count("\n") == 1
    assert "sk_live_secret" not in run.stderr


def test_the_secrets_of_new_endpoints_are_shown_once_with_where_to_set_them(served: str) -> None:
    gateway = "https://gateway.example"
    first = check(served, "--create-webhook", gateway)
    assert first.returncode == 0, first.stderr
    assert "NETWORKCORE_PSP_WEBHOOK_SECRET" in first.stdout
    secrets = next(line for line in first.stdout.splitlines() if line.startswith("whsec_"))
    assert len(secrets.split(",")) == 2
    again = check(served, "--json", "--create-webhook", f"{gateway}/v1/psp/webhooks")
    assert again.returncode == 0, again.stderr
    assert "whsec_" not in again.stdout
    assert [one["action"] for one in json.loads(again.stdout)["webhooks"]] == ["updated", "updated"]
    named = check(served, "--json", public_url=gateway)
    assert named.returncode == 0


def test_the_command_is_documented_in_its_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/going-live.md").read_text(encoding="utf-8")
    for option in ("--create-webhook", "--publishable-key", "--json"):
        assert option in guide
