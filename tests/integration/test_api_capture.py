"""The capture API over HTTP, on a real PostgreSQL: authorize, complete, read, release."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from gateway.database import Pool
from gateway.ids import format_id, new_id
from tests.fakes.api import EVSE, Api, authorization_body, cdr, open_api
from tests.fakes.parties import create_party
from tests.fakes.psp import CHALLENGE


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def test_the_hold_is_the_cost_limit_at_which_the_operator_stops_the_session(api: Api) -> None:
    made = await api.authorize(
        key="a1", payment={"type": "psp_payment_method", "payment_method": "pm_increment"}
    )
    assert made.json["cost_limit"] == made.json["amount"] == 2380
    raised = await api.call(
        "POST", f"/v1/authorizations/{made.json['id']}/increment", {"amount": 3000}, key="i1"
    )
    assert raised.status == 200, raised.text
    assert raised.json["cost_limit"] == raised.json["amount"] == 3000


async def test_a_session_is_authorized_completed_and_captured_from_the_frozen_tariff(api: Api) -> None:
    made = await api.authorize(key="a1", session_ref="ref-1", metadata={"order": "7"})
    assert made.status == 201
    shown = made.json
    assert shown["object"] == "authorization"
    assert shown["state"] == "authorized"
    assert shown["amount"] == 2380  # 40 kWh at 0.50 EUR + 19 %
    assert shown["cost_limit"] == 2380
    assert shown["currency"] == "EUR"
    assert shown["metadata"] == {"order": "7"}
    assert shown["tariff"]["display"]
    assert made.headers["ETag"] == f'"{shown["version"]}"'
    assert made.headers["Location"] == f"/v1/authorizations/{shown['id']}"

    ended = await api.call(
        "POST", f"/v1/sessions/{shown['session']}/complete", {"cdr": json.loads(cdr())}, key="c1"
    )
    assert ended.status == 200
    session = ended.json
    assert session["price"] == {"incl_vat": 1190, "excl_vat": 1000}
    assert session["capture"]["state"] == "succeeded"
    assert session["capture"]["amount"] == 1190
    assert session["energy_wh"] == 20_000

    capture = await api.call("GET", f"/v1/captures/{session['capture']['id']}")
    assert capture.json == session["capture"]
    price = (await api.call("GET", f"/v1/sessions/{shown['session']}/price")).json
    assert price["incl_vat"] == 1190
    assert price["lines"][0]["billed_volume"] == "20"
    assert price["explained"]
    expanded = (await api.call("GET", f"/v1/sessions/{shown['session']}?expand=price")).json
    assert expanded["price"] == price


async def test_the_cdr_reaches_pricing_without_passing_through_a_float(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    raw = b'{"cdr": ' + cdr(kwh="20.0000000000000000001") + b"}"
    ended = await api.call("POST", f"/v1/sessions/{shown['session']}/complete", raw, key="c1")
    assert ended.status == 200
    price = (await api.call("GET", f"/v1/sessions/{shown['session']}/price")).json
    assert price["lines"][0]["volume"] == "20.0000000000000000001"


async def test_metered_usage_ends_a_session_like_its_cdr(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    usage = {
        "started_at": "2026-10-29T09:00:00+01:00",
        "ended_at": "2026-10-29T10:00:00+01:00",
        "energy_wh": 20_000,
    }
    path = f"/v1/sessions/{shown['session']}/complete"
    ended = await api.call("POST", path, {"usage": usage}, key="c1")
    assert ended.status == 200
    assert ended.json["capture"]["amount"] == 1190
    again = await api.call("POST", path, {"usage": usage}, key="c2")
    assert again.json["capture"] == ended.json["capture"]
    assert api.psp.capture_effects == 1


async def test_a_declined_card_is_a_402_that_names_the_reason_and_the_objects(api: Api) -> None:
    payment = {"type": "psp_payment_method", "payment_method": "pm_declined"}
    declined = await api.authorize(key="a1", payment=payment)
    assert declined.status == 402
    problem = declined.json
    assert problem["code"] == "card_declined"
    assert problem["decline_code"] == "insufficient_funds"
    read = await api.call("GET", f"/v1/authorizations/{problem['authorization']}")
    assert read.json["state"] == "failed"


async def test_a_lost_answer_is_a_202_and_never_a_failure(api: Api) -> None:
    api.psp.faults.append("after")
    unknown = await api.authorize(key="a1")
    assert unknown.status == 202
    assert unknown.json["state"] == "outcome_unknown"


async def test_what_the_cardholder_must_do_is_handed_on(api: Api) -> None:
    made = await api.authorize(
        key="a1", payment={"type": "psp_payment_method", "payment_method": "pm_challenge"}
    )
    assert made.status == 201
    assert made.json["state"] == "requires_action"
    assert made.json["next_action"] == {"type": "redirect_to_url", "redirect_to_url": {"url": CHALLENGE}}
    assert made.json["redirect_url"] == CHALLENGE
    assert made.json["client_secret"].startswith("pi_")
    assert made.json["publishable_key"] == "pk_test_fake"
    assert made.headers["Cache-Control"] == "no-store"


async def test_an_evse_without_a_tariff_is_rejected_by_name(api: Api) -> None:
    for evse, status, code in (("XX*NO", 404, "evse_not_found"), ("DE*ABC*E2", 409, "tariff_missing")):
        rejected = await api.authorize(key=evse, evse_id=evse)
        assert (rejected.status, rejected.json["code"]) == (status, code)


async def test_two_rails_do_not_both_hold_one_session(api: Api) -> None:
    await api.authorize(key="a1", session_ref="shared")
    second = await api.authorize(key="a2", session_ref="shared")
    assert (second.status, second.json["code"]) == (409, "session_already_authorized")


async def test_an_account_that_does_not_cover_the_hold_is_a_402(api: Api) -> None:
    rejected = await api.authorize(key="a1", method="app", payment={"type": "partner_account"})
    assert (rejected.status, rejected.json["code"]) == (402, "account_limit_exceeded")


async def test_a_funded_account_bears_the_hold_and_shows_it(api: Api) -> None:
    await create_party(api, "superapp", kind="demand_partner")
    path = "/v1/partner-accounts/superapp/EUR"
    funded = await api.call(
        "POST", f"{path}/fundings", {"amount": 5000, "reference": "bank-1"}, party="admin", key="f1"
    )
    assert funded.status == 201
    made = await api.authorize(key="a1", party="superapp", method="app", payment={"type": "partner_account"})
    assert made.status == 201
    account = (await api.call("GET", path, party="superapp")).json
    assert account["held"] == 2380
    assert account["available"] == 5000 - 2380
    other = await api.call("GET", path, party="parking")
    assert other.status == 404


async def test_a_release_with_a_stale_etag_changes_nothing(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    path = f"/v1/authorizations/{shown['id']}/release"
    stale = await api.call("POST", path, {}, key="r1", headers={"If-Match": '"99"'})
    assert (stale.status, stale.json["code"]) == (412, "version_conflict")
    assert (await api.call("GET", f"/v1/authorizations/{shown['id']}")).json["state"] == "authorized"
    good = await api.call("POST", path, {}, key="r2", headers={"If-Match": f'"{shown["version"]}"'})
    assert good.status == 200
    assert good.json["state"] == "voided"
    odd = await api.call("POST", path, {}, key="r3", headers={"If-Match": "W/yesterday"})
    assert odd.json["errors"][0]["pointer"] == "If-Match"


async def test_another_partys_objects_are_not_found(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    for path in (
        f"/v1/authorizations/{shown['id']}",
        f"/v1/sessions/{shown['session']}",
        f"/v1/sessions/{shown['session']}/price",
        f"/v1/authorizations/{format_id('auth', new_id())}",
        "/v1/authorizations/nonsense",
    ):
        answer = await api.call("GET", path, party="superapp")
        assert (answer.status, answer.json["code"]) == (404, "not_found"), path
    for path in (
        f"/v1/authorizations/{shown['id']}/release",
        f"/v1/sessions/{shown['session']}/complete",
    ):
        body = {} if path.endswith("release") else {"cdr": json.loads(cdr())}
        answer = await api.call("POST", path, body, party="superapp", key=path)
        assert answer.status == 404, path
    assert (await api.call("GET", "/v1/sessions", party="superapp")).json["data"] == []
    assert len((await api.call("GET", "/v1/sessions", party="admin")).json["data"]) == 1


async def test_a_list_is_walked_by_its_cursor_without_loss_or_repeat(api: Api) -> None:
    for number in range(7):
        assert (await api.authorize(key=f"a{number}")).status == 201
    seen: list[str] = []
    path = "/v1/authorizations?limit=3"
    for _ in range(5):
        page = (await api.call("GET", path)).json
        seen += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            break
        path = f"/v1/authorizations?limit=3&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)


async def test_fifty_parallel_completes_capture_once(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    path = f"/v1/sessions/{shown['session']}/complete"
    body = {"cdr": json.loads(cdr())}
    answers = await asyncio.gather(
        *(api.call("POST", path, body, key="same" if number % 2 else f"own-{number}") for number in range(50))
    )
    assert {answer.status for answer in answers} <= {200, 409, 503}
    assert any(answer.status == 200 for answer in answers)
    assert api.psp.capture_effects == 1
    assert len((await api.call("GET", "/v1/captures")).json["data"]) == 1


async def test_a_cdr_that_differs_after_the_end_is_rejected(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    path = f"/v1/sessions/{shown['session']}/complete"
    await api.call("POST", path, {"cdr": json.loads(cdr())}, key="c1")
    other = await api.call("POST", path, {"cdr": json.loads(cdr(kwh="21", cdr_id="C2"))}, key="c2")
    assert (other.status, other.json["code"]) == (409, "state_conflict")


WRONG_FIELDS = [
    ({"evse_id": EVSE, "method": "card"}, "/payment"),
    (authorization_body(method="cash"), "/method"),
    (authorization_body(amount=12.5), "/amount"),
    (authorization_body(amount="1200"), "/amount"),
    (authorization_body(amount=0), "/amount"),
    (authorization_body(estimate={"energy_wh": -1, "duration_s": 0}), "/estimate/energy_wh"),
    (
        authorization_body(payment={"type": "psp_payment_method", "payment_method": ""}),
        "/payment/payment_method",
    ),
    (authorization_body(payment={"type": "bitcoin"}), "/payment"),
    (authorization_body(session_ref="a\x00b"), "/session_ref"),
    (authorization_body(metadata={"a": 1}), "/metadata/a"),
    (authorization_body(metadata={"k" * 41: "v"}), f"/metadata/{'k' * 41}"),
    (authorization_body(evse="x"), "/evse"),
    (authorization_body(evse_id="DE ABC"), "/evse_id"),
    (authorization_body(method="card", payment={"type": "partner_account"}), "/payment/type"),
]

GARBAGE = [
    (b"{", "malformed_json"),
    (b"\xff\xfe", "malformed_json"),
    (b'{"evse_id": "\\ud800"}', "malformed_json"),
    (b"[]", "invalid_parameters"),
    (b"", "invalid_parameters"),
    (b'{"evse_id": NaN}', "invalid_parameters"),
]


async def test_a_wrong_field_is_named_by_its_pointer_and_holds_nothing(api: Api) -> None:
    for body, pointer in WRONG_FIELDS:
        rejected = await api.call("POST", "/v1/authorizations", body, key="k")
        assert (rejected.status, rejected.json["code"]) == (400, "invalid_parameters"), body
        assert rejected.json["errors"][0]["pointer"] == pointer, body
    assert api.psp.calls == []


async def test_garbage_is_answered_and_never_a_500(api: Api) -> None:
    for body, code in GARBAGE:
        for path in ("/v1/authorizations", f"/v1/sessions/{format_id('ses', new_id())}/complete"):
            rejected = await api.call("POST", path, body, key="k")
            assert rejected.status == 400, (path, body, rejected.text)
            assert rejected.headers["Content-Type"] == "application/problem+json"
        assert (await api.call("POST", "/v1/authorizations", body, key="k")).json["code"] == code


async def test_a_completion_needs_exactly_one_way_of_ending(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    path = f"/v1/sessions/{shown['session']}/complete"
    for body in ({}, {"cdr": None}, {"cdr": 5}, {"cdr": {}, "usage": {}}, {"usage": {"energy_wh": 1}}):
        rejected = await api.call("POST", path, body, key="c1")
        assert rejected.status == 400, body
        assert rejected.json["errors"][0]["pointer"].startswith(("/cdr", "/usage")), body


async def test_an_unreadable_cdr_is_rejected_with_its_place(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    rejected = await api.call(
        "POST", f"/v1/sessions/{shown['session']}/complete", {"cdr": {"id": "x"}}, key="c"
    )
    assert (rejected.status, rejected.json["code"]) == (422, "cdr_invalid")
    assert "start_date_time" in rejected.json["detail"]
