"""Rejection reasons: why a presented contract is rejected, one name per cause.

Owns the names. pnc.authorization maps them to OCPP's statuses. Must not know how they are detected.
"""

from dataclasses import dataclass
from enum import StrEnum


class RejectionReason(StrEnum):
    """Why a contract was rejected."""

    # What was presented
    NO_CERTIFICATE = "no_certificate"
    NOT_AN_EMAID_TOKEN = "not_an_emaid_token"  # noqa: S105 - a reason, not a secret
    MALFORMED_EMAID = "malformed_emaid"
    MALFORMED_BUNDLE = "malformed_bundle"
    MALFORMED_HASH_DATA = "malformed_hash_data"
    TOO_MANY_CERTIFICATES = "too_many_certificates"
    EMAID_MISMATCH = "emaid_mismatch"
    HASH_DATA_MISMATCH = "hash_data_mismatch"
    HASH_DATA_UNREGISTERED = "hash_data_unregistered"
    SESSION_OF_ANOTHER_CONTRACT = "session_of_another_contract"
    SESSION_ENDED = "session_ended"
    # One certificate against its profile
    WRONG_KEY = "wrong_key"
    WRONG_SIGNATURE_ALGORITHM = "wrong_signature_algorithm"
    NOT_A_LEAF = "not_a_leaf"
    NOT_AN_AUTHORITY = "not_an_authority"
    WRONG_KEY_USAGE = "wrong_key_usage"
    WRONG_EXTENDED_KEY_USAGE = "wrong_extended_key_usage"
    WRONG_DOMAIN_COMPONENT = "wrong_domain_component"
    WRONG_COMMON_NAME = "wrong_common_name"
    UNSUPPORTED_EXTENSION = "unsupported_extension"
    # The path
    UNTRUSTED_ROOT = "untrusted_root"
    BAD_SIGNATURE = "bad_signature"
    KEY_IDENTIFIER_MISMATCH = "key_identifier_mismatch"
    AUTHORITY_NOT_ALLOWED = "authority_not_allowed"
    PATH_LENGTH_EXCEEDED = "path_length_exceeded"
    MIXED_EDITIONS = "mixed_editions"
    PATH_TOO_COSTLY = "path_too_costly"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    # Revocation
    REVOKED = "revoked"
    CERTIFICATE_BLOCKED = "certificate_blocked"
    REVOCATION_UNKNOWN = "revocation_unknown"
    REVOCATION_STALE = "revocation_stale"
    REVOCATION_UNREACHABLE = "revocation_unreachable"
    REVOCATION_UNVERIFIED = "revocation_unverified"
    # The contract
    CONTRACT_UNKNOWN = "contract_unknown"
    CONTRACT_BLOCKED = "contract_blocked"
    CONTRACT_CANCELLED = "contract_cancelled"
    CONTRACT_NOT_IN_FORCE = "contract_not_in_force"
    TOO_MANY_SESSIONS_AT_ONCE = "too_many_sessions_at_once"
    TOO_MANY_SESSIONS_TODAY = "too_many_sessions_today"
    OFFLINE_LIMIT_EXCEEDED = "offline_limit_exceeded"
    TOO_MUCH_TODAY = "too_much_today"
    PAYMENT_METHOD_GONE = "payment_method_gone"
    PAYMENT_NOT_SECURED = "payment_not_secured"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractRejection:
    """A reason, and a sentence for the station's operator on what exactly was wrong.

    `cause` is for this system's own operator and is never published: why a source did not respond can reveal
    addresses and networks.
    """

    rejection_reason: RejectionReason
    detail: str
    cause: str = ""
