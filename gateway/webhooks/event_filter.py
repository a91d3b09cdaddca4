"""Which events an endpoint receives beside their types: by session, EVSE, location or metadata.

Owns: the filter's form and the rule. Must not know endpoints, deliveries, HTTP or the database. A field that
is left out allows everything; all fields that are given must match, and within a list one entry suffices. An
event that belongs to no session matches by its own metadata alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from gateway.errors import MalformedIdError
from gateway.ids import parse_id

_SESSION: Final = "ses"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFacts:
    """What filters look at: the event's own metadata, and its session's EVSE, location and metadata."""

    session: str | None  # 'ses_...'
    metadata: Mapping[str, Any] = field(default_factory=dict)
    evse_id: str | None = None
    location_id: str | None = None
    session_metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Empty fields allow everything. EVSEs are compared by how they begin, whatever their case and `*`."""

    sessions: Sequence[str] = ()
    evse_prefixes: Sequence[str] = ()
    locations: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "EventFilter":
        """The filter as stored: the fields that are given."""
        return cls(**stored)

    def to_json(self) -> dict[str, Any]:
        """The fields that allow less than everything."""
        given = {
            "sessions": list(self.sessions),
            "evse_prefixes": list(self.evse_prefixes),
            "locations": list(self.locations),
            "metadata": dict(self.metadata),
        }
        return {name: value for name, value in given.items() if value}

    def allows(self, event: EventFacts) -> bool:
        """Whether the endpoint receives the event."""
        return (
            (not self.sessions or event.session in self.sessions)
            and (not self.evse_prefixes or _begins(event.evse_id, self.evse_prefixes))
            and (not self.locations or event.location_id in self.locations)
            and all(
                value in (event.metadata.get(key), event.session_metadata.get(key))
                for key, value in self.metadata.items()
            )
        )


def session_id_of(*, object_id: str, session: str | None) -> UUID | None:
    """The session of an event: its object, or the one that the object names; None: it belongs to none."""
    for name in (session, object_id):
        try:
            return parse_id(_SESSION, name or "")
        except MalformedIdError:
            continue
    return None


def _begins(evse_id: str | None, prefixes: Sequence[str]) -> bool:
    return evse_id is not None and _plain(evse_id).startswith(tuple(_plain(one) for one in prefixes))


def _plain(evse_id: str) -> str:
    return evse_id.replace("*", "").upper()
