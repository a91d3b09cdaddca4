"""The characters that banks accept, and the conversion of any other text to them.

Owns: the two character sets, and how Latin letters and signs are spelled in them. Must not know: messages.
Sources: EPC217-08 (SEPA requirements for an extended character set, with its conversion table); Swiss Payment
Standards, Implementation Guidelines Customer-Bank Messages, section on permitted characters.
"""

import re
import unicodedata
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from clearing.iso20022.transliteration import LETTERS

MAX_IDENTIFIER: Final = 35  # Max35Text
# What every bank must accept: SWIFT's character set X without line breaks.
_BASIC: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-?:().,'+ ")
_IDENTIFIER: Final = re.compile(r"(?!/)(?!.*//)[A-Za-z0-9/?:().,'+ -]{1,35}(?<!/)")
# Letters that canonical decomposition does not split, and signs that occur in names.
_SPELLED: Final = MappingProxyType(
    {
        "ß": "ss",
        "ẞ": "SS",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "ø": "o",
        "Ø": "O",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "Ð": "D",
        "þ": "th",
        "Þ": "TH",
        "ł": "l",
        "Ł": "L",
        "ħ": "h",
        "Ħ": "H",
        "\u0131": "i",
        "ŋ": "n",
        "Ŋ": "N",
        "ĸ": "k",
        "ŧ": "t",
        "Ŧ": "T",
        "&": "+",
        "@": "(at)",
        "€": "EUR",
        "_": "-",
        "~": "-",
        "\\": "/",
        "|": "/",
        "\u00bf": "?",
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "-",
        "\u2013": "-",
        "\u2014": "-",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": "'",
        "\u201d": "'",
        '"': "'",
        "`": "'",
        ";": ",",
        "[": "(",
        "]": ")",
        "{": "(",
        "}": ")",
        "\u2026": "...",
    }
)
_SWISS_EXTRA: Final = frozenset("\u0218\u0219\u021a\u021b\u20ac")


class CharacterSet(StrEnum):
    """The character set that a payment scheme accepts."""

    SEPA = "sepa"
    SWISS = "swiss"


def is_permitted(character: str, characters: CharacterSet) -> bool:
    """Whether a name, address or remittance text of that scheme may contain the character."""
    if characters is CharacterSet.SEPA:
        return character in _BASIC
    point = ord(character)
    return 0x20 <= point <= 0x7E or 0xA0 <= point <= 0x17F or character in _SWISS_EXTRA  # noqa: PLR2004 - Unicode blocks


def fold(text: str, *, characters: CharacterSet, limit: int) -> str:
    """`text` in the scheme's characters, on one line, at most `limit` of them.

    A permitted character stays. A letter loses its accent or is spelled out; a Greek or Cyrillic one becomes
    Latin (EPC217-08); anything else becomes a full stop, so that a reader sees that a character is missing.
    Line breaks, tabs and runs of spaces become one space. Only an empty text gives an empty result.
    """
    composed = unicodedata.normalize("NFC", text)
    folded = "".join(_fold_one(character, characters) for character in composed)
    return " ".join(folded.split())[:limit].rstrip()


def _fold_one(character: str, characters: CharacterSet) -> str:
    if character.isspace():
        return " "
    if is_permitted(character, characters):
        return character
    spelled = _SPELLED.get(character) or LETTERS.get(character)
    if spelled is not None:
        return spelled
    bare = "".join(part for part in unicodedata.normalize("NFKD", character) if part in _BASIC)
    if bare:
        return bare
    return "" if unicodedata.category(character) in {"Mn", "Cf"} else "."


def has_letter_or_digit(text: str) -> bool:
    """Whether a folded text still names anything: punctuation alone names nobody."""
    return any(character.isalnum() for character in text)


def is_identifier(text: str) -> bool:
    """Whether `text` may identify a message or payment.

    1 to 35 basic characters that neither start nor end with a slash nor have two in a row (EPC132-08, 1.4).
    """
    return _IDENTIFIER.fullmatch(text) is not None
