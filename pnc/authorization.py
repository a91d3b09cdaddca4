"""Authorization: from findings to what the station is told, and the life of one decision.

Owns the status table, what a request presents, the contract's standing, and the decision's states. Must not
know certificates' insides, storage, or how a payment is secured.
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
from pnc.errors import InvariantViolation, MalformedEmaidError, MalformedHashDataError
from pnc.findings import Finding, Refusal
from pnc.hash_data import HashEntry, read_entry

LANES: Final = 64
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
    EXPIRED = "Expired"
    INVALID = "Invalid"
    UNKNOWN = "Unknown"


StatusPair = tuple[CertificateStatus, IdTokenStatus]
ACCEPTED: Final[StatusPair] = (CertificateStatus.ACCEPTED, IdTokenStatus.ACCEPTED)
_UNVERIFIABLE: Final[StatusPair] = (CertificateStatus.CERT_CHAIN_ERROR, IdTokenStatus.INVALID)
_EXCEPTIONS: Final[Mapping[Finding, StatusPair]] = {
    Finding.NO_CERTIFICATE: (CertificateStatus.NO_CERTIFICATE_AVAILABLE, IdTokenStatus.INVALID),
    Finding.EXPIRED: (CertificateStatus.CERTIFICATE_EXPIRED, IdTokenStatus.EXPIRED),
    Finding.NOT_YET_VALID: (CertificateStatus.CERTIFICATE_EXPIRED, IdTokenStatus.EXPIRED),
    Finding.REVOKED: (CertificateStatus.CERTIFICATE_REVOKED, IdTokenStatus.INVALID),
    Finding.WITHDRAWN: (CertificateStatus.CERTIFICATE_REVOKED, IdTokenStatus.INVALID),
    Finding.CONTRACT_BLOCKED: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
    Finding.CONTRACT_CANCELLED: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.INVALID),
    Finding.CONTRACT_NOT_IN_FORCE: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.INVALID),
    Finding.CONTRACT_UNKNOWN: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.UNKNOWN),
    Finding.PAYMENT_METHOD_GONE: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
    Finding.PAYMENT_NOT_SECURED: (CertificateStatus.CONTRACT_CANCELLED, IdTokenStatus.BLOCKED),
}


def statuses_of(finding: Finding | None) -> StatusPair:
    """Return (certificateStatus, idTokenInfo.status) for a finding; None is a paid contract."""
    if finding is None:
        return ACCEPTED
    return _EXCEPTIONS.get(finding, _UNVERIFIABLE)


class DecisionState(StrEnum):
    """The life of one decision."""

    REFUSED = "refused"
    AWAITING_PAYMENT = "awaiting_payment"
    ACCEPTED = "accepted"
    PAYMENT_REFUSED = "payment_refused"
    CLOSED = "closed"


class DecisionEvent(StrEnum):
    """What moves a decision."""

    PAYMENT_SECURED = "payment_secured"
    PAYMENT_DECLINED = "payment_declined"
    SESSION_ENDED = "session_ended"


TRANSITIONS: Final[Mapping[tuple[DecisionState, DecisionEvent], DecisionState]] = {
    (DecisionState.AWAITING_PAYMENT, DecisionEvent.PAYMENT_SECURED): DecisionState.ACCEPTED,
    (DecisionState.AWAITING_PAYMENT, DecisionEvent.PAYMENT_DECLINED): DecisionState.PAYMENT_REFUSED,
    (DecisionState.AWAITING_PAYMENT, DecisionEvent.SESSION_ENDED): DecisionState.CLOSED,
    (DecisionState.ACCEPTED, DecisionEvent.SESSION_ENDED): DecisionState.CLOSED,
}
# While a decision is in one of these, the session has it and no other.
OPEN_STATES: Final = frozenset({DecisionState.AWAITING_PAYMENT, DecisionState.ACCEPTED})


def advance(state: DecisionState, event: DecisionEvent) -> DecisionState:
    """Return the state after `event`. Raises InvariantViolation for a move the table does not have."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvariantViolation(f"a decision that is {state.value} can't take {event.value}") from None


class ContractState(StrEnum):
    """Whether a contract may charge."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


class PaymentKind(StrEnum):
    """How a contract pays: a mandate at the PSP, or the funded account of its eMSP or demand partner."""

    PSP_MANDATE = "psp_mandate"
    PARTNER_ACCOUNT = "partner_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One contract: its eMAID, whose driver it is, what pays, and its limits.

    `payment_reference` is opaque to this room and never leaves this system; `contract_id` is the pseudonym
    that events to other parties carry instead of it. `limit_minor` caps one session in minor units of
    `currency`.
    """

    contract_id: UUID
    environment: str
    emaid: str
    party: str
    payment_kind: PaymentKind
    payment_reference: str
    state: ContractState
    payment_usable: bool
    valid_from: datetime
    valid_until: datetime | None
    limit_minor: int | None
    currency: str | None
    revision: int = 1


