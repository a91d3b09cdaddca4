"""Signing in at an OpenID provider: code flow with PKCE, state bound to the browser, a checked token."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from typing_extensions import override
from yarl import URL

from gateway.adapters.openid import OpenIdClient, OpenIdHttpProvider
from gateway.database import Pool
from gateway.people.errors import SignInRejectedError
from gateway.people.sign_in import OpenIdProvider
from sandbox.openid import BASIC, POST, IssuedToken, OpenIdPerson, SandboxOpenIdProvider
from tests.fakes.api import Answer
from tests.fakes.console import ConsoleOfTest, Visitor, open_console

SECRET = "secret of the test: 100% + more"  # what a header and a form each encode in their own way
RETURN = "http://api.test/console/sign-in/openid/return"
ANNA = OpenIdPerson(subject="s-1", name="Anna", email="Person0@Example.com")
EVE = OpenIdPerson(subject="s-2", name="Eve", email="eve@example.com")
UNVERIFIED = OpenIdPerson(subject="s-3", name="Max", email="person0@example.com", email_verified=False)


Forge = Callable[[SandboxOpenIdProvider, dict[str, Any]], str]


@dataclass(slots=True, kw_only=True)
class ForgingProvider(SandboxOpenIdProvider):
    """A provider whose tokens somebody else makes."""

    forge: Forge | None = None

    @override
    def id_token(self, claims: dict[str, Any]) -> str:
        if self.forge is not None:
            return self.forge(self, claims)
        return SandboxOpenIdProvider.id_token(self, claims)


@dataclass
class Setup:
    console: ConsoleOfTest
    sandbox: ForgingProvider

    async def begin(self, visitor: Visitor) -> str:
        started = await visitor.get("/console/sign-in/openid")
        assert started.status == 303
        assert started.headers["Location"].startswith(self.sandbox.issuer)
        return started.headers["Location"]

    async def choose(self, address: str, who: OpenIdPerson) -> str:
        """What the provider's page leads back to: the path with code and state."""
        async with (
            ClientSession() as http,
            http.get(f"{address}&as={who.subject}", allow_redirects=False) as response,
        ):
            assert response.status == 303, await response.text()
            return response.headers["Location"].removeprefix("http://api.test")

    async def sign_in(self, visitor: Visitor, who: OpenIdPerson) -> Answer:
        return await visitor.get(await self.choose(await self.begin(visitor), who))


def client_of(sandbox: SandboxOpenIdProvider, secret: str) -> OpenIdClient:
    return OpenIdClient(
        issuer=sandbox.issuer,
        client_id=sandbox.client_id,
        client_secret=secret,
        redirect_uri=RETURN,
        scope="openid email profile",
        name="the sandbox",
    )


@asynccontextmanager
async def provided(pool: Pool, **options: Any) -> AsyncIterator[Setup]:
    sandbox = ForgingProvider(
        client_id="networkcore",
        client_secret=SECRET,
        redirect_uri=RETURN,
        people=[ANNA, EVE, UNVERIFIED],
        **options,
    )
    async with TestServer(sandbox.application()) as server, ClientSession() as http:
        sandbox.issuer = str(server.make_url("")).rstrip("/")
        provider: OpenIdProvider = OpenIdHttpProvider(client_of(sandbox, SECRET), http=http)
        async with open_console(pool, provider=provider) as console:
            yield Setup(console=console, sandbox=sandbox)


async def test_an_invited_person_signs_in_and_is_bound_to_their_account(pool: Pool) -> None:
    async with provided(pool) as setup:
        await setup.console.invite()
        visitor = setup.console.visitor()
        assert "Continue with the sandbox" in (await visitor.get("/console/sign-in")).text
        answer = await setup.sign_in(visitor, ANNA)
        assert (answer.status, answer.headers["Location"]) == (303, "/console")
        assert (await visitor.get("/console")).status == 200
        # The account is known by its subject from now on, whatever its address becomes.
        setup.sandbox.people = [replace(ANNA, email="married@example.com")]
        assert (await setup.sign_in(setup.console.visitor(), ANNA)).status == 303


async def test_who_is_not_invited_or_not_verified_gets_no_session(pool: Pool) -> None:
    async with provided(pool) as setup:
        await setup.console.invite()
        for who in (EVE, UNVERIFIED):
            visitor = setup.console.visitor()
            assert (await setup.sign_in(visitor, who)).status == 403
            assert (await visitor.get("/console")).status == 303


async def test_an_answer_is_taken_in_the_browser_that_began_and_once(pool: Pool) -> None:
    async with provided(pool) as setup:
        await setup.console.invite()
        visitor, other = setup.console.visitor(), setup.console.visitor()
        back = await setup.choose(await setup.begin(visitor), ANNA)
        await setup.begin(other)  # has a cookie of its own
        assert (await other.get(back)).status == 403
        assert (await visitor.get(back.replace("state=", "state=x"))).status == 403
        assert (await visitor.get(back)).status == 303
        assert (await visitor.get(back)).status == 403
        denied = await visitor.get("/console/sign-in/openid/return?error=access_denied&state=x")
        assert denied.status == 403


