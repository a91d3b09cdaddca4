"""The bank's answer to a payment file: pain.002, in any of its versions.

Owns: which status ends a payment, and reading it. Must not know: our rows. A status of the whole file or
batch holds for the payments that are not named on their own. A refusal because the bank has it already ends
nothing: what it has may be on its way.
Source: ISO 20022 CustomerPaymentStatusReport; external code sets ExternalPaymentTransactionStatus1Code and
ExternalStatusReason1Code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import IO, Final
from xml.etree.ElementTree import Element

from clearing.errors import UnreadableMessageError
from clearing.iso20022.reading import children, subtrees, text

_MAX_BYTES: Final = 64 * 1024 * 1024
_MAX_REASON: Final = 200


class Verdict(StrEnum):
    """What a status means for money: nothing yet, gone, or never to go."""

    PENDING = "pending"
    SETTLED = "settled"
    REJECTED = "rejected"


# ACSC: settled on the debtor's account; ACCC: credited to the payee. Everything accepted before that may
# still be refused, so that it ends nothing.
_VERDICTS: Final = MappingProxyType(
    {"ACSC": Verdict.SETTLED, "ACCC": Verdict.SETTLED, "RJCT": Verdict.REJECTED, "CANC": Verdict.REJECTED}
)
_REJECTED: Final = "RJCT"
# Duplication: of a message, a batch, a transaction, an end-to-end id, an instruction (DU01 to DU05).
_TOLD_TWICE: Final = frozenset(("AM05", "DU01", "DU02", "DU03", "DU04", "DU05"))
_PENDING: Final = frozenset("ACTC ACCP ACSP ACWC ACWP ACFC PDNG RCVD PART PATC PRES".split())  # noqa: SIM905 - codes


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentStatus:
    """One payment's status. `reason` is the bank's code and text."""

    end_to_end_id: str
    batch_id: str
    status: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """A batch's status; None where the bank says something of single payments only."""

    batch_id: str
    status: str | None
    verdict: Verdict | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """One pain.002: about which file of ours, and what it says of the file, its batches and payments."""

    message_id: str
    original_message_id: str
    status: str | None
    verdict: Verdict | None
    reason: str
    batches: Sequence[BatchStatus]
    payments: Sequence[PaymentStatus]

    def verdict_of(self, *, end_to_end_id: str, batch_id: str) -> tuple[Verdict, str] | None:
        """What the report says of one payment: its own word first, then its batch's, then the file's."""
        if self.status == _REJECTED and self.verdict is Verdict.PENDING:
            return self.verdict, self.reason  # told twice as a whole, whatever is said of its payments
        for payment in self.payments:
            if payment.end_to_end_id == end_to_end_id:
                return payment.verdict, payment.reason
        for batch in self.batches:
            if batch.batch_id == batch_id and batch.verdict is not None:
                return batch.verdict, batch.reason
        return None if self.verdict is None else (self.verdict, self.reason)


def read(stream: IO[bytes]) -> StatusReport:
    """Read a report. Raises UnreadableMessageError, naming the element."""
    message_id = ""
    group: tuple[str | None, str | None, Verdict | None, str] | None = None
    batches: list[BatchStatus] = []
    payments: list[PaymentStatus] = []
    for _, element in subtrees(
        stream, names=("GrpHdr", "OrgnlGrpInfAndSts", "OrgnlPmtInfAndSts"), max_bytes=_MAX_BYTES
    ):
        match element.tag.rpartition("}")[2]:
            case "GrpHdr":
                message_id = text(element, "MsgId") or ""
            case "OrgnlGrpInfAndSts":
                status = text(element, "GrpSts")
                group = text(element, "OrgnlMsgId"), status, _verdict(status, element), _reason(element)
            case _:
                batch = _batch(element)
                batches.append(batch)
                payments += [_payment(one, batch.batch_id) for one in children(element, "TxInfAndSts")]
    if group is None:
        raise UnreadableMessageError(
            "/Document/CstmrPmtStsRpt", "has no OrgnlGrpInfAndSts: is it a pain.002?"
        )
    original, status, ended, reason = group
    if original is None:
        raise UnreadableMessageError("OrgnlGrpInfAndSts/OrgnlMsgId", "is missing")
    return StatusReport(
        message_id=message_id,
        original_message_id=original,
        status=status,
        verdict=ended,
        reason=reason,
        batches=batches,
        payments=payments,
    )


def verdict(status: str) -> Verdict:
    """What a status code means for money. A code that nobody knows ends nothing."""
    return _VERDICTS.get(status, Verdict.PENDING)


def is_known(status: str) -> bool:
    """Whether the code is one of ISO's."""
    return status in _VERDICTS or status in _PENDING


def _batch(element: Element) -> BatchStatus:
    batch_id = text(element, "OrgnlPmtInfId")
    if batch_id is None:
        raise UnreadableMessageError("OrgnlPmtInfAndSts/OrgnlPmtInfId", "is missing")
    status = text(element, "PmtInfSts")
    return BatchStatus(
        batch_id=batch_id,
        status=status,
        verdict=_verdict(status, element),
        reason=_reason(element),
    )


def _payment(element: Element, batch_id: str) -> PaymentStatus:
    end_to_end_id = text(element, "OrgnlEndToEndId") or text(element, "OrgnlInstrId")
    status = text(element, "TxSts")
    if end_to_end_id is None or status is None:
        raise UnreadableMessageError("TxInfAndSts", "has no OrgnlEndToEndId or no TxSts")
    return PaymentStatus(
        end_to_end_id=end_to_end_id,
        batch_id=batch_id,
        status=status,
        verdict=_verdict(status, element) or Verdict.PENDING,
        reason=_reason(element),
    )


def _verdict(status: str | None, element: Element) -> Verdict | None:
    """What a status in its place means: refused as told twice ends nothing."""
    if status is None:
        return None
    codes = {text(information, "Rsn/Cd") for information in children(element, "StsRsnInf")}
    ended = verdict(status)
    return Verdict.PENDING if ended is Verdict.REJECTED and codes & _TOLD_TWICE else ended


def _reason(element: Element) -> str:
    told = []
    for information in children(element, "StsRsnInf"):
        code = text(information, "Rsn/Cd") or text(information, "Rsn/Prtry") or ""
        words = " ".join(one.text.strip() for one in children(information, "AddtlInf") if one.text)
        told.append(f"{code} {words}".strip())
    return "; ".join(one for one in told if one)[:_MAX_REASON]
