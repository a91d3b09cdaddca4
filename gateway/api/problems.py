"""The API's problems: one catalogue, rendered as problem details.

Owns the codes, their statuses and their remedies. Must not know which handler raises which. The catalogue is
served at /problems/{code} and listed in the OpenAPI document: each entry is written for its reader.
Source: RFC 9457 (problem details for HTTP APIs).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway import tracing

CONTENT_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """One kind of rejection.

    `transient`: the same request may succeed later, so its answer is never stored. `frees_key`: nothing came
    of the request, so that its key may carry a corrected one.
    """

    code: str
    status: int
    title: str
    remedy: str
    transient: bool = False
    frees_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing wrong with the input: where (JSON pointer, RFC 6901) and what was expected there."""

    pointer: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemDetails:
    """A problem about to be answered. `extra` holds members of its own; `headers` go with the answer."""

    kind: ProblemKind
    detail: str
    errors: Sequence[FieldError] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class ProblemError(Exception):
    """Raised by the edge to answer with a problem."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{kind.code}: {detail}")
        self.rejection = ProblemDetails(
            kind=kind, detail=detail, errors=tuple(errors), extra=extra or {}, headers=headers or {}
        )


def document(rejection: ProblemDetails, *, base_url: str, instance: str) -> dict[str, Any]:
    """The problem details of a rejection; `instance` is the request's id."""
    members: dict[str, Any] = {
        "type": f"{base_url}/problems/{rejection.kind.code}",
        "title": rejection.kind.title,
        "status": rejection.kind.status,
        "code": rejection.kind.code,
        "detail": rejection.detail,
        "instance": instance,
    }
    trace_id = tracing.trace_id()
    if trace_id is not None:
        members["trace_id"] = trace_id
    if rejection.errors:
        members["errors"] = [{"pointer": e.pointer, "expected": e.expected} for e in rejection.errors]
    return {**rejection.extra, **members}


def _kind(
    code: str, status: int, title: str, remedy: str, *, transient: bool = False, frees_key: bool = False
) -> ProblemKind:
    return ProblemKind(
        code=code, status=status, title=title, remedy=remedy, transient=transient, frees_key=frees_key
    )


