"""One list of Stripe's events: what the webhook subscribes to, the adapter handles and the sandbox knows."""

import json
import time
from datetime import UTC, datetime
from typing import Any, get_args
from urllib.parse import urlsplit

import msgspec
import pytest
import stripe
from stripe.params import WebhookEndpointCreateParams, WebhookEndpointUpdateParams
from typing_extensions import override

from gateway.ids import format_id, new_id
from gateway.payments.psp.port import PspEventKind, WebhookRejectedError
from gateway.payments.psp.stripe.account_reader import PREVIEW_VERSION, AccountReader
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.payments.psp.stripe.event_types import ACCOUNT_EVENTS, CONNECT_EVENTS, EVENT_KINDS
from gateway.payments.psp.stripe.kept_events import kept_body
from gateway.payments.psp.stripe.objects import parse_event
from gateway.payments.psp.stripe.wire import API_VERSION
from sandbox.stripe.event_types import EVENT_TYPES
from sandbox.stripe.forms import parse_form
from sandbox.stripe.settings import PREVIEW_VERSION as SANDBOX_PREVIEW_VERSION
from sandbox.stripe.webhooks import sign

URL = "https://gateway.example/v1/psp/webhooks"
ENDPOINT: dict[str, Any] = {
    "id": "we_1",
    "url": URL,
    "status": "enabled",
    "enabled_events": ["*"],
    "api_version": API_VERSION,
}

# Written out a second time, so that an event is neither added nor lost by accident.
EXPECTED = """
    payment_intent.amount_capturable_updated payment_intent.requires_action payment_intent.succeeded
    payment_intent.payment_failed payment_intent.canceled charge.expired charge.refunded charge.updated
    refund.created refund.updated refund.failed charge.dispute.created charge.dispute.updated
    charge.dispute.closed charge.dispute.funds_withdrawn charge.dispute.funds_reinstated
    radar.early_fraud_warning.created setup_intent.succeeded setup_intent.setup_failed payment_method.attached
    payment_method.detached
    payment_method.automatically_updated mandate.updated topup.succeeded topup.failed topup.canceled
    topup.reversed transfer.reversed payout.paid payout.failed
    checkout.session.completed checkout.session.expired
"""


def allowed(params: Any, name: str) -> set[str]:
    """The values that the SDK's type of a parameter allows."""

    def literals(annotation: Any) -> set[str]:
        found = get_args(annotation)
        return set().union(*(literals(one) if get_args(one) else {one} for one in found)) if found else set()

    return literals(params.__annotations__[name])


def test_an_event_of_a_hosted_page_names_the_page_and_keeps_neither_its_address_nor_its_customer() -> None:
    session = new_id()
    body = msgspec.json.encode(
        {
            "id": "evt_1",
            "type": "checkout.session.completed",
            "livemode": False,
            "created": 1,
            "data": {
                "object": {
                    "object": "checkout.session",
                    "id": "cs_test_1",
                    "payment_intent": "pi_1",
                    "status": "complete",
                    "url": "https://checkout.stripe.com/c/pay/cs_test_1#SECRET",
                    "customer_details": {"email": "driver@example.test"},
                    "metadata": {"session": format_id("ses", session)},
                }
            },
        }
    )
    kept = kept_body(body)
    for one in (body, kept):
        event = parse_event(one, livemode=False)
        assert (event.psp_payment, event.session_id, event.relevant) == ("cs_test_1", session, True)
    assert b"SECRET" not in kept
    assert b"driver@" not in kept


def test_the_subscription_is_exactly_what_can_change_our_state() -> None:
    assert set(EXPECTED.split()) == ACCOUNT_EVENTS
    assert {"account.updated", "capability.updated"} == CONNECT_EVENTS


def test_the_adapter_gives_each_event_that_it_subscribes_to_its_meaning() -> None:
    assert set(EVENT_KINDS) == ACCOUNT_EVENTS
    for name in (*ACCOUNT_EVENTS, *CONNECT_EVENTS):
        body = json.dumps({"id": "evt_1", "type": name, "data": {"object": {"object": "x"}}}).encode()
        event = parse_event(body, livemode=False)
        assert event.psp_type == name
        assert event.kind is EVENT_KINDS.get(name, PspEventKind.PAYMENT_CHANGED)


def test_the_provider_and_the_sandbox_know_every_event() -> None:
    known = allowed(WebhookEndpointUpdateParams, "enabled_events") - {"*"}
    assert known == EVENT_TYPES
    assert known == allowed(WebhookEndpointCreateParams, "enabled_events") - {"*"}
    assert known >= ACCOUNT_EVENTS | CONNECT_EVENTS


