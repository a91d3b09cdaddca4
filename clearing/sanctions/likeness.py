"""Which words of two names are alike: transliteration, other spellings of a sound, one wrong letter.

Owns: the words of a name that are compared, and the threshold. Must not know: lists, parties.

The threshold: words are alike if their sounds are written alike (`sound`), and words of five letters or more
also if one letter is wrong, missing or too many, or two neighbors are swapped. Names whose letters are in no
table of transliteration can't be compared.
"""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from clearing.iso20022.characters import CharacterSet, fold

_LONGEST: Final = 1000
_TOLERANT_FROM: Final = 5  # letters of a word that may have a wrong one: a shorter word would be another
_CACHED: Final = 65_536
# Of legal persons; they name nobody.
_LEGAL_FORMS: Final = frozenset(
    (
        "ab",
        "ag",
        "as",
        "asa",
        "bv",
        "co",
        "corp",
        "doo",
        "eood",
        "gmbh",
        "inc",
        "kg",
        "kft",
        "llc",
        "ltd",
        "nv",
        "ooo",
        "oy",
        "plc",
        "sa",
        "sarl",
        "sas",
        "se",
        "sl",
        "spa",
        "srl",
        "sro",
    )
)
# Romanizations of one sound, longest first: Energiya, Energija and Energia; Khan and Han; Yusuf and Jusuf.
_SOUNDS: Final = (
    ("tsch", "ch"),
    ("shch", "sh"),
    ("sch", "sh"),
    ("dzh", "j"),
    ("kh", "h"),
    ("gh", "g"),
    ("ph", "f"),
    ("ck", "k"),
    ("qu", "k"),
    ("tz", "ts"),
    ("cz", "ch"),
    ("ou", "u"),
    ("oo", "u"),
    ("ee", "i"),
    ("iy", "i"),
    ("ij", "i"),
    ("yi", "i"),
    ("ia", "a"),
    ("ya", "a"),
    ("ja", "a"),
    ("iu", "u"),
    ("yu", "u"),
    ("ju", "u"),
    ("x", "ks"),
    ("q", "k"),
    ("w", "v"),
    ("y", "i"),
    ("j", "i"),
)


def is_comparable(name: str) -> bool:
    """Whether every letter of a name has a row in a table of transliteration, and it has one."""
    letters = [sign for sign in unicodedata.normalize("NFKC", name) if sign.isalpha()]
    return bool(letters) and all(
        any(found.isalnum() for found in fold(sign, characters=CharacterSet.SEPA, limit=_LONGEST))
        for sign in letters
    )


def words(name: str) -> frozenset[str]:
    """The words of a name that are compared: Latin letters, without case, accents, signs and legal forms."""
    folded = fold(unicodedata.normalize("NFKC", name), characters=CharacterSet.SEPA, limit=_LONGEST).lower()
    plain = "".join(sign if sign.isalnum() else " " for sign in folded.replace(".", "").replace("'", ""))
    found = frozenset(plain.split())
    return frozenset(sound(word) for word in found - _LEGAL_FORMS or found)


@lru_cache(maxsize=_CACHED)
def sound(word: str) -> str:
    """A word with one letter for a sound that is romanized in several ways, and no letter twice in a row."""
    for written, shown in _SOUNDS:
        word = word.replace(written, shown)
    return "".join(sign for place, sign in enumerate(word) if place == 0 or word[place - 1] != sign)


def near(one: str, other: str) -> bool:
    """Whether two words are alike: equal, or within one letter where both are long enough."""
    if one == other:
        return True
    if min(len(one), len(other)) < _TOLERANT_FROM or abs(len(one) - len(other)) > 1:
        return False
    place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if place is None:
        return True  # one letter more at the end
    left, right = one[place:], other[place:]
    wrong = left[1:] == right[1:]
    more = left[1:] == right or left == right[1:]
    swapped = left[:2] == right[1::-1] and left[2:] == right[2:]
    return wrong or more or swapped


def neighbors(word: str) -> Iterator[str]:
    """Keys of which two near words have one in common: the word, and itself without each of its letters."""
    yield word
    if len(word) >= _TOLERANT_FROM:
        for place in range(len(word)):
            yield word[:place] + word[place + 1 :]
