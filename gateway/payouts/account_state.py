"""Whether the PSP can pay a party's connected account, and what is said where it can't. Pure.

Owns: the rule and its words. Must not know: SQL, the PSP's wire, what a payout hold prevents. Only the
capability to receive transfers counts: a transfer is what we send. Whether the PSP pays the account's balance
out to its bank is between the party and the PSP, and is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.database import FromRow
from gateway.payments.psp.connect_port import PspAccount, TransferCapability

_STATES: Final = {
    TransferCapability.PENDING: "the PSP is still checking it",
    TransferCapability.INACTIVE: "the PSP does not let it receive transfers",
    TransferCapability.UNREQUESTED: "transfers were never asked for",
    TransferCapability.UNKNOWN: "the PSP knows no such account of this platform",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedAccountRecord(FromRow):
    """The connected account of a party. `version` 0: the PSP has not said anything of it yet."""

    party_id: str
    id: UUID
    psp_account: str
    transfers: TransferCapability
    payouts_enabled: bool
    details_submitted: bool
    country: str | None
    currency: str | None
    disabled_reason: str | None
    requirements: Sequence[str]
    requirements_due: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    read_at: datetime | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "transfers", TransferCapability(self.transfers))

    @property
    def payable(self) -> bool:
        """Whether a transfer to it would be accepted."""
        return self.transfers is TransferCapability.ACTIVE

    @property
    def as_read(self) -> PspAccount:
        """What the PSP has said of it."""
        return PspAccount(
            psp_account=self.psp_account,
            transfers=self.transfers,
            payouts_enabled=self.payouts_enabled,
            details_submitted=self.details_submitted,
            country=self.country,
            currency=self.currency,
            disabled_reason=self.disabled_reason,
            requirements=tuple(self.requirements),
            requirements_due=self.requirements_due,
        )


def unpayable_reason(account: PspAccount) -> str | None:
    """Why the PSP can't pay the account, as the party reads it; None: it can.

    What the PSP still wants to know is not part of it: the hold stays one hold while the party answers.
    """
    if account.transfers is TransferCapability.ACTIVE:
        return None
    code = "" if account.disabled_reason is None else f" ({account.disabled_reason})"
    return f"account {account.psp_account} can't be paid: {_STATES[account.transfers]}{code}"
