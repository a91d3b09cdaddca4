"""The sandbox PSP's own arithmetic and grammar, over all inputs."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stripe._encode import _api_encode

from sandbox.stripe.access import PspRequest
from sandbox.stripe.currencies import exponent, from_cents, share_of
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.forms import Params, parse_form
from sandbox.stripe.problems import PspProblem
from sandbox.stripe.search import parse_query
from sandbox.stripe.settings import PspSettings
from sandbox.stripe.webhooks import RETRY_AFTER_S, WebhookQueue, sign
from tests.integration.sandbox_psp_client import KEY, START

CURRENCIES = st.sampled_from(["eur", "chf", "jpy", "kwd", "isk"])
STEPS = {"kwd": 10, "isk": 100}


@given(amount=st.integers(0, 99_999_999), basis_points=st.integers(0, 10_000), currency=CURRENCIES)
def test_a_share_is_the_exact_product_rounded_half_up_to_the_step(
    amount: int, basis_points: int, currency: str
) -> None:
    step = STEPS.get(currency, 1)
    exact = Decimal(amount) * basis_points / 10_000 / step
    assert share_of(amount, basis_points, currency) == int(exact.quantize(Decimal(1), ROUND_HALF_UP)) * step


@given(cents=st.integers(0, 100_000), currency=CURRENCIES)
def test_hundredths_become_the_currency_s_own_units(cents: int, currency: str) -> None:
    step = STEPS.get(currency, 1)
    exact = Decimal(cents).scaleb(exponent(currency) - 2) / step
    assert from_cents(cents, currency) == int(exact.quantize(Decimal(1), ROUND_HALF_UP)) * step


NAMES = st.text("abcdefghij_", min_size=1, max_size=8)
TEXTS = st.text(min_size=1, max_size=20)
LEAVES = st.one_of(TEXTS, st.integers(0, 10**9), st.booleans())
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.lists(TEXTS, min_size=1, max_size=4), st.dictionaries(NAMES, inner, min_size=1, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def as_sent(value: Any) -> Any:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return {key: as_sent(item) for key, item in value.items()}
        case list():
            return {str(at): as_sent(item) for at, item in enumerate(value)}
        case _:
            return str(value)


@given(tree=TREES)
def test_what_the_provider_s_client_encodes_is_read_back(tree: dict[str, Any]) -> None:
    encoded = urlencode(list(_api_encode(tree)))
    try:
        parsed = parse_form(encoded)
    except PspProblem as rejected:
        assert "credit card" in rejected.message  # noqa: PT017 - a number drawn at random may look like one
        return
    assert parsed == as_sent(tree)


@given(
    body=st.binary(max_size=300), path=st.sampled_from(["payment_intents", "transfers", "accounts", "topups"])
)
@settings(max_examples=60)
def test_no_body_breaks_the_engine(body: bytes, path: str) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    reply = ENGINE.handle(PspRequest(method="POST", path=f"/v1/{path}", headers=headers, body=body))
    assert reply.status in {200, 400}


ENGINE = PspEngine(PspSettings(seed=1, start_at=START, pull_webhooks=True))


@given(query=st.text(max_size=60))
def test_a_query_is_read_or_rejected(query: str) -> None:
    try:
        clauses, _ = parse_query(query)
    except PspProblem as rejected:
        assert rejected.param == "query"  # noqa: PT017 - both outcomes are right
    else:
        assert clauses


@given(
    amounts=st.lists(st.integers(50, 9000), min_size=1, max_size=4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9000), st.booleans()), max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_captures_and_refunds_in_any_order_conserve_money(
    amounts: list[int], steps: list[tuple[int, int, bool]]
) -> None:
    engine = PspEngine(PspSettings(seed=1, start_at=START, pull_webhooks=True, settlement_days=0))

    def post(path: str, **fields: Any) -> tuple[int, Any]:

        body = urlencode(fields).encode()
        headers = {"authorization": f"Bearer {KEY}"}
        reply = engine.handle(PspRequest(method="POST", path=path, headers=headers, body=body))
        return reply.status, msgspec.json.decode(reply.body)

    terms = {
        "currency": "eur",
        "capture_method": "manual",
        "confirm": "true",
        "return_url": "https://app.test/back",
        "payment_method": "pm_card_visa",
    }
    intents = [post("/v1/payment_intents", amount=amount, **terms)[1] for amount in amounts]
    captured = dict.fromkeys((intent["id"] for intent in intents), 0)
    given_back = dict(captured)
    for index, amount, capture in steps:
        intent = intents[index % len(intents)]["id"]
        if capture:
            status, _ = post(f"/v1/payment_intents/{intent}/capture", amount_to_capture=amount)
            assert (status == 200) == (captured[intent] == 0 and amount <= amounts[index % len(intents)])
            captured[intent] = amount if status == 200 else captured[intent]
        else:
            status, _ = post("/v1/refunds", payment_intent=intent, amount=amount)
            assert (status == 200) == (given_back[intent] + amount <= captured[intent])
            given_back[intent] += amount if status == 200 else 0
    fees = sum(share_of(amount, 150, "eur") + 25 for amount in captured.values() if amount)
    expected = sum(captured.values()) - sum(given_back.values()) - fees
    assert engine.state.ledger.available("acct_platform", "eur", engine.state.now) == expected


@given(body=st.binary(max_size=100), timestamp=st.integers(0, 2**33))
def test_a_signature_is_of_this_body_at_this_second(body: bytes, timestamp: int) -> None:
    signature = sign(body=body, secret="whsec_a", timestamp=timestamp)
    assert signature.startswith(f"t={timestamp},v1=")
    assert signature != sign(body=body + b"x", secret="whsec_a", timestamp=timestamp)
    assert signature != sign(body=body, secret="whsec_b", timestamp=timestamp)


def test_a_delivery_is_given_up_after_its_last_retry() -> None:
    queue = WebhookQueue()
    queue.add_endpoint({"id": "we_1", "status": "enabled", "enabled_events": ["*"], "_connect": None})
    delivery = queue.stage(event={"id": "evt_1", "type": "x"}, endpoint_id="we_1", now=0)
    queue.commit()
    now, tries = 0, 0
    while True:
        [delivery] = queue.pop_due(now=now, limit=5)
        tries += 1
        if not queue.retry(delivery, now=now):
            break
        due = now + RETRY_AFTER_S[tries - 1]
        assert due > now
        assert queue.pop_due(now=due - 1, limit=5) == []
        now = due
    assert (tries, len(queue)) == (12, 0)
    assert now < 3 * 86_400 + 6 * 3600  # about three days, as the provider does


@pytest.mark.parametrize("text", ["1", "0", "a"])
def test_a_boolean_is_true_or_false_only(text: str) -> None:
    with pytest.raises(PspProblem):
        Params({"confirm": text}).boolean("confirm")
