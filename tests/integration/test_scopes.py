"""Scopes: one table for every operation, held by each kind of party as far as it may, given no further."""

import re
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from ipaddress import ip_network

import pytest

from gateway.api.auth import Caller
from gateway.api.operation_scopes import OPERATIONS, WITHOUT_KEY
from gateway.api.problems import ProblemError
from gateway.api.routes import endpoints
from gateway.database import Pool, transaction
from gateway.ids import new_id
from gateway.limits.address_limit import AddressLimiter
from gateway.limits.rate_limit import RateRule
from gateway.partners import party_repository
from gateway.partners.api_key_service import create_key
from gateway.scopes import ALL_SCOPES, PARTY_SCOPES, PLATFORM_SCOPES, Scope, ScopeSet, held_by
from tests.fakes.api import Api, open_api
from tests.fakes.parties import add_parties, party_body

KINDS = {
    "platform": "platform",
    "DE-ABC": "cpo",
    "parking": "demand_partner",
    "host": "site_host",
    "DE-EMP": "emsp",
}
OF_EVERY_PARTY = {Scope.PARTIES_READ, Scope.EVENTS_READ}


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    many = RateRule(name="key", per_second=10_000, burst=10_000)
    async with open_api(pool, key_rate=many) as opened:
        async with transaction(pool) as connection:
            await add_parties(connection, KINDS)
        yield opened


async def give(api: Api, name: str, party: str, scopes: Iterable[str]) -> None:
    """A key as a row has it, whoever may have made it."""
    async with transaction(api.services.pool) as connection:
        made = await create_key(
            connection, key_id=new_id(), party_id=party, scopes=scopes, now=api.clock.wall_now()
        )
    api.keys[name] = made.token


def address_of(path: str) -> str:
    """The path with something in each place that the router accepts."""
    for name, value in (
        ("{currency:[A-Z]{3}}", "EUR"),
        ("{version:2\\.0\\.1|2\\.1}", "2.1"),
        ("{version:1\\.6|2\\.0\\.1|2\\.1}", "1.6"),
        ("{message:[A-Za-z0-9-]{1,64}}", "boot-notification"),
        ("{type:APP_USER|RFID|OTHER}", "RFID"),
        ("{uid:[!-.0-~]{1,36}}", "04A1B2C3"),
    ):
        path = path.replace(name, value)
    return re.sub(r"\{[^{}]*(\{[^{}]*\})?[^{}]*\}", "x", path)


def test_the_table_names_every_operation_and_no_other() -> None:
    described = {one.operation: one for one in endpoints(sandbox=True)}
    named = {operation for operations in OPERATIONS.values() for operation in operations}
    assert named == described.keys() - WITHOUT_KEY | {"scrapeMetrics"}
    assert {name for name, one in described.items() if one.public} == WITHOUT_KEY
    assert OPERATIONS.keys() == ALL_SCOPES
    assert all(OPERATIONS.values()), "a scope that nothing needs"


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("party", KINDS)
def test_a_scope_opens_its_operations_and_no_other(party: str, scope: Scope) -> None:
    caller = Caller(party_id=party, key="nck_x", scopes=held_by(party, [scope]))
    for endpoint in endpoints(sandbox=True):
        if endpoint.public:
            continue
        granted = {scope} if party == "platform" else ({scope} - PLATFORM_SCOPES) | OF_EVERY_PARTY
        if endpoint.scopes & granted:
            caller.need(endpoint.scopes)
        else:
            with pytest.raises(ProblemError, match="missing_scope"):
                caller.need(endpoint.scopes)


@pytest.mark.parametrize("party", KINDS)
async def test_every_operation_asks_for_its_scope_over_http(api: Api, party: str) -> None:
    for scope in Scope:
        await give(api, f"only {scope}", party, [scope])
    for endpoint in endpoints(sandbox=True):
        if endpoint.public:
            continue
        missing = ALL_SCOPES - endpoint.scopes
        name = f"all but {sorted(endpoint.scopes)}"
        if name not in api.keys:
            await give(api, name, party, missing)
        refused = await api.call(endpoint.method, address_of(endpoint.path), {}, party=name)
        open_to_all = party != "platform" and endpoint.scopes & OF_EVERY_PARTY
        if not open_to_all:
            assert (refused.status, refused.json["code"]) == (403, "missing_scope"), endpoint.operation
        for scope in endpoint.scopes:
            answer = await api.call(endpoint.method, address_of(endpoint.path), {}, party=f"only {scope}")
            held = party == "platform" or scope not in PLATFORM_SCOPES
            code = answer.json.get("code") if answer.status == 403 else None
            assert (code == "missing_scope") is not held, (endpoint.operation, scope, answer.status)
            assert answer.status not in {401, 404, 405} or held, (endpoint.operation, answer.text)


