"""An OpenID provider over HTTP: discovery, the token request, the check of the ID token.

Owns: the HTTP of it and which tokens are believed. Must not know who may sign in. Authlib and joserfc make
the challenge, check the signature and the claims; a token signed with anything but the provider's published
keys, for another client, too old, or with another nonce proves nobody. The address is read from the ID token,
or where it has none from the UserInfo endpoint: a provider need not put it into the token.
Source: OpenID Connect Core 1.0 sections 3.1.2, 3.1.3.7, 5.3.2 and 5.4; OpenID Connect Discovery 1.0
sections 3 and 4.3; RFC 6749 section 2.3.1; RFC 7636 (PKCE).
"""

import json
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

import aiohttp
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.outbound import read_bounded
from gateway.people.errors import SignInRejectedError
from gateway.people.sign_in import OpenIdIdentity

_DISCOVERY: Final = "/.well-known/openid-configuration"
# Signatures by a key pair only: a token signed with the client's own secret could be anybody's who knows it.
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
_AUTHENTICATION: Final = "token_endpoint_auth_methods_supported"
_BASIC: Final = "client_secret_basic"
_POST: Final = "client_secret_post"
_ERROR: Final = re.compile(r"[a-z_]{1,60}")
_LEEWAY_SECONDS: Final = 60
_READ_AGAIN_SECONDS: Final = 3600.0
_OK: Final = 200


