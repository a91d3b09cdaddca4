"""Decisions, suspense and debts over HTTP and by command: two principals, nobody else's business."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gateway.database import Pool, transaction
from gateway.http.auth import Scope, create_key
from gateway.ids import new_id
from gateway.store import parties
from tests.fakes import bank
from tests.fakes.api import Api, open_api
from tests.integration.test_resolutions import LATER, Counter, _in_debt, credit, line

ROOT = Path(__file__).parents[2]
PATH = "/v1/reconciliation"


async def second_key(pool: Pool, api: Api) -> None:
    """A key of the platform's with another principal than the first."""
    async with transaction(pool) as connection:
        minted = await create_key(
            connection, key_id=new_id(), party_id=parties.PLATFORM_ID, scopes=[Scope.ADMIN],
            now=api.clock.wall_now(),
        )  # fmt: skip
    api.keys["ben"] = minted.token


async def differences(api: Api) -> dict[str, dict[str, Any]]:
    listed = await api.call("GET", f"{PATH}/differences", party="admin")
    return {one["reference"]: one for one in listed.json["data"]}


async def opened(pool: Pool) -> Counter:
    counter = Counter(pool)
    await counter.open()
    return counter


async def test_a_large_difference_is_booked_when_another_principal_agrees(pool: Pool) -> None:
    counter = await opened(pool)
    await counter.psp(line("t1", "adjustment", "adj_1", 20_000))
    await counter.run()
    async with open_api(pool) as api:
        api.clock.at = LATER
        await second_key(pool, api)
        difference = (await differences(api))["adj_1"]
        assert difference["likely"] == []
        path = f"{PATH}/differences/{difference['id']}/resolutions"
        wish = {"resolution": "suspense", "reason": "nobody knows yet"}
        made = await api.call("POST", path, wish, party="admin", key="one")
        assert (made.status, made.json["state"], made.json["proposed_by"]) == (201, "proposed", "admin")
        again = await api.call("POST", path, wish, party="admin")
        assert again.json == made.json
        other = await api.call("POST", path, {**wish, "resolution": "fee"}, party="admin")
        assert (other.status, "refuse that decision first" in other.text) == (409, True)
        agree = f"{PATH}/decisions/{made.json['id']}/agreements"
        assert (await api.call("POST", agree, {}, party="admin")).status == 409
        booked = await api.call("POST", agree, {}, party="ben")
        assert (booked.status, booked.json["state"]) == (200, "booked"), booked.text
        assert booked.json["decided_by"] != booked.json["proposed_by"]
        assert await differences(api) == {}
        (item,) = (await api.call("GET", f"{PATH}/suspense", party="admin")).json["data"]
        assert (item["left"], item["owner"], item["age_days"]) == (20_000, "payments", 12)
        clear = f"{PATH}/suspense/{item['id']}/clearings"
        part = {"resolution": "collection", "reason": "its debt", "party": "NL-ABC", "amount": 9_000}
        taken = await api.call("POST", clear, part, party="admin")
        assert taken.json["state"] == "proposed"  # a part of a large sum
        agree = f"{PATH}/decisions/{taken.json['id']}/agreements"
        assert (await api.call("POST", agree, {}, party="ben")).json["state"] == "booked"
        assert (await api.call("POST", clear, {**part, "amount": 11_001}, party="admin")).status == 409
        listed = await api.call("GET", f"{PATH}/decisions?state=booked", party="admin")
        assert {one["subject"] for one in listed.json["data"]} == {"difference", "suspense"}
    await counter.proved()


async def test_bad_wishes_are_refused_with_what_to_mend(pool: Pool) -> None:
    counter = await opened(pool)
    await counter.bank(bank.entry("5.00"), credit("7.00"))
    await counter.run()
    async with open_api(pool) as api:
        found = list((await differences(api)).values())
        out = next(one for one in found if one["amount"] > 0)
        path = f"{PATH}/differences/{out['id']}/resolutions"
        for wish, status, words in (
            ({"resolution": "gift", "reason": "x"}, 400, "resolution"),
            ({"resolution": "fee", "reason": " "}, 400, "reason"),
            ({"resolution": "collection", "reason": "x"}, 409, "name the party"),
            ({"resolution": "collection", "reason": "x", "party": "NL-ABC"}, 409, "money that came in"),
            ({"resolution": "collection", "reason": "x", "party": "nobody"}, 400, "not registered"),
            ({"resolution": "fee", "reason": "x", "party": "NL-ABC"}, 409, "for a collection only"),
            ({"resolution": "match", "reason": "x"}, 409, "no match"),
        ):
            answer = await api.call("POST", path, wish, party="admin")
            assert (answer.status, words in answer.text) == (status, True), answer.text
        missing = path.replace(out["id"], f"rdf_{'0' * 26}")
        assert (
            await api.call("POST", missing, {"resolution": "fee", "reason": "x"}, party="admin")
        ).status == 409
        for method, where, body in (
            ("POST", path, {"resolution": "fee", "reason": "x"}), ("GET", f"{PATH}/suspense", None),
            ("GET", f"{PATH}/decisions", None), ("GET", "/v1/debts", None),
            ("PUT", f"{PATH}/limits/EUR", {"limit": 10**12}),
        ):  # fmt: skip
            assert (await api.call(method, where, body)).status == 403
        assert await counter.balance("bank:settlement") == 0


