"""A stand-in for an OpenID provider: whoever is on its list signs in by choosing their name.

Owns: discovery, keys, codes, tokens and claims as a provider makes them, and at least as strict: one redirect
URI, one way for the client to authenticate, PKCE with S256 alone, each code once and for a minute, name and
address only at the UserInfo endpoint. Must not know who calls. For a machine of a developer: nobody proves
anything here.
Source: OpenID Connect Core 1.0 sections 3.1, 5.3 and 5.4; OpenID Connect Discovery 1.0 section 3; RFC 6749
sections 3.1, 4.1.2 and 5.2; RFC 6750 section 3; RFC 7636.
"""

import hashlib
import hmac
import re
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

_KEY_BITS: Final = 2048
_CODE_SECONDS: Final = 60
_TOKEN_SECONDS: Final = 300
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_SEE_OTHER: Final = 303
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
BASIC: Final = "client_secret_basic"
POST: Final = "client_secret_post"


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
    scope: str
    nonce: str
    challenge: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """An access token: whose it is and what it opens."""

    person: OpenIdPerson
    scope: str
    code: str
    expires_at: float


class _TokenError(Exception):
    """The token request is refused; `args[0]` is the error code of RFC 6749 section 5.2."""


@dataclass(slots=True, kw_only=True)
class SandboxOpenIdProvider:
    """The provider: one client, its people.

    `authentication`: how the client sends its secret. `claims_in_id_token`: whether the ID token bears name
    and address too, as some providers do.
    """

    client_id: str
    client_secret: str
    redirect_uri: str
    people: Sequence[OpenIdPerson]
    issuer: str = ""
    authentication: str = BASIC
    claims_in_id_token: bool = False
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(_KEY_BITS, {"kid": "sandbox-1"}))
    codes: dict[str, _IssuedCode] = field(default_factory=dict)
    tokens: dict[str, IssuedToken] = field(default_factory=dict)

    def application(self) -> web.Application:
        """Its HTTP application; set `issuer` to where it listens."""
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discover)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/userinfo", self._user_info)
        app.router.add_post("/userinfo", self._user_info)
        app.router.add_get("/keys", self._keys)
        return app

    async def _discover(self, _request: web.Request) -> web.Response:
        return web.json_response(self.configuration())

    def configuration(self) -> dict[str, Any]:
        """What discovery publishes."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "token_endpoint_auth_methods_supported": [self.authentication],
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "scopes_supported": ["openid", "email", "profile"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "request_uri_parameter_supported": False,
        }

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: web.Request) -> web.Response:
        """The page on which somebody chooses who they are; with `as`, the way back with a code.

        A request of another client or for another address is answered here: nobody is sent there.
        """
        sent = request.query if request.method == "GET" else await request.post()
        query = {name: str(value) for name, value in sent.items()}
        if query.get("client_id") != self.client_id or query.get("redirect_uri") != self.redirect_uri:
            return web.Response(status=_BAD_REQUEST, text="Not an authorization request of the client.")
        error = "invalid_request" if len(query) != len(sent) else _authorization_error(query)
        if error is None and "deny" in query:
            error = "access_denied"
        if error is not None:
            return self._back(query, {"error": error})
        chosen = next((one for one in self.people if one.subject == query.get("as")), None)
        if chosen is None:
            return web.Response(text=self._choice(query), content_type="text/html")
        code = secrets.token_urlsafe(24)
        self.codes[code] = _IssuedCode(
            person=chosen,
            redirect_uri=query["redirect_uri"],
            scope=query["scope"],
            nonce=query["nonce"],
            challenge=query["code_challenge"],
            expires_at=time.time() + _CODE_SECONDS,
        )
        return self._back(query, {"code": code})

    def _back(self, query: Mapping[str, str], answer: Mapping[str, str]) -> web.Response:
        state = {"state": query["state"]} if "state" in query else {}
        location = f"{self.redirect_uri}?{urlencode({**answer, **state})}"
        return web.Response(status=_SEE_OTHER, headers={"Location": location, **_NO_STORE})

    def _choice(self, query: Mapping[str, str]) -> str:
        def link(text: str, **chosen: str) -> str:
            return f'<a href="/authorize?{escape(urlencode({**query, **chosen}))}">{escape(text)}</a>'

        links = "".join(
            f"<li>{link(one.name, **{'as': one.subject})} {escape(one.email)}</li>" for one in self.people
        )
        return (
            "<!doctype html><title>Sandbox sign-in</title><h1>Who are you?</h1>"
            f"<ul>{links}</ul><p>{link('None of them', deny='1')}</p>"
        )

    async def _token(self, request: web.Request) -> web.Response:
        sent = await request.post()
        form = {name: str(value) for name, value in sent.items()}
        try:
            self._authenticate(request, form)
            answer = self._issue(form, repeated=len(form) != len(sent))
        except _TokenError as error:
            refused = error.args[0] == "invalid_client"
            headers = _NO_STORE | ({"WWW-Authenticate": 'Basic realm="sandbox"'} if refused else {})
            status = _UNAUTHORIZED if refused else _BAD_REQUEST
            return web.json_response({"error": error.args[0]}, status=status, headers=headers)
        return web.json_response(answer, headers=_NO_STORE)

    def _authenticate(self, request: web.Request, form: Mapping[str, str]) -> None:
        """The client, by its one way of authenticating. Raises _TokenError."""
        header = request.headers.get("Authorization", "")
        if header and "client_secret" in form:
            raise _TokenError("invalid_request")  # more than one way
        if self.authentication == POST:
            named, secret = form.get("client_id", ""), form.get("client_secret", "")
        else:
            named, secret = _basic(header)
        fits = hmac.compare_digest(secret.encode(), self.client_secret.encode())
        if named != self.client_id or form.get("client_id", named) != named or not fits:
            raise _TokenError("invalid_client")

    def _issue(self, form: Mapping[str, str], *, repeated: bool) -> dict[str, Any]:
        """Tokens for a code; `repeated`: a parameter came twice. Raises _TokenError."""
        if form.get("grant_type", "authorization_code") != "authorization_code":
            raise _TokenError("unsupported_grant_type")
        code = form.get("code", "")
        if repeated or "grant_type" not in form or not code:
            raise _TokenError("invalid_request")
        issued = self.codes.pop(code, None)
        if issued is None:  # a code that is used twice takes back what it gave
            self.tokens = {name: one for name, one in self.tokens.items() if one.code != code}
            raise _TokenError("invalid_grant")
        verifier = form.get("code_verifier", "")
        fits = (
            issued.expires_at > time.time()
            and form.get("redirect_uri") == issued.redirect_uri
            and _VERIFIER.fullmatch(verifier) is not None
            and hmac.compare_digest(_challenge_of(verifier), issued.challenge)
        )
        if not fits:
            raise _TokenError("invalid_grant")
        token, expires_at = secrets.token_urlsafe(24), time.time() + _TOKEN_SECONDS
        self.tokens[token] = IssuedToken(
            person=issued.person, scope=issued.scope, code=code, expires_at=expires_at
        )
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": _TOKEN_SECONDS,
            "scope": issued.scope,
            "id_token": self.id_token(self._claims(issued) | {"at_hash": _half_hash(token)}),
        }

    async def _user_info(self, request: web.Request) -> web.Response:
        """Whom an access token is of: the claims that its scopes ask for."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        issued = self.tokens.get(token)
        if kind.lower() != "bearer" or issued is None or issued.expires_at <= time.time():
            why = ' error="invalid_token"' if token else ""
            headers = {"WWW-Authenticate": f'Bearer realm="sandbox"{why}'}
            return web.json_response({"error": "invalid_token"}, status=_UNAUTHORIZED, headers=headers)
        return web.json_response(self.user_info(issued))

    def user_info(self, token: IssuedToken) -> dict[str, Any]:
        """What the UserInfo endpoint says of the token's person."""
        return {"sub": token.person.subject, **_about(token.person, token.scope)}

    def id_token(self, claims: dict[str, Any]) -> str:
        """The claims, signed."""
        return jwt.encode({"alg": "RS256", "kid": "sandbox-1"}, claims, self.key)

    def _claims(self, issued: _IssuedCode) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": issued.person.subject,
            "aud": self.client_id,
            "iat": now,
            "exp": now + _TOKEN_SECONDS,
            "nonce": issued.nonce,
        }
        return claims | (_about(issued.person, issued.scope) if self.claims_in_id_token else {})


