"""The request of a real-time authorization and its result, as values.

Owns: these values. Must not know: payments, HTTP.
Source: OCPI mod_tokens, Real-time authorization (AllowedType, LocationReferences, AuthorizationInfo).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.ocpi.repository.tokens import TokenRecord


class AllowedType(StrEnum):
    """AllowedType: may this token charge here?"""

    ALLOWED = "ALLOWED"
    BLOCKED = "BLOCKED"
    EXPIRED = "EXPIRED"
    NO_CREDIT = "NO_CREDIT"
    NOT_ALLOWED = "NOT_ALLOWED"


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunSession:
    """What a session that began by whitelist has used, in watt-hours and seconds."""

    energy_wh: int
    duration_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuthorizationRequest:
    """A CPO asks whether a token of ours may charge; `evse_uids` empty means anywhere at the location.

    `begun`: nobody asked, the session began by whitelist at `requested_at`, and it has ended.
    """

    cpo_id: str
    token: TokenRecord
    location_id: str
    evse_uids: Sequence[str]
    requested_at: datetime
    begun: BegunSession | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuthorizationResult:
    """The answer.

    `authorization_reference`, at most 36 characters, comes back in the session and the CDR; `evse_uid` is the
    EVSE that the payment was secured for; `info` is for the driver to read. `pending`: the payment is not
    decided yet, the same request later may have another answer.
    """

    allowed: AllowedType
    authorization_reference: str | None = None
    evse_uid: str | None = None
    info: str | None = None
    pending: bool = False