class _ClientRejectedError(SignInRejectedError):
    """The provider does not take our secret in this way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdClient:
    """What the provider knows us by."""

    issuer: str
    client_id: str
    client_secret: str | None
    redirect_uri: str
    scope: str
    name: str


class OpenIdHttpProvider:
    """One provider. Its configuration and keys are read when they are needed, and again after an hour."""

    def __init__(self, client: OpenIdClient, *, http: aiohttp.ClientSession) -> None:
        self.name = client.name
        self._client = client
        self._http = http
        self._configuration: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def authorization_address(self, *, state: str, nonce: str, code_verifier: str) -> str:
        """Where a browser signs in. Raises SignInRejectedError when the provider can't be read."""
        found = await self._read_configuration()
        address: str = prepare_grant_uri(
            self._endpoint(found, "authorization_endpoint"),
            client_id=self._client.client_id,
            response_type="code",
            redirect_uri=self._client.redirect_uri,
            scope=self._client.scope,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(code_verifier),
            code_challenge_method="S256",
        )
        return address

    async def identify(self, *, code: str, code_verifier: str, nonce: str) -> OpenIdIdentity:
        """Whom the code proves. Raises SignInRejectedError."""
        found = await self._read_configuration()
        answer = await self._exchange(found, code, code_verifier)
        claims = await self._claims(found, answer, nonce=nonce)
        email = _verified_email(claims)
        if email is None and "userinfo_endpoint" in found:
            email = _verified_email(await self._user_info(found, answer, subject=claims["sub"]))
        if email is None:
            raise SignInRejectedError("The provider has not verified this account's e-mail address")
        return OpenIdIdentity(issuer=self._client.issuer, subject=str(claims["sub"]), email=email)

    async def _exchange(
        self, configuration: Mapping[str, Any], code: str, code_verifier: str
    ) -> Mapping[str, Any]:
        """The tokens for a code. The secret goes as the provider takes it: by Basic unless it says otherwise.

        A provider that names both ways may take one of them from this client: the other is tried then.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.redirect_uri,
            "code_verifier": code_verifier,
        }
        endpoint = self._endpoint(configuration, "token_endpoint")
        named, secret = {"client_id": self._client.client_id}, self._client.client_secret
        if secret is None:
            return await self._json("POST", endpoint, form=form | named)
        in_form = form | named | {"client_secret": secret}
        ways = configuration.get(_AUTHENTICATION) or (_BASIC,)
        if _BASIC not in ways:
            return await self._json("POST", endpoint, form=in_form)
        joined = f"{quote_plus(self._client.client_id)}:{quote_plus(secret)}"
        headers = {"Authorization": f"Basic {b64encode(joined.encode()).decode()}"}
        try:
            return await self._json("POST", endpoint, form=form, headers=headers)
        except _ClientRejectedError:
            if _POST not in ways:
                raise
            return await self._json("POST", endpoint, form=in_form)

    async def _user_info(
        self, configuration: Mapping[str, Any], answer: Mapping[str, Any], *, subject: object
    ) -> Mapping[str, Any]:
        """What the provider says of the account; of another one than the ID token's it is not believed."""
        headers = {"Authorization": f"Bearer {answer.get('access_token')}"}
        endpoint = self._endpoint(configuration, "userinfo_endpoint")
        found = await self._json("GET", endpoint, headers=headers)
        if found.get("sub") != subject:
            raise SignInRejectedError("The provider's UserInfo is of another account than its ID token")
        return found

    async def _claims(
        self, configuration: Mapping[str, Any], answer: Mapping[str, Any], *, nonce: str
    ) -> Mapping[str, Any]:
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInRejectedError("The provider's answer has no ID token")
        try:
            try:
                decoded = jwt.decode(token, await self._read_keys(configuration), algorithms=_ALGORITHMS)
            except (JoseError, ValueError):  # the provider may have new keys
                keys = await self._read_keys(configuration, again=True)
                decoded = jwt.decode(token, keys, algorithms=_ALGORITHMS)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"values": [self._client.issuer], "essential": True},
                    "aud": {"value": self._client.client_id, "essential": True},
                },
                params={
                    "nonce": nonce,
                    "client_id": self._client.client_id,
                    "access_token": answer.get("access_token"),
                },
            )
            claims.validate(leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError) as error:
            raise SignInRejectedError("The provider's ID token is not valid for this sign-in") from error
        return dict(claims)

    async def _read_configuration(self) -> Mapping[str, Any]:
        if self._configuration is not None and self._configuration[0] > time.monotonic():
            return self._configuration[1]
        found = await self._json("GET", f"{self._client.issuer}{_DISCOVERY}")
        if found.get("issuer") != self._client.issuer:
            raise SignInRejectedError("The OpenID provider calls itself by another name than is set")
        self._configuration = (time.monotonic() + _READ_AGAIN_SECONDS, found)
        return found

    async def _read_keys(self, configuration: Mapping[str, Any], *, again: bool = False) -> KeySet:
        if self._keys is not None and self._keys[0] > time.monotonic() and not again:
            return self._keys[1]
        found = await self._json("GET", self._endpoint(configuration, "jwks_uri"))
        keys = KeySet.import_key_set(found)  # type: ignore[arg-type]
        self._keys = (time.monotonic() + _READ_AGAIN_SECONDS, keys)
        return keys

    def _endpoint(self, configuration: Mapping[str, Any], name: str) -> str:
        """An address of the provider; over https where the provider itself is."""
        address = configuration.get(name)
        wanted = urlsplit(self._client.issuer).scheme
        if not isinstance(address, str) or urlsplit(address).scheme not in {"https", wanted}:
            raise SignInRejectedError(f"The OpenID provider names no {name} that may be called")
        return address

    async def _json(
        self,
        method: str,
        address: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        sent = {"Accept": "application/json", **(headers or {})}
        try:
            # What bears a secret follows no redirect: it would take the secret elsewhere.
            async with self._http.request(
                method, address, data=form, headers=sent, allow_redirects=form is None and headers is None
            ) as response:
                body, status = await read_bounded(response), response.status
            found = json.loads(body) if status == _OK else None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise SignInRejectedError("The OpenID provider does not answer as it should") from error
        if status != _OK:
            raise _refusal(status, body)
        if not isinstance(found, dict):
            raise SignInRejectedError("The OpenID provider does not answer as it should")
        return found


def _verified_email(claims: Mapping[str, Any]) -> str | None:
    """The address, if the provider says that it is the account's."""
    email = claims.get("email")
    return email if isinstance(email, str) and claims.get("email_verified") is True else None


def _refusal(status: int, body: bytes) -> SignInRejectedError:
    """What an answer other than 200 means; its `error` where it has one (RFC 6749 section 5.2)."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    said = found.get("error") if isinstance(found, dict) else None
    if not isinstance(said, str) or _ERROR.fullmatch(said) is None:
        return SignInRejectedError(f"The OpenID provider answered {status}")
    kind = _ClientRejectedError if said == "invalid_client" else SignInRejectedError
    return kind(f"The OpenID provider answered {status} {said}")
