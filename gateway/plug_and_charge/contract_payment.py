"""What pays for a contract, between the opaque text that the contract carries and a payment.

Owns: the form of that text. Must not know: contracts' rules, the PSP.
"""

from typing import Final

from gateway.payments.requests import PartnerAccount, PspMethod
from pnc.contract import Contract, PaymentKind

_REFERENCE_SEPARATOR: Final = "/"


def payment_reference(*, payment_method: str, customer: str | None) -> str:
    """A stored mandate as the opaque text that a contract carries."""
    return f"{customer or ''}{_REFERENCE_SEPARATOR}{payment_method}"


def payment_of(contract: Contract) -> PspMethod | PartnerAccount:
    """What pays for a contract: a mandate at the PSP, charged off session, or a partner's account."""
    if contract.payment_kind is PaymentKind.PARTNER_ACCOUNT:
        return PartnerAccount(party_id=contract.payment_reference)
    return method_of(contract.payment_reference)


def method_of(reference: str) -> PspMethod:
    """The mandate behind the opaque text of a contract."""
    customer, _, method = reference.rpartition(_REFERENCE_SEPARATOR)
    return PspMethod(payment_method=method, customer=customer or None, off_session=True)