async def test_the_names_of_the_first_release_stand_for_what_they_did(pool: Pool) -> None:
    async with pool.acquire() as connection:
        stored = {
            name: await party_repository.resolve_scopes(connection, [name]) for name in (*ScopeSet, *Scope)
        }
    for area in ("capture", "plug_and_charge", "contracts", "webhooks"):
        assert stored[ScopeSet(area)] == {f"{area}:read", f"{area}:write"}
    assert stored[ScopeSet.ADMIN] == ALL_SCOPES
    assert all(stored[scope] == {scope} for scope in Scope)


async def test_a_partys_key_never_holds_what_is_the_platforms(api: Api) -> None:
    await give(api, "wide", "DE-ABC", [ScopeSet.ADMIN])
    for path in ("/v1/summary", "/v1/receivables", "/v1/plug-and-charge/trust-anchors", "/metrics"):
        answer = await api.call("GET", path, party="wide")
        assert (answer.status, answer.json["code"]) == (403, "missing_scope"), path
    seen = (await api.call("GET", "/v1/parties", party="wide")).json["data"]
    assert {party["id"] for party in seen} <= {"DE-ABC"}
    for scope in ("admin", "finance:read", "metrics:read"):
        path = "/v1/parties/DE-ABC/api-keys"
        made = await api.call("POST", path, {"scopes": [scope]}, party="admin")
        assert (made.status, made.json["code"]) == (403, "missing_scope"), scope


async def test_a_key_for_prometheus_reads_the_metrics_and_nothing_else(api: Api) -> None:
    await give(api, "prometheus", "platform", [Scope.METRICS_READ])
    assert (await api.call("GET", "/metrics", party="prometheus")).status == 200
    for endpoint in endpoints(sandbox=True):
        if not endpoint.public:
            answer = await api.call(endpoint.method, address_of(endpoint.path), {}, party="prometheus")
            assert answer.status == 403, endpoint.operation
    await give(api, "clerk", "platform", ALL_SCOPES - {Scope.METRICS_READ})
    assert (await api.call("GET", "/metrics", party="clerk")).status == 403


async def test_nobody_gives_a_scope_that_he_lacks(api: Api) -> None:
    await give(api, "keeper", "platform", [Scope.KEYS_WRITE, Scope.SUPPORT_READ])
    path = "/v1/parties/platform/api-keys"
    made = await api.call("POST", path, {"scopes": ["support:read"]}, party="keeper")
    assert made.status == 201
    refused = await api.call("POST", path, {"scopes": ["support:read", "finance:write"]}, party="keeper")
    assert (refused.status, refused.json["code"]) == (403, "missing_scope")
    assert "`finance:write`" in refused.json["detail"]
    assert "support" not in refused.json["detail"]
    wider = await api.call("POST", path, {"scopes": ["finance:read"]}, party="admin")
    taken = await api.call("POST", f"{path}/{wider.json['id']}/rotate", {}, party="keeper")
    assert taken.status == 403  # nor takes one over by rotating it
    api.keys["wider"] = wider.json["api_key"]
    assert (await api.call("GET", "/v1/receivables", party="wider")).status == 200
    assert wider.json["expires"] is None


async def test_a_party_reads_itself_and_rotates_its_own_keys_alone(api: Api) -> None:
    body = party_body("DE-NEW", name="New", tax_jurisdiction="DE")
    assert (await api.call("POST", "/v1/parties", body, party="admin")).status == 201
    path = "/v1/parties/DE-NEW/api-keys"
    scopes = {"scopes": ["settlement:read", "keys:read", "keys:write"]}
    api.keys["new"] = (await api.call("POST", path, scopes, party="admin")).json["api_key"]
    assert (await api.call("GET", "/v1/parties/DE-NEW", party="new")).json["name"] == "New"
    assert (await api.call("GET", "/v1/parties/DE-NEW/vat", party="new")).status == 200
    assert [one["id"] for one in (await api.call("GET", "/v1/parties", party="new")).json["data"]] == [
        "DE-NEW"
    ]
    for foreign in ("/v1/parties/parking", "/v1/parties/parking/vat", "/v1/parties/parking/api-keys"):
        assert (await api.call("GET", foreign, party="new")).status == 404, foreign
    (own,) = (await api.call("GET", path, party="new")).json["data"]
    rotated = await api.call("POST", f"{path}/{own['id']}/rotate", {"overlap_s": 0}, party="new")
    assert (rotated.status, rotated.json["scopes"]) == (201, own["scopes"])
    assert (await api.call("GET", path, party="new")).status == 401  # the old one has ended
    api.keys["new"] = rotated.json["api_key"]
    assert len((await api.call("GET", path, party="new")).json["data"]) == 2
    theirs = (await api.call("GET", "/v1/parties/parking/api-keys", party="admin")).json["data"][0]["id"]
    for method, tail in (("POST", f"{theirs}/rotate"), ("DELETE", theirs)):
        foreign = await api.call(method, f"/v1/parties/parking/api-keys/{tail}", {}, party="new")
        assert foreign.status == 404
        foreign = await api.call(method, f"{path}/{tail}", {}, party="new")
        assert foreign.status == 404
    assert (await api.call("POST", "/v1/parties", body, party="new")).status == 403


