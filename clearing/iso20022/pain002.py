"""The bank's status report on a payment file: pain.002, in any of its versions.

Owns: which status ends a credit transfer, and reading it. Must not know: our rows. A status of the whole file
or batch applies to the transfers that have none of their own. A rejection as a duplicate ends nothing: the
first message may be on its way.
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
from clearing.iso20022.safe_xml import children, subtrees, text

_MAX_BYTES: Final = 64 * 1024 * 1024
_MAX_REASON: Final = 200


class CreditTransferOutcome(StrEnum):
    """What a status means for the money: not final, paid, or never to be paid."""

    PENDING = "pending"
    SETTLED = "settled"
    REJECTED = "rejected"


# ACSC: settled on the debtor's account; ACCC: credited to the payee. Everything accepted before that may
# still be rejected: it is not final.
_OUTCOMES: Final = MappingProxyType(
    {
        "ACSC": CreditTransferOutcome.SETTLED,
        "ACCC": CreditTransferOutcome.SETTLED,
        "RJCT": CreditTransferOutcome.REJECTED,
        "CANC": CreditTransferOutcome.REJECTED,
    }
)
_REJECTED: Final = "RJCT"
# Duplication: of a message, a batch, a transaction, an end-to-end id, an instruction (DU01 to DU05).
_DUPLICATE: Final = frozenset(("AM05", "DU01", "DU02", "DU03", "DU04", "DU05"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTransferStatus:
    """One transfer's status. `reason` is the bank's code and text."""

    end_to_end_id: str
    batch_id: str
    status: str
    outcome: CreditTransferOutcome
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """A batch's status; None if the bank reports single transfers only."""

    batch_id: str
    status: str | None
    outcome: CreditTransferOutcome | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """One pain.002: the file it is about, and the status of the file, its batches and transfers."""

    message_id: str
    original_message_id: str
    status: str | None
    outcome: CreditTransferOutcome | None
    reason: str
    batches: Sequence[BatchStatus]
    transfers: Sequence[CreditTransferStatus]

    def outcome_of(self, *, end_to_end_id: str, batch_id: str) -> tuple[CreditTransferOutcome, str] | None:
        """The outcome of one transfer: its own status if it has one, else its batch's, else the file's."""
        if self.status == _REJECTED and self.outcome is CreditTransferOutcome.PENDING:
            return self.outcome, self.reason  # a duplicate as a whole, whatever its transfers say
        for transfer in self.transfers:
            if transfer.end_to_end_id == end_to_end_id:
                return transfer.outcome, transfer.reason
        for batch in self.batches:
            if batch.batch_id == batch_id and batch.outcome is not None:
                return batch.outcome, batch.reason
        return None if self.outcome is None else (self.outcome, self.reason)


def read(stream: IO[bytes]) -> StatusReport:
    """Read a report. Raises UnreadableMessageError, which names the element."""
    message_id = ""
    group: tuple[str | None, str | None, CreditTransferOutcome | None, str] | None = None
    batches: list[BatchStatus] = []
    transfers: list[CreditTransferStatus] = []
    for _, element in subtrees(
        stream, names=("GrpHdr", "OrgnlGrpInfAndSts", "OrgnlPmtInfAndSts"), max_bytes=_MAX_BYTES
    ):
        match element.tag.rpartition("}")[2]:
            case "GrpHdr":
                message_id = text(element, "MsgId") or ""
            case "OrgnlGrpInfAndSts":
                status = text(element, "GrpSts")
                group = text(element, "OrgnlMsgId"), status, _outcome(status, element), _reason(element)
            case _:
                batch = _batch(element)
                batches.append(batch)
                transfers += [_transfer(one, batch.batch_id) for one in children(element, "TxInfAndSts")]
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
        outcome=ended,
        reason=reason,
        batches=batches,
        transfers=transfers,
    )


def outcome_of_status(status: str) -> CreditTransferOutcome:
    """What a status code means for the money. An unknown code is not final."""
    return _OUTCOMES.get(status, CreditTransferOutcome.PENDING)


def _batch(element: Element) -> BatchStatus:
    batch_id = text(element, "OrgnlPmtInfId")
    if batch_id is None:
        raise UnreadableMessageError("OrgnlPmtInfAndSts/OrgnlPmtInfId", "is missing")
    status = text(element, "PmtInfSts")
    return BatchStatus(
        batch_id=batch_id,
        status=status,
        outcome=_outcome(status, element),
        reason=_reason(element),
    )


def _transfer(element: Element, batch_id: str) -> CreditTransferStatus:
    end_to_end_id = text(element, "OrgnlEndToEndId") or text(element, "OrgnlInstrId")
    status = text(element, "TxSts")
    if end_to_end_id is None or status is None:
        raise UnreadableMessageError("TxInfAndSts", "has no OrgnlEndToEndId or no TxSts")
    return CreditTransferStatus(
        end_to_end_id=end_to_end_id,
        batch_id=batch_id,
        status=status,
        outcome=_outcome(status, element) or CreditTransferOutcome.PENDING,
        reason=_reason(element),
    )


def _outcome(status: str | None, element: Element) -> CreditTransferOutcome | None:
    """What a status means with its reasons: a rejection as a duplicate is not final."""
    if status is None:
        return None
    codes = {text(information, "Rsn/Cd") for information in children(element, "StsRsnInf")}
    outcome = outcome_of_status(status)
    return (
        CreditTransferOutcome.PENDING
        if outcome is CreditTransferOutcome.REJECTED and codes & _DUPLICATE
        else outcome
    )


def _reason(element: Element) -> str:
    reasons = []
    for information in children(element, "StsRsnInf"):
        code = text(information, "Rsn/Cd") or text(information, "Rsn/Prtry") or ""
        detail = " ".join(one.text.strip() for one in children(information, "AddtlInf") if one.text)
        reasons.append(f"{code} {detail}".strip())
    return "; ".join(one for one in reasons if one)[:_MAX_REASON]
