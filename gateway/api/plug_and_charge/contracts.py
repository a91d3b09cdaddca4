"""Contracts of Plug & Charge, each with what pays for it.

Owns: the wire form. Must not know certificates. An eMAID's certificate may be registered with its
contract; the means of payment is stored and never returned.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page
from gateway.api.field_types import (
    MAX_PAGE,
    CurrencyCode,
    CustomerToken,
    InstantIn,
    NonNegativeMinor,
    PaymentMethodToken,
    PositiveMinor,
    Slug,
)
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.plug_and_charge.contract_changes import contract_object
from gateway.plug_and_charge.contract_payment import payment_reference
from gateway.plug_and_charge.contract_service import ContractCaller, ContractService
from gateway.schemas.plug_and_charge import ContractSchema
from pnc.contract import ContractState, NewContract, PaymentKind, SuspicionPolicy
from pnc.service import PlugAndChargeService

_CREATED: Final = 201
Pem = Annotated[str, Field(min_length=64, max_length=32_768)]
EmaidText = Annotated[str, Field(min_length=14, max_length=20, examples=["NL-NCO-C12345678-X"])]
Environment = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]


class MandateBody(WireModel):
    """A stored mandate at the PSP, charged off session."""

    type: Literal["psp_payment_method"]
    payment_method: PaymentMethodToken
    customer: CustomerToken | None = None


class AccountBody(WireModel):
    """The funded account of the contract's party."""

    type: Literal["partner_account"]


class ContractBody(WireModel):
    """A contract: its party, its means of payment and its limit."""

    emaid: EmaidText
    party: Slug = Field(description="the demand partner or eMSP that brings the driver")
    payment: Annotated[MandateBody | AccountBody, Field(discriminator="type")]
    valid_from: InstantIn
    valid_to: InstantIn | None = None
    limit: PositiveMinor | None = Field(
        None, description="caps one session, minor units; a session in another currency has the same figure"
    )
    currency: CurrencyCode | None = Field(None, description="of the limits; the party's own unless given")
    sessions_at_once: int | None = Field(
        None, ge=1, le=1_000_000, description="how many sessions may run at once; 1 for a contract of one car"
    )
    sessions_per_day: int | None = Field(
        None, ge=1, le=1_000_000, description="how many sessions may begin in any 24 hours"
    )
    offline_limit: NonNegativeMinor | None = Field(
        None,
        description="the most that is paid for a session that began while its station was offline, minor "
        "units; 0: nothing; `limit` unless given",
    )
    amount_per_day: PositiveMinor | None = Field(
        None,
        description="caps what the sessions of one day may cost together, in minor units; the day is that of "
        "the party's time zone, and each currency has the same figure",
    )
    on_suspicion: Literal["report", "block"] = Field(
        "report", description="what ten stations at once lead to: an event, or a block as well"
    )
    certificate_chain: Pem | None = Field(
        None, description="PEM in any order, or PKCS #7; registers the certificate"
    )
    environment: Environment | None = None


class ContractReasonBody(WireModel):
    """Why the contract is changed; kept in its history."""

    reason: Reason = ""


class ContractsQuery(QueryModel):
    """Contracts in the order of their eMAIDs."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=20)] | None = None
    party: Slug | None = None


async def put_contract(call: ApiRequest) -> ApiResponse:
    """Store or update a contract; the same content again changes nothing."""
    body: ContractBody = call.body
    stored = await contracts_of(call).put(caller_of(call, body.environment), new_contract(body))
    return ApiResponse(body=contract_object(stored.contract, warning=stored.warning or None), status=_CREATED)


def new_contract(body: ContractBody) -> NewContract:
    """A body as a contract to be stored."""
    kind, reference = _payment(body)
    return NewContract(
        emaid=body.emaid,
        party=body.party,
        payment_kind=kind,
        payment_reference=reference,
        valid_from=body.valid_from,
        valid_until=body.valid_to,
        limit_minor=body.limit,
        currency=body.currency,
        sessions_at_once=body.sessions_at_once,
        sessions_per_day=body.sessions_per_day,
        offline_limit_minor=body.offline_limit,
        amount_per_day_minor=body.amount_per_day,
        on_suspicion=SuspicionPolicy(body.on_suspicion),
        bundle=body.certificate_chain,
    )


async def list_contracts(call: ApiRequest) -> ApiResponse:
    """Contracts of this environment, in the order of their eMAIDs."""
    query: ContractsQuery = call.query
    found = await contracts_of(call).list_contracts(
        caller_of(call), party=query.party, after=query.cursor or "", limit=query.limit + 1
    )
    shown = [contract_object(contract) for contract in found]
    return ApiResponse(body=page(shown, limit=query.limit, cursor=lambda contract: contract.emaid))


async def get_contract(call: ApiRequest) -> ApiResponse:
    """One contract of this environment."""
    contract = await contracts_of(call).find(caller_of(call), call.path["emaid"])
    return ApiResponse(body=contract_object(contract))


async def block(call: ApiRequest) -> ApiResponse:
    """Reject the contract's vehicle until it is unblocked; running sessions go on."""
    return await _set_state(call, ContractState.BLOCKED)


