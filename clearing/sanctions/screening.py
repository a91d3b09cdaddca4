"""Names compared with a sanctions list: hits, which of them a person has cleared, what can't be compared.

Owns: the comparison and what a screening records. Must not know: how a word is written in other ways
(`likeness`), how a list is read, who clears a hit. A hit is a likeness for a person to judge, never a
finding; a name that can't be compared is never passed.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Protocol

from clearing.parties.party_checks import NewPartyCheck, PartyCheck, PartyCheckKind, PartyCheckResult
from clearing.sanctions.likeness import is_comparable, near, neighbors, words

SCREENER: Final = "sanctions screening"  # the recorder of what no person has judged
LIST_VALID_DAYS: Final = 31
_FEWEST_WORDS: Final = 2  # of a name that is looked for within a longer one
_SHOWN: Final = 20
_HITS: Final = " hits "


@dataclass(frozen=True, slots=True, kw_only=True)
class SanctionsEntry:
    """One person or entity of a list: its id there, and each of its names."""

    id: str
    names: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SanctionsList:
    """A list as published on a day. `digest`: SHA-256 of its bytes, in hexadecimal."""

    published_on: date
    digest: str
    entries: Sequence[SanctionsEntry]


class SanctionsSource(Protocol):
    """Where the present list is from."""

    def load(self) -> SanctionsList:
        """The list as it is now. Raises UnreadableMessageError where it can't be read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SanctionsHit:
    """A likeness of a party's name and an entry's; `mark` changes with either name."""

    entry_id: str
    name: str
    mark: str


class SanctionsIndex:
    """A list by the words of its names, so that a party is compared with few of them.

    `not_compared` are the ids of entries none of whose names can be compared.
    """

    def __init__(self, sanctions: SanctionsList) -> None:
        """Fold every name once."""
        self._names: list[tuple[SanctionsEntry, str, frozenset[str]]] = []
        self._by_word: Mapping[str, list[int]] = defaultdict(list)
        for entry in sanctions.entries:
            for name in entry.names:
                for word in (folded := words(name)):
                    for key in neighbors(word):
                        self._by_word[key].append(len(self._names))
                self._names.append((entry, name, folded))
        self.not_compared = [
            entry.id for entry in sanctions.entries if not any(is_comparable(name) for name in entry.names)
        ]

    def find(self, names: Sequence[str]) -> list[SanctionsHit]:
        """Entries whose words are a party's, or that contain all of them, or the other way about.

        Words are alike within the threshold of `likeness.near`, in any order.
        """
        hits: dict[tuple[str, str], SanctionsHit] = {}
        for name in names:
            own = words(name)
            close = {place for word in own for key in neighbors(word) for place in self._by_word.get(key, ())}
            for place in sorted(close):
                entry, listed, theirs = self._names[place]
                if _alike(own, theirs):
                    mark = hashlib.sha256(f"{entry.id}\n{listed}\n{name}".encode()).hexdigest()[:12]
                    hits[entry.id, mark] = SanctionsHit(entry_id=entry.id, name=listed, mark=mark)
        return list(hits.values())


def _alike(own: frozenset[str], theirs: frozenset[str]) -> bool:
    """Every word of the shorter name is near to another one of the longer; a name of one word is exact."""
    shorter, longer = sorted((own, theirs), key=len)
    if len(shorter) < _FEWEST_WORDS:
        return bool(own) and own == theirs
    left = sorted(longer)
    for word in sorted(shorter, key=len, reverse=True):
        match = word if word in left else next((one for one in left if near(word, one)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def cleared_marks(history: Sequence[PartyCheck]) -> frozenset[str]:
    """The marks of hits that a person has cleared; `history` is the latest first.

    A person's passed screening clears the hits of the failed one before it; a person's failed one keeps them.
    """
    cleared: set[str] = set()
    open_marks: set[str] = set()
    for check in reversed(history):
        if check.kind is not PartyCheckKind.SANCTIONS_SCREENING:
            continue
        if check.recorded_by == SCREENER:
            open_marks = _marks(check) if check.result is PartyCheckResult.FAILED else set()
        elif check.result is PartyCheckResult.PASSED:
            cleared |= open_marks
    return frozenset(cleared)


def _marks(check: PartyCheck) -> set[str]:
    _, found, marks = check.reference.partition(_HITS)
    return set(marks.split(",")) if found else set()


def plan_screening(
    names: Sequence[str],
    history: Sequence[PartyCheck],
    *,
    sanctions: SanctionsList,
    index: SanctionsIndex,
    today: date,
) -> NewPartyCheck | None:
    """What a screening of these names records; None: nothing new, or the list is too old to say anything.

    The check lapses with the list. An adverse one is ended by a person alone.
    """
    lapses = sanctions.published_on + timedelta(days=LIST_VALID_DAYS)
    if lapses <= today:
        return None
    screenings = [one for one in history if one.kind is PartyCheckKind.SANCTIONS_SCREENING]
    hits = index.find(names)
    unread = [name for name in names if not is_comparable(name)]
    names_mark = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    reference = f"list of {sanctions.published_on} {sanctions.digest[:12]} names {names_mark}"
    earlier = next((one for one in screenings if one.recorded_by == SCREENER), None)
    if earlier is not None and earlier.reference.partition(_HITS)[0] == reference:
        return None
    new_hits = [hit for hit in hits if hit.mark not in cleared_marks(screenings)]
    if unread and not new_hits:
        if screenings and screenings[0].recorded_by != SCREENER:
            return None  # a person has screened it; that check lapses by itself
        return NewPartyCheck(
            kind=PartyCheckKind.SANCTIONS_SCREENING,
            result=PartyCheckResult.FAILED,
            performed_by=SCREENER,
            checked_on=today,
            valid_until=lapses,
            reference=reference,
            note=f"can't be compared, screen it by hand: {'; '.join(unread)}",
        )
    result = PartyCheckResult.FAILED if new_hits else PartyCheckResult.PASSED
    if not new_hits and screenings and screenings[0].is_adverse:
        return None
    note = "; ".join(f"{hit.entry_id} {hit.name}" for hit in hits[:_SHOWN])
    return NewPartyCheck(
        kind=PartyCheckKind.SANCTIONS_SCREENING,
        result=result,
        performed_by=SCREENER,
        checked_on=today,
        valid_until=lapses,
        reference=reference + (_HITS + ",".join(hit.mark for hit in new_hits) if new_hits else ""),
        note=note if new_hits else f"cleared earlier: {note}" if hits else "",
    )