async def test_an_attempt_ends_after_ten_minutes(pool: Pool) -> None:
    async with provided(pool) as setup:
        await setup.console.invite()
        visitor = setup.console.visitor()
        back = await setup.choose(await setup.begin(visitor), ANNA)
        setup.console.api.clock.pass_wall(601)
        assert (await visitor.get(back)).status == 403


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"authentication": POST}, id="the secret in the form"),
        pytest.param({"claims_in_id_token": True}, id="the address in the ID token"),
    ],
)
async def test_a_provider_of_another_kind_signs_in_too(pool: Pool, options: dict[str, Any]) -> None:
    async with provided(pool, **options) as setup:
        await setup.console.invite()
        assert (await setup.sign_in(setup.console.visitor(), ANNA)).status == 303
        assert (await setup.sign_in(setup.console.visitor(), UNVERIFIED)).status == 403


@dataclass(slots=True, kw_only=True)
class ChangedProvider(SandboxOpenIdProvider):
    """A provider that publishes `published`, and says `about` of an account."""

    published: dict[str, Any]
    about: dict[str, Any]

    @override
    def configuration(self) -> dict[str, Any]:
        return SandboxOpenIdProvider.configuration(self) | self.published

    @override
    def user_info(self, token: IssuedToken) -> dict[str, Any]:
        return SandboxOpenIdProvider.user_info(self, token) | self.about


@pytest.mark.parametrize(
    ("published", "about", "secret", "error"),
    [
        ({"token_endpoint_auth_methods_supported": [BASIC, POST]}, {}, SECRET, None),
        ({"token_endpoint_auth_methods_supported": [BASIC]}, {}, SECRET, "401 invalid_client"),
        ({"token_endpoint_auth_methods_supported": None}, {}, SECRET, "401 invalid_client"),
        ({}, {}, "another secret", "401 invalid_client"),
        ({}, {"sub": "s-2"}, SECRET, "another account than its ID token"),
        ({}, {"email_verified": "true"}, SECRET, "has not verified"),
        ({}, {"email": None}, SECRET, "has not verified"),
    ],
)
async def test_the_client_takes_the_way_that_the_provider_takes(
    published: dict[str, Any], about: dict[str, Any], secret: str, error: str | None
) -> None:
    """The provider takes the secret in the form alone, whatever it publishes."""
    sandbox = ChangedProvider(
        client_id="networkcore",
        client_secret=SECRET,
        redirect_uri=RETURN,
        people=[ANNA],
        authentication=POST,
        published=published,
        about=about,
    )
    async with TestServer(sandbox.application()) as server, ClientSession() as http:
        sandbox.issuer = str(server.make_url("")).rstrip("/")
        provider = OpenIdHttpProvider(client_of(sandbox, secret), http=http)
        address = await provider.authorization_address(state="s", nonce="n", code_verifier="v" * 43)
        async with http.get(f"{address}&as={ANNA.subject}", allow_redirects=False) as response:
            code = URL(response.headers["Location"]).query["code"]
        if error is None:
            identity = await provider.identify(code=code, code_verifier="v" * 43, nonce="n")
            assert (identity.subject, identity.email) == (ANNA.subject, ANNA.email)
        else:
            with pytest.raises(SignInRejectedError, match=error):
                await provider.identify(code=code, code_verifier="v" * 43, nonce="n")


async def test_a_token_that_calls_an_address_verified_and_has_none_is_asked_about() -> None:
    class Halved(SandboxOpenIdProvider):
        def id_token(self, claims: dict[str, Any]) -> str:
            return SandboxOpenIdProvider.id_token(self, claims | {"email_verified": True})

    sandbox = Halved(client_id="networkcore", client_secret=SECRET, redirect_uri=RETURN, people=[ANNA])
    async with TestServer(sandbox.application()) as server, ClientSession() as http:
        sandbox.issuer = str(server.make_url("")).rstrip("/")
        provider = OpenIdHttpProvider(client_of(sandbox, SECRET), http=http)
        address = await provider.authorization_address(state="s", nonce="n", code_verifier="v" * 43)
        async with http.get(f"{address}&as={ANNA.subject}", allow_redirects=False) as response:
            code = URL(response.headers["Location"]).query["code"]
        identity = await provider.identify(code=code, code_verifier="v" * 43, nonce="n")
    assert identity.email == ANNA.email


def signed(key: Any, algorithm: str = "RS256", **changes: Any) -> Forge:
    def forge(sandbox: SandboxOpenIdProvider, claims: dict[str, Any]) -> str:
        used = sandbox.key if key is None else key
        kept = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": "sandbox-1"}, kept, used, algorithms=[algorithm])

    return forge


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(signed(RSAKey.generate_key(2048)), id="another key"),
        pytest.param(signed(OctKey.import_key(SECRET * 2), "HS256"), id="the client's secret"),
        pytest.param(signed(None, aud="another client"), id="another client"),
        pytest.param(signed(None, iss="https://evil.example"), id="another issuer"),
        pytest.param(signed(None, nonce="another"), id="another sign-in's nonce"),
        pytest.param(signed(None, nonce=None), id="no nonce"),
        pytest.param(signed(None, exp=int(time.time()) - 3600), id="too old"),
        pytest.param(signed(None, sub=None), id="nobody"),
        pytest.param(lambda _sandbox, _claims: "not.a.token", id="no token"),
    ],
)
async def test_a_token_that_is_not_the_providers_for_this_sign_in_proves_nobody(
    pool: Pool, forge: Forge
) -> None:
    async with provided(pool) as setup:
        await setup.console.invite()
        visitor = setup.console.visitor()
        back = await setup.choose(await setup.begin(visitor), ANNA)
        setup.sandbox.forge = forge
        assert (await visitor.get(back)).status == 403
        assert (await visitor.get("/console")).status == 303
