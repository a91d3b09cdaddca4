"""A driver as this system knows one: by which name they are looked for, and which rows are theirs.

Owns: the names and their written forms, the sets of rows and how they are shown. Must not know: SQL, the
clock, who asks. A person is found by one name; what that leads to is followed: a customer to its payment
methods, a token to the sessions that it began.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from gateway.ids import format_id, shard_of
from pnc.personal_data_service import DriverContracts, compact_emaids

_LONGEST: int = 255
_LONGEST_TOKEN = 36  # OCPI CiString(36)


class SubjectKind(StrEnum):
    """By what a driver is looked for."""

    REFERENCE = "reference"  # a party's own name of the driver
    EMAIL = "email"
    TOKEN_UID = "token_uid"  # noqa: S105 - the name of an OCPI member
    EMAID = "emaid"
    CARD_FINGERPRINT = "card_fingerprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom to look for. `party_id` goes with a reference, and with nothing else."""

    kind: SubjectKind
    value: str = field(repr=False)
    party_id: str | None = None

    def misfit(self) -> str | None:
        """Why nobody can be looked for by this; None: it can."""
        if not self.value.strip() or len(self.value) > _LONGEST or not self.value.isprintable():
            return f"{self.kind.value}: expected 1 to {_LONGEST} printable characters"
        if (self.kind is SubjectKind.REFERENCE) != (self.party_id is not None):
            return "party: a reference is a party's own, and goes with its party; nothing else does"
        if self.kind is SubjectKind.EMAIL and re.fullmatch(r"[^@\s]+@[^@\s]+", self.value) is None:
            return "email: expected an address such as jo@example.com"
        if self.kind is SubjectKind.EMAID and not compact_emaids(self.value):
            return "emaid: expected an eMAID such as DE-8AA-CA2B3C4D5-N"
        if self.kind is SubjectKind.TOKEN_UID and len(self.value) > _LONGEST_TOKEN:
            return f"token_uid: expected at most {_LONGEST_TOKEN} characters"
        return None

    def of(self, kind: SubjectKind) -> str | None:
        """The value, if the person is looked for by this kind of name."""
        return self.value.strip() if self.kind is kind else None

    @property
    def emaids(self) -> Sequence[str]:
        """The compact forms of the eMAID; none where it is another name."""
        return compact_emaids(self.value) if self.kind is SubjectKind.EMAID else ()

    @property
    def texts(self) -> Sequence[str]:
        """How the name stands in a message of OCPI: in quotes, in the spellings that are used."""
        if self.kind is SubjectKind.TOKEN_UID:
            return spellings(self.value.strip())
        if self.kind is SubjectKind.EMAID:
            return [text for one in (self.value.strip(), *self.emaids) for text in spellings(one)]
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRows:
    """The rows that are a person's, by their keys; all empty: nobody is known by that name."""

    customers: frozenset[UUID] = frozenset()
    psp_customers: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    authorizations: frozenset[UUID] = frozenset()
    sessions: frozenset[UUID] = frozenset()
    tokens: frozenset[tuple[str, str]] = frozenset()
    emaids: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()

    @property
    def names(self) -> Sequence[str]:
        """By what events, commands and exceptions name these rows."""
        return sorted(
            {
                *(format_id("ses", one) for one in self.sessions),
                *(format_id("auth", one) for one in self.authorizations),
                *self.psp_customers,
                *self.methods,
            }
        )

    def parameters(self) -> Mapping[str, Sequence[object]]:
        """What the statements about a person take."""
        sessions, tokens = sorted(self.sessions), sorted(self.tokens)
        return {
            "customers": sorted(self.customers),
            "psp_customers": sorted(self.psp_customers),
            "methods": sorted(self.methods),
            "authorizations": sorted(self.authorizations),
            "sessions": sessions,
            "shards": [shard_of(one) for one in sessions],
            "uid_keys": [uid for uid, _ in tokens],
            "types": [kind for _, kind in tokens],
            "emaids": sorted(self.emaids),
            "texts": sorted(self.texts),
            "names": self.names,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPerson:
    """A person's rows, with the contracts of Plug & Charge."""

    rows: PersonRows
    contracts: DriverContracts


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRows:
    """What stays, why, and until which day; None: until it has ended by itself."""

    rule: str
    rows: int
    why: str
    until: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a person's data can't be erased yet: what is under way. `subject` is an id of ours."""

    subject: str
    reason: str


class ErasureOutcome(StrEnum):
    """What came of an erasure, or would."""

    FOUND = "found"  # not asked to erase: what would be
    NOTHING = "nothing"  # nobody is known by that name, or everything was erased before
    REFUSED = "refused"  # something is under way
    ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """What was found, what prevents erasure, what was erased, what the law keeps, who else has it."""

    outcome: ErasureOutcome
    pseudonym: str | None
    found: Mapping[str, int]
    obstacles: Sequence[Obstacle]
    kept: Sequence[KeptRows]
    elsewhere: Sequence[str]
    at: datetime


def spellings(text: str) -> Sequence[str]:
    """A name in quotes, as given and in either case: OCPI compares without it, and keeps what was sent."""
    return sorted({f'"{one}"' for one in (text, text.upper(), text.lower())})