async def unblock(call: ApiRequest) -> ApiResponse:
    """End the block of a contract."""
    return await _set_state(call, ContractState.ACTIVE)


async def cancel(call: ApiRequest) -> ApiResponse:
    """End a contract for good."""
    return await _set_state(call, ContractState.CANCELLED)


async def disable_payment(call: ApiRequest) -> ApiResponse:
    """Reject every contract that pays with the same means, without asking the PSP."""
    return await _set_payment_usable(call, usable=False)


async def enable_payment(call: ApiRequest) -> ApiResponse:
    """Accept the contracts that pay with the same means again."""
    return await _set_payment_usable(call, usable=True)


async def _set_state(call: ApiRequest, state: ContractState) -> ApiResponse:
    contract = await contracts_of(call).set_state(
        caller_of(call), call.path["emaid"], state, reason=_reason(call)
    )
    return ApiResponse(body=contract_object(contract))


async def _set_payment_usable(call: ApiRequest, *, usable: bool) -> ApiResponse:
    contract = await contracts_of(call).set_payment_usable(
        caller_of(call), call.path["emaid"], usable=usable, reason=_reason(call)
    )
    return ApiResponse(body=contract_object(contract))


def _reason(call: ApiRequest) -> str:
    return "" if call.body is None else str(call.body.reason)


def _payment(body: ContractBody) -> tuple[PaymentKind, str]:
    if isinstance(body.payment, MandateBody):
        reference = payment_reference(
            payment_method=body.payment.payment_method, customer=body.payment.customer
        )
        return PaymentKind.PSP_MANDATE, reference
    return PaymentKind.PARTNER_ACCOUNT, body.party


def contracts_of(call: ApiRequest) -> ContractService:
    """The service of contracts. Raises ProblemError `unavailable`."""
    if call.services.contracts is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not available in this process.")
    return call.services.contracts


def caller_of(call: ApiRequest, environment: str | None = None) -> ContractCaller:
    """Who manages contracts, and of which environment: a party has those of this installation.

    Raises ProblemError when a party names another environment.
    """
    own = call.services.options.environment
    if environment is not None and environment != own and not call.caller.admin:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"/environment: may only be {own}.",
            errors=[FieldError(pointer="/environment", expected=own)],
        )
    return ContractCaller(
        party_id=call.caller.party_id,
        environment=environment or own,
        own_only=not call.caller.admin,
    )


def service_of(call: ApiRequest) -> PlugAndChargeService:
    """The Plug & Charge service. Raises ProblemError `unavailable`."""
    if call.services.plug_and_charge is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not available in this process.")
    return call.services.plug_and_charge


def endpoint(method: str, tail: str, operation: str, summary: str, **rest: Any) -> ApiEndpoint:
    """An endpoint of the part of Plug & Charge that administrators and, by scope, parties manage."""
    return ApiEndpoint(
        method=method,
        path=f"/v1/plug-and-charge/{tail}",
        operation=operation,
        summary=summary,
        tag="Plug & Charge",
        **rest,
    )


def _action(
    verb: str,
    operation: str,
    summary: str,
    handler: Callable[[ApiRequest], Awaitable[ApiResponse]],
    *,
    description: str = "",
) -> ApiEndpoint:
    return endpoint(
        "POST",
        f"contracts/{{emaid}}/{verb}",
        operation,
        summary,
        handler=handler,
        description=description,
        body=ContractReasonBody,
        body_required=False,
        answers={200: ContractSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    )


ENDPOINTS: Final = (
    endpoint(
        "POST",
        "contracts",
        "putContract",
        "Store a contract",
        handler=put_contract,
        body=ContractBody,
        answers={201: ContractSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.STATE_CONFLICT, problems.NOT_FOUND),
    ),
    endpoint(
        "GET",
        "contracts",
        "listContracts",
        "List contracts",
        handler=list_contracts,
        query=ContractsQuery,
        answers={200: ContractSchema},
        listed=True,
    ),
    endpoint(
        "GET",
        "contracts/{emaid}",
        "getContract",
        "Get a contract",
        handler=get_contract,
        answers={200: ContractSchema},
        problems=(problems.NOT_FOUND,),
    ),
    _action("block", "blockContract", "Block a contract", block),
    _action("unblock", "unblockContract", "Unblock a contract", unblock),
    _action(
        "cancel",
        "cancelContract",
        "Cancel a contract",
        cancel,
        description="A cancelled contract can't be revived; issue a new eMAID instead.",
    ),
    _action(
        "disable-payment",
        "disableContractPayment",
        "Disable a contract's means of payment",
        disable_payment,
        description="For a mandate that was revoked or an account that was closed. Every contract of this "
        "environment that pays with the same means is rejected until the means is enabled or replaced.",
    ),
    _action(
        "enable-payment",
        "enableContractPayment",
        "Enable a contract's means of payment",
        enable_payment,
        description="Every contract of this environment that pays with the same means may charge again.",
    ),
)
