"""The payment file: pain.001.001.09 for SEPA credit transfers, SEPA Instant and Swiss domestic payments.

Owns: the file's elements and their order, checked before it is written. Must not know: why a party is paid,
where the file goes. The same values give the same bytes, so that a file written twice is the same file.
Sources: ISO 20022 CustomerCreditTransferInitiationV09; EPC132-08 (SEPA C2PSP implementation guidelines);
EPC121-16 (instant); Swiss Payment Standards, Implementation Guidelines for credit transfers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Final
from xml.etree import ElementTree as ET  # only written here, never read

from clearing.errors import CurrencyMismatchError, InvalidPaymentError
from clearing.iso20022.characters import CharacterSet, fold, has_letter_or_digit, is_identifier
from clearing.iso20022.creditor_reference import CreditorReference, check_pairing, is_qr_iban
from clearing.money import to_major
from clearing.parties.bank_details import SEPA_COUNTRIES, BankDetails, PostalAddress

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
MAX_PAYMENTS: Final = 100_000
_REMITTANCE: Final = 140
_TOWN: Final = 35
_EURO_MAX_MINOR: Final = 99_999_999_999  # SEPA: 999,999,999.99
_SWISS_MAX_MINOR: Final = 999_999_999_999  # Swiss Payment Standards: 9,999,999,999.99
_SWISS: Final = frozenset({"CHF", "EUR"})


class Service(StrEnum):
    """Which payment service carries a payment."""

    SEPA = "sepa"
    SEPA_INSTANT = "sepa_instant"
    SWISS = "swiss"


_CHARACTERS: Final = {
    Service.SEPA: CharacterSet.SEPA,
    Service.SEPA_INSTANT: CharacterSet.SEPA,
    Service.SWISS: CharacterSet.SWISS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTransfer:
    """One credit transfer: `amount_minor` > 0 of `currency`, known everywhere by `end_to_end_id`."""

    end_to_end_id: str
    amount_minor: int
    currency: str
    creditor: BankDetails
    remittance: str = ""
    reference: CreditorReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentBatch:
    """Credit transfers of one service and currency, executed on one day from one account."""

    id: str
    service: Service
    currency: str
    execution_date: date
    transfers: Sequence[CreditTransfer]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFile:
    """A whole file. `message_id` is ours and never used twice; the bank rejects a second file under it."""

    message_id: str
    created_at: datetime
    debtor: BankDetails
    batches: Sequence[PaymentBatch]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """The bytes, their SHA-256 in hex, and the control figures that a person compares before release."""

    content: bytes
    sha256: str
    count: int
    control_sum: Decimal


def write(file: PaymentFile) -> WrittenFile:
    """The file as UTF-8 XML. Raises InvalidPaymentError, CurrencyMismatchError, which name the transfer."""
    check(file)
    transfers = [transfer for batch in file.batches for transfer in batch.transfers]
    total = _sum(transfers)
    root = ET.Element("Document", {"xmlns": NAMESPACE})
    message = ET.SubElement(root, "CstmrCdtTrfInitn")
    header = ET.SubElement(message, "GrpHdr")
    _text(header, "MsgId", file.message_id)
    _text(header, "CreDtTm", file.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    _text(header, "NbOfTxs", str(len(transfers)))
    _text(header, "CtrlSum", f"{total:f}")
    _text(ET.SubElement(header, "InitgPty"), "Nm", _name(file.debtor.name, CharacterSet.SEPA))
    for batch in file.batches:
        _batch(message, batch, file.debtor)
    content = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return WrittenFile(
        content=content, sha256=sha256(content).hexdigest(), count=len(transfers), control_sum=total
    )


def check(file: PaymentFile) -> None:
    """Check everything that a bank would reject. Raises InvalidPaymentError, CurrencyMismatchError."""
    if file.created_at.tzinfo is None:
        raise InvalidPaymentError("created_at", "has no time zone")
    if not is_identifier(file.message_id):
        raise InvalidPaymentError("message_id", f"{file.message_id!r} is no identifier that banks accept")
    check_debtor(file.debtor)
    seen: set[str] = set()
    batch_ids: set[str] = set()
    for batch in file.batches:
        if not is_identifier(batch.id) or batch.id in batch_ids:
            raise InvalidPaymentError("batch.id", f"{batch.id!r} is no identifier, or is used twice")
        batch_ids.add(batch.id)
        if not batch.transfers:
            raise InvalidPaymentError(f"batch {batch.id}", "has no payment")
        for transfer in batch.transfers:
            if transfer.currency != batch.currency:
                raise CurrencyMismatchError(transfer.currency, batch.currency)
            check_transfer(transfer, service=batch.service)
            if transfer.end_to_end_id in seen:
                raise InvalidPaymentError(transfer.end_to_end_id, "is in the file twice")
            seen.add(transfer.end_to_end_id)
    if not 1 <= len(seen) <= MAX_PAYMENTS:
        raise InvalidPaymentError("payments", f"{len(seen)} of them; a file has 1 to {MAX_PAYMENTS}")


def check_debtor(debtor: BankDetails) -> None:
    """The account that pays: a QR-IBAN can only receive payments. Raises InvalidPaymentError."""
    if is_qr_iban(debtor.iban):
        raise InvalidPaymentError(
            "iban", f"{debtor.masked} is a QR-IBAN, which can't pay; name the account's IBAN"
        )


def check_transfer(transfer: CreditTransfer, *, service: Service) -> None:
    """One transfer by the rules of its service. Raises InvalidPaymentError, which says what to correct."""
    where = transfer.end_to_end_id
    characters = _CHARACTERS[service]
    town = fold(transfer.creditor.address.town, characters=characters, limit=_TOWN)
    if not (has_letter_or_digit(_name(transfer.creditor.name, characters)) and has_letter_or_digit(town)):
        raise InvalidPaymentError(
            where, "the payee's name or town has no letter that banks accept; give it in Latin letters"
        )
    if not is_identifier(where):
        raise InvalidPaymentError("end_to_end_id", f"{where!r} is no identifier that banks accept")
    if transfer.amount_minor <= 0:
        raise InvalidPaymentError(
            where, f"amount of {transfer.amount_minor} minor units; expected more than 0"
        )
    if service is Service.SWISS:
        if transfer.currency not in _SWISS or transfer.creditor.country not in {"CH", "LI"}:
            raise InvalidPaymentError(where, "a Swiss payment is in CHF or EUR to an account in CH or LI")
        if transfer.amount_minor > _SWISS_MAX_MINOR:
            raise InvalidPaymentError(where, "a Swiss payment is of at most 9999999999.99")
        check_pairing(transfer.creditor.iban, transfer.reference)
        return
    if transfer.currency != "EUR" or transfer.amount_minor > _EURO_MAX_MINOR:
        raise InvalidPaymentError(where, "a SEPA payment is in EUR, at most 999999999.99")
    if transfer.creditor.country not in SEPA_COUNTRIES:
        raise InvalidPaymentError(where, f"accounts in {transfer.creditor.country} are outside SEPA")


def _batch(message: ET.Element, batch: PaymentBatch, debtor: BankDetails) -> None:
    characters = _CHARACTERS[batch.service]
    block = ET.SubElement(message, "PmtInf")
    _text(block, "PmtInfId", batch.id)
    _text(block, "PmtMtd", "TRF")
    _text(block, "BtchBookg", "false")  # one bank line per payment: what reconciliation matches
    _text(block, "NbOfTxs", str(len(batch.transfers)))
    _text(block, "CtrlSum", f"{_sum(batch.transfers):f}")
    if batch.service is not Service.SWISS:
        kind = ET.SubElement(block, "PmtTpInf")
        _text(ET.SubElement(kind, "SvcLvl"), "Cd", "SEPA")
        if batch.service is Service.SEPA_INSTANT:
            _text(ET.SubElement(kind, "LclInstrm"), "Cd", "INST")
    _text(ET.SubElement(block, "ReqdExctnDt"), "Dt", batch.execution_date.isoformat())
    _party(block, "Dbtr", debtor.name, debtor.address, characters)
    _account(block, "DbtrAcct", debtor.iban)
    _agent(block, "DbtrAgt", debtor.bic)
    if batch.service is not Service.SWISS:
        _text(block, "ChrgBr", "SLEV")
    for transfer in batch.transfers:
        _transfer(block, transfer, characters)


def _transfer(block: ET.Element, transfer: CreditTransfer, characters: CharacterSet) -> None:
    element = ET.SubElement(block, "CdtTrfTxInf")
    identification = ET.SubElement(element, "PmtId")
    _text(identification, "InstrId", transfer.end_to_end_id)
    _text(identification, "EndToEndId", transfer.end_to_end_id)
    amount = ET.SubElement(ET.SubElement(element, "Amt"), "InstdAmt", {"Ccy": transfer.currency})
    amount.text = f"{to_major(transfer.amount_minor, transfer.currency):f}"
    if transfer.creditor.bic is not None:
        _agent(element, "CdtrAgt", transfer.creditor.bic)
    _party(element, "Cdtr", transfer.creditor.name, transfer.creditor.address, characters)
    _account(element, "CdtrAcct", transfer.creditor.iban)
    _remittance(element, transfer, characters)


def _remittance(parent: ET.Element, transfer: CreditTransfer, characters: CharacterSet) -> None:
    """Structured if the payee has a reference, else free text; never both (EPC132-08)."""
    if transfer.reference is not None:
        block = ET.SubElement(ET.SubElement(parent, "RmtInf"), "Strd")
        information = ET.SubElement(block, "CdtrRefInf")
        kind = ET.SubElement(ET.SubElement(information, "Tp"), "CdOrPrtry")
        name = transfer.reference.kind.value
        _text(kind, "Prtry" if name == "QRR" else "Cd", name)
        _text(information, "Ref", transfer.reference.text)
        return
    remittance = fold(transfer.remittance, characters=characters, limit=_REMITTANCE)
    if remittance:
        _text(ET.SubElement(parent, "RmtInf"), "Ustrd", remittance)


def _party(parent: ET.Element, tag: str, name: str, address: PostalAddress, characters: CharacterSet) -> None:
    party = ET.SubElement(parent, tag)
    _text(party, "Nm", _name(name, characters))
    block = ET.SubElement(party, "PstlAdr")
    for element, value, limit in (
        ("StrtNm", address.street, 70),
        ("BldgNb", address.building, 16),
        ("PstCd", address.post_code, 16),
        ("TwnNm", address.town, _TOWN),
        ("Ctry", address.country, 2),
    ):
        folded = fold(value, characters=characters, limit=limit)
        if folded:
            _text(block, element, folded)


def _name(name: str, characters: CharacterSet) -> str:
    """At most 70 characters, the most that both schemes carry to the payee."""
    return fold(name, characters=characters, limit=70)


def _account(parent: ET.Element, tag: str, iban: str) -> None:
    _text(ET.SubElement(ET.SubElement(parent, tag), "Id"), "IBAN", iban)


def _agent(parent: ET.Element, tag: str, bic: str | None) -> None:
    institution = ET.SubElement(ET.SubElement(parent, tag), "FinInstnId")
    if bic is not None:
        _text(institution, "BICFI", bic)
    else:
        _text(ET.SubElement(institution, "Othr"), "Id", "NOTPROVIDED")


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text


def _sum(transfers: Sequence[CreditTransfer]) -> Decimal:
    """The control sum: amounts added whatever their currency, as ISO 20022 defines it."""
    return sum((to_major(transfer.amount_minor, transfer.currency) for transfer in transfers), Decimal(0))
