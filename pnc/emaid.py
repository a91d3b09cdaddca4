"""eMAID: the identifier of a contract, in each written form, reduced to one body that can be compared.

Owns the ISO 15118 and DIN SPEC 91286 forms, both check digits, and the comparison rule. Must not know
certificates or contracts.

The ISO form is country (2 letters), provider (3 letters or digits), instance (9), and optionally a check
digit, with optional hyphens between the parts (ISO 15118-2 annex H, ISO 15118-1). The DIN form is country,
provider, a 6-character instance and optionally a check digit, separated by `-` or `*`. Two mappings to the
ISO form are published: the instance `C0` + instance + DIN check digit (eMI3 "Electric vehicle ICT interface
specifications", part 2), and `00` + instance + DIN check digit (OCHP 1.4). Both are tried.

Only ASCII letters and digits exist in either: every look-alike of another script is rejected before anything
is compared.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from pnc.errors import MalformedEmaidError

BODY_LENGTH: Final = 14
_MAX_TEXT: Final = 36  # the shortest field an eMAID travels in: idToken of OCPP 2.0.1
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VALUE_OF: Final = {character: value for value, character in enumerate(_DIGITS)}
_ISO: Final = re.compile(r"([A-Z]{2})-?([A-Z0-9]{3})-?([A-Z0-9]{9})(?:-?([A-Z0-9]))?")
_DIN: Final = re.compile(r"([A-Z]{2})([-*]?)([A-Z0-9]{3})\2([A-Z0-9]{6})(?:\2([0-9X]))?")


class EmaidForm(StrEnum):
    """The written form an eMAID was read from."""

    ISO = "iso_15118"
    DIN = "din_spec_91286"


class CheckDigit(StrEnum):
    """The check digit of the written form."""

    ABSENT = "absent"
    RIGHT = "right"
    WRONG = "wrong"


# Looked up once: each access to a member of an enumeration takes as long as a small function.
_ISO_FORM: Final = EmaidForm.ISO
_NO_DIGIT: Final = CheckDigit.ABSENT


class Emaid(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An eMAID. Two are the same contract when their 14-character bodies are equal.

    A DIN eMAID has a second body by the other published mapping, `alternative`.
    """

    body: str
    form: EmaidForm
    check: CheckDigit
    alternative: str | None = None

    @property
    def bodies(self) -> tuple[str, ...]:
        """The bodies under which the contract may be stored."""
        return (self.body,) if self.alternative is None else (self.body, self.alternative)


def parse_emaid(text: str, *, strict: bool = False) -> Emaid:
    """Read an eMAID in any written form, upper or lower case.

    A wrong check digit is reported in `check`, not rejected: real and even published eMAIDs carry wrong ones.
    `strict` rejects it. A DIN eMAID's bodies are built from its computed check digit, so that one contract
    has the same bodies whatever digit was printed.

    Raises:
        MalformedEmaidError: `text` has another length, separator or character than the forms allow.
    """
    if not text.isascii() or len(text) > _MAX_TEXT:
        raise MalformedEmaidError(
            f"{text[:_MAX_TEXT]!r} is no eMAID: only ASCII letters, digits and separators"
        )
    upper = text.upper()
    if (iso := _ISO.fullmatch(upper)) is not None:
        country, provider, instance, digit = iso.groups()
        body = f"{country}{provider}{instance}"
        emaid = Emaid(body=body, form=_ISO_FORM, check=_compare(digit, iso_check_digit, body))
    elif (din := _DIN.fullmatch(upper)) is not None:
        country, _, provider, instance, digit = din.groups()
        stem = f"{country}{provider}{instance}"
        tail = f"{instance}{din_check_digit(stem)}"
        emaid = Emaid(
            body=f"{country}{provider}C0{tail}",
            form=EmaidForm.DIN,
            check=_compare(digit, din_check_digit, stem),
            alternative=f"{country}{provider}00{tail}",
        )
    else:
        raise MalformedEmaidError(
            f"{text!r} is no eMAID: expected a country (2 letters), a provider (3) and an instance"
            " (9 in the ISO form, 6 in the DIN form), and at most one check digit"
        )
    if strict and emaid.check is CheckDigit.WRONG:
        raise MalformedEmaidError(f"{text!r} carries a wrong check digit")
    return emaid


def iso_check_digit(body: str) -> str:
    """Return the check digit of a 14-character body (ISO 15118-1, eMI3).

    Each character's value v splits into q = v div 9 (a vector over Z2) and r = v mod 9 (over Z3). The digit
    is the one that makes both weighted sums zero, the weights being powers of [[0,1],[1,1]] and of
    [[0,1],[1,2]].

    Raises:
        MalformedEmaidError: `body` is not 14 upper-case ASCII letters and digits.
    """
    if len(body) != BODY_LENGTH or any(character not in _VALUE_OF for character in body):
        raise MalformedEmaidError(f"{body!r} is not 14 upper-case letters and digits")
    first_q = second_q = first_r = second_r = 0
    weight_q, weight_r = (0, 1, 1, 1), (0, 1, 1, 2)
    for character in body:
        q, r = divmod(_VALUE_OF[character], 9)
        first_q += (q >> 1) * weight_q[0] + (q & 1) * weight_q[2]
        second_q += (q >> 1) * weight_q[1] + (q & 1) * weight_q[3]
        first_r += (r // 3) * weight_r[0] + (r % 3) * weight_r[2]
        second_r += (r // 3) * weight_r[1] + (r % 3) * weight_r[3]
        weight_q = _next_weight(weight_q, last=1, modulus=2)
        weight_r = _next_weight(weight_r, last=2, modulus=3)
    # The fifteenth weights are the identity over Z2 and [[1,1],[1,0]] over Z3; solve for the digit.
    digit_q = (first_q % 2) * 2 + second_q % 2
    digit_r = (-second_r % 3) * 3 + (second_r - first_r) % 3
    return _DIGITS[digit_q * 9 + digit_r]


def din_check_digit(stem: str) -> str:
    """Return the check digit, 0 to 9 or X, of an 11-character DIN SPEC 91286 stem.

    Letters count as two decimal digits (A = 10); the digits are weighted 1, 2, 4, ... and summed modulo 11.
    """
    total, weight = 0, 1
    for character in stem:
        for digit in str(_VALUE_OF[character]):
            total += int(digit) * weight
            weight *= 2
    return "0123456789X"[total % 11]


def _next_weight(weight: tuple[int, int, int, int], *, last: int, modulus: int) -> tuple[int, int, int, int]:
    """Multiply a 2x2 matrix, row by row, by [[0,1],[1,last]]."""
    a, b, c, d = weight
    return b % modulus, (a + last * b) % modulus, d % modulus, (c + last * d) % modulus


def _compare(given: str | None, compute: Callable[[str], str], stem: str) -> CheckDigit:
    if given is None:
        return _NO_DIGIT
    return CheckDigit.RIGHT if given == compute(stem) else CheckDigit.WRONG
