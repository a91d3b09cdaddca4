"""What the PSP keeps with each hold, so that a session can be rebuilt from the PSP's record alone.

Owns: the names of these facts, writing and reading them. Must not know: SQL, how a hold is made. Session and
authorization are added by the adapter, with every object of a session.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from gateway.errors import MalformedIdError
from gateway.ids import parse_id
from gateway.payments.records import AuthorizationRecord, SessionRecord

_METHODS = frozenset({"card", "app", "plug_and_charge"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSession:
    """A session as the PSP's record of its payment names it; None: it says nothing of it."""

    session_id: UUID | None
    party_id: str | None
    authorization_method: str
    cpo_id: str | None
    evse_id: str | None
    tariff_sha256: str | None
    session_ref: str | None

    @property
    def missing(self) -> list[str]:
        """What a session can't be rebuilt without."""
        named = {
            "session": self.session_id,
            "party": self.party_id,
            "cpo": self.cpo_id,
            "evse": self.evse_id,
            "tariff_sha256": self.tariff_sha256,
        }
        return [name for name, value in named.items() if value is None]


def of_session(authorization: AuthorizationRecord, session: SessionRecord) -> dict[str, str]:
    """What is sent with a hold."""
    known = {
        "party": authorization.party_id,
        "authorization_method": authorization.authorization_method,
        "cpo": session.cpo_id,
        "evse": session.evse_id,
        "tariff_sha256": session.tariff_sha256,
    }
    return known if session.session_ref is None else known | {"session_ref": session.session_ref}


def read(metadata: Mapping[str, str]) -> RecordedSession:
    """The session that a payment at the PSP names; whatever its metadata holds, this raises nothing."""
    method = metadata.get("authorization_method", "")
    return RecordedSession(
        session_id=_session_id(metadata.get("session")),
        party_id=metadata.get("party"),
        authorization_method=method if method in _METHODS else "card",
        cpo_id=metadata.get("cpo"),
        evse_id=metadata.get("evse"),
        tariff_sha256=metadata.get("tariff_sha256"),
        session_ref=metadata.get("session_ref"),
    )


def _session_id(text: str | None) -> UUID | None:
    try:
        return None if text is None else parse_id("ses", text)
    except MalformedIdError:
        return None
