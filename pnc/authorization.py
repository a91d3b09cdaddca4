"""Authorization: what a request presents, what the station is answered, and the states of one decision.

Owns the status table, the reading of requests, and the decision's states. Must not know certificates'
insides, storage, or how a payment is secured.
Source: OCPP 2.0.1 and 2.1 part 2, use case C07, AuthorizeCertificateStatusEnumType,
AuthorizationStatusEnumType.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from pnc.emaid import Emaid, parse_emaid
from pnc.errors import MalformedEmaidError, MalformedHashDataError, PncInvariantViolation
from pnc.hash_data import HashEntry, read_entry
from pnc.rejection_reasons import ContractRejection, RejectionReason

SHARD_COUNT: Final = 64
_EMAID_TYPE: Final = "eMAID"


class CertificateStatus(StrEnum):
    """AuthorizeCertificateStatusEnumType, as far as this system answers it."""

    ACCEPTED = "Accepted"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_REVOKED = "CertificateRevoked"
    NO_CERTIFICATE_AVAILABLE = "NoCertificateAvailable"
    CERT_CHAIN_ERROR = "CertChainError"
    CONTRACT_CANCELLED = "ContractCancelled"


class IdTokenStatus(StrEnum):
    """AuthorizationStatusEnumType, as far as this system answers it."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    CONCURRENT_TX = "ConcurrentTx"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    UNKNOWN = "Unknown"


class OfflineReason(StrEnum):
    """Why a session began before this system was asked."""

    STATION_OFFLINE = "station_offline"
    SYSTEM_UNREACHABLE = "system_unreachable"
    LOCAL_LIST = "local_list"
    AUTHORIZATION_CACHE = "authorization_cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineStart:
    """A session that began before this system was asked, with its energy so far in Wh; the time is aware."""

    started_at: datetime
    energy_wh: int
    reason: OfflineReason


FINDING_ACCEPTED: Final = "accepted"
StatusPair = tuple[CertificateStatus, IdTokenStatus]
ACCEPTED: Final[StatusPair] = (CertificateStatus.ACCEPTED, IdTokenStatus.ACCEPTED)
_UNVERIFIABLE: Final[StatusPair] = (CertificateStatus.CERT_CHAIN_ERROR, IdTokenStatus.INVALID)
_EXCEPTIONS: Final[Mapping[RejectionReason, StatusPair]] = {
    RejectionReason.NO_CERTIFICATE: (CertificateStatus.NO_CERTIFICATE_AVAILABLE, IdTokenStatus.INVALID),
    RejectionReason.EXPIRED: (CertificateStatus.CERTIFICATE_EXPIRED, IdTokenStatus.EXPIRED),
    RejectionReason.NOT_YET_VALID: (CertificateStatus.CERTIFICATE_EXPIRED, IdTokenStatus.EXPIRED),
    RejectionReason.REVOKED: (CertificateStatus.CERTIFICATE_REVOKED, IdTokenStatus.INVALID),
    RejectionReason.CERTIFICATE_BLOCKED: (CertificateStatus.CERTIFICATE_REVOKED, IdTokenStatus.INVALID),
    RejectionReason.CONTRACT_BLOCKED: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
    RejectionReason.CONTRACT_CANCELLED: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.INVALID),
    RejectionReason.CONTRACT_NOT_IN_FORCE: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.INVALID),
    RejectionReason.CONTRACT_UNKNOWN: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.UNKNOWN),
    RejectionReason.TOO_MANY_SESSIONS_AT_ONCE: (
        CertificateStatus.CONTRACT_CANCELLED,
        IdTokenStatus.CONCURRENT_TX,
    ),
    RejectionReason.TOO_MANY_SESSIONS_TODAY: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
    RejectionReason.OFFLINE_LIMIT_EXCEEDED: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
    RejectionReason.TOO_MUCH_TODAY: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
    RejectionReason.PAYMENT_METHOD_GONE: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
    RejectionReason.PAYMENT_NOT_SECURED: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
}


def statuses_of(rejection_reason: RejectionReason | None) -> StatusPair:
    """Return (certificateStatus, idTokenInfo.status) for a reason; None is a paid contract."""
    if rejection_reason is None:
        return ACCEPTED
    return _EXCEPTIONS.get(rejection_reason, _UNVERIFIABLE)


