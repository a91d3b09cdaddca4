"""Contracts managed by their eMSP, and trusted roots as an operator reads them: each sees its own alone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.database import Pool
from pnc.certificate import decode_block, parse_certificate
from sandbox.pki.hierarchy import Suite, build_pki
from tests.fakes.api import START, Answer
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api, statuses
from tests.fakes.pnc_market import EMAID

OTHER = "DE8AAC87654321"
MANDATE = {"type": "psp_payment_method", "payment_method": "pm_good", "customer": "cus_1"}


@pytest.fixture
async def station(pool: Pool) -> AsyncIterator[StationApi]:
    async with open_station_api(pool) as opened:
        for party in ("superapp", "parking"):
            made = await opened.api.call(
                "POST",
                f"/v1/parties/{party}/api-keys",
                {"scopes": ["contracts", "webhooks"]},
                party="admin",
                key=f"k-{party}",
            )
            assert made.status == 201, made.text
            opened.api.keys[f"{party}-contracts"] = made.json["api_key"]
        yield opened


async def emsp(
    station: StationApi, method: str, path: str, body: Any = None, *, party: str = "superapp"
) -> Answer:
    return await station.api.call(method, f"{ROOT}/{path}", body, party=f"{party}-contracts")


def contract(emaid: str = OTHER, **changes: Any) -> dict[str, Any]:
    return {
        "emaid": emaid,
        "party": "superapp",
        "payment": MANDATE,
        "valid_from": "2026-10-01T00:00:00Z",
        **changes,
    }


async def published(station: StationApi, party: str = "superapp") -> list[tuple[str, str]]:
    rows = await station.api.services.pool.fetch(
        "SELECT type, data FROM gateway.event WHERE party_id = $1 AND type LIKE 'contract.%' ORDER BY id",
        party,
    )
    assert not any("pm_good" in str(row["data"]) for row in rows)
    return [(row["type"], row["data"]["emaid"]) for row in rows]


async def test_an_emsp_takes_its_contract_from_creation_to_its_end(station: StationApi) -> None:
    leaf = station.pki.issue(OTHER)
    station.fetcher.know(station.pki.second, leaf)
    chain = station.pki.bundle(leaf)
    made = await emsp(station, "POST", "contracts", contract(certificate_chain=chain))
    assert (made.status, made.json["state"]) == (201, "active"), made.text
    token = {"idToken": {"idToken": OTHER, "type": "eMAID"}, "certificate": chain}
    assert statuses(await station.plug_in(ref="a", request=token)) == ("Accepted", "Accepted")

    blocked = await emsp(station, "POST", f"contracts/{OTHER}/block", {"reason": "stolen"})
    assert blocked.json["state"] == "blocked"
    assert statuses(await station.plug_in(ref="b", request=token)) == ("Blocked", "ContractCancelled")
    assert (await emsp(station, "POST", f"contracts/{OTHER}/block", {})).json["revision"] == 2
    assert (await emsp(station, "POST", f"contracts/{OTHER}/unblock")).json["state"] == "active"
    renewed = station.pki.issue(OTHER)
    station.fetcher.know(station.pki.second, renewed)
    later = contract(certificate_chain=station.pki.bundle(renewed), valid_to="2028-10-01T00:00:00Z")
    assert (await emsp(station, "POST", "contracts", later)).status == 201
    certificates = (await emsp(station, "GET", f"contracts/{OTHER}/certificates")).json["data"]
    old = parse_certificate(leaf.der).sha256.hex()
    assert len(certificates) == 2
    assert old in {certificate["sha256"] for certificate in certificates}
    path = f"contracts/{OTHER}/certificates/{old}/block"
    assert (await emsp(station, "POST", path, {"reason": "replaced"})).status == 204
    assert statuses(await station.plug_in(ref="c", request=token)) == ("Invalid", "CertificateRevoked")
    assert (await emsp(station, "POST", f"contracts/{OTHER}/cancel")).json["state"] == "cancelled"
    assert (await emsp(station, "POST", f"contracts/{OTHER}/unblock")).status == 409

    kinds = ["created", "blocked", "unblocked", "changed", "cancelled"]
    history = (await emsp(station, "GET", f"contracts/{OTHER}/history")).json["data"]
    assert [change["kind"] for change in history] == kinds
    assert {change["actor"] for change in history} == {"superapp"}
    feed = (await emsp(station, "GET", "contract-changes")).json["data"]
    assert [change["kind"] for change in feed if change["emaid"] == OTHER] == kinds
    events = [kind for kind, emaid in await published(station) if emaid == OTHER]
    assert events == [f"contract.{kind}" for kind in kinds]
    assert await published(station, "parking") == []


async def test_another_partys_contracts_do_not_exist_for_an_emsp(station: StationApi) -> None:
    for method, path, body in (
        ("POST", f"contracts/{EMAID}/block", None),
        ("POST", f"contracts/{EMAID}/unblock", None),
        ("POST", f"contracts/{EMAID}/cancel", None),
        ("GET", f"contracts/{EMAID}/history", None),
        ("GET", f"contracts/{EMAID}/certificates", None),
        ("POST", f"contracts/{EMAID}/certificates/{'00' * 32}/block", {"reason": "x"}),
    ):
        refused = await emsp(station, method, path, body, party="parking")
        assert (refused.status, refused.json["code"]) == (404, "not_found"), (path, refused.text)
    for path in ("contracts", "contracts?party=superapp", "contract-changes?party=superapp"):
        assert (await emsp(station, "GET", path, party="parking")).json["data"] == []
    assert len((await emsp(station, "GET", "contracts?party=parking")).json["data"]) == 1  # its own
    taken = await emsp(station, "POST", "contracts", contract(EMAID, party="parking"), party="parking")
    assert taken.status == 409, taken.text
    foreign = await emsp(station, "POST", "contracts", contract(OTHER), party="parking")
    assert (foreign.status, foreign.json["code"]) == (400, "invalid_parameters"), foreign.text
    assert statuses(await station.plug_in()) == ("Accepted", "Accepted")


async def test_an_import_of_an_emsp_stores_its_own_rows_alone(station: StationApi) -> None:
    rows = [contract(OTHER), contract("DE8AAC11111111", party="parking"), {"emaid": 1}]
    report = await emsp(station, "POST", "contract-imports", {"contracts": rows})
    assert [row["outcome"] for row in report.json["rows"]] == ["created", "rejected", "rejected"]
    assert ("contract.created", OTHER) in await published(station)
    again = await emsp(station, "POST", "contract-imports", {"contracts": rows[:1]})
    assert [row["outcome"] for row in again.json["rows"]] == ["unchanged"]
    assert [emaid for _, emaid in await published(station)].count(OTHER) == 1


async def test_a_block_of_the_platform_is_ended_by_the_platform_alone(station: StationApi) -> None:
    path = f"contracts/{EMAID}"
    await station.api.call("POST", f"{ROOT}/{path}/block", {"reason": "fraud"}, party="admin")
    assert ("contract.blocked", EMAID) in await published(station)
    refused = await emsp(station, "POST", f"{path}/unblock")
    assert (refused.status, refused.json["code"]) == (409, "state_conflict")
    lifted = await station.api.call("POST", f"{ROOT}/{path}/unblock", party="admin")
    assert lifted.json["state"] == "active"
    await emsp(station, "POST", f"{path}/block", {"reason": "lost"})
    assert (await emsp(station, "POST", f"{path}/unblock")).json["state"] == "active"


async def test_an_emsp_reaches_neither_trust_nor_other_environments_nor_means_of_payment(
    station: StationApi,
) -> None:
    for method, path in (
        ("GET", "trust-anchors"),
        ("POST", "trust-lists"),
        ("POST", f"contracts/{EMAID}/disable-payment"),
        ("POST", f"contracts/{EMAID}/enable-payment"),
        ("POST", "authorizations"),
        ("GET", "roots"),
    ):
        assert (await emsp(station, method, path)).status == 403, path
    elsewhere = await emsp(station, "POST", "contracts", contract(environment="production"))
    assert (elsewhere.status, elsewhere.json["errors"][0]["pointer"]) == (400, "/environment")


async def test_an_operator_reads_the_trusted_roots_and_what_changed(station: StationApi) -> None:
    async def read(path: str) -> Any:
        answer = await station.api.call("GET", f"{ROOT}/{path}", party="DE-ABC")
        assert answer.status == 200, answer.text
        return answer.json

    (root,) = (await read("roots"))["data"]
    loaded = parse_certificate(decode_block(root["pem"].split("-----")[2]))
    assert (loaded.der, loaded.sha256.hex()) == (station.pki.root.der, root["sha256"])
    begun = await read("root-changes")
    assert [change["change"] for change in begun["data"]] == ["added"]
    assert set(begun["data"][0]) == {"object", "sha256", "change", "at"}  # neither who nor why
    other = build_pki(suite=Suite.P256, now=START, name="Other")
    body = {"environment": "sandbox", "kind": "v2g_root", "policy": "require", "pem": other.root.pem}
    added = await station.api.call("POST", f"{ROOT}/trust-anchors", body, party="admin")
    path = f"{ROOT}/trust-anchors/{root['sha256']}/retire"
    await station.api.call("POST", path, {"reason": "secret"}, party="admin")
    later = await read(f"root-changes?cursor={begun['next_cursor']}&limit=1")
    assert later["has_more"]
    rest = await read(f"root-changes?cursor={later['next_cursor']}")
    found = [(change["change"], change["sha256"]) for change in later["data"] + rest["data"]]
    assert found == [("added", added.json["sha256"]), ("retired", root["sha256"])]
    assert [item["sha256"] for item in (await read("roots"))["data"]] == [added.json["sha256"]]


async def test_a_contract_has_no_more_sessions_at_once_than_its_emsp_allows(station: StationApi) -> None:
    one = contract(EMAID, sessions_at_once=1)
    assert (await emsp(station, "POST", "contracts", one)).json["sessions_at_once"] == 1
    first = await station.plug_in(ref="a")
    assert statuses(first) == ("Accepted", "Accepted")
    assert statuses(await station.plug_in(ref="a")) == ("Accepted", "Accepted")  # the same session
    second = await station.plug_in(ref="b")
    assert statuses(second) == ("ConcurrentTx", "ContractCancelled")
    assert second.json["decision"]["finding"] == "too_many_sessions_at_once"
    assert [kind for kind, _ in await published(station)][-1] == "contract.limit_reached"
    assert len(station.api.psp.payments) == 1
    path = f"/v1/authorizations/{first.json['authorization_id']}/release"
    assert (await station.api.call("POST", path, {}, party="admin", key="r")).status == 200
    assert statuses(await station.plug_in(ref="a")) != ("Accepted", "Accepted")  # its session has ended
    assert statuses(await station.plug_in(ref="b")) == ("Accepted", "Accepted")


async def test_a_provider_belongs_to_one_party_and_nobody_else_stores_contracts_under_it(
    station: StationApi,
) -> None:
    """Whoever stored an eMAID first had it, also of a provider that was another's."""
    keys: list[str] = []

    async def call(method: str, path: str, body: Any = None) -> Answer:
        keys.append(f"key-{len(keys)}")
        return await station.api.call(method, f"{ROOT}/{path}", body, party="admin", key=keys[-1])

    (unregistered,) = (await call("GET", "providers")).json["data"]
    assert (unregistered["id"], unregistered["party"], unregistered["parties"]) == (
        "DE8AA",
        None,
        ["superapp"],
    )
    assert (unregistered["contracts"], unregistered["disputed"]) == (1, False)
    made = await call("PUT", "providers/de-8aa", {"party": "parking"})
    assert (made.status, made.json["id"], made.json["disputed"]) == (200, "DE8AA", True), made.text
    body = {"emaid": "DE8AAC87654321", "party": "superapp", "valid_from": "2026-10-01T00:00:00Z"}
    paid = body | {"payment": {"type": "partner_account"}}
    refused = await call("POST", "contracts", paid)
    assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text
    assert "its provider DE8AA is registered for another party" in refused.text
    imported = await call(
        "POST", "contract-imports", {"contracts": [paid, paid | {"emaid": "DE9ZZC87654321"}]}
    )
    assert [row["outcome"] for row in imported.json["rows"]] == ["rejected", "created"], imported.text
    assert (await call("POST", "contracts", paid | {"party": "parking"})).status in {200, 201}
    assert statuses(await station.plug_in(ref="kept")) == ("Accepted", "Accepted")  # a person decides on it
    assert (await call("PUT", "providers/DE8", {"party": "parking"})).status == 400
    assert (await call("PUT", "providers/DE8AA", {"party": "nobody"})).status == 404
    assert (await call("DELETE", "providers/DE8AA")).status == 204
    assert (await call("DELETE", "providers/DE8AA")).status == 404
    listed = (await call("GET", "providers")).json["data"]
    assert [(one["id"], one["party"], one["disputed"]) for one in listed] == [
        ("DE8AA", None, False),
        ("DE9ZZ", None, False),
    ]


