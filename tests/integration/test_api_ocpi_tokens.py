"""Drivers' tokens over the admin API: stored, changed, found by CPOs, never taken from another partner."""

from typing import Any

import pytest

from gateway.database import Pool
from gateway.ocpi.repository.tokens import load_token
from tests.fakes.api import Api, open_api

PATH = "/v1/ocpi/tokens/RFID/04A1B2C3"
BODY: dict[str, Any] = {
    "party": "superapp",
    "contract_id": "CH-NWC-C12345678-X",
    "issuer": "Super App",
    "payment": {
        "type": "psp_payment_method",
        "payment_method": "pm_good",
        "customer": "cus_1",
        "off_session": True,
    },
}


@pytest.fixture
async def api(pool: Pool) -> Any:
    async with open_api(pool) as opened:
        yield opened


async def test_a_token_is_stored_as_cpos_get_it_and_what_pays_is_not_shown(api: Api, pool: Pool) -> None:
    made = await api.call("PUT", PATH, BODY, party="admin")
    assert made.status == 200, made.text
    assert (made.json["uid"], made.json["type"], made.json["whitelist"]) == ("04A1B2C3", "RFID", "NEVER")
    assert "pm_good" not in made.text
    async with pool.acquire() as connection:
        stored = await load_token(connection, uid="04a1b2c3", token_type="RFID")
    assert stored is not None
    assert (stored.country_code, stored.party_code) == ("CH", "NWC")
    assert stored.payment == BODY["payment"]


async def test_a_token_is_blocked_by_the_same_call(api: Api, pool: Pool) -> None:
    await api.call("PUT", PATH, BODY, party="admin")
    blocked = await api.call("PUT", PATH, {**BODY, "valid": False}, party="admin")
    assert (blocked.status, blocked.json["valid"]) == (200, False)
    async with pool.acquire() as connection:
        stored = await load_token(connection, uid="04A1B2C3", token_type="RFID")
    assert stored is not None
    assert not stored.valid


async def test_another_partners_token_is_never_taken_over(api: Api) -> None:
    await api.call("PUT", PATH, BODY, party="admin")
    other = await api.call("PUT", PATH, {**BODY, "party": "parking"}, party="admin")
    assert (other.status, other.json["code"]) == (409, "already_exists")
    assert other.json["errors"][0]["pointer"] == "/party"


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        (PATH, {"party": "nobody"}, 404),
        (PATH, {"contract_id": "a" * 37}, 400),
        (PATH, {"issuer": "a\x00b"}, 400),
        (PATH, {"whitelist": "SOMETIMES"}, 400),
        (PATH, {"payment": {"type": "cash"}}, 400),
        ("/v1/ocpi/tokens/GUESS/1", {}, 404),
        ("/v1/ocpi/tokens/RFID/" + "a" * 37, {}, 404),
    ],
)
async def test_what_ocpi_cannot_carry_is_rejected(
    api: Api, path: str, change: dict[str, Any], status: int
) -> None:
    answer = await api.call("PUT", path, {**BODY, **change}, party="admin")
    assert answer.status == status, answer.text


async def test_tokens_are_the_platforms_to_set(api: Api) -> None:
    assert (await api.call("PUT", PATH, BODY, party="superapp")).status == 403


async def test_a_registration_invites_a_platform_for_every_party_that_it_operates_for(pool: Pool) -> None:
    async with open_api(pool) as api:
        body = {"party_id": "DE-ABC", "also": ["parking"]}
        made = await api.call("POST", "/v1/ocpi/registrations", body, party="admin", key="r1")
        assert made.status == 201, made.text
        assert made.json["versions_url"] == "http://api.test/ocpi/versions"
        assert len(made.json["token_a"]) >= 32
        parties = await pool.fetch("SELECT party_id FROM gateway.ocpi_peer_party ORDER BY 1")
        assert [row["party_id"] for row in parties] == ["DE-ABC", "parking"]
        unknown = await api.call(
            "POST",
            "/v1/ocpi/registrations",
            {"party_id": "DE-ABC", "also": ["nobody"]},
            party="admin",
            key="r2",
        )
        assert unknown.status == 404
        foreign = await api.call("POST", "/v1/ocpi/registrations", body, party="DE-ABC", key="r3")
        assert foreign.status == 403


async def test_tokens_are_listed_for_their_partner_and_read_by_nobody_else(api: Api) -> None:
    for number in range(5):
        body = {**BODY, "party": "superapp" if number != 2 else "parking"}
        await api.call("PUT", f"/v1/ocpi/tokens/RFID/UID{number}", body, party="admin")
    seen: list[str] = []
    cursor = ""
    while True:
        shown = await api.call("GET", f"/v1/ocpi/tokens?limit=2{cursor}", party="superapp")
        assert shown.status == 200, shown.text
        seen += [row["uid"] for row in shown.json["data"]]
        if not shown.json["has_more"]:
            break
        cursor = f"&cursor={shown.json['next_cursor']}"
    assert seen == ["UID0", "UID1", "UID3", "UID4"]
    assert len((await api.call("GET", "/v1/ocpi/tokens", party="admin")).json["data"]) == 5
    assert (await api.call("GET", "/v1/ocpi/tokens/RFID/uid2", party="parking")).json["uid"] == "UID2"
    assert (await api.call("GET", "/v1/ocpi/tokens/RFID/UID2", party="superapp")).status == 404
    assert (await api.call("GET", "/v1/ocpi/tokens?cursor=x", party="superapp")).status == 400
