"""After the session: its decision ends, the operator hears of the settlement and of no means of payment."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import format_id
from gateway.lanes.pnc_settlement import PncSettlementLane
from pnc.settlement import Retention
from tests.fakes.api import START, Answer, cdr
from tests.fakes.pnc_hook import ROOT, Hook, open_hook, statuses
from tests.fakes.pnc_market import EMAID


@pytest.fixture
async def hook(pool: Pool) -> AsyncIterator[Hook]:
    async with open_hook(pool) as opened:
        yield opened


def lane(hook: Hook, **changes: Any) -> PncSettlementLane:
    return PncSettlementLane(
        pool=hook.api.services.pool,
        clock=hook.api.clock,
        payments=hook.api.services.payments,  # type: ignore[arg-type]
        environment="sandbox",
        **changes,
    )


async def complete(hook: Hook, session: str, *, kwh: str = "20") -> Answer:
    body = b'{"cdr": ' + cdr(kwh=kwh) + b"}"
    path = f"/v1/sessions/{session}/complete"
    return await hook.api.call("POST", path, body, party="superapp", key=f"complete-{session}")


async def told(hook: Hook, party: str, kind: str) -> list[dict[str, Any]]:
    rows = await hook.api.services.pool.fetch(
        "SELECT data FROM gateway.event WHERE party_id = $1 AND type = $2", party, kind
    )
    return [row["data"] for row in rows]


async def test_the_operator_is_told_once_of_what_was_captured_and_gets_ocpps_message(hook: Hook) -> None:
    shown = (await hook.plug_in()).json
    path = f"{ROOT}/sessions/{shown['session_id']}/settlement"
    early = await hook.api.call("GET", path, party="DE-ABC")
    assert (early.status, early.json["code"]) == (409, "state_conflict")
    walker = lane(hook)
    assert await walker.run_once() == 0

    await complete(hook, shown["session_id"])
    for _ in range(3):
        hook.api.clock.pass_wall(3)
        await walker.run_once()
    assert await lane(hook).run_once() == 0  # another worker finds nothing left
    (event,) = await told(hook, "DE-ABC", "plug_and_charge.settled")
    assert (event["status"], event["amount"], event["currency"]) == ("Settled", 1190, "EUR")
    assert event["session_ref"] == "tx-1"

    answer = await hook.api.call("GET", path, party="DE-ABC")
    message = answer.json["notify_settlement"]
    assert message["status"] == "Settled"
    assert '"settlementAmount":11.90' in answer.text  # a number with its digits, not a text
    assert message["transactionId"] == "tx-1"
    assert message["pspRef"] == shown["authorization_id"]
    other = await hook.api.call("GET", path, party="superapp")
    assert other.status == 403


async def test_a_session_that_cost_nothing_is_canceled(hook: Hook) -> None:
    shown = (await hook.plug_in()).json
    await complete(hook, shown["session_id"], kwh="0")
    assert await lane(hook).run_once() == 1
    (event,) = await told(hook, "DE-ABC", "plug_and_charge.settled")
    assert (event["status"], event["amount"], event["receipt"]) == ("Canceled", 0, None)


async def test_a_completed_session_is_not_accepted_again_before_or_after_the_lane_saw_it(hook: Hook) -> None:
    shown = (await hook.plug_in()).json
    await complete(hook, shown["session_id"])
    again = await hook.plug_in()
    assert statuses(again)[0] != "Accepted"
    assert again.json["decision"]["finding"] == "session_ended"
    await lane(hook).run_once()
    token_only = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    assert (await hook.plug_in(request=token_only)).json["decision"]["finding"] == "session_ended"
    assert len(hook.api.psp.payments) == 1


async def test_a_released_hold_is_no_acceptance_any_more(hook: Hook) -> None:
    shown = (await hook.plug_in()).json
    path = f"/v1/authorizations/{shown['authorization_id']}/release"
    released = await hook.api.call("POST", path, {}, party="superapp", key="r1")
    assert released.status == 200, released.text
    again = await hook.plug_in()
    assert statuses(again)[0] != "Accepted"
    assert again.json["authorization_id"] is None
    await lane(hook).run_once()
    assert await told(hook, "DE-ABC", "plug_and_charge.settled") == []  # a CDR may still come
    hook.api.clock.at += timedelta(days=31)
    await lane(hook).run_once()
    (event,) = await told(hook, "DE-ABC", "plug_and_charge.settled")
    assert event["status"] == "Canceled"


async def test_a_payment_secured_after_the_session_ended_is_no_acceptance(hook: Hook) -> None:
    hook.api.psp.faults.append("after")
    silent = await hook.plug_in()
    assert statuses(silent)[0] != "Accepted"
    session_id = await hook.api.services.pool.fetchval("SELECT id FROM gateway.session")
    ended = await complete(hook, format_id("ses", session_id))
    assert ended.status == 200, ended.text
    again = await hook.plug_in()
    assert statuses(again)[0] != "Accepted"
    assert again.json["authorization_id"] is None


async def test_the_contracts_party_hears_of_the_authorization_at_once(hook: Hook) -> None:
    shown = (await hook.plug_in()).json
    (event,) = await told(hook, "superapp", "authorization.authorized")
    assert event["id"] == shown["authorization_id"]
    assert event["rail"] == "plug_and_charge"
    assert await told(hook, "DE-ABC", "authorization.authorized") == []


async def test_nothing_the_operator_reads_links_the_contract_to_who_pays_or_with_what(hook: Hook) -> None:
    seen: list[str] = []
    good = await hook.plug_in()
    seen.append(good.text)
    session = good.json["session_id"]
    await complete(hook, session)
    await lane(hook).run_once()
    await hook.contract({"type": "psp_payment_method", "payment_method": "pm_declined", "customer": "cus_1"})
    declined = await hook.plug_in(ref="tx-2")
    await hook.contract({"type": "partner_account"})
    empty = await hook.plug_in(ref="tx-3")
    assert declined.json["decision"]["finding"] == empty.json["decision"]["finding"] == "payment_not_secured"
    # The two reasons can't be told apart.
    assert declined.json["decision"]["detail"] == empty.json["decision"]["detail"]
    seen += [declined.text, empty.text]
    paths = [f"{ROOT}/sessions/{session}/settlement", "/v1/events?limit=100", f"/v1/sessions/{session}"]
    for path in paths:
        seen.append((await hook.api.call("GET", path, party="DE-ABC")).text)
    rows = await hook.api.services.pool.fetch(
        "SELECT data::text FROM gateway.event WHERE party_id = 'DE-ABC'"
    )
    assert rows
    seen += [json.dumps(row["data"], default=str) for row in rows]
    secrets = ("pm_good", "pm_declined", "cus_1", "superapp", "insufficient", "funded account", EMAID)
    for text in seen:
        for secret in secrets:
            assert secret not in text, (secret, text)
    for path in (f"/v1/authorizations/{good.json['authorization_id']}", f"{ROOT}/contracts"):
        assert (await hook.api.call("GET", path, party="DE-ABC")).status == 403


async def test_old_decisions_go_and_running_ones_stay(hook: Hook) -> None:
    pool = hook.api.services.pool
    none = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    await hook.plug_in(ref="refused", request=none)
    await hook.plug_in(ref="running")
    done = (await hook.plug_in(ref="done")).json
    await complete(hook, done["session_id"])
    hook.api.psp.faults.append("after")
    await hook.plug_in(ref="silent")

    async def left() -> dict[str, str]:
        rows = await pool.fetch("SELECT session_ref, state FROM pnc.decision ORDER BY session_ref")
        return {row["session_ref"]: row["state"] for row in rows}

    await lane(hook).run_once()
    assert await left() == {
        "done": "closed",
        "refused": "refused",
        "running": "accepted",
        "silent": "awaiting_payment",
    }
    hook.api.clock.at = START + Retention().refused + timedelta(days=1)
    await lane(hook).run_once()
    assert await left() == {"done": "closed", "running": "accepted", "silent": "closed"}
    hook.api.clock.at = START + 2 * Retention().closed
    await lane(hook).run_once()
    assert await left() == {"running": "accepted"}


async def test_a_station_of_ocpp_2_1_gets_its_limit_as_an_exact_number(hook: Hook) -> None:
    new = await hook.plug_in(ref="new", version="2.1")
    limit = new.json["cost_limit"]
    assert f'"transaction_limit":{{"maxCost":{limit // 100}.{limit % 100:02d}}}' in new.text
    old = await hook.plug_in(ref="old")
    assert old.json["transaction_limit"] is None
    assert old.json["cost_limit"] == limit
    assert old.json["tariff"]["display"]
