"""A hold as it is requested of the PSP: the same fields under the same key at every attempt.

Owns: how a hold follows from what is recorded. Must not know: SQL, when a hold is requested, what its outcome
leads to.
"""

from datetime import timedelta
from typing import Final

from gateway.ids import format_id
from gateway.payments import psp_record
from gateway.payments.errors import InvalidPaymentRequestError
from gateway.payments.outcomes import SentRequest
from gateway.payments.psp.port import HOSTED_PAGE, PspHoldRequest
from gateway.payments.psp_incidents import asked_features
from gateway.payments.records import PspRequestRecord

PAGE_LANGUAGE: Final = "language"  # the metadata by which a hosted page is in the driver's language
# How long a driver may pay on a hosted page. Stripe takes 30 minutes at least, from when the request arrives;
# five more let the same request be repeated. In business time, which a stand-in of the PSP's follows too.
PAGE_LASTS: Final = timedelta(minutes=35)


def idempotency_key(request: PspRequestRecord) -> str:
    """The idempotency key of a request: from its row, so that it never changes on retry."""
    key = f"nc_{format_id('call', request.id)}"
    return key if request.key_number == 1 else f"{key}_{request.key_number}"


def hold_request(sent: SentRequest) -> PspHoldRequest:
    """A hold, or its renewal, as it was intended: the same fields at every attempt."""
    authorization = sent.authorization
    if authorization.payment_method is None:
        raise InvalidPaymentRequestError(
            f"authorization {format_id('auth', authorization.id)} has no payment method"
        )
    at_page = authorization.payment_method == HOSTED_PAGE
    return PspHoldRequest(
        idempotency_key=idempotency_key(sent.request),
        session_id=authorization.session_id,
        authorization_id=authorization.id,
        amount_minor=sent.request.amount_minor,
        currency=authorization.currency,
        payment_method=authorization.payment_method,
        customer=authorization.customer,
        off_session=authorization.off_session,
        return_url=authorization.return_url,
        save_usage=authorization.save_usage,
        features=asked_features(sent.request.hold_features),
        description=description_of(sent),
        receipt_email=authorization.receipt_email,
        statement_suffix=sent.statement,
        locale=authorization.metadata.get(PAGE_LANGUAGE) if at_page else None,
        page_until=authorization.created_at + PAGE_LASTS if at_page else None,
        metadata=psp_record.of_session(authorization, sent.session),
    )


def description_of(sent: SentRequest) -> str:
    """What the PSP's own list and receipt call the payment."""
    return f"Charging at {sent.session.evse_id}, {format_id('ses', sent.session.id)}"