class AuthorizationDecisionState(StrEnum):
    """The states of one decision."""

    REJECTED = "rejected"
    AWAITING_PAYMENT = "awaiting_payment"
    ACCEPTED = "accepted"
    PAYMENT_REJECTED = "payment_rejected"
    CLOSED = "closed"


class AuthorizationDecisionEvent(StrEnum):
    """What moves a decision."""

    PAYMENT_SECURED = "payment_secured"
    PAYMENT_DECLINED = "payment_declined"
    SESSION_ENDED = "session_ended"


TRANSITIONS: Final[
    Mapping[tuple[AuthorizationDecisionState, AuthorizationDecisionEvent], AuthorizationDecisionState]
] = {
    (
        AuthorizationDecisionState.AWAITING_PAYMENT,
        AuthorizationDecisionEvent.PAYMENT_SECURED,
    ): AuthorizationDecisionState.ACCEPTED,
    (
        AuthorizationDecisionState.AWAITING_PAYMENT,
        AuthorizationDecisionEvent.PAYMENT_DECLINED,
    ): AuthorizationDecisionState.PAYMENT_REJECTED,
    (
        AuthorizationDecisionState.AWAITING_PAYMENT,
        AuthorizationDecisionEvent.SESSION_ENDED,
    ): AuthorizationDecisionState.CLOSED,
    (
        AuthorizationDecisionState.ACCEPTED,
        AuthorizationDecisionEvent.SESSION_ENDED,
    ): AuthorizationDecisionState.CLOSED,
}
# A session has at most one decision in one of these states.
OPEN_STATES: Final = frozenset(
    {AuthorizationDecisionState.AWAITING_PAYMENT, AuthorizationDecisionState.ACCEPTED}
)


