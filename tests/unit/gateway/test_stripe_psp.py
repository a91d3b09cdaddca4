"""The Stripe adapter through the provider's own SDK, against the sandbox engine in this process."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
import stripe
from stripe.params._dispute_modify_params import DisputeModifyParams, DisputeModifyParamsEvidence
from typing_extensions import override

from gateway.api.capture.disputes import EvidenceField
from gateway.ids import format_id, new_id
from gateway.payments.psp.dispute_port import EVIDENCE_FIELDS, DisputeUpdate, PspEvidenceRequest, RefundUpdate
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import (
    Captured,
    Held,
    PspCaptureRequest,
    PspEvent,
    PspEventKind,
    PspHoldRequest,
    PspIncrementRequest,
    PspRefundRequest,
    PspVoidRequest,
    Refunded,
    RequiresAction,
    Voided,
    WebhookRejectedError,
)
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.payments.psp.stripe.disputes import dispute_update, evidence_params
from gateway.payments.psp.stripe.responses import (
    StripeBalanceTransaction,
    StripeDispute,
    StripeEvidenceDetails,
)
from gateway.payments.psp.stripe.wire import verify_signature
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.settings import PspSettings
from sandbox.stripe.webhooks import sign
from tests.simulation.application import _json
from tests.simulation.in_process import WEBHOOK_SECRET, SeenRequest, Verdict, Wire, stripe_over

START = 1_790_000_000


class Bench:
    """The adapter over an engine, and what a test does to them."""

    def __init__(self) -> None:
        self.engine = PspEngine(
            PspSettings(
                seed=1,
                start_at=START,
                pull_webhooks=True,
                webhook_url="http://system.test/hook",
                webhook_secret=WEBHOOK_SECRET,
            )
        )
        self.wire = Wire(engine=self.engine)
        self.seconds = 0.0
        self.psp: StripePsp = stripe_over(self.wire, monotonic=lambda: self.seconds)

    def control(self, path: str, body: dict[str, Any]) -> Any:
        return _json(self.engine, "POST", f"/_sandbox/{path}", body)

    def pass_days(self, days: float) -> None:
        self.control("clock", {"now": START + int(days * 86_400), "frozen": True})

    def say(self, verdict: Verdict) -> None:
        async def verdict_of(_asked: SeenRequest) -> Verdict:
            return verdict

        self.wire.verdict = verdict_of

    def events(self) -> list[PspEvent]:
        return [self.psp.parse_event(letter.body) for letter in self.engine.pop_webhooks()]


@pytest.fixture
def bench() -> Iterator[Bench]:
    opened = Bench()
    yield opened
    opened.engine.close()


def order(
    method: str = "pm_card_visa", *, minor: int = 2000, currency: str = "EUR", key: str = "k"
) -> PspHoldRequest:
    return PspHoldRequest(
        idempotency_key=key,
        session_id=new_id(),
        authorization_id=UUID(int=7),
        amount_minor=minor,
        currency=currency,
        payment_method=method,
    )


async def held(bench: Bench, method: str = "pm_card_visa", **changes: Any) -> Held:
    outcome = await bench.psp.hold(order(method, **changes))
    assert isinstance(outcome, Held)
    return outcome


async def capture(bench: Bench, hold: Held, minor: int = 1500, key: str = "c") -> Any:
    return await bench.psp.capture(
        PspCaptureRequest(
            idempotency_key=key, psp_payment=hold.psp_payment, amount_minor=minor, currency="EUR"
        )
    )


async def test_a_hold_says_how_long_it_lasts_and_how_far_it_may_be_raised(bench: Bench) -> None:
    hold = await held(bench)
    assert hold.amount_minor == 2000
    assert hold.capture_before == datetime.fromtimestamp(START, tz=UTC) + timedelta(days=7)
    assert (hold.incrementable, hold.max_capture_minor) == (True, 2300)


async def test_a_capture_names_the_charge_and_what_the_psp_kept(bench: Bench) -> None:
    captured = await capture(bench, await held(bench))
    assert isinstance(captured, Captured)
    assert (captured.amount_minor, captured.fee_minor, captured.fee_currency) == (1500, 48, "EUR")


@pytest.mark.parametrize("currency", ["ISK", "JPY", "KWD"])
async def test_amounts_keep_their_iso_minor_units_whatever_the_psp_counts_in(
    bench: Bench, currency: str
) -> None:
    assert (await held(bench, minor=5000, currency=currency)).amount_minor == 5000


async def test_an_amount_that_the_psp_cannot_express_is_rejected_and_not_rounded(bench: Bench) -> None:
    outcome = await bench.psp.hold(order(minor=5001, currency="KWD"))
    assert outcome == Declined(code="amount_not_representable", retryable=False)


@pytest.mark.parametrize(
    ("method", "code", "retryable"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline", False),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds", True),
    ],
)
async def test_a_decline_carries_the_issuers_code(
    bench: Bench, method: str, code: str, *, retryable: bool
) -> None:
    outcome = await bench.psp.hold(order(method))
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable) == (code, retryable)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict.LOST_BEFORE,
        Verdict.LOST_AFTER,
        Verdict.ERROR_BEFORE,
        Verdict.ERROR_AFTER,
        Verdict.RATE_LIMITED,
    ],
)
async def test_no_answer_is_never_a_no_and_the_same_key_finds_the_one_effect(
    bench: Bench, verdict: Verdict
) -> None:
    wanted = order()
    bench.say(verdict)
    assert isinstance(await bench.psp.hold(wanted), PspOutcomeUnknown)
    bench.say(Verdict.DELIVER)
    assert isinstance(await bench.psp.hold(wanted), Held)
    assert len(list(bench.engine.state.records.scan("payment_intent", "acct_platform"))) == 1


async def test_a_capture_repeated_past_the_keys_lifetime_reads_what_was_captured(bench: Bench) -> None:
    hold = await held(bench)
    first = await capture(bench, hold)
    bench.pass_days(2)
    assert await capture(bench, hold) == first


async def test_a_capture_of_a_hold_that_has_ended_is_a_void(bench: Bench) -> None:
    hold = await held(bench)
    bench.pass_days(8)
    assert await capture(bench, hold) == Voided()


async def test_a_void_of_what_was_captured_says_so(bench: Bench) -> None:
    hold = await held(bench)
    await capture(bench, hold)
    outcome = await bench.psp.void(PspVoidRequest(idempotency_key="v", psp_payment=hold.psp_payment))
    assert isinstance(outcome, Captured)


async def test_a_declined_increment_leaves_the_hold(bench: Bench) -> None:
    hold = await held(bench)
    fault = {"kind": "decline", "code": "card_declined", "decline_code": "generic_decline"}
    bench.control("faults", {"match": {"path_regex": "increment"}, "fault": fault})
    raising = PspIncrementRequest(
        idempotency_key="i", psp_payment=hold.psp_payment, amount_minor=3000, currency="EUR"
    )
    assert isinstance(await bench.psp.increment(raising), Declined)
    current = await bench.psp.inspect(psp_payment=hold.psp_payment)
    assert isinstance(current, Held)
    assert current.amount_minor == 2000


@pytest.mark.parametrize(("outcome", "kind"), [("succeed", Held), ("fail", Declined)])
async def test_a_challenge_ends_as_the_cardholder_ends_it(bench: Bench, outcome: str, kind: type) -> None:
    sent = await bench.psp.hold(order("pm_card_authenticationRequired"))
    assert isinstance(sent, RequiresAction)
    bench.control(f"payment_intents/{sent.psp_payment}/authenticate", {"outcome": outcome})
    assert isinstance(await bench.psp.inspect(psp_payment=sent.psp_payment), kind)


async def test_a_hold_is_found_by_our_metadata(bench: Bench) -> None:
    hold = await held(bench)
    found = await bench.psp.find_hold(authorization_id=UUID(int=7))
    assert isinstance(found, Held)
    assert found.psp_payment == hold.psp_payment
    assert await bench.psp.find_hold(authorization_id=UUID(int=8)) is None


async def test_a_refund_that_was_returned_is_not_found_as_done_and_is_reported(bench: Bench) -> None:
    captured = await capture(bench, await held(bench))
    refund_id = new_id()
    done = await bench.psp.refund(
        PspRefundRequest(
            idempotency_key="r",
            psp_charge=captured.psp_charge,
            amount_minor=500,
            currency="EUR",
            metadata={"refund": format_id("ref", refund_id)},
        )
    )
    assert isinstance(done, Refunded)
    assert await bench.psp.find_refund(psp_charge=captured.psp_charge, refund_id=refund_id) == done
    bench.control(f"refunds/{done.psp_refund}/fail", {})
    assert await bench.psp.find_refund(psp_charge=captured.psp_charge, refund_id=refund_id) is None
    assert done.psp_refund in {event.refund for event in bench.events()}
    failed = await bench.psp.read_refund(psp_refund=done.psp_refund)
    assert isinstance(failed, RefundUpdate)
    assert (failed.state, failed.is_ours, failed.amount_minor) == ("failed", True, 500)
    records = await bench.psp.list_records()
    assert not isinstance(records, PspOutcomeUnknown)
    assert [(record.captured_minor, record.refunded_minor) for record in records] == [(1500, 0)]


async def test_an_inquiry_is_no_loss_and_a_dispute_is_one_once_money_moved(bench: Bench) -> None:
    for method, key in (("pm_card_createDisputeInquiry", "1"), ("pm_card_createDispute", "2")):
        await capture(bench, await held(bench, method, key=f"h{key}"), key=f"c{key}")
    named = sorted({event.dispute for event in bench.events() if event.dispute is not None})
    read = [await bench.psp.read_dispute(psp_dispute=one) for one in named]
    due = datetime.fromtimestamp(START, tz=UTC) + timedelta(days=7)
    assert all(isinstance(one, DisputeUpdate) and one.respond_by == due for one in read)
    assert {(one.state, one.amount_minor, one.withdrawn_minor, one.fee_minor) for one in read} == {  # type: ignore[union-attr]
        ("inquiry", 1500, None, 0),
        ("opened", 1500, 1500, 2000),
    }


async def test_a_dispute_after_a_full_refund_withdraws_nothing_and_costs_its_fee(bench: Bench) -> None:
    captured = await capture(bench, await held(bench))
    await bench.psp.refund(
        PspRefundRequest(
            idempotency_key="r", psp_charge=captured.psp_charge, amount_minor=1500, currency="EUR"
        )
    )
    made = bench.control(f"charges/{captured.psp_charge}/dispute", {})
    read = await bench.psp.read_dispute(psp_dispute=made["id"])
    assert isinstance(read, DisputeUpdate)
    assert (read.state, read.amount_minor, read.withdrawn_minor, read.fee_minor) == ("opened", 0, 0, 2000)


async def test_a_refund_of_the_dashboard_is_read_back_whatever_its_event_says(bench: Bench) -> None:
    captured = await capture(bench, await held(bench))
    await bench.psp.refund(
        PspRefundRequest(
            idempotency_key="r", psp_charge=captured.psp_charge, amount_minor=500, currency="EUR"
        )
    )
    (named,) = {event.refund for event in bench.events() if event.refund is not None}
    assert named is not None
    read = await bench.psp.read_refund(psp_refund=named)
    assert isinstance(read, RefundUpdate)
    assert (read.state, read.is_ours, read.amount_minor, read.currency) == ("succeeded", False, 500, "EUR")
    assert isinstance(await bench.psp.read_refund(psp_refund="re_none"), Declined)


@pytest.mark.parametrize(
    ("key", "livemode", "ours"),
    [
        ("sk_test_1", False, True),
        ("rk_live_1", True, True),
        ("sk_live_1", False, False),
        ("sk_test_1", True, False),
        ("sk_live_1", None, False),
    ],
)
def test_an_event_of_the_other_mode_names_nothing(key: str, *, livemode: bool | None, ours: bool) -> None:
    psp = StripePsp(api_key=key, webhook_secret="w")
    subject = {"object": "refund", "id": "re_1", "payment_intent": "pi_1", "metadata": [], "status": 7}
    body = {"id": "evt_1", "type": "refund.updated", "data": {"object": subject}, "livemode": livemode}
    event = psp.parse_event(json.dumps(body).encode())
    assert (event.refund, event.psp_payment) == (("re_1", "pi_1") if ours else (None, None))


def evidence(psp_dispute: str, *, submit: bool, key: str = "e", **texts: str) -> PspEvidenceRequest:
    return PspEvidenceRequest(
        idempotency_key=key, psp_dispute=psp_dispute, evidence=texts or {"statement": "a"}, submit=submit
    )


async def test_evidence_is_staged_submitted_once_and_not_after_its_deadline(bench: Bench) -> None:
    captured = await capture(bench, await held(bench))
    made = bench.control(f"charges/{captured.psp_charge}/dispute", {})
    staged = await bench.psp.submit_evidence(evidence(made["id"], submit=False))
    assert isinstance(staged, DisputeUpdate)
    assert (staged.response, staged.submissions) == ("needed", 0)
    sent = await bench.psp.submit_evidence(evidence(made["id"], submit=True, key="f"))
    assert isinstance(sent, DisputeUpdate)
    assert (sent.state, sent.response, sent.submissions) == ("opened", "under_review", 1)
    assert isinstance(await bench.psp.submit_evidence(evidence(made["id"], submit=True, key="g")), Declined)
    bench.control(f"disputes/{made['id']}/close", {"outcome": "lost"})
    bench.control(f"disputes/{made['id']}/appeal", {})
    bench.pass_days(8)
    assert isinstance(await bench.psp.submit_evidence(evidence(made["id"], submit=True, key="h")), Declined)


async def test_accepting_a_dispute_loses_it(bench: Bench) -> None:
    captured = await capture(bench, await held(bench))
    made = bench.control(f"charges/{captured.psp_charge}/dispute", {})
    for key in ("a", "a", "b"):
        lost = await bench.psp.accept_dispute(psp_dispute=made["id"], idempotency_key=key)
        if key == "a":
            assert isinstance(lost, DisputeUpdate)
            assert (lost.state, lost.response) == ("lost", "none")
        else:
            assert isinstance(lost, Declined)


def test_evidence_is_sent_under_fields_that_the_sdk_knows() -> None:
    known = set(DisputeModifyParamsEvidence.__annotations__)
    params = evidence_params(evidence("du_1", submit=True, **dict.fromkeys(EVIDENCE_FIELDS, "a")))
    assert set(params) <= set(DisputeModifyParams.__annotations__)
    assert len(params["evidence"]) == len(EVIDENCE_FIELDS)
    assert set(params["evidence"]) <= known
    assert set(get_args(EvidenceField)) == set(EVIDENCE_FIELDS)


@pytest.mark.parametrize(
    ("status", "moved", "state", "response"),
    [
        ("warning_needs_response", [], "inquiry", "needed"),
        ("warning_under_review", [], "inquiry", "under_review"),
        ("warning_closed", [], "closed", "none"),
        ("prevented", [], "closed", "none"),
        ("prevented", [-1500, 1500], "won", "none"),
        ("needs_response", [], "opened", "needed"),
        ("under_review", [-1500], "opened", "under_review"),
        ("appeal_needs_response", [-1500], "lost", "needed"),
        ("appeal_under_review", [-1500], "lost", "under_review"),
        ("won", [-1500, 1500], "won", "none"),
        ("lost", [-1500], "lost", "none"),
        ("a_state_of_tomorrow", [-1500], "opened", "none"),
    ],
)
def test_each_state_of_a_dispute_says_what_became_of_its_money(
    status: str, moved: list[int], state: str, response: str
) -> None:
    movements = [StripeBalanceTransaction(id="t", amount=one, fee=0, currency="eur") for one in moved]
    read = dispute_update(
        StripeDispute(id="du_1", status=status, amount=1500, currency="eur", balance_transactions=movements)
    )
    assert (read.state, read.response) == (state, response)
    assert read.withdrawn_minor == (1500 if moved else None)


def test_a_fee_has_the_currency_of_the_movement_that_charged_it() -> None:
    """A dispute of 1500 JPY on an account in euro: 8.53 withdrawn and 20.00 charged, both euro."""
    movement = StripeBalanceTransaction(id="t", amount=-853, fee=2000, currency="eur")
    read = dispute_update(
        StripeDispute(
            id="du_1",
            status="needs_response",
            amount=1500,
            currency="jpy",
            balance_transactions=[movement],
            evidence_details=StripeEvidenceDetails(due_by=0),
        )
    )
    assert (read.amount_minor, read.withdrawn_minor, read.currency) == (1500, 1500, "JPY")
    assert (read.fee_minor, read.fee_currency, read.respond_by) == (2000, "EUR", None)


async def test_a_webhook_is_read_only_with_its_signature(bench: Bench) -> None:
    await held(bench)
    letter = bench.engine.pop_webhooks()[0]
    signature = letter.headers["Stripe-Signature"]
    event = bench.psp.read_event(body=letter.body, signature=signature)
    assert event.id == json.loads(letter.body)["id"]
    with pytest.raises(WebhookRejectedError):
        bench.psp.read_event(body=letter.body + b" ", signature=signature)


def _by_the_sdk(body: bytes, signature: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(body, signature, secret, 300))
    except stripe.SignatureVerificationError:
        return False


@pytest.mark.parametrize(
    "alter",
    [
        lambda good: good,
        lambda good: good.replace("v1=", "v1=00,v1="),
        lambda good: good.replace("v1=", "v0="),
        lambda good: good + ",v0=0",
        lambda good: good[:-1] + ("0" if good[-1] != "0" else "1"),
        lambda good: good.replace("t=", "t=1"),
        lambda good: good.partition(",")[2],
        lambda _good: "",
        lambda _good: "t=,v1=",
        lambda _good: "t=é,v1=é",
        lambda _good: f"t={'9' * 400},v1=00",
    ],
)
@pytest.mark.parametrize("age_s", [0, 299, 400])
def test_a_signature_is_good_for_us_if_it_is_for_the_sdk(alter: Any, age_s: int) -> None:
    body, secret = b'{"id": "evt"}', "whsec_x"
    signature = alter(sign(body=body, secret=secret, timestamp=int(time.time()) - age_s))
    try:
        verify_signature(body, signature, secrets=["whsec_other", secret], tolerance_s=300)
        good = True
    except WebhookRejectedError:
        good = False
    assert good is _by_the_sdk(body, signature, secret)


async def test_a_silent_psp_is_sent_nothing_for_a_while_and_tried_again(bench: Bench) -> None:
    bench.say(Verdict.LOST_BEFORE)
    for number in range(20):
        await bench.psp.hold(order(key=f"k{number}"))
    bench.say(Verdict.DELIVER)
    shed = await bench.psp.hold(order())
    assert isinstance(shed, PspOutcomeUnknown)
    assert "no request is sent" in shed.reason
    bench.seconds += 6
    assert isinstance(await bench.psp.hold(order()), Held)


@pytest.mark.parametrize(
    "body", [b"<html>", b"{", b"[]", b'{"id": 7, "status": "succeeded"}', b'{"id": "pi_1"}']
)
async def test_an_answer_that_cannot_be_read_is_unknown_and_no_rejection(body: bytes) -> None:
    class Garbling(stripe.HTTPClient):
        """Answers 200 with a body of the test's."""

        name = "garbling"

        @override
        async def request_async(
            self, method: str, url: str, headers: Any, post_data: Any = None
        ) -> tuple[bytes, int, dict[str, str]]:
            return body, 200, {}

    psp = StripePsp(api_key="sk_test", webhook_secret="w", base_url="http://psp", http_client=Garbling())
    sent = PspCaptureRequest(idempotency_key="c", psp_payment="pi_1", amount_minor=1190, currency="EUR")
    assert isinstance(await psp.capture(sent), PspOutcomeUnknown)
    assert isinstance(await psp.list_records(), PspOutcomeUnknown)


@pytest.mark.parametrize(
    ("stripe_type", "kind"),
    [
        ("payment_intent.canceled", PspEventKind.HOLD_ENDED),
        ("charge.expired", PspEventKind.HOLD_ENDED),
        ("charge.refunded", PspEventKind.HOLD_ENDED),
        ("payment_intent.succeeded", PspEventKind.MONEY_CAPTURED),
        ("an.event.of.tomorrow", PspEventKind.PAYMENT_CHANGED),
    ],
)
def test_an_event_says_whether_a_hold_may_have_ended(
    bench: Bench, stripe_type: str, kind: PspEventKind
) -> None:
    body = json.dumps({"id": "evt_1", "type": stripe_type, "data": {"object": {}}}).encode()
    event = bench.psp.parse_event(body)
    assert (event.kind, event.psp_type, event.psp_payment) == (kind, stripe_type, None)
