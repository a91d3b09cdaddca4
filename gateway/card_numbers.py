"""Card numbers in any text: found so that none enters, masked so that none is written.

Owns: what counts as a card number. Must not know where a text comes from. Pure.

A card number is 13 to 19 digits, in one piece or in printed groups of 3 to 8, that begin as a card scheme's
numbers do, have one of its lengths and pass the Luhn check. What is an identifier by its own check or shape
(IBAN, UUID, telephone number, a hash or an id that mixes digits with letters) is not one; see
docs/decisions/0608-card-numbers-never-enter.md.
Sources: ISO/IEC 7812-1 (issuer identification numbers, Luhn check), ISO 13616 (check digits of an IBAN),
ITU-T E.164 (15 digits), RFC 9562 (UUID).
"""

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

MASK: Final = "[card number]"
_BLANK: Final = "\n"  # separates words, and no groups of one number
_LENGTHS: Final = range(13, 20)
_GROUPS: Final = range(3, 9)
_SEPARATOR: Final = r"[ \t.\-_\u00a0\u2007\u2009\u202f\u2010-\u2015\u2212]"
_RUN: Final = re.compile(rf"\d(?:{_SEPARATOR}{{0,3}}\d){{12,}}")
_GROUP: Final = re.compile(r"\d+")
_UUID: Final = re.compile(
    r"(?<![0-9A-Fa-f-])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f-])"
)
_TELEPHONE: Final = re.compile(r"\+\d{7,15}(?!\d)")
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_FRACTION: Final = re.compile(r"\d[.,]$")  # what follows are decimals
_BEFORE: Final = re.compile(r"[A-Za-z0-9]{1,64}$")
_AFTER: Final = re.compile(r"[A-Za-z0-9]{1,64}")
_IBAN_LENGTH: Final = 15
_IBAN_MODULUS: Final = 97
# A word that joins letters and fewer digits than this is a serial number: cards of 13 and 14 digits are rare.
_LEAST_BESIDE_LETTERS: Final = 15
_LEAST_AS_NUMBER: Final = 15  # amounts have fewer digits
_MAX_DEPTH: Final = 200
_LUHN_BASE: Final = 10
_NINE: Final = 9
# First digits of the schemes' numbers, as a range of the first four, and the lengths that they have.
_SCHEMES: Final = (
    (2200, 2205, range(16, 20)),  # Mir, Borica
    (2221, 2720, range(16, 17)),  # Mastercard
    (3000, 3099, range(14, 20)),  # Diners Club
    (3400, 3499, range(15, 16)),  # American Express
    (3528, 3589, range(16, 20)),  # JCB
    (3600, 3699, range(14, 20)),  # Diners Club
    (3700, 3799, range(15, 16)),  # American Express
    (3800, 3999, range(14, 20)),  # Diners Club
    (4000, 4999, _LENGTHS),  # Visa
    (5000, 5999, _LENGTHS),  # Mastercard, Maestro
    (6000, 6999, _LENGTHS),  # Discover, UnionPay, Maestro, RuPay
    (8100, 8299, range(16, 20)),  # UnionPay, RuPay
    (9792, 9792, range(16, 17)),  # Troy
)


def holds_card_number(text: str) -> bool:
    """Whether a card number stands anywhere in the text."""
    return next(_spans(text), None) is not None


def mask_card_numbers(text: str) -> str:
    """The text with MASK in the place of each card number."""
    while (found := next(_spans(text), None)) is not None:
        text = f"{text[: found[0]]}{MASK}{text[found[1] :]}"
    return text


def find_card_number(tree: Any, *, place: str = "", depth: int = 0) -> str | None:
    """The JSON pointer (RFC 6901) of the first value or member name of a JSON tree that holds a card number.

    None where there is none. A name that holds one is not part of the pointer: the object around it is named.
    """
    if isinstance(tree, str):
        return place if holds_card_number(tree) else None
    if isinstance(tree, int) and not isinstance(tree, bool):
        digits = str(abs(tree)) if abs(tree) < 10**_LENGTHS.stop else ""
        return place if len(digits) >= _LEAST_AS_NUMBER and holds_card_number(digits) else None
    if depth > _MAX_DEPTH:
        return None
    if isinstance(tree, Mapping):
        if any(holds_card_number(str(name)) for name in tree):
            return place
        members = ((str(name).replace("~", "~0").replace("/", "~1"), one) for name, one in tree.items())
    elif isinstance(tree, list | tuple):
        members = ((str(position), one) for position, one in enumerate(tree))
    else:
        return None
    found = (find_card_number(one, place=f"{place}/{name}", depth=depth + 1) for name, one in members)
    return next((one for one in found if one is not None), None)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where card numbers stand, by their first and behind their last character."""
    if _RUN.search(text) is None:
        return
    blanked = _without_other_identifiers(text)
    for run in _RUN.finditer(blanked):
        groups = [(one.start() + run.start(), one[0]) for one in _GROUP.finditer(run[0])]
        for first in range(len(groups)):
            for length, digits in enumerate(accumulate(group for _, group in groups[first:]), start=1):
                if len(digits) >= _LENGTHS.stop:
                    break
                window = groups[first : first + length]
                if _is_printed(window, blanked) and _is_card_number(digits):
                    yield window[0][0], window[-1][0] + len(window[-1][1])


def _is_printed(window: list[tuple[int, str]], text: str) -> bool:
    """Whether digits stand as a card number is written: in groups, or as one number of its own."""
    if len(window) > 1:
        return all(len(group) in _GROUPS for _, group in window)
    start, digits = window[0]
    if _FRACTION.search(text[max(0, start - 2) : start]):
        return False
    end = start + len(digits)
    before, after = _BEFORE.search(text[max(0, start - 64) : start]), _AFTER.match(text, end)
    letters = (before[0] if before else "") + (after[0] if after else "")
    if not letters:
        return True
    return len(digits) >= _LEAST_BESIDE_LETTERS and _GROUP.search(letters) is None


def _is_card_number(digits: str) -> bool:
    number = "".join(str(int(digit)) for digit in digits)
    if len(number) not in _LENGTHS:
        return False
    head = int(number[:4])
    known = any(first <= head <= last and len(number) in lengths for first, last, lengths in _SCHEMES)
    return known and _passes_luhn(number)


def _passes_luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - _NINE if value > _NINE else value
    return total % _LUHN_BASE == 0


def _without_other_identifiers(text: str) -> str:
    """The text with blanks, as many as there were characters, for what another check or shape identifies."""
    for shape in (_UUID, _TELEPHONE):
        text = shape.sub(lambda found: _BLANK * len(found[0]), text)
    for found in list(_IBAN.finditer(text)):
        length = _iban_length(found[0])
        text = text[: found.start()] + _BLANK * length + text[found.start() + length :]
    return text


def _iban_length(text: str) -> int:
    """How many characters of a text that begins like an IBAN are one by its check digits, 0 if none are."""
    ends = [one.end() for one in _WORD.finditer(text)]
    for end in reversed(ends):
        compact = text[:end].replace(" ", "").upper()
        if len(compact) < _IBAN_LENGTH:
            return 0
        digits = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
        if int(digits) % _IBAN_MODULUS == 1:
            return end
    return 0
