"""Our own payment files, read back: which file it is, and whom it pays.

Owns: what of a pain.001 says this. Must not know: where files lie, what was recorded of them.
Source: ISO 20022 pain.001.001.09, GrpHdr/MsgId, CdtTrfTxInf/CdtrAcct/Id/IBAN.
"""

from dataclasses import dataclass
from typing import IO, Final

from clearing.errors import UnreadableMessageError
from clearing.iso20022.safe_xml import local, subtrees

_MESSAGE: Final = "pain.001."


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """One payment file: its message id, and the payees' IBANs in the file's order."""

    message_id: str
    ibans: tuple[str, ...]


def read_sent_file(stream: IO[bytes]) -> SentFile:
    """Read a payment file of ours. Raises UnreadableMessageError for anything else."""
    message_id, ibans = "", []
    for namespace, element in subtrees(stream, names=("GrpHdr", "CdtTrfTxInf")):
        if _MESSAGE not in namespace:
            raise UnreadableMessageError("/Document", f"is of {namespace[:80]!r}; expected a pain.001")
        if local(element.tag) == "GrpHdr":
            message_id = next((part.text or "" for part in element if local(part.tag) == "MsgId"), "")
        else:
            accounts = [part for part in element if local(part.tag) == "CdtrAcct"]
            found = (part.text for one in accounts for part in one.iter() if local(part.tag) == "IBAN")
            ibans += [text for text in found if text]
    if not message_id:
        raise UnreadableMessageError("/Document/CstmrCdtTrfInitn/GrpHdr/MsgId", "is missing")
    return SentFile(message_id=message_id, ibans=tuple(ibans))