class Recording(stripe.HTTPClient):
    """Answers every list with `listed`, and every change with an endpoint; keeps what was sent."""

    name = "recording"

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        super().__init__()
        self.listed = listed
        self.asked: list[dict[str, Any]] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []

    @override
    async def request_async(
        self, method: str, url: str, headers: Any, post_data: Any = None
    ) -> tuple[bytes, int, dict[str, str]]:
        parts = urlsplit(url)
        if method == "get":
            self.asked.append(parse_form(parts.query))
            return json.dumps({"data": self.listed, "has_more": False}).encode(), 200, {}
        self.sent.append((parts.path, parse_form(post_data)))
        return json.dumps({**ENDPOINT, "id": "we_9", "secret": "whsec_9"}).encode(), 200, {}

    @override
    async def close_async(self) -> None:
        pass


async def test_the_poll_asks_for_the_same_events_in_lists_that_stripe_takes() -> None:
    http = Recording([])
    psp = StripePsp(api_key="sk_test_1", webhook_secret="whsec_1", http_client=http)
    since = datetime(2026, 11, 1, tzinfo=UTC)
    assert [len(page) async for page in psp.event_pages_since(since=since, limit=5)] == [0, 0]  # type: ignore[arg-type]
    asked = [list(query["types"].values()) for query in http.asked]
    assert max(map(len, asked)) <= 20
    assert sorted(name for types in asked for name in types) == sorted(ACCOUNT_EVENTS)


async def test_what_comes_with_every_session_crowds_no_refund_or_dispute_out_of_the_polls_list(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A list is cut at its newest events: what is rare and moves money has one of its own."""
    http = Recording([{"object": "event", "id": "evt_1"}, {"object": "event", "id": "evt_2"}])
    psp = StripePsp(api_key="sk_test_1", webhook_secret="whsec_1", http_client=http)
    since = datetime(2026, 11, 1, tzinfo=UTC)
    assert [len(page) async for page in psp.event_pages_since(since=since, limit=2)] == [2, 2]  # type: ignore[arg-type]
    assert capsys.readouterr().out.count("psp_events_cut_off") == 2
    (beside,) = [
        set(types)
        for types in (query["types"].values() for query in http.asked)
        if "charge.dispute.created" in types
    ]
    assert beside >= {
        "refund.created",
        "refund.failed",
        "payout.failed",
        "topup.reversed",
        "transfer.reversed",
    }
    assert not {name for name in beside if name.startswith(("payment_intent.", "setup_intent."))}
    assert not beside & {"charge.updated", "charge.refunded", "charge.expired"}


@pytest.mark.parametrize(
    ("there", "actions", "secrets"),
    [
        ([], ["created", "created"], ["whsec_9", "whsec_9"]),
        ([ENDPOINT], ["updated", "created"], [None, "whsec_9"]),
        ([{**ENDPOINT, "api_version": "2025-03-31.basil"}], ["created", "created"], ["whsec_9", "whsec_9"]),
        ([ENDPOINT, {**ENDPOINT, "application": "ca_1"}], ["updated", "updated"], [None, None]),
        ([{**ENDPOINT, "url": "https://shop.example"}], ["created", "created"], ["whsec_9", "whsec_9"]),
    ],
)
async def test_endpoints_are_created_and_updated_with_parameters_that_the_sdk_knows(
    there: list[dict[str, Any]], actions: list[str], secrets: list[str | None]
) -> None:
    http = Recording(there)
    reader = AccountReader(api_key="sk_test_1", base_url=None, timeout_s=1, http_client=http)
    changes = await reader.create_webhooks(URL)
    assert [one.action for one in changes] == actions
    assert [one.secret for one in changes] == secrets
    old = bool(there) and there[0]["url"] == URL and there[0]["api_version"] != API_VERSION
    assert [one.replaced for one in changes] == ["we_1" if old else None, None]
    versions = allowed(WebhookEndpointCreateParams, "api_version")
    for path, params in http.sent:
        types: Any = WebhookEndpointUpdateParams if path.endswith("/we_1") else WebhookEndpointCreateParams
        assert set(params) <= set(types.__annotations__)
        assert set(params["enabled_events"].values()) <= allowed(types, "enabled_events")
        assert params.get("api_version", API_VERSION) in versions


@pytest.mark.parametrize(("secret", "accepted"), [("whsec_a", True), ("whsec_b", True), ("whsec_c", False)])
def test_a_webhook_is_authentic_by_the_secret_of_either_endpoint(*, secret: str, accepted: bool) -> None:
    psp = StripePsp(api_key="sk_test_1", webhook_secret="whsec_a, whsec_b")
    body = json.dumps({"id": "evt_1", "type": "charge.expired", "data": {"object": {}}}).encode()
    signature = sign(body=body, secret=secret, timestamp=int(time.time()))
    if accepted:
        assert psp.read_event(body=body, signature=signature).id == "evt_1"
    else:
        with pytest.raises(WebhookRejectedError):
            psp.read_event(body=body, signature=signature)


def test_the_preview_of_the_pinned_version_is_that_of_the_sandbox() -> None:
    assert PREVIEW_VERSION == SANDBOX_PREVIEW_VERSION