def advance(
    state: AuthorizationDecisionState, event: AuthorizationDecisionEvent
) -> AuthorizationDecisionState:
    """Return the state after `event`.

    Raises PncInvariantViolation for a transition that the table does not have.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise PncInvariantViolation(
            f"a decision that is {state.value} does not allow {event.value}"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedContract:
    """What one AuthorizeRequest presents. `digest` names its proof (certificate and hash data), if any."""

    emaid: Emaid
    bundle: str | None
    entries: tuple[HashEntry, ...]
    digest: bytes | None


def read_request(
    request: Mapping[str, object], *, strict_check_digit: bool = False
) -> PresentedContract | ContractRejection:
    """Read an AuthorizeRequest that passed its schema.

    Returns what it presents, or the rejection: another token type, no eMAID, or malformed hash data.
    """
    token = request["idToken"]
    if not isinstance(token, Mapping) or token["type"] != _EMAID_TYPE:
        return _reject(RejectionReason.NOT_AN_EMAID_TOKEN, "idToken.type is not eMAID")
    try:
        emaid = parse_emaid(str(token["idToken"]), strict=strict_check_digit)
    except MalformedEmaidError as problem:
        return _reject(RejectionReason.MALFORMED_EMAID, f"idToken.idToken: {problem}")
    certificate = request.get("certificate")
    bundle = certificate if isinstance(certificate, str) else None
    raw = request.get("iso15118CertificateHashData")
    listed = [item for item in raw if isinstance(item, Mapping)] if isinstance(raw, list) else []
    try:
        entries = tuple(read_entry(item) for item in listed)
    except MalformedHashDataError as problem:
        return _reject(RejectionReason.MALFORMED_HASH_DATA, f"iso15118CertificateHashData: {problem}")
    digest = None if bundle is None and not entries else _digest(bundle, entries)
    return PresentedContract(emaid=emaid, bundle=bundle, entries=entries, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationDecision:
    """One decision about one call, as recorded.

    `rejection_reason` is None for a good contract. `detail` says what was wrong, `notes` what a soft
    revocation policy let pass. `digest` names the presented proof. `authorization_id` is the payment's, once
    secured; `transaction_id`, `station_id` and `connector_id` the station's own, once named. `evse_ids` are
    the station's EVSEs while it has not named the session's. `offline_since` and `offline_reason` are of a
    session that began before.
    """

    shard: int
    id: UUID
    environment: str
    operator_id: str
    session_ref: str
    evse_id: str
    ocpp_version: str
    emaid: str | None
    digest: bytes | None
    leaf_sha256: bytes | None
    contract_id: UUID | None
    state: AuthorizationDecisionState
    rejection_reason: RejectionReason | None
    detail: str
    notes: str
    trust_version: int
    authorization_id: str | None
    decided_at: datetime
    concluded_at: datetime | None = None
    transaction_id: str | None = None
    station_id: str | None = None
    connector_id: str | None = None
    evse_ids: tuple[str, ...] = ()
    offline_since: datetime | None = None
    offline_reason: OfflineReason | None = None

    @property
    def payment_needed(self) -> bool:
        """Whether the contract is good and its payment has still to be secured, then concluded."""
        return self.state is AuthorizationDecisionState.AWAITING_PAYMENT

    @property
    def accepted(self) -> bool:
        """Whether the station may charge: contract good, payment secured."""
        return self.state is AuthorizationDecisionState.ACCEPTED

    @property
    def statuses(self) -> StatusPair:
        """What the station is answered. Only an accepted decision is answered as accepted.

        Raises PncInvariantViolation while the payment is not decided: no status says that.
        """
        if self.accepted:
            return ACCEPTED
        if self.rejection_reason is None:
            raise PncInvariantViolation(f"a decision that is {self.state.value} has no status to answer")
        return statuses_of(self.rejection_reason)

    @property
    def finding(self) -> str:
        """Why, as one code: `accepted`, or the rejection reason. Raises as `statuses`."""
        return FINDING_ACCEPTED if self.statuses == ACCEPTED else str(self.rejection_reason)

    @property
    def certificate_status(self) -> CertificateStatus:
        """AuthorizeResponse.certificateStatus."""
        return self.statuses[0]

    @property
    def id_token_status(self) -> IdTokenStatus:
        """AuthorizeResponse.idTokenInfo.status."""
        return self.statuses[1]


class Step(StrEnum):
    """What follows from a request about a session with an earlier decision."""

    EVALUATE = "evaluate"
    REPEAT = "repeat"


def next_step(
    prior: AuthorizationDecision | None, presented: PresentedContract, *, now: datetime, repeat_for: timedelta
) -> Step | ContractRejection:
    """Decide whether a request is answered from its session's earlier decision, evaluated, or rejected.

    A station sends two requests, the second often without a certificate: that one is answered from the first
    decision. While a decision is open, another contract is rejected for its session. A different proof of the
    same contract is evaluated (and, when good, gets the same authorization). A session that has ended stays
    ended.
    """
    if prior is None:
        return Step.EVALUATE if presented.digest is not None else _NO_PROOF
    if prior.state is AuthorizationDecisionState.CLOSED:
        return _reject(RejectionReason.SESSION_ENDED, "the session this call names has ended")
    same_contract = prior.emaid == presented.emaid.body
    if prior.state in OPEN_STATES and not same_contract:
        return _reject(RejectionReason.SESSION_OF_ANOTHER_CONTRACT, "the session belongs to another contract")
    if presented.digest is None:
        repeatable = same_contract and now <= prior.decided_at + repeat_for
        return Step.REPEAT if repeatable else _NO_PROOF
    if prior.state in OPEN_STATES and presented.digest == prior.digest:
        return Step.REPEAT
    return Step.EVALUATE


def shard_of(*, environment: str, operator_id: str, session_ref: str) -> int:
    """Return the shard, 0 to 63, of an operator's session: the same for every call about it."""
    joined = f"{environment}\x00{operator_id}\x00{session_ref}"
    return hashlib.sha256(joined.encode()).digest()[-1] % SHARD_COUNT


def _digest(bundle: str | None, entries: tuple[HashEntry, ...]) -> bytes:
    """Name what was presented: white space of the PEM and letter case of the hashes don't matter."""
    parts = ["".join((bundle or "").split())]
    for entry in entries:
        name = entry.certificate
        parts.append(
            f"{name.algorithm.value}:{name.issuer_name_hash.hex()}:{name.issuer_key_hash.hex()}:{name.serial:x}"
        )
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).digest()


_NO_PROOF: Final = ContractRejection(
    rejection_reason=RejectionReason.NO_CERTIFICATE,
    detail="the request has neither a certificate nor hash data, and the session has no decision to repeat",
)


def _reject(rejection_reason: RejectionReason, detail: str) -> ContractRejection:
    return ContractRejection(rejection_reason=rejection_reason, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingRecord:
    """A session of a contract: its payment authorization, or what is reserved while there is none."""

    decision_id: UUID
    authorization_id: str | None
    reserved_minor: int | None
    reserved_currency: str | None
