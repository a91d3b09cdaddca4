"""The stand-in OpenID provider refuses what a real one refuses, with the error that the standards name."""

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet
from yarl import URL

from sandbox.openid import OpenIdPerson, SandboxOpenIdProvider

VERIFIER = "verifier-of-the-test-" + "v" * 30
RETURN = "http://api.test/return"
REQUEST = {
    "client_id": "networkcore",
    "redirect_uri": RETURN,
    "response_type": "code",
    "scope": "openid email",
    "state": "state-1",
    "nonce": "nonce-1",
    "code_challenge": create_s256_code_challenge(VERIFIER),
    "code_challenge_method": "S256",
}
ANNA = {"as": "s-1"}
FORM = {"grant_type": "authorization_code", "redirect_uri": RETURN, "code_verifier": VERIFIER}


def basic(secret: str = "secret-1", name: str = "networkcore") -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{name}:{secret}".encode()).decode()}


class Client:
    """A client of the provider that sends what a test gives it."""

    def __init__(self, http: ClientSession, base: URL, provider: SandboxOpenIdProvider) -> None:
        self.http = http
        self.base = base
        self.provider = provider

    async def authorize(self, query: Any, *, method: str = "GET") -> tuple[int, dict[str, str]]:
        """The status, and what the browser brings back to the client."""
        sent = {"params": query} if method == "GET" else {"data": query}
        async with self.http.request(
            method, self.base / "authorize", **sent, allow_redirects=False
        ) as response:
            location = response.headers.get("Location", "")
            assert location.startswith(f"{RETURN}?") or not location
            return response.status, dict(URL(location).query)

    async def code(self) -> str:
        _, back = await self.authorize(REQUEST | ANNA)
        return back["code"]

    async def token(self, form: Any, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        async with self.http.post(self.base / "token", data=form, headers=headers) as response:
            assert response.headers["Cache-Control"] == "no-store"
            assert ("WWW-Authenticate" in response.headers) == (response.status == 401)
            return response.status, await response.json()

    async def user_info(self, token: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.get(self.base / "userinfo", headers=headers) as response:
            assert ("WWW-Authenticate" in response.headers) == (response.status == 401)
            return response.status, await response.json()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    anna = OpenIdPerson(subject="s-1", name="Anna", email="anna@example.com")
    provider = SandboxOpenIdProvider(
        client_id="networkcore", client_secret="secret-1", redirect_uri=RETURN, people=[anna]
    )
    async with TestServer(provider.application()) as server, ClientSession() as http:
        provider.issuer = str(server.make_url("")).rstrip("/")
        yield Client(http, server.make_url(""), provider)


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uri": f"{RETURN}/"},
        {"redirect_uri": f"{RETURN}?x=1"},
        {"redirect_uri": "https://evil.example/return"},
        {"client_id": "another"},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(
    client: Client, changed: dict[str, str]
) -> None:
    assert await client.authorize(REQUEST | ANNA | changed) == (400, {})
    twice = [*changed.items(), *(REQUEST | ANNA).items()]
    status, back = await client.authorize(twice)
    assert (status, "code" in back) != (303, True)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"scope": "email"}, "invalid_scope"),
        ({"scope": None}, "invalid_request"),
        ({"nonce": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"request": "a.b.c"}, "request_not_supported"),
        ({"request_uri": "https://a.example/r"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "login_required"),
        ({"deny": "1"}, "access_denied"),
    ],
)
async def test_what_is_wrong_with_a_request_is_answered_to_the_client(
    client: Client, changed: dict[str, str | None], error: str
) -> None:
    query = {name: value for name, value in (REQUEST | ANNA | changed).items() if value is not None}
    assert await client.authorize(query) == (303, {"error": error, "state": "state-1"})
    assert client.provider.codes == {}


async def test_a_request_without_a_state_is_refused_without_one(client: Client) -> None:
    query = {name: value for name, value in (REQUEST | ANNA).items() if name != "state"}
    assert await client.authorize(query) == (303, {"error": "invalid_request"})


