"""Quotes before a session, increments during it, refunds and disputes after it, over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import parse_id
from gateway.payments.psp.dispute_port import DisputeUpdate
from tests.fakes.api import EVSE, Api, cdr, open_api


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def captured(api: Api, **changes: Any) -> dict[str, Any]:
    """A session that was authorized, completed at 11.90 and captured."""
    shown = (await api.authorize(key="a", **changes)).json
    body = b'{"cdr": ' + cdr() + b"}"
    ended = await api.call("POST", f"/v1/sessions/{shown['session']}/complete", body, key="c")
    session: dict[str, Any] = ended.json
    return session


async def test_a_quote_shows_the_price_components_and_holds_nothing(api: Api) -> None:
    body = {"evse_id": EVSE, "estimate": {"energy_wh": 40_000, "duration_s": 3600}}
    answer = await api.call("POST", "/v1/quotes", body)
    assert answer.status == 200
    quote = answer.json
    assert (quote["incl_vat"], quote["excl_vat"], quote["hold"], quote["currency"]) == (
        2380,
        2000,
        2380,
        "EUR",
    )
    assert quote["tariff"]["display"]
    assert quote["explained"]
    assert api.psp.calls == []


async def test_a_quote_at_an_unknown_evse_names_it(api: Api) -> None:
    body = {"evse_id": "DE*ABC*NOPE", "estimate": {"energy_wh": 1, "duration_s": 1}}
    answer = await api.call("POST", "/v1/quotes", body)
    assert (answer.status, answer.json["code"]) == (404, "evse_not_found")


async def test_a_hold_is_raised_and_a_declined_increment_is_a_conflict(api: Api) -> None:
    method = {"type": "psp_payment_method", "payment_method": "pm_increment"}
    shown = (await api.authorize(key="a", payment=method)).json
    path = f"/v1/authorizations/{shown['id']}/increment"
    raised = await api.call("POST", path, {"amount": 5000}, key="i1")
    assert (raised.status, raised.json["amount"]) == (200, 5000)
    again = await api.call("POST", path, {"amount": 4000}, key="i2")
    assert again.json["amount"] == 5000
    rejecting = {"type": "psp_payment_method", "payment_method": "pm_no_increment"}
    other = (await api.authorize(key="b", payment=rejecting)).json
    answer = await api.call("POST", f"/v1/authorizations/{other['id']}/increment", {"amount": 9000}, key="i3")
    assert (answer.status, answer.json["code"]) == (409, "state_conflict")


async def test_refunds_are_made_read_listed_and_bounded(api: Api) -> None:
    session = await captured(api)
    part = await api.call("POST", "/v1/refunds", {"session": session["id"], "amount": 190}, key="r1")
    assert (part.status, part.json["state"], part.json["amount"]) == (201, "succeeded", 190)
    again = await api.call("POST", "/v1/refunds", {"session": session["id"], "amount": 190}, key="r1")
    assert again.json == part.json
    rest = await api.call("POST", "/v1/refunds", {"session": session["id"]}, key="r2")
    assert rest.json["amount"] == 1000
    more = await api.call("POST", "/v1/refunds", {"session": session["id"], "amount": 1}, key="r3")
    assert (more.status, more.json["code"]) == (422, "refund_exceeds_capture")
    listed = (await api.call("GET", f"/v1/refunds?session={session['id']}")).json
    assert [refund["amount"] for refund in listed["data"]] == [1000, 190]
    assert (await api.call("GET", f"/v1/refunds/{part.json['id']}")).json == part.json
    assert (await api.call("GET", f"/v1/captures/{session['capture']['id']}")).json["refunded"] == 1190


async def test_another_partys_refunds_are_not_found(api: Api) -> None:
    session = await captured(api)
    made = (await api.call("POST", "/v1/refunds", {"session": session["id"]}, key="r")).json
    assert (await api.call("GET", f"/v1/refunds/{made['id']}", party="superapp")).status == 404
    stolen = await api.call("POST", "/v1/refunds", {"session": session["id"]}, key="r", party="superapp")
    assert stolen.status == 404


@pytest.mark.parametrize("session", ["ses_nonsense", "", "auth_01jd2w3x4y5z6a7b8c9d0e1f2g"])
async def test_a_refund_of_no_session_is_rejected_by_name(api: Api, session: str) -> None:
    answer = await api.call("POST", "/v1/refunds", {"session": session}, key="r")
    assert (answer.status, answer.json["code"]) == (400, "invalid_parameters")
    assert "session" in answer.text or "ses_" in answer.text


async def test_a_dispute_is_shown_to_its_party_only(api: Api) -> None:
    session = await captured(api)
    identifier = parse_id("ses", session["id"])
    news = DisputeUpdate(
        psp_dispute="du_1",
        state="opened",
        amount_minor=1190,
        withdrawn_minor=1190,
        fee_minor=1500,
        fee_currency="EUR",
        currency="EUR",
        reason="fraudulent",
    )
    await api.services.payments.disputes.record_update(news, shard=identifier.int & 63, session_id=identifier)
    (shown,) = (await api.call("GET", "/v1/disputes")).json["data"]
    assert (shown["state"], shown["amount"], shown["fee"]) == ("opened", 1190, 1500)
    assert (await api.call("GET", f"/v1/disputes/{shown['id']}")).json == shown
    assert (await api.call("GET", f"/v1/disputes/{shown['id']}", party="superapp")).status == 404
    rejected = await api.call("POST", "/v1/refunds", {"session": session["id"]}, key="r")
    assert rejected.json["code"] == "refund_exceeds_capture"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=completed", 1),
        ("state=active", 1),
        ("session_ref=R2", 1),
        ("session_ref=R9", 0),
        ("evse_id=de*abc*e1", 2),
        ("metadata=order:7", 1),
        ("metadata=order:8", 0),
        ("created_from=2026-10-29T08:00:00Z", 2),
        ("created_before=2026-10-29T08:00:00Z", 0),
        ("state=active&session_ref=R2&metadata=order:7", 0),
    ],
)
async def test_sessions_are_found_by_what_a_partner_knows(api: Api, query: str, found: int) -> None:
    await captured(api, session_ref="R1", metadata={"order": "7"})
    await api.authorize(key="b", session_ref="R2")
    answer = await api.call("GET", f"/v1/sessions?{query}")
    assert (answer.status, len(answer.json["data"])) == (200, found)


async def test_a_filter_that_can_not_be_read_is_named(api: Api) -> None:
    for query in ("created_from=yesterday", "metadata=order", "color=red"):
        answer = await api.call("GET", f"/v1/sessions?{query}")
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (400, f"/{query.split('=')[0]}")


async def test_a_location_has_one_site_host_named_by_the_platform(api: Api, pool: Pool) -> None:
    path = "/v1/locations/DE-ABC/L1/site-host"
    for party in ("parking", "superapp"):
        answer = await api.call("PUT", path, {"party": party}, party="admin")
        assert (answer.status, answer.json["party"]) == (200, party)
    async with pool.acquire() as connection:
        hosts = await connection.fetch("SELECT party_id FROM gateway.site_host")
    assert [host["party_id"] for host in hosts] == ["superapp"]
    assert (await api.call("PUT", path, {"party": "nobody"}, party="admin")).status == 404
    assert (await api.call("PUT", path, {"party": "parking"})).status == 403


async def test_a_known_treasury_reference_with_another_amount_is_a_conflict(api: Api) -> None:
    asked = {"currency": "EUR", "amount": 900, "reference": "FLOAT-1"}
    assert (await api.call("POST", "/v1/treasury/topups", asked, party="admin", key="t1")).status == 201
    assert (await api.call("POST", "/v1/treasury/topups", asked, party="admin", key="t2")).status == 201
    other = await api.call("POST", "/v1/treasury/topups", asked | {"amount": 901}, party="admin", key="t3")
    assert (other.status, other.json["code"]) == (409, "state_conflict")
    assert "FLOAT-1 is booked as 900 minor units of EUR" in other.json["detail"]


async def test_the_policy_for_missing_cdrs_is_the_platforms_to_set_and_the_cpos_to_read(api: Api) -> None:
    path = "/v1/parties/DE-ABC/missing-cdr-policy"
    policy = {"action": "last_known_cost", "after_days": 5}
    assert (await api.call("GET", path, party="admin")).status == 404
    assert (await api.call("PUT", path, policy, party="parking")).status == 403
    assert (
        await api.call("PUT", "/v1/parties/parking/missing-cdr-policy", policy, party="admin")
    ).status == 404
    set_now = await api.call("PUT", path, policy, party="admin")
    assert set_now.json == {"object": "missing_cdr_policy", "party": "DE-ABC"} | policy
    assert (await api.call("GET", path, party="admin")).json == set_now.json
    assert (await api.call("GET", path, party="parking")).status == 404
    bent = await api.call("PUT", path, policy | {"after_days": 0}, party="admin")
    assert (bent.status, bent.json["errors"][0]["pointer"]) == (400, "/after_days")


async def test_only_the_platform_clears_a_session_again_and_only_one_in_exception(api: Api) -> None:
    shown = (await api.authorize(key="a1")).json
    path = f"/v1/sessions/{shown['session']}/retry-clearing"
    assert (await api.call("POST", path)).status == 403
    rejected = await api.call("POST", path, party="admin")
    assert (rejected.status, rejected.json["code"]) == (409, "state_conflict")
