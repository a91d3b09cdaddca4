"""Values of people and of their sign-in.

Owns: the shapes, the tokens and their hashes, when a session ends. Must not know SQL or HTTP.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from clearing.parties.party import PLATFORM_ID
from gateway.ids import format_id
from gateway.people.roles import PersonRole, RoleRights, rights_of

PERSON_PREFIX: Final = "psn"
_TOKEN_BYTES: Final = 32
_PROOF_DIGITS: Final = 32
LINK_LIFETIME: Final = timedelta(hours=24)
ATTEMPT_LIFETIME: Final = timedelta(minutes=10)
# How long ended links and sessions stay, for whoever asks who was signed in.
KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRecord:
    """Somebody who may sign in. Times are wall time."""

    id: UUID
    party_id: str
    email: str
    name: str
    role: PersonRole
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    last_seen_at: datetime | None = None

    @property
    def public_id(self) -> str:
        """The id by which decisions and records name the person: their principal."""
        return format_id(PERSON_PREFIX, self.id)

    @property
    def platform(self) -> bool:
        """Whether the person works for the platform and sees every party."""
        return self.party_id == PLATFORM_ID

    @property
    def rights(self) -> RoleRights:
        """What the person may read and do."""
        return rights_of(self.role, platform=self.platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonActRecord:
    """One act of a person; `status` counts as HTTP does."""

    id: UUID
    person_id: UUID
    person: str
    party_id: str
    operation: str
    subject: str
    status: int
    acted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A person with the session that proves them."""

    person: PersonRecord
    token: str = field(repr=False)
    signed_in_at: datetime
    expires_at: datetime

    @property
    def csrf_token(self) -> str:
        """What every form of this session carries. It follows from the cookie, and the cookie not from it."""
        return hmac.new(self.token.encode(), b"networkcore console form", hashlib.sha256).hexdigest()

    def proof_of(self, text: str) -> str:
        """What an address carries beside a text of ours, so that a link can't have a page say its own."""
        named = f"networkcore console notice {text}"
        return hmac.new(self.token.encode(), named.encode(), hashlib.sha256).hexdigest()[:_PROOF_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """When a session ends by itself."""

    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=12)


def new_token() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    """The SHA-256 under which a token is stored; a slow hash would add nothing to 256 bits."""
    return hashlib.sha256(token.encode()).digest()