async def test_a_person_chooses_before_a_code_is_given(client: Client) -> None:
    assert await client.authorize(REQUEST) == (200, {})
    assert await client.authorize(REQUEST | {"as": "nobody"}) == (200, {})
    status, back = await client.authorize(REQUEST | ANNA, method="POST")
    assert (status, set(back), back["state"]) == (303, {"code", "state"}, "state-1")


@pytest.mark.parametrize(
    ("changed", "headers", "status", "error"),
    [
        ({}, basic("wrong"), 401, "invalid_client"),
        ({}, basic(name="another"), 401, "invalid_client"),
        ({}, {}, 401, "invalid_client"),
        ({}, {"Authorization": "Basic %%%"}, 401, "invalid_client"),
        ({"client_id": "another"}, basic(), 401, "invalid_client"),
        ({"client_id": "networkcore", "client_secret": "secret-1"}, {}, 401, "invalid_client"),
        ({"client_secret": "secret-1"}, basic(), 400, "invalid_request"),
        ({"grant_type": "password"}, basic(), 400, "unsupported_grant_type"),
        ({"grant_type": None}, basic(), 400, "invalid_request"),
        ({"code": None}, basic(), 400, "invalid_request"),
        ({"code": "guessed"}, basic(), 400, "invalid_grant"),
        ({"redirect_uri": f"{RETURN}/"}, basic(), 400, "invalid_grant"),
        ({"redirect_uri": None}, basic(), 400, "invalid_grant"),
        ({"code_verifier": "w" * 50}, basic(), 400, "invalid_grant"),
        ({"code_verifier": None}, basic(), 400, "invalid_grant"),
    ],
)
async def test_a_token_request_that_does_not_fit_gives_no_token(
    client: Client, changed: dict[str, str | None], headers: dict[str, str], status: int, error: str
) -> None:
    form = FORM | {"code": await client.code()} | changed
    sent = {name: value for name, value in form.items() if value is not None}
    assert await client.token(sent, headers) == (status, {"error": error})
    assert client.provider.tokens == {}


async def test_a_repeated_parameter_is_no_token_request(client: Client) -> None:
    form = [*(FORM | {"code": await client.code()}).items(), ("code_verifier", VERIFIER)]
    assert await client.token(form, basic()) == (400, {"error": "invalid_request"})


async def test_a_code_gives_a_token_once_and_a_second_use_takes_it_back(client: Client) -> None:
    form = FORM | {"code": await client.code()}
    status, answer = await client.token(form, basic())
    assert (status, answer["token_type"], answer["scope"]) == (200, "Bearer", "openid email")
    about = {"sub": "s-1", "email": "anna@example.com", "email_verified": True}
    assert await client.user_info(answer["access_token"]) == (200, about)
    assert await client.token(form, basic()) == (400, {"error": "invalid_grant"})
    assert await client.user_info(answer["access_token"]) == (401, {"error": "invalid_token"})


async def test_a_code_ends_after_a_minute(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    form = FORM | {"code": await client.code()}
    ends = client.provider.codes[form["code"]].expires_at
    monkeypatch.setattr("sandbox.openid.time.time", lambda: ends)
    assert await client.token(form, basic()) == (400, {"error": "invalid_grant"})


async def test_the_id_token_is_signed_by_the_published_key_and_names_the_sign_in(client: Client) -> None:
    _, answer = await client.token(FORM | {"code": await client.code()}, basic())
    async with client.http.get(client.base / ".well-known/openid-configuration") as response:
        published = await response.json()
    async with client.http.get(published["jwks_uri"]) as response:
        keys = KeySet.import_key_set(await response.json())
    claims = jwt.decode(answer["id_token"], keys, algorithms=["RS256"]).claims
    assert published["issuer"] == claims["iss"] == client.provider.issuer
    assert (claims["sub"], claims["aud"], claims["nonce"]) == ("s-1", "networkcore", "nonce-1")
    assert claims["exp"] - claims["iat"] == 300
    assert not {"name", "email", "email_verified"} & set(claims)  # they are at the UserInfo endpoint
