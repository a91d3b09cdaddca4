"""Decisions, suspense and receivables over HTTP and by command: two principals, nobody else's business."""

import json
import subprocess
from pathlib import Path
from typing import Any

from gateway.database import Pool, transaction
from gateway.ids import new_id
from gateway.partners import party_repository
from gateway.partners.api_key_service import create_key
from gateway.scopes import ScopeSet
from tests.fakes import bank
from tests.fakes.api import Api, open_api
from tests.fakes.command import networkcore
from tests.integration.test_resolutions import LATER, Counter, _owing, credit, line

ROOT = Path(__file__).parents[2]
PATH = "/v1/reconciliation"


async def second_key(pool: Pool, api: Api) -> None:
    """A key of the platform's with another principal than the first."""
    async with transaction(pool) as connection:
        minted = await create_key(
            connection,
            key_id=new_id(),
            party_id=party_repository.PLATFORM_ID,
            scopes=[ScopeSet.ADMIN],
            now=api.clock.wall_now(),
        )
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
        assert difference["candidates"] == []
        path = f"{PATH}/differences/{difference['id']}/resolve"
        proposal = {"resolution": "suspense", "reason": "nobody knows yet"}
        made = await api.call("POST", path, proposal, party="admin", key="one")
        assert (made.status, made.json["state"], made.json["proposed_by"]) == (201, "pending", "admin")
        again = await api.call("POST", path, proposal, party="admin")
        assert again.json == made.json
        other = await api.call("POST", path, {**proposal, "resolution": "fee"}, party="admin")
        assert (other.status, "reject that request first" in other.text) == (409, True)
        approve = f"/v1/approval-requests/{made.json['id']}/approve"
        assert (await api.call("POST", approve, {}, party="admin")).status == 409
        booked = await api.call("POST", approve, {}, party="ben")
        assert (booked.status, booked.json["state"]) == (200, "booked"), booked.text
        assert booked.json["decided_by"] != booked.json["proposed_by"]
        assert await differences(api) == {}
        (item,) = (await api.call("GET", f"{PATH}/suspense", party="admin")).json["data"]
        assert (item["remaining"], item["owner"], item["age_days"]) == (20_000, "payments", 12)
        clear = f"{PATH}/suspense/{item['id']}/clear"
        part = {
            "resolution": "receivable_payment",
            "reason": "its receivable",
            "party": "NL-ABC",
            "amount": 9_000,
        }
        proposal = await api.call("POST", clear, part, party="admin")
        assert proposal.json["state"] == "pending"  # a part of a large sum
        approve = f"/v1/approval-requests/{proposal.json['id']}/approve"
        assert (await api.call("POST", approve, {}, party="ben")).json["state"] == "booked"
        assert (await api.call("POST", clear, {**part, "amount": 11_001}, party="admin")).status == 409
        listed = await api.call("GET", "/v1/approval-requests?state=booked", party="admin")
        assert {one["subject"] for one in listed.json["data"]} == {"difference", "suspense"}
    await counter.proved()


async def test_an_invalid_resolution_request_is_rejected_with_what_to_correct(pool: Pool) -> None:
    counter = await opened(pool)
    await counter.bank(bank.entry("5.00"), credit("7.00"))
    await counter.run()
    async with open_api(pool) as api:
        found = list((await differences(api)).values())
        out = next(one for one in found if one["amount"] > 0)
        path = f"{PATH}/differences/{out['id']}/resolve"
        for proposal, status, words in (
            ({"resolution": "gift", "reason": "x"}, 400, "resolution"),
            ({"resolution": "fee", "reason": " "}, 400, "reason"),
            ({"resolution": "receivable_payment", "reason": "x"}, 409, "name the party"),
            (
                {"resolution": "receivable_payment", "reason": "x", "party": "NL-ABC"},
                409,
                "only money received",
            ),
            ({"resolution": "receivable_payment", "reason": "x", "party": "nobody"}, 400, "not registered"),
            ({"resolution": "fee", "reason": "x", "party": "NL-ABC"}, 409, "only for a receivable payment"),
            ({"resolution": "match", "reason": "x"}, 409, "do not match"),
        ):
            answer = await api.call("POST", path, proposal, party="admin")
            assert (answer.status, words in answer.text) == (status, True), answer.text
        missing = path.replace(out["id"], f"rdf_{'0' * 26}")
        assert (
            await api.call("POST", missing, {"resolution": "fee", "reason": "x"}, party="admin")
        ).status == 409
        for method, where, body in (
            ("POST", path, {"resolution": "fee", "reason": "x"}),
            ("GET", f"{PATH}/suspense", None),
            ("GET", "/v1/approval-requests", None),
            ("GET", "/v1/receivables", None),
            ("PUT", "/v1/approval-limits/EUR", {"limit": 10**12}),
        ):
            assert (await api.call(method, where, body)).status == 403
        assert await counter.balance("bank:settlement") == 0