async def test_limits_are_set_and_shown(pool: Pool) -> None:
    async with open_api(pool) as api:
        assert (await api.call("PUT", f"{PATH}/limits/EUR", {"limit": 5}, party="admin")).status == 200
        shown = (await api.call("GET", f"{PATH}/limits", party="admin")).json["data"]
        assert {"object": "booking_limit", "currency": "EUR", "limit": 5} in shown
        assert "*" in {one["currency"] for one in shown}
        assert (await api.call("PUT", f"{PATH}/limits/XXQ", {"limit": 5}, party="admin")).status == 400


async def test_debts_are_shown_by_age_and_given_up_by_two_principals(pool: Pool) -> None:
    counter = await opened(pool)
    now = await _in_debt(counter, days=95)
    async with open_api(pool) as api:
        api.clock.at = now
        await second_key(pool, api)
        debts = (await api.call("GET", "/v1/debts?party=NL-ABC", party="admin")).json["data"]
        (debt,) = debts
        assert (debt["amount"], debt["buckets"]["over-90"]) == (400, 400)
        refused = await api.call(
            "POST", "/v1/debts/NL-ABC/compensations",
            {"currency": "EUR", "from_currency": "CHF", "reason": "x"}, party="admin",
        )  # fmt: skip
        assert (refused.status, "has not agreed" in refused.text) == (409, True)
        consent = {"agreed_on": "2026-10-01", "evidence": "contract 7"}
        assert (
            await api.call("POST", "/v1/debts/NL-ABC/compensation-agreements", consent, party="admin")
        ).status == 201
        made = await api.call(
            "POST", "/v1/debts/NL-ABC/write-offs", {"currency": "EUR", "reason": "insolvent"}, party="admin"
        )
        assert (made.status, made.json["state"], made.json["needs_second"]) == (201, "proposed", True)
        agree = f"{PATH}/decisions/{made.json['id']}/agreements"
        assert (await api.call("POST", agree, {}, party="ben")).json["state"] == "booked"
        left = (await api.call("GET", "/v1/debts?party=NL-ABC", party="admin")).json["data"]
        assert left == []
    await counter.proved()


def run(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "reconcile", *arguments],
        cwd=ROOT, env={"PATH": os.defpath, "DATABASE_URL": database_url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


async def test_people_decide_by_command(pool: Pool, database_url: str) -> None:
    counter = await opened(pool)
    await counter.psp(line("t1", "stripe_fee", "fee_1", -200), line("t2", "adjustment", "adj_1", 20_000))
    await counter.run()
    words = ("--by", "anna", "--reason", "card fees of October")
    booked = run(database_url, "resolve", "book_psp", "fee_1", "--as", "fee", *words)
    assert " booked  fee of -200 EUR" in booked.stdout, booked.stderr
    waits = run(database_url, "resolve", "book_psp", "adj_1", "--as", "suspense", *words)
    assert "waits for a second person" in waits.stdout
    decision = waits.stdout.split()[0]
    refused = run(database_url, "agree", decision, "--by", "Anna")
    assert refused.returncode != 0
    assert "somebody else must agree" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert " booked " in run(database_url, "agree", decision, "--by", "ben").stdout
    item = run(database_url, "suspense").stdout.split()
    assert item[1:3] == ["20000", "EUR"]
    cleared = run(database_url, "clear-suspense", item[0], "--as", "own_funds", "--amount", "100", *words)
    assert "waits for a second person" in cleared.stdout, cleared.stderr
    dropped = run(database_url, "refuse", cleared.stdout.split()[0], "--by", "anna")
    assert " refused " in dropped.stdout, dropped.stderr
    listed = run(database_url, "report")
    assert f"suspense,{item[0]},suspense,200.00,EUR" in listed.stdout, listed.stderr
    assert "bank account" in run(database_url, "report", "--format", "page").stdout
    gone = run(database_url, "resolve", "book_psp", "fee_1", "--as", "fee", *words)
    assert "is open" in gone.stderr
    assert len(run(database_url, "decisions").stdout.splitlines()) == 3
    assert run(database_url, "debts").stdout == ""
    await counter.proved()
