"""A contract as a token: which token it is, and what it allows when a CPO asks.

Owns: these rules, and reading the contract. Must not know: HTTP, certificates (the station checked them), how
a payment is secured, how a token is sent.
Source: OCPI mod_tokens, TokenType EMAID, AllowedType; decision 0826.
"""

from datetime import datetime
from typing import Final

from gateway.database import Connection
from gateway.ocpi.real_time_authorization import AllowedType, TokenAuthorizationResult
from gateway.ocpi.repository.peers import PeerRole
from gateway.ocpi.repository.tokens import TokenRecord
from gateway.ocpi.token_types import EMAID
from pnc import contract_administration
from pnc.contract import Contract, ContractState, contract_rejection
from pnc.errors import ConflictingRecordError, UnfitContractError, UnknownRecordError
from pnc.rejection_reasons import RejectionReason

_BLOCKED: Final = frozenset(
    {RejectionReason.CONTRACT_BLOCKED, RejectionReason.CONTRACT_CANCELLED, RejectionReason.CONTRACT_UNKNOWN}
)


def token_of_contract(contract: Contract, *, role: PeerRole, now: datetime) -> TokenRecord:
    """The token that a contract is. It is valid while the contract may pay, or will from a later day on."""
    ended = contract.valid_until is not None and contract.valid_until <= now
    return TokenRecord(
        uid=contract.emaid,
        type=EMAID,
        country_code=role.country_code,
        party_code=role.party_code,
        contract_id=contract.emaid,
        visual_number=None,
        issuer=role.name,
        group_id=None,
        valid=contract.state is ContractState.ACTIVE and contract.payment_usable and not ended,
        whitelist="NEVER",
        language=None,
        demand_partner_id=contract.party,
        payment={},  # the contract has it
        last_updated=now,
    )


def rejection_of(contract: Contract, *, now: datetime) -> TokenAuthorizationResult | None:
    """Why a contract may not charge at `now`, as OCPI says it; None: it may.

    A contract with a limit of its sessions, or of their amount a day, is authorized at the vehicle's own
    request only: there they are counted.
    """
    rejection = contract_rejection(contract, now)
    if rejection is None:
        if not contract.limits_sessions and contract.amount_per_day_minor is None:
            return None
        info = "This contract is authorized by the vehicle's certificate only."
        return TokenAuthorizationResult(allowed=AllowedType.NOT_ALLOWED, info=info)
    if rejection.rejection_reason in _BLOCKED:
        return TokenAuthorizationResult(allowed=AllowedType.BLOCKED)
    if rejection.rejection_reason is RejectionReason.PAYMENT_METHOD_GONE:
        return TokenAuthorizationResult(allowed=AllowedType.NO_CREDIT)
    ended = contract.valid_until is not None and contract.valid_until <= now
    return TokenAuthorizationResult(allowed=AllowedType.EXPIRED if ended else AllowedType.NOT_ALLOWED)


async def load_contract(connection: Connection, *, environment: str, emaid: str) -> Contract | None:
    """The contract of an eMAID token, or None."""
    try:
        return await contract_administration.load_contract(connection, environment=environment, emaid=emaid)
    except (UnknownRecordError, UnfitContractError, ConflictingRecordError):
        return None