def _authorization_error(query: Mapping[str, str]) -> str | None:
    """What the client is answered in place of a code: RFC 6749 section 4.1.2.1, Core section 3.1.2.6."""
    if "request" in query:
        return "request_not_supported"
    if "request_uri" in query:
        return "request_uri_not_supported"
    if query.get("response_type", "code") != "code":
        return "unsupported_response_type"
    if not all(query.get(name) for name in ("response_type", "scope", "state", "nonce")):
        return "invalid_request"
    if "openid" not in query["scope"].split():
        return "invalid_scope"
    challenge = _CHALLENGE.fullmatch(query.get("code_challenge", ""))
    if query.get("code_challenge_method") != "S256" or challenge is None:
        return "invalid_request"
    if query.get("prompt") == "none":
        return "login_required"
    return None


def _about(person: OpenIdPerson, scope: str) -> dict[str, Any]:
    scopes = scope.split()
    named = {"name": person.name} if "profile" in scopes else {}
    reached = {"email": person.email, "email_verified": person.email_verified} if "email" in scopes else {}
    return {**named, **reached}


def _basic(header: str) -> tuple[str, str]:
    """Name and secret of a Basic header: each form-encoded before it is joined (RFC 6749 section 2.3.1)."""
    kind, _, value = header.partition(" ")
    try:
        name, _, secret = b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (unquote_plus(name), unquote_plus(secret)) if kind.lower() == "basic" else ("", "")


def _challenge_of(verifier: str) -> str:
    return _base64url(hashlib.sha256(verifier.encode()).digest())


def _half_hash(token: str) -> str:
    digest = hashlib.sha256(token.encode()).digest()
    return _base64url(digest[: len(digest) // 2])


def _base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
