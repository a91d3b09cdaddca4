"""Every way in which the API says no: one catalogue, rendered as problem details.

Owns the codes, their statuses and their remedies. Must not know which handler raises which. The catalogue is
served at /problems/{code} and listed in the OpenAPI document, so an entry is written for whoever met it.
Source: RFC 9457 (problem details for HTTP APIs).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

CONTENT_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """One kind of refusal. `transient`: the same request may succeed later, so its answer is never stored."""

    code: str
    status: int
    title: str
    remedy: str
    transient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing wrong with the input: where (JSON pointer, RFC 6901) and what was expected there."""

    pointer: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
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
        self.refusal = Refusal(
            kind=kind, detail=detail, errors=tuple(errors), extra=extra or {}, headers=headers or {}
        )


def document(refusal: Refusal, *, base_url: str, instance: str) -> dict[str, Any]:
    """The problem details of a refusal; `instance` is the request's id."""
    members: dict[str, Any] = {
        "type": f"{base_url}/problems/{refusal.kind.code}",
        "title": refusal.kind.title,
        "status": refusal.kind.status,
        "code": refusal.kind.code,
        "detail": refusal.detail,
        "instance": instance,
    }
    if refusal.errors:
        members["errors"] = [{"pointer": e.pointer, "expected": e.expected} for e in refusal.errors]
    return {**refusal.extra, **members}


def _kind(code: str, status: int, title: str, remedy: str, *, transient: bool = False) -> ProblemKind:
    return ProblemKind(code=code, status=status, title=title, remedy=remedy, transient=transient)


MALFORMED_JSON: Final = _kind(
    "malformed_json", 400, "The body is not JSON", "Send one JSON object in UTF-8 and check it with a parser."
)
INVALID_PARAMETERS: Final = _kind(
    "invalid_parameters",
    400,
    "The request has wrong or unknown fields",
    "Each entry of `errors` names a place by JSON pointer and what is expected there.",
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
    "The webhook's signature does not fit its body",
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
    "`decline_code` says why; ask the driver for another payment method and authorize again with a new key.",
)
ACCOUNT_LIMIT_EXCEEDED: Final = _kind(
    "account_limit_exceeded",
    402,
    "The partner account does not cover this hold",
    "Fund the account or lower the amount, then authorize again with a new key.",
)
MISSING_SCOPE: Final = _kind(
    "missing_scope", 403, "The API key lacks a scope", "Use a key with the scope that `detail` names."
)
NOT_FOUND: Final = _kind(
    "not_found",
    404,
    "No such object",
    "Check the id and that it belongs to the party of your API key; another party's object looks like none.",
)
EVSE_NOT_FOUND: Final = _kind(
    "evse_not_found",
    404,
    "No such EVSE",
    "Check the EVSE id; its operator has to publish the location over OCPI first.",
)
METHOD_NOT_ALLOWED: Final = _kind(
    "method_not_allowed", 405, "This path does not take that method", "The Allow header lists what it takes."
)
REQUEST_TIMEOUT: Final = _kind(
    "request_timeout",
    408,
    "The body did not arrive in time",
    "Send the request again over a better connection, with the same Idempotency-Key.",
    transient=True,
)
IDEMPOTENCY_IN_FLIGHT: Final = _kind(
    "idempotency_in_flight",
    409,
    "A request with this Idempotency-Key is still being worked on",
    "Wait as long as Retry-After says and send the same request again.",
    transient=True,
)
TARIFF_MISSING: Final = _kind(
    "tariff_missing",
    409,
    "The EVSE has no tariff in force",
    "Nothing can be captured that was not shown: its operator has to publish a tariff first.",
)
TARIFF_UNUSABLE: Final = _kind(
    "tariff_unusable",
    409,
    "The EVSE's tariff can't be priced",
    "`detail` says what is wrong with it; its operator has to correct it.",
)
SESSION_ALREADY_AUTHORIZED: Final = _kind(
    "session_already_authorized",
    409,
    "The session has an authorization",
    "Two rails can't both hold one session: release the authorization named here first.",
)
REFUND_EXCEEDS_CAPTURE: Final = _kind(
    "refund_exceeds_capture",
    422,
    "Less is left of the capture than the refund asks for",
    "Read the capture: its amount less what was refunded and disputed is what may be given back.",
)
STATE_CONFLICT: Final = _kind(
    "state_conflict",
    409,
    "The object's state does not allow this",
    "Read the object; `detail` says which state it is in and what it allows.",
)
ALREADY_EXISTS: Final = _kind(
    "already_exists",
    409,
    "An object with this id exists and differs",
    "Read the existing object, or choose another id.",
)
OUTCOME_PENDING: Final = _kind(
    "outcome_pending",
    409,
    "An earlier call for this object has no answer yet",
    "Wait for the webhook or read the object, then try again.",
    transient=True,
)
VERSION_CONFLICT: Final = _kind(
    "version_conflict",
    412,
    "The object has changed",
    "Read it again and repeat the request with its present ETag in If-Match, if the change is still wanted.",
)
BODY_TOO_LARGE: Final = _kind(
    "body_too_large", 413, "The body is too large", "`detail` gives the limit of this path in bytes."
)
UNSUPPORTED_MEDIA_TYPE: Final = _kind(
    "unsupported_media_type",
    415,
    "The body's media type is not taken",
    "Send Content-Type: application/json, or what the path's description names.",
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
    "`detail` names the place and what is expected there.",
)
BANK_MESSAGE_REFUSED: Final = _kind(
    "bank_message_refused",
    422,
    "The bank's message can't be worked in",
    "`detail` names the element; nothing was worked in. Mend and resend it, or ask the bank for it again.",
)
RATE_LIMITED: Final = _kind(
    "rate_limited",
    429,
    "Too many requests",
    "Wait as long as Retry-After says; RateLimit and RateLimit-Policy tell what is left.",
    transient=True,
)
INTERNAL_ERROR: Final = _kind(
    "internal_error",
    500,
    "Something broke on our side",
    "Send the same request again with the same Idempotency-Key; quote `instance` when you report it.",
    transient=True,
)
UNAVAILABLE: Final = _kind(
    "unavailable",
    503,
    "Not able to answer right now",
    "Send the same request again with the same Idempotency-Key after Retry-After.",
    transient=True,
)

CATALOG: Final[Mapping[str, ProblemKind]] = {
    kind.code: kind for kind in globals().copy().values() if isinstance(kind, ProblemKind)
}