async def test_limits_are_set_and_shown(pool: Pool) -> None:
    async with open_api(pool) as api:
        assert (await api.call("PUT", "/v1/approval-limits/EUR", {"limit": 5}, party="admin")).status == 200
        shown = (await api.call("GET", "/v1/approval-limits", party="admin")).json["data"]
        assert {"object": "approval_limit", "currency": "EUR", "limit": 5} in shown
        assert "*" in {one["currency"] for one in shown}
        assert (await api.call("PUT", "/v1/approval-limits/XXQ", {"limit": 5}, party="admin")).status == 400


async def test_receivables_are_shown_by_age_and_written_off_by_two_principals(pool: Pool) -> None:
    counter = await opened(pool)
    now = await _owing(counter, days=95)
    async with open_api(pool) as api:
        api.clock.at = now
        await second_key(pool, api)
        receivables = (await api.call("GET", "/v1/receivables?party=NL-ABC", party="admin")).json["data"]
        (receivable,) = receivables
        assert (receivable["amount"], receivable["buckets"]["over-90"]) == (400, 400)
        rejected = await api.call(
            "POST",
            "/v1/receivables/NL-ABC/set-off",
            {"currency": "EUR", "from_currency": "CHF", "reason": "x"},
            party="admin",
        )
        assert (rejected.status, "has not consented" in rejected.text) == (409, True)
        consent = {"agreed_on": "2026-10-01", "evidence": "contract 7"}
        assert (
            await api.call("POST", "/v1/receivables/NL-ABC/set-off-consents", consent, party="admin")
        ).status == 201
        ended = "/v1/receivables/NL-ABC/set-off-consents/2026-10-01"
        assert (await api.call("DELETE", ended)).status == 403
        assert (await api.call("DELETE", ended, party="admin")).status == 204
        assert (await api.call("DELETE", ended, party="admin")).status == 409
        assert (await api.call("DELETE", f"{ended}-x", party="admin")).status == 404
        made = await api.call(
            "POST",
            "/v1/receivables/NL-ABC/write-off",
            {"currency": "EUR", "reason": "insolvent"},
            party="admin",
        )
        assert (made.status, made.json["state"], made.json["requires_approval"]) == (201, "pending", True)
        approve = f"/v1/approval-requests/{made.json['id']}/approve"
        assert (await api.call("POST", approve, {}, party="ben")).json["state"] == "booked"
        left = (await api.call("GET", "/v1/receivables?party=NL-ABC", party="admin")).json["data"]
        assert left == []
    await counter.proved()


def run(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return networkcore("reconcile", *arguments, database_url=database_url)


async def test_people_decide_by_command(pool: Pool, database_url: str) -> None:
    counter = await opened(pool)
    await counter.psp(line("t1", "stripe_fee", "fee_1", -200), line("t2", "adjustment", "adj_1", 20_000))
    await counter.run()
    words = ("--by", "anna", "--reason", "card fees of October")
    booked = run(database_url, "resolve", "book_psp", "fee_1", "--as", "fee", *words)
    assert " booked  fee of -200 EUR" in booked.stdout, booked.stderr
    waits = run(database_url, "resolve", "book_psp", "adj_1", "--as", "suspense", *words)
    assert "a second person must approve it" in waits.stdout
    decision = waits.stdout.split()[0]
    rejected = run(database_url, "approve", decision, "--by", "Anna")
    assert rejected.returncode != 0
    assert "another person must approve it" in rejected.stderr
    assert len(rejected.stderr.strip().splitlines()) == 1
    assert " booked " in run(database_url, "approve", decision, "--by", "ben").stdout
    (item,) = json.loads(run(database_url, "suspense", "--json").stdout)
    assert (item["remaining_minor"], item["currency"]) == (20_000, "EUR")
    cleared = run(database_url, "clear-suspense", item["id"], "--as", "own_funds", "--amount", "100", *words)
    assert "a second person must approve it" in cleared.stdout, cleared.stderr
    dropped = run(database_url, "reject", cleared.stdout.split()[0], "--by", "anna")
    assert " rejected " in dropped.stdout, dropped.stderr
    listed = run(database_url, "report")
    assert f"suspense,{item['id']},suspense,200.00,EUR" in listed.stdout, listed.stderr
    assert "bank account" in run(database_url, "report", "--format", "page").stdout
    gone = run(database_url, "resolve", "book_psp", "fee_1", "--as", "fee", *words)
    assert "there is no open difference 'fee_1' of book_psp" in gone.stderr
    states = [row["state"] for row in json.loads(run(database_url, "approvals", "--json").stdout)]
    assert sorted(states) == ["booked", "booked", "rejected"]
    (listed_one,) = json.loads(run(database_url, "approvals", "--state", "rejected", "--json").stdout)
    assert listed_one["proposed_by"] == "anna"
    assert run(database_url, "receivables").stdout == "No party owes anything.\n"
    consent = ("NL-ABC", "--on", "2026-10-01")
    recorded = run(database_url, "set-off-consent", *consent, "--evidence", "contract 7", "--by", "anna")
    assert recorded.returncode == 0, recorded.stderr
    assert run(database_url, "end-set-off-consent", *consent).returncode == 0
    again = run(database_url, "end-set-off-consent", *consent)
    assert "no consent of 2026-10-01 in force" in again.stderr
    await counter.proved()
