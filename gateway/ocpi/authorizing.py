"""The question that a real-time authorization asks, for whoever answers it.

Owns: the port. Must not know: payments, HTTP; the composition root binds the two.
Source: OCPI mod_tokens, Real-time authorization (AllowedType, LocationReferences, AuthorizationInfo).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from gateway.store.ocpi_tokens import StoredToken


class Allowed(StrEnum):
    """AllowedType: may this token charge here?"""

    ALLOWED = "ALLOWED"
    BLOCKED = "BLOCKED"
    EXPIRED = "EXPIRED"
    NO_CREDIT = "NO_CREDIT"
    NOT_ALLOWED = "NOT_ALLOWED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenQuestion:
    """A CPO asks whether a token of ours may charge; `evse_uids` empty means anywhere at the location."""

    cpo_id: str
    token: StoredToken
    location_id: str
    evse_uids: Sequence[str]
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenVerdict:
    """The answer.

    `authorization_reference`, at most 36 characters, comes back in the session and the CDR; `evse_uid` is the
    EVSE that the payment was secured for; `info` is for the driver to read.
    """

    allowed: Allowed
    authorization_reference: str | None = None
    evse_uid: str | None = None
    info: str | None = None


class TokenAuthorizer(Protocol):
    """Secures the payment behind a token. The caller holds no transaction."""

    async def authorize(self, question: TokenQuestion) -> TokenVerdict:
        """Decide within seconds."""
        ...