def contract_refusal(contract: Contract | None, now: datetime) -> Refusal | None:
    """Return what keeps a contract from paying at `now`, or None."""
    if contract is None:
        return _refuse(Finding.CONTRACT_UNKNOWN, "no contract is registered under this eMAID")
    match contract.state:
        case ContractState.BLOCKED:
            return _refuse(Finding.CONTRACT_BLOCKED, "the contract is blocked")
        case ContractState.CANCELLED:
            return _refuse(Finding.CONTRACT_CANCELLED, "the contract is cancelled")
        case ContractState.ACTIVE:
            pass
    if now < contract.valid_from or (contract.valid_until is not None and now >= contract.valid_until):
        return _refuse(Finding.CONTRACT_NOT_IN_FORCE, "the contract is not in force now")
    if not contract.payment_usable:
        return _refuse(Finding.PAYMENT_METHOD_GONE, "the contract's means of payment is gone")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What one AuthorizeRequest presents. `digest` names its proof (certificate and hash data), if any."""

    emaid: Emaid
    bundle: str | None
    entries: tuple[HashEntry, ...]
    digest: bytes | None


def read_request(request: Mapping[str, object], *, strict_check_digit: bool = False) -> Presented | Refusal:
    """Read an AuthorizeRequest that passed its schema.

    Returns what it presents, or the refusal: another token type, no eMAID, or malformed hash data.
    """
    token = request["idToken"]
    if not isinstance(token, Mapping) or token["type"] != _EMAID_TYPE:
        return _refuse(Finding.NOT_AN_EMAID_TOKEN, "idToken.type is not eMAID")
    try:
        emaid = parse_emaid(str(token["idToken"]), strict=strict_check_digit)
    except MalformedEmaidError as problem:
        return _refuse(Finding.MALFORMED_EMAID, f"idToken.idToken: {problem}")
    certificate = request.get("certificate")
    bundle = certificate if isinstance(certificate, str) else None
    raw = request.get("iso15118CertificateHashData")
    listed = [item for item in raw if isinstance(item, Mapping)] if isinstance(raw, list) else []
    try:
        entries = tuple(read_entry(item) for item in listed)
    except MalformedHashDataError as problem:
        return _refuse(Finding.MALFORMED_HASH_DATA, f"iso15118CertificateHashData: {problem}")
    digest = None if bundle is None and not entries else _digest(bundle, entries)
    return Presented(emaid=emaid, bundle=bundle, entries=entries, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision about one call, as recorded.

    `finding` is None when nothing stands against the contract. `detail` says what was seen, `notes` what a
    soft revocation policy let pass. `digest` names the presented proof. `authorization_id` is the payment's,
    once secured.
    """

    lane: int
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
    state: DecisionState
    finding: Finding | None
    detail: str
    notes: str
    trust_version: int
    authorization_id: str | None
    decided_at: datetime
    concluded_at: datetime | None = None

    @property
    def payment_needed(self) -> bool:
        """Whether the contract is good and its payment has still to be secured, then concluded."""
        return self.state is DecisionState.AWAITING_PAYMENT

    @property
    def accepted(self) -> bool:
        """Whether the station may charge: contract good, payment secured."""
        return self.state is DecisionState.ACCEPTED

    @property
    def statuses(self) -> StatusPair:
        """What the station is told. Nothing but an accepted decision is told as accepted."""
        if self.accepted:
            return ACCEPTED
        return statuses_of(self.finding or Finding.PAYMENT_NOT_SECURED)

    @property
    def certificate_status(self) -> CertificateStatus:
        """AuthorizeResponse.certificateStatus."""
        return self.statuses[0]

    @property
    def id_token_status(self) -> IdTokenStatus:
        """AuthorizeResponse.idTokenInfo.status."""
        return self.statuses[1]


class Step(StrEnum):
    """What a call about a session with an earlier decision leads to."""

    EVALUATE = "evaluate"
    REPEAT = "repeat"


def next_step(
    prior: Decision | None, presented: Presented, *, now: datetime, repeat_for: timedelta
) -> Step | Refusal:
    """Decide whether a call is answered from its session's earlier decision, judged anew, or refused.

    A station asks twice, the second time often without a certificate: that is answered from the first
    decision, never afresh. An open decision holds its session: another contract is refused. A different
    proof of the same contract is judged anew (and, when good, gets the same authorization). A session that
    ended stays ended.
    """
    if prior is None:
        return Step.EVALUATE if presented.digest is not None else _NO_PROOF
    if prior.state is DecisionState.CLOSED:
        return _refuse(Finding.SESSION_ENDED, "the session this call names has ended")
    same_contract = prior.emaid == presented.emaid.body
    if prior.state in OPEN_STATES and not same_contract:
        return _refuse(Finding.SESSION_OF_ANOTHER_CONTRACT, "the session belongs to another contract")
    if presented.digest is None:
        repeatable = same_contract and now <= prior.decided_at + repeat_for
        return Step.REPEAT if repeatable else _NO_PROOF
    if prior.state in OPEN_STATES and presented.digest == prior.digest:
        return Step.REPEAT
    return Step.EVALUATE


def lane_of(*, environment: str, operator_id: str, session_ref: str) -> int:
    """Return the lane, 0 to 63, of an operator's session: the same for every call about it."""
    joined = f"{environment}\x00{operator_id}\x00{session_ref}"
    return hashlib.sha256(joined.encode()).digest()[-1] % LANES


def _digest(bundle: str | None, entries: tuple[HashEntry, ...]) -> bytes:
    """Name what was presented: white space of the PEM and letter case of the hashes don't matter."""
    parts = ["".join((bundle or "").split())]
    for entry in entries:
        name = entry.certificate
        parts.append(
            f"{name.algorithm.value}:{name.issuer_name_hash.hex()}:{name.issuer_key_hash.hex()}:{name.serial:x}"
        )
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).digest()


_NO_PROOF: Final = Refusal(
    finding=Finding.NO_CERTIFICATE,
    detail="neither a certificate nor certificate hash data came, and the session has no decision to repeat",
)


def _refuse(finding: Finding, detail: str) -> Refusal:
    return Refusal(finding=finding, detail=detail)
