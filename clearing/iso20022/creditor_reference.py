"""Creditor references: the Swiss QR reference and ISO 11649, with their check digits.

Owns: which reference fits which account. Must not know: messages.
Sources: Swiss Implementation Guidelines QR-bill (QRR, QR-IID); ISO 11649 (SCOR).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stdnum import iso11649

from clearing.errors import InvalidPaymentError
from clearing.parties.bank_details import masked

_QRR: Final = re.compile(r"[0-9]{27}")
# The carry table of the recursive modulo-10 check digit.
_CARRY: Final = (0, 9, 4, 6, 8, 2, 7, 1, 3, 5)
_QR_IID: Final = range(30_000, 32_000)
_MAX_REMITTANCE: Final = 140


class ReferenceKind(StrEnum):
    """The kind of a creditor reference."""

    QRR = "QRR"
    SCOR = "SCOR"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditorReference:
    """A checked reference. Raises InvalidPaymentError if its check digits are wrong."""

    kind: ReferenceKind
    text: str

    def __post_init__(self) -> None:
        if self.kind is ReferenceKind.QRR:
            if not _QRR.fullmatch(self.text) or qrr_check_digit(self.text[:-1]) != int(self.text[-1]):
                raise InvalidPaymentError(
                    "reference",
                    f"{self.text!r} is no QR reference: 27 digits, the last of them the check digit",
                )
        elif not iso11649.is_valid(self.text) or self.text != iso11649.compact(self.text):
            raise InvalidPaymentError(
                "reference", f"{self.text!r} is no ISO 11649 reference such as RF18539007547034"
            )


def qrr_check_digit(digits: str) -> int:
    """The recursive modulo-10 check digit of a string of digits."""
    carry = 0
    for digit in digits:
        carry = _CARRY[(carry + int(digit)) % 10]
    return (10 - carry) % 10


def parse_reference(text: str) -> CreditorReference:
    """A creditor reference from text, spaces ignored: digits are a QR reference, RF... is ISO 11649.

    Raises InvalidPaymentError for anything else, or wrong check digits.
    """
    compact = "".join(text.split()).upper()
    kind = ReferenceKind.QRR if compact.isdigit() else ReferenceKind.SCOR
    return CreditorReference(kind=kind, text=compact)


def is_qr_iban(iban: str) -> bool:
    """Whether the account accepts QR references only: a CH or LI IBAN whose bank is 30000 to 31999."""
    return iban[:2] in {"CH", "LI"} and iban[4:9].isdigit() and int(iban[4:9]) in _QR_IID


def check_pairing(iban: str, reference: CreditorReference | None) -> None:
    """A QR-IBAN needs a QR reference, and a QR reference a QR-IBAN. Raises InvalidPaymentError."""
    has_qrr = reference is not None and reference.kind is ReferenceKind.QRR
    if is_qr_iban(iban) and not has_qrr:
        raise InvalidPaymentError(
            "reference", f"{masked(iban)} is a QR-IBAN and accepts a QR reference (QRR) only"
        )
    if has_qrr and not is_qr_iban(iban):
        raise InvalidPaymentError(
            "reference", f"{masked(iban)} is no QR-IBAN; a QR reference can't be paid to it"
        )