async def test_of_ten_stations_at_once_a_limited_contract_charges_at_one(station: StationApi) -> None:
    await emsp(station, "POST", "contracts", contract(EMAID, sessions_at_once=1))
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(station.plug_in(ref=f"s{number}")) for number in range(10)]
    found = [call.result().json["decision"]["finding"] for call in calls]
    assert sorted(found) == ["accepted", *["too_many_sessions_at_once"] * 9]
    assert len(station.api.psp.payments) == 1
    assert [kind for kind, _ in await published(station)].count("contract.limit_reached") == 9


async def test_a_contract_begins_no_more_sessions_a_day_than_its_emsp_allows(station: StationApi) -> None:
    await emsp(station, "POST", "contracts", contract(EMAID, sessions_per_day=2))
    for ref in ("a", "b"):
        assert statuses(await station.plug_in(ref=ref)) == ("Accepted", "Accepted")
    third = await station.plug_in(ref="c")
    assert (statuses(third), third.json["decision"]["finding"]) == (
        ("Blocked", "ContractCancelled"),
        "too_many_sessions_today",
    )
    station.api.clock.at += timedelta(hours=25)
    later = await station.plug_in(ref="c")
    assert later.json["decision"]["finding"] not in {"too_many_sessions_today", "too_many_sessions_at_once"}
    for wrong in (0, -1, "many"):
        refused = await emsp(station, "POST", "contracts", contract(EMAID, sessions_per_day=wrong))
        assert refused.status == 400
