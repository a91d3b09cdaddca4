"""A stand-in for an OpenID provider: whoever is on its list signs in by choosing their name.

Owns: discovery, keys, codes and ID tokens as a provider makes them, and at least as strict: one redirect URI,
PKCE with S256 alone, each code once and for a minute. Must not know who calls. For a machine of a developer:
nobody proves anything here.
Source: OpenID Connect Core 1.0 section 3.1; OpenID Connect Discovery 1.0 section 3; RFC 7636.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

_KEY_BITS: Final = 2048
_CODE_SECONDS: Final = 60
_TOKEN_SECONDS: Final = 300
_BAD_REQUEST: Final = 400
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdPerson:
    """Somebody with an account there."""

    subject: str
    name: str
    email: str
    email_verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _IssuedCode:
    person: OpenIdPerson
    redirect_uri: str
    nonce: str
    challenge: str
    expires_at: float


@dataclass(slots=True, kw_only=True)
class SandboxOpenIdProvider:
    """The provider: one client, its people."""

    client_id: str
    client_secret: str
    redirect_uri: str
    people: Sequence[OpenIdPerson]
    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(_KEY_BITS, {"kid": "sandbox-1"}))
    codes: dict[str, _IssuedCode] = field(default_factory=dict)

    def application(self) -> web.Application:
        """Its HTTP application; set `issuer` to where it listens."""
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discover)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/keys", self._keys)
        return app

    async def _discover(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: web.Request) -> web.Response:
        """The page on which somebody chooses who they are; with `as`, the way back with a code."""
        query = request.query
        fits = (
            query.get("client_id") == self.client_id
            and query.get("redirect_uri") == self.redirect_uri
            and query.get("response_type") == "code"
            and "openid" in query.get("scope", "").split()
            and query.get("code_challenge_method") == "S256"
            and all(query.get(name) for name in ("state", "nonce", "code_challenge"))
        )
        if not fits:
            return web.Response(status=_BAD_REQUEST, text="Not an authorization request of the client.")
        chosen = next((one for one in self.people if one.subject == query.get("as")), None)
        if chosen is None:
            return web.Response(text=self._choice(request), content_type="text/html")
        code = secrets.token_urlsafe(24)
        self.codes[code] = _IssuedCode(
            person=chosen,
            redirect_uri=query["redirect_uri"],
            nonce=query["nonce"],
            challenge=query["code_challenge"],
            expires_at=time.time() + _CODE_SECONDS,
        )
        back = urlencode({"code": code, "state": query["state"]})
        return web.Response(status=_SEE_OTHER, headers={"Location": f"{self.redirect_uri}?{back}"})

    def _choice(self, request: web.Request) -> str:
        links = "".join(
            f'<li><a href="{escape(str(request.rel_url.update_query({"as": one.subject})))}">'
            f"{escape(one.name)}</a> {escape(one.email)}</li>"
            for one in self.people
        )
        return f"<!doctype html><title>Sandbox sign-in</title><h1>Who are you?</h1><ul>{links}</ul>"

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        issued = self.codes.pop(str(form.get("code", "")), None)
        digest = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        fits = (
            issued is not None
            and issued.expires_at > time.time()
            and form.get("grant_type") == "authorization_code"
            and form.get("client_id") == self.client_id
            and hmac.compare_digest(str(form.get("client_secret", "")), self.client_secret)
            and form.get("redirect_uri") == issued.redirect_uri
            and hmac.compare_digest(challenge, issued.challenge)
        )
        if issued is None or not fits:
            return web.json_response({"error": "invalid_grant"}, status=_BAD_REQUEST)
        return web.json_response(
            {
                "access_token": secrets.token_urlsafe(24),
                "token_type": "Bearer",
                "expires_in": _TOKEN_SECONDS,
                "id_token": self.id_token(self._claims(issued)),
            }
        )

    def id_token(self, claims: dict[str, Any]) -> str:
        """The claims, signed."""
        return jwt.encode({"alg": "RS256", "kid": "sandbox-1"}, claims, self.key)

    def _claims(self, issued: _IssuedCode) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": issued.person.subject,
            "aud": self.client_id,
            "iat": now,
            "exp": now + _TOKEN_SECONDS,
            "nonce": issued.nonce,
            "name": issued.person.name,
            "email": issued.person.email,
            "email_verified": issued.person.email_verified,
        }
