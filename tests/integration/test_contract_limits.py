"""Limits of contracts that a stranger would go round: amounts a day, blocks in a race, copies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clearing.parties.party import PartyKind
from gateway.database import Pool, transaction
from gateway.plug_and_charge.contract_spending import day_start
from tests.fakes.api import EVSE, START, Answer
from tests.fakes.clearing_fixtures import party
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api, statuses
from tests.fakes.pnc_market import EMAID

CARD = {"type": "psp_payment_method", "payment_method": "pm_good", "customer": "cus_1"}
OTHER_CARD = CARD | {"payment_method": "pm_other"}
ACCEPTED = ("Accepted", "Accepted")
BLOCKED = ("Blocked", "ContractCancelled")


@dataclass
class Emsp:
    """An eMSP with a contract, and a station that asks about it."""

    station: StationApi

    async def call(self, method: str, path: str, body: Any = None, *, who: str = "emsp") -> Answer:
        return await self.station.api.call(method, f"{ROOT}/{path}", body, party=who)

    async def put(self, emaid: str = EMAID, *, payment: Any = None, **changes: Any) -> Answer:
        body = {
            "emaid": emaid,
            "party": "superapp",
            "payment": payment or CARD,
            "valid_from": "2026-10-01T00:00:00Z",
        }
        stored = await self.call("POST", "contracts", body | changes)
        assert stored.status == 201, stored.text
        return stored

    async def finding(self, ref: str, *, evse: str = EVSE) -> str:
        answer = await self.station.plug_in(ref=ref, evse=evse)
        return str(answer.json["decision"]["finding"])

    async def events(self, kind: str) -> int:
        return int(
            await self.station.api.services.pool.fetchval(
                "SELECT count(*) FROM gateway.event WHERE party_id = 'superapp' AND type = $1", kind
            )
        )

    def held(self) -> int:
        return sum(payment.request.amount_minor for payment in self.station.api.psp.payments.values())


@pytest.fixture
async def emsp(pool: Pool) -> AsyncIterator[Emsp]:
    async with open_station_api(pool) as station:
        made = await station.api.call(
            "POST",
            "/v1/parties/superapp/api-keys",
            {"scopes": ["contracts"]},
            party="admin",
            key="k",
        )
        station.api.keys["emsp"] = made.json["api_key"]
        async with transaction(pool) as connection:
            await station.api.services.clearing.reference_data.register_party(
                connection, party("superapp", PartyKind.DEMAND_PARTNER, "CH", "EUR"), now=START
            )
        yield Emsp(station)


async def test_the_sessions_of_a_day_cost_no_more_than_their_contract_allows(emsp: Emsp) -> None:
    first = await emsp.station.plug_in(ref="a")
    hold = first.json["cost_limit"]
    assert hold > 300
    stored = await emsp.put(amount_per_day=hold + 300)
    assert (stored.json["amount_per_day"], stored.json["currency"]) == (hold + 300, "EUR")
    second = await emsp.station.plug_in(ref="b")
    assert (statuses(second), second.json["cost_limit"]) == (ACCEPTED, 300)
    assert emsp.held() == hold + 300
    third = await emsp.station.plug_in(ref="c")
    assert (statuses(third), third.json["decision"]["finding"]) == (BLOCKED, "too_much_today")
    assert await emsp.events("contract.limit_reached") == 1
    # A session that ended without a cost gives back what it held.
    release = f"/v1/authorizations/{second.json['authorization_id']}/release"
    released = await emsp.station.api.call("POST", release, {}, party="admin", key="r")
    assert released.status == 200, released.text
    assert (await emsp.station.plug_in(ref="d")).json["cost_limit"] == 300


async def test_what_was_captured_counts_instead_of_its_hold(emsp: Emsp, pool: Pool) -> None:
    first = await emsp.station.plug_in(ref="a")
    hold = first.json["cost_limit"]
    await emsp.put(amount_per_day=hold)
    assert await emsp.finding("b") == "too_much_today"
    await pool.execute(
        "INSERT INTO gateway.capture (shard, session_id, id, authorization_id, state, amount_minor, "
        "currency, receivable_minor, captured_at, created_at) SELECT shard, session_id, id, id, "
        "'succeeded', $1, "
        "currency, 50, $2, $2 FROM gateway.payment_authorization",
        hold - 450,
        START,
    )
    assert (await emsp.station.plug_in(ref="c")).json["cost_limit"] == 400  # 50 of it is still due


async def test_stations_that_ask_at_the_same_moment_share_what_is_left_of_the_day(emsp: Emsp) -> None:
    hold = (await emsp.station.plug_in(ref="a")).json["cost_limit"]
    await emsp.put(amount_per_day=3 * hold + 200)
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(emsp.station.plug_in(ref=f"s{number}")) for number in range(8)]
    found = sorted(call.result().json["decision"]["finding"] for call in calls)
    assert found == ["accepted"] * 3 + ["too_much_today"] * 5
    assert emsp.held() == 3 * hold + 200


async def test_an_unanswered_payment_keeps_its_share_and_the_stations_repeat_takes_no_second_one(
    emsp: Emsp,
) -> None:
    hold = (await emsp.station.plug_in(ref="a")).json["cost_limit"]
    await emsp.put(amount_per_day=2 * hold)
    psp = emsp.station.api.psp
    psp.answering.clear()
    waiting = await emsp.station.plug_in(ref="b")
    assert (waiting.status, waiting.json["code"]) == (503, "payment_pending")
    assert await emsp.finding("c") == "too_much_today"
    psp.answering.set()
    assert statuses(await emsp.station.plug_in(ref="b")) == ACCEPTED
    assert emsp.held() == 2 * hold


async def test_the_next_local_day_begins_with_the_whole_amount(emsp: Emsp) -> None:
    hold = (await emsp.station.plug_in(ref="a")).json["cost_limit"]
    await emsp.put(amount_per_day=hold)
    assert await emsp.finding("b") == "too_much_today"
    clock = emsp.station.api.clock
    clock.at = datetime(2026, 10, 29, 22, 59, tzinfo=UTC)  # 23:59 in Zurich
    assert await emsp.finding("c") in {"too_much_today", "revocation_stale"}
    clock.at = datetime(2026, 10, 29, 23, 0, tzinfo=UTC)
    assert await emsp.finding("d") not in {"too_much_today", "payment_not_secured"}


@pytest.mark.parametrize(
    ("now", "zone", "start"),
    [
        ("2026-10-29T08:00Z", "Europe/Zurich", "2026-10-28T23:00Z"),
        ("2026-10-25T12:00Z", "Europe/Zurich", "2026-10-24T22:00Z"),  # a day of 25 hours
        ("2026-10-25T22:59Z", "Europe/Zurich", "2026-10-24T22:00Z"),
        ("2026-10-25T23:00Z", "Europe/Zurich", "2026-10-25T23:00Z"),
        ("2026-03-29T21:59Z", "Europe/Zurich", "2026-03-28T23:00Z"),  # of 23 hours
        ("2026-10-29T02:00Z", "America/New_York", "2026-10-28T04:00Z"),
        ("2026-10-29T08:00Z", "UTC", "2026-10-29T00:00Z"),
    ],
)
def test_a_day_begins_at_local_midnight(now: str, zone: str, start: str) -> None:
    assert day_start(datetime.fromisoformat(now), zone) == datetime.fromisoformat(start)


async def test_an_amount_a_day_needs_a_positive_figure_and_a_known_party(emsp: Emsp) -> None:
    body = {"emaid": EMAID, "party": "superapp", "payment": CARD, "valid_from": "2026-10-01T00:00:00Z"}
    for wrong in (0, -1, 1.5, 10**16):
        refused = await emsp.call("POST", "contracts", body | {"amount_per_day": wrong})
        assert (refused.status, refused.json["code"]) == (400, "invalid_parameters")
    lonely = body | {"party": "parking", "emaid": "DE8AAC11111111", "amount_per_day": 5, "currency": "EUR"}
    refused = await emsp.call("POST", "contracts", lonely, who="admin")
    assert (refused.status, refused.json["code"]) == (404, "not_found")  # it has no time zone


@pytest.mark.parametrize("verb", ["block", "cancel"])
async def test_a_car_that_is_blocked_while_its_payment_is_secured_does_not_charge(
    emsp: Emsp, verb: str
) -> None:
    psp = emsp.station.api.psp
    psp.answering.clear()
    asking = asyncio.create_task(emsp.station.plug_in(ref="a"))
    while not psp.payments:
        await asyncio.sleep(0.01)
    assert (await emsp.call("POST", f"contracts/{EMAID}/{verb}", {"reason": "stolen"})).status == 200
    psp.answering.set()
    answer = await asking
    assert statuses(answer)[0] in {"Blocked", "Invalid"}
    assert answer.json["authorization_id"] is None
    assert [kind for kind, _ in psp.calls] == ["hold", "void"]
    assert statuses(await emsp.station.plug_in(ref="a"))[0] in {"Blocked", "Invalid"}


async def test_a_certificate_that_is_blocked_while_its_payment_is_secured_does_not_charge(
    emsp: Emsp,
) -> None:
    await emsp.put(certificate_chain=emsp.station.pki.bundle(emsp.station.leaf))
    (certificate,) = (await emsp.call("GET", f"contracts/{EMAID}/certificates")).json["data"]
    psp = emsp.station.api.psp
    psp.answering.clear()
    asking = asyncio.create_task(emsp.station.plug_in(ref="a"))
    while not psp.payments:
        await asyncio.sleep(0.01)
    path = f"contracts/{EMAID}/certificates/{certificate['sha256']}/block"
    assert (await emsp.call("POST", path, {"reason": "copied"})).status == 204
    psp.answering.set()
    assert statuses(await asking) == ("Invalid", "CertificateRevoked")
    assert [kind for kind, _ in psp.calls] == ["hold", "void"]


async def test_a_blocked_car_is_not_accepted_again_under_the_name_of_its_running_session(emsp: Emsp) -> None:
    assert await emsp.finding("a") == "accepted"
    await emsp.call("POST", f"contracts/{EMAID}/block", {"reason": "stolen"})
    emsp.station.api.clock.at += timedelta(minutes=10)
    assert await emsp.finding("a") == "contract_blocked"
    assert [kind for kind, _ in emsp.station.api.psp.calls] == ["hold"]  # the running session stays paid
    await emsp.call("POST", f"contracts/{EMAID}/unblock")
    assert await emsp.finding("a") == "accepted"


async def test_a_block_of_the_platform_over_the_partys_own_is_the_platforms_to_end(emsp: Emsp) -> None:
    path = f"contracts/{EMAID}"
    await emsp.call("POST", f"{path}/block", {"reason": "lost"})
    over = await emsp.call("POST", f"{path}/block", {"reason": "fraud"}, who="admin")
    assert over.json["revision"] == 3
    again = await emsp.call("POST", f"{path}/block", {"reason": "fraud"}, who="admin")
    assert again.json["revision"] == 3
    await emsp.call("POST", f"{path}/block", {"reason": "mine again"})
    refused = await emsp.call("POST", f"{path}/unblock")
    assert (refused.status, refused.json["code"]) == (409, "state_conflict")
    assert (await emsp.call("POST", f"{path}/unblock", who="admin")).json["state"] == "active"


async def test_a_means_of_payment_that_was_switched_off_stays_off_whatever_contract_names_it(
    emsp: Emsp,
) -> None:
    await emsp.call("POST", f"contracts/{EMAID}/disable-payment", {"reason": "revoked"}, who="admin")
    assert (await emsp.put(payment=OTHER_CARD)).json["payment_usable"] is True
    assert (await emsp.put()).json["payment_usable"] is False  # and back
    assert (await emsp.put("DE8AAC99999999")).json["payment_usable"] is False
    assert await emsp.finding("a") == "payment_method_gone"
    await emsp.call("POST", f"contracts/{EMAID}/enable-payment", who="admin")
    assert (await emsp.put("DE8AAC88888888")).json["payment_usable"] is True
    assert await emsp.finding("b") == "accepted"


@pytest.mark.parametrize("policy", ["report", "block"])
async def test_a_contract_at_ten_stations_at_once_is_reported_and_blocked_where_its_emsp_wants_it(
    emsp: Emsp, policy: str
) -> None:
    await emsp.put(sessions_at_once=1, on_suspicion=policy)
    assert await emsp.finding("first") == "accepted"
    for number in range(8):
        assert await emsp.finding(f"s{number}", evse=f"DE*ABC*E{number + 10}") == "too_many_sessions_at_once"
    # One station that tries again and again is one station.
    assert await emsp.finding("again", evse="DE*ABC*E10") == "too_many_sessions_at_once"
    assert await emsp.events("contract.suspected") == 0
    await emsp.finding("tenth", evse="DE*ABC*E99")
    assert await emsp.events("contract.suspected") == 1
    blocked = int(policy == "block")
    assert await emsp.events("contract.blocked") == blocked
    after = await emsp.finding("eleventh", evse="DE*ABC*E98")
    assert after == ("contract_blocked" if blocked else "too_many_sessions_at_once")
    unblocked = await emsp.call("POST", f"contracts/{EMAID}/unblock")
    assert unblocked.json["state"] == "active"  # the policy is the eMSP's own


async def test_a_contract_without_limits_is_suspected_too_and_its_tenth_session_is_refused(
    emsp: Emsp, pool: Pool
) -> None:
    await emsp.put(on_suspicion="block")
    for number in range(9):
        assert await emsp.finding(f"s{number}") == "accepted"
    await pool.execute("UPDATE pnc.decision SET evse_id = 'DE*ABC*E1' || session_ref")
    tenth = await emsp.station.plug_in(ref="tenth")
    assert (statuses(tenth), tenth.json["decision"]["finding"]) == (BLOCKED, "contract_blocked")
    assert await emsp.events("contract.suspected") == 1
    assert emsp.station.api.psp.calls[-1][0] == "void"