async def test_a_key_ends_when_it_was_to_end_also_if_it_is_rotated(api: Api) -> None:
    path = "/v1/parties/parking/api-keys"
    ends = (api.clock.wall_now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    body = {"scopes": ["capture:read", "keys:write"], "expires": ends}
    made = await api.call("POST", path, body, party="admin")
    assert made.json["expires"] == ends
    api.keys["short"] = made.json["api_key"]
    assert (await api.call("GET", "/v1/captures", party="short")).status == 200
    rotated = await api.call("POST", f"{path}/{made.json['id']}/rotate", {}, party="admin")
    assert rotated.json["expires"] == ends
    api.keys["next"] = rotated.json["api_key"]
    api.clock.pass_wall(3601)
    for name in ("short", "next"):
        assert (await api.call("GET", "/v1/captures", party=name)).status == 401
    over = await api.call("POST", f"{path}/{rotated.json['id']}/rotate", {}, party="admin")
    assert over.status == 404  # an ended key does not come back to life
    past = await api.call("POST", path, body, party="admin")
    assert (past.status, past.json["code"]) == (400, "invalid_parameters")


async def test_a_key_works_from_its_address_ranges_alone(pool: Pool) -> None:
    proxies = AddressLimiter(trusted_proxies=[ip_network("127.0.0.0/8")])
    async with open_api(pool, addresses=proxies) as api:
        path = "/v1/parties/parking/api-keys"
        body = {"scopes": ["capture:read"], "allowed_networks": ["203.0.113.0/24", "2001:db8::/32"]}
        made = await api.call("POST", path, body, party="admin")
        assert made.json["allowed_networks"] == body["allowed_networks"]
        api.keys["fixed"] = made.json["api_key"]
        for address, status in (
            ("203.0.113.7", 200),
            ("2001:db8:1::7", 200),
            ("198.51.100.7", 401),
            ("2001:db9::7", 401),
            ("203.0.113.7, 198.51.100.7", 401),  # the proxy saw the last one; the first is hearsay
        ):
            headers = {"X-Forwarded-For": address}
            answer = await api.call("GET", "/v1/captures", party="fixed", headers=headers)
            assert answer.status == status, address
        assert (await api.call("GET", "/v1/captures", party="fixed")).status == 401
        for wrong in ("203.0.113.7/24", "203.0.113", "everywhere", ""):
            body = {"scopes": ["capture:read"], "allowed_networks": [wrong]}
            refused = await api.call("POST", path, body, party="admin")
            assert refused.status == 400, wrong
            assert refused.json["errors"][0]["pointer"].startswith("/allowed_networks"), wrong


async def test_when_a_key_was_last_used_is_stored_apart_from_the_requests(pool: Pool) -> None:
    async with open_api(pool) as api:
        path = "/v1/parties/parking/api-keys"
        (key,) = (await api.call("GET", path, party="admin")).json["data"]
        assert key["last_used"] is None
        await api.call("GET", "/v1/captures")
        api.clock.pass_wall(30)
        at = api.clock.wall_now()
        await api.call("GET", "/v1/captures")
        await api.call("GET", "/v1/captures", headers={"Authorization": f"Bearer {api.keys['parking']}x"})
        used = api.services.keys.take_used()
        assert used == {key["prefix"]: at}
        await api.services.api_keys.note_used(used)
        await api.services.api_keys.note_used({key["prefix"]: at - timedelta(minutes=5)})
        (key,) = (await api.call("GET", path, party="admin")).json["data"]
        assert key["last_used"] == at.isoformat().replace("+00:00", "Z")
        await api.call("GET", "/v1/captures")
        api.clock.pass_wall(90)
        await api.call("GET", "/v1/captures")
        last = api.clock.wall_now()
    async with pool.acquire() as connection:  # the server's end stores what was not yet
        assert (
            await connection.fetchval(
                "SELECT last_used_at FROM gateway.api_key WHERE prefix = $1", key["prefix"]
            )
            == last
        )


def test_what_a_party_may_hold_and_what_is_the_platforms_are_everything() -> None:
    assert PARTY_SCOPES | PLATFORM_SCOPES == ALL_SCOPES
    assert not PARTY_SCOPES & PLATFORM_SCOPES
    assert held_by("platform", ["metrics:read", "unheard:of"]) == {Scope.METRICS_READ}
    assert held_by("DE-ABC", ["metrics:read", "unheard:of"]) == OF_EVERY_PARTY