MALFORMED_JSON: Final = _kind(
    "malformed_json", 400, "The body is not JSON", "Send one JSON object in UTF-8 and check it with a parser."
)
INVALID_PARAMETERS: Final = _kind(
    "invalid_parameters",
    400,
    "The request has invalid or unknown fields",
    "Each entry of `errors` names a field by JSON pointer and what is expected there.",
)
UNKNOWN_API_VERSION: Final = _kind(
    "unknown_api_version",
    400,
    "There is no such version of the API",
    "`known_versions` lists those that there are. Send one of them as `Networkcore-Version`, or leave the "
    "header out: then the version that is pinned on your key holds.",
)
CARD_NUMBER_REJECTED: Final = _kind(
    "card_number_rejected",
    422,
    "The request holds a card number",
    "Never send card numbers: the driver gives them to the PSP, and you send its token. Nothing was stored. "
    "If a reference of yours looks like a card number, write letters between its digits.",
)
IDEMPOTENCY_KEY_MISSING: Final = _kind(
    "idempotency_key_missing",
    400,
    "An Idempotency-Key header is required",
    "Send a fresh random value, such as a UUID, and repeat the same value when you retry the same request.",
)
IDEMPOTENCY_KEY_INVALID: Final = _kind(
    "idempotency_key_invalid",
    400,
    "The Idempotency-Key header is not usable",
    "Use 1 to 255 printable ASCII characters.",
)
SIGNATURE_INVALID: Final = _kind(
    "signature_invalid",
    400,
    "The webhook's signature does not match its body",
    "Check the signing secret and the sender's clock.",
)
UNAUTHENTICATED: Final = _kind(
    "unauthenticated",
    401,
    "No valid API key",
    "Send `Authorization: Bearer nck_...` with a key that was not revoked and has not expired.",
)
CARD_DECLINED: Final = _kind(
    "card_declined",
    402,
    "The payment method was declined",
    "`decline_code` gives the reason and `advice` what helps: another try later, authentication with the "
    "driver there, a lower amount, corrected card details, or another payment method. Authorize again with a "
    "new key.",
)
ACCOUNT_LIMIT_EXCEEDED: Final = _kind(
    "account_limit_exceeded",
    402,
    "The partner account does not cover this hold",
    "Fund the account or lower the amount, then authorize again with a new key.",
)
MISSING_SCOPE: Final = _kind(
    "missing_scope", 403, "The API key lacks a scope", "Use a key with a scope that `detail` names."
)
NOT_FOUND: Final = _kind(
    "not_found",
    404,
    "No such object",
    "Check the id, and that the object is your party's. A request for another party's object returns 404.",
)
EVSE_NOT_FOUND: Final = _kind(
    "evse_not_found",
    404,
    "No such EVSE",
    "Check the EVSE id; its operator has to publish the location over OCPI first.",
)
METHOD_NOT_ALLOWED: Final = _kind(
    "method_not_allowed",
    405,
    "The path does not support this method",
    "The Allow header lists the methods that it supports.",
)
REQUEST_TIMEOUT: Final = _kind(
    "request_timeout",
    408,
    "The body did not arrive in time",
    "Send the request again with the same Idempotency-Key.",
    transient=True,
)
IDEMPOTENCY_IN_FLIGHT: Final = _kind(
    "idempotency_in_flight",
    409,
    "A request with this Idempotency-Key is still running",
    "Send the same request again after the seconds in Retry-After.",
    transient=True,
)
TARIFF_MISSING: Final = _kind(
    "tariff_missing",
    409,
    "The EVSE has no tariff in force",
    "A session is captured only at a published tariff: the operator has to publish one first.",
)
TARIFF_UNUSABLE: Final = _kind(
    "tariff_unusable",
    409,
    "The EVSE's tariff can't be priced",
    "`detail` names the fault; the operator has to correct it.",
)
SESSION_ALREADY_AUTHORIZED: Final = _kind(
    "session_already_authorized",
    409,
    "The session already has an authorization",
    "A session can have only one active authorization. Release the one named here first.",
)
PAYMENT_METHOD_INVALID: Final = _kind(
    "payment_method_invalid",
    422,
    "The PSP does not take this payment method, customer or amount",
    "`errors` names the field. Correct it and send the request again, with the same Idempotency-Key or a new "
    "one.",
    frees_key=True,
)
PSP_CONFIGURATION: Final = _kind(
    "psp_configuration",
    503,
    "Payments are out of order on our side",
    "Nothing is wrong with your request or the driver's payment method. The operator has been informed; send "
    "the request again after Retry-After.",
    transient=True,
    frees_key=True,
)
REFUND_EXCEEDS_CAPTURE: Final = _kind(
    "refund_exceeds_capture",
    422,
    "The refund exceeds what is left of the capture",
    "Read the capture: at most `amount` minus `refunded` minus `disputed` can be refunded.",
)
STATE_CONFLICT: Final = _kind(
    "state_conflict",
    409,
    "The object's state does not allow this",
    "Read the object; `detail` names its state and what that state allows.",
)
ALREADY_EXISTS: Final = _kind(
    "already_exists",
    409,
    "Another object has this id",
    "Read the existing object, or choose another id.",
)
OUTCOME_PENDING: Final = _kind(
    "outcome_pending",
    409,
    "An earlier request for this object has no outcome yet",
    "Wait for the webhook or read the object, then retry.",
    transient=True,
)
VERSION_CONFLICT: Final = _kind(
    "version_conflict",
    412,
    "The object has changed",
    "Read it again. If the change is still wanted, repeat the request with the current ETag in If-Match.",
)
BODY_TOO_LARGE: Final = _kind(
    "body_too_large", 413, "The body is too large", "`detail` gives the limit of this path in bytes."
)
UNSUPPORTED_MEDIA_TYPE: Final = _kind(
    "unsupported_media_type",
    415,
    "The media type of the body is not supported",
    "Send Content-Type: application/json, or the type that the operation's description names.",
)
IDEMPOTENCY_KEY_REUSED: Final = _kind(
    "idempotency_key_reused",
    422,
    "This Idempotency-Key was used for another request",
    "Use a new key for a new request; repeat a key only with the same method, path and body.",
)
CDR_INVALID: Final = _kind(
    "cdr_invalid",
    422,
    "The CDR can't be used for this session",
    "`detail` names the field and what is expected there.",
)
BANK_MESSAGE_REJECTED: Final = _kind(
    "bank_message_rejected",
    422,
    "The bank message can't be imported",
    "`detail` names the element; nothing was imported. Correct the message and resend it, or request it "
    "again from the bank.",
)
RATE_LIMITED: Final = _kind(
    "rate_limited",
    429,
    "Too many requests",
    "Wait for the seconds in Retry-After; RateLimit shows what is left of the quota in RateLimit-Policy.",
    transient=True,
)
INTERNAL_ERROR: Final = _kind(
    "internal_error",
    500,
    "Internal error",
    "Send the same request again with the same Idempotency-Key; quote `instance` when you report it.",
    transient=True,
)
UNAVAILABLE: Final = _kind(
    "unavailable",
    503,
    "The service is unavailable at the moment",
    "Send the same request again with the same Idempotency-Key after Retry-After.",
    transient=True,
)
PAYMENT_PENDING: Final = _kind(
    "payment_pending",
    503,
    "The payment is not decided yet",
    "Send the same request again after the seconds in Retry-After. Send the station nothing, or a "
    "CALLERROR: a status that rejects the contract would end its session.",
    transient=True,
)

CATALOG: Final[Mapping[str, ProblemKind]] = {
    kind.code: kind for kind in globals().copy().values() if isinstance(kind, ProblemKind)
}
