"""The credentials handshake over real HTTP: tokens A, B and C, renewal, end, and what is rejected."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from tests.fakes.ocpi_cpo import TOKEN_B
from tests.fakes.ocpi_edge import Edge, start_edge, stop_edge


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


async def test_a_call_without_a_known_token_is_unauthorized(edge: Edge) -> None:
    for token in (None, "no-such-token"):
        answer, status = await edge.call("GET", "/versions", token)
        assert status == 401
        assert 2000 <= answer["status_code"] < 3000
        assert answer["timestamp"].endswith("Z")


async def test_versions_and_details_lead_to_every_module(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    answer, status = await edge.call("GET", "/versions", token_a)
    assert status == 200
    assert [row["version"] for row in answer["data"]] == ["2.1.1", "2.2.1", "2.3.0"]
    details = {
        row["version"]: (await edge.call("GET", row["url"], token_a))[0]["data"] for row in answer["data"]
    }
    for version, found in details.items():
        assert found["version"] == version
        modules = {row["identifier"] for row in found["endpoints"]}
        assert modules >= {"credentials", "locations", "tariffs", "sessions", "cdrs"}
        assert all(("role" in row) == (version != "2.1.1") for row in found["endpoints"])


@pytest.mark.parametrize("version", ["2.1.1", "2.2.1", "2.3.0"])
async def test_post_turns_token_a_into_token_c_and_token_a_ends(edge: Edge, version: str) -> None:
    token_a = await edge.invite("NL-ABC")
    body = edge.credentials("NL-ABC", version=version)
    answer, status = await edge.call("POST", f"/{version}/credentials", token_a, body)
    assert (status, answer["status_code"]) == (200, 1000)
    token_c = answer["data"]["token"]
    assert token_c not in {token_a, TOKEN_B}
    assert answer["data"]["url"].endswith("/ocpi/versions")
    assert ("roles" in answer["data"]) == (version != "2.1.1")
    assert (await edge.call("GET", "/versions", token_a))[1] == 401
    assert (await edge.call("GET", f"/{version}/credentials", token_c))[0]["data"]["token"] == token_c
    assert (await edge.call("POST", f"/{version}/credentials", token_c, body))[1] == 405


async def test_the_peer_is_called_back_with_its_token_b(edge: Edge) -> None:
    await edge.register("NL-ABC")
    assert edge.cpo.asked == [
        ("/versions", f"Token {base64.b64encode(TOKEN_B.encode()).decode()}"),
        ("/2.2.1/details", f"Token {base64.b64encode(TOKEN_B.encode()).decode()}"),
    ]


async def test_a_peer_that_sends_bare_tokens_is_called_with_a_bare_token(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    answer, _ = await edge.call("POST", "/2.2.1/credentials", token_a, edge.credentials("NL-ABC"), bare=True)
    assert answer["status_code"] == 1000
    assert edge.cpo.asked[0] == ("/versions", f"Token {TOKEN_B}")
    token_c = answer["data"]["token"]
    assert (await edge.call("GET", "/2.2.1/credentials", token_c, bare=True))[0]["data"]["token"] == token_c


@pytest.mark.parametrize("refusal", [(401, 2000), (403, 2001), (404, 2000), (500, 3000), (200, 3000)])
async def test_a_peer_that_wants_the_other_spelling_is_called_again_in_it(
    edge: Edge, refusal: tuple[int, int]
) -> None:
    edge.cpo.accepts, edge.cpo.refusal = (f"Token {TOKEN_B}",), refusal
    await edge.register("NL-ABC")
    assert [header for _, header in edge.cpo.asked][1:] == [f"Token {TOKEN_B}"] * 2


async def test_a_peer_that_knows_neither_spelling_is_named_with_its_first_refusal(edge: Edge) -> None:
    edge.cpo.accepts, edge.cpo.refusal = ("Token none",), (403, 2001)
    token_a = await edge.invite("NL-ABC")
    answer, _ = await edge.call("POST", "/2.2.1/credentials", token_a, edge.credentials("NL-ABC"))
    assert answer["status_code"] == 3001
    assert "HTTP 403, OCPI status 2001" in answer["status_message"]


async def test_base64_with_a_line_break_inside_is_understood(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    broken = base64.b64encode(f"{token_a}\n".encode()).decode()
    header = {"Authorization": f"Token {broken}"}
    assert (await edge.call("GET", "/versions", None, headers=header))[1] == 200


async def test_put_renews_the_token_and_may_change_the_version(edge: Edge) -> None:
    token_c = await edge.register("NL-ABC")
    answer, status = await edge.call("PUT", "/2.3.0/credentials", token_c, edge.credentials("NL-ABC"))
    assert (status, answer["status_code"]) == (200, 1000)
    assert (await edge.call("GET", "/versions", token_c))[1] == 401
    assert (await edge.call("GET", "/versions", answer["data"]["token"]))[1] == 200
    version = await edge.pool.fetchval("SELECT version FROM gateway.ocpi_peer")
    assert version == "2.3.0"


async def test_put_and_delete_before_registration_are_not_allowed(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    assert (await edge.call("PUT", "/2.2.1/credentials", token_a, edge.credentials("NL-ABC")))[1] == 405
    assert (await edge.call("DELETE", "/2.2.1/credentials", token_a))[1] == 405


async def test_delete_ends_the_registration_and_forgets_the_tokens(edge: Edge) -> None:
    token_c = await edge.register("NL-ABC")
    assert (await edge.call("DELETE", "/2.2.1/credentials", token_c))[0]["status_code"] == 1000
    assert (await edge.call("GET", "/versions", token_c))[1] == 401
    row = await edge.pool.fetchrow("SELECT state, outbound_token, token_hash FROM gateway.ocpi_peer")
    assert row is not None
    assert tuple(row) == ("ended", None, None)


async def test_token_a_opens_no_functional_module(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    assert (await edge.call("GET", "/emsp/2.2.1/tariffs/NL/ABC/T1", token_a))[1] == 401


async def test_a_party_that_was_not_agreed_cannot_be_claimed(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    await edge.party("DE-XYZ")
    answer, status = await edge.call(
        "POST", "/2.2.1/credentials", token_a, edge.credentials("NL-ABC", "DE-XYZ")
    )
    assert (status, answer["status_code"]) == (200, 2001)
    assert "DE/XYZ" in answer["status_message"]
    assert (await edge.call("GET", "/versions", token_a))[1] == 200


async def test_a_platform_may_speak_for_several_agreed_parties(edge: Edge) -> None:
    token_c = await edge.register("NL-ABC", "DE-XYZ")
    for path in ("NL/ABC", "DE/XYZ", "de/xyz"):
        assert (await edge.call("GET", f"/emsp/2.2.1/tariffs/{path}/T1", token_c))[1] == 404
    answer, _ = await edge.call("GET", "/emsp/2.2.1/tariffs/FR/AAA/T1", token_c)
    assert "not a party of this connection" in answer["status_message"]


async def test_an_unusable_api_of_the_peer_is_3001_and_leaves_the_invitation_open(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    body = edge.credentials("NL-ABC")
    for url in ("http://127.0.0.1:1/versions", edge.cpo.versions_url.replace("versions", "nothing")):
        answer, status = await edge.call("POST", "/2.2.1/credentials", token_a, {**body, "url": url})
        assert (status, answer["status_code"]) == (200, 3001)
    assert (await edge.call("POST", "/2.2.1/credentials", token_a, body))[0]["status_code"] == 1000


async def test_a_version_the_peer_lacks_is_3002_and_no_endpoints_are_3003(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    edge.cpo.versions = ("2.1.1",)
    answer, _ = await edge.call("POST", "/2.2.1/credentials", token_a, edge.credentials("NL-ABC"))
    assert answer["status_code"] == 3002
    edge.cpo.versions, edge.cpo.endpoints = ("2.2.1",), []
    answer, _ = await edge.call("POST", "/2.2.1/credentials", token_a, edge.credentials("NL-ABC"))
    assert answer["status_code"] == 3003


async def test_private_addresses_are_rejected_where_peers_must_be_public(pool: Pool) -> None:
    edge = await start_edge(pool)
    object.__setattr__(edge.services, "allow_private_peers", False)
    try:
        token_a = await edge.invite("NL-ABC")
        for url in (
            "http://example.com/versions",
            "https://127.0.0.1/versions",
            "https://[::1]/v",
            "https://2130706433/v",
        ):
            answer, _ = await edge.call(
                "POST", "/2.2.1/credentials", token_a, {**edge.credentials("NL-ABC"), "url": url}
            )
            assert answer["status_code"] == 2001, url
            assert answer["status_message"].startswith("$.url")
    finally:
        await stop_edge(edge)


async def test_request_and_correlation_ids_come_back(edge: Edge) -> None:
    headers = {"X-Request-ID": "req-1", "X-Correlation-ID": "cor-1"}
    response, _ = await edge.send("GET", "/versions", await edge.invite("NL-ABC"), headers=headers)
    assert (response.headers["X-Request-ID"], response.headers["X-Correlation-ID"]) == ("req-1", "cor-1")


async def test_unknown_paths_and_methods_answer_in_the_ocpi_format(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    for method, path, expected in (("GET", "/nothing", 404), ("PATCH", "/versions", 405), ("GET", "", 404)):
        answer, status = await edge.call(method, path, None)
        assert (status, answer["status_code"]) == (401, 2000)
        response, answer = await edge.send(method, path, token)
        assert (response.status, answer["status_code"]) == (expected, 2000)
        assert ("Allow" in response.headers) == (expected == 405)


async def test_each_call_of_a_handshake_is_kept_with_its_answer_and_no_token(edge: Edge) -> None:
    await edge.register("NL-ABC")
    steps = await _steps(edge)
    assert [(one["direction"], one["method"], one["http_status"], one["ocpi_status"]) for one in steps] == [
        ("sent", "GET", 200, 1000),
        ("sent", "GET", 200, 1000),
        ("received", "POST", 200, 1000),
    ]
    assert steps[0]["url"].endswith("/versions")
    assert steps[-1]["url"] == "/ocpi/2.2.1/credentials"
    assert "2.2.1" in steps[-1]["message"]
    assert not [one for one in steps if TOKEN_B in str(dict(one))]


async def test_a_handshake_that_fails_says_at_which_call_and_why(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    edge.cpo.accepts, edge.cpo.refusal = ("Token nothing",), (403, 2001)
    answer, _ = await edge.call("POST", "/2.2.1/credentials", token_a, edge.credentials("NL-ABC"))
    assert answer["status_code"] == 3001
    steps = await _steps(edge)
    assert [(one["direction"], one["http_status"], one["ocpi_status"]) for one in steps] == [
        ("sent", 403, 2001),  # the token in Base64
        ("sent", 403, 2001),  # and bare
        ("received", 200, 3001),
    ]
    assert "could not be used" in steps[-1]["message"]


async def _steps(edge: Edge) -> list[Any]:
    return list(await edge.pool.fetch("SELECT * FROM gateway.ocpi_handshake_step ORDER BY id"))
