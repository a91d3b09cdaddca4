"""Contracts of Plug & Charge, each with what pays for it.

Owns: the wire form. Must not know certificates. An eMAID's certificate may be registered with its
contract; the means of payment is stored and never returned.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page
from gateway.api.field_types import MAX_PAGE, CurrencyCode, PositiveMinor, Slug, Token
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.plug_and_charge.authorization_service import payment_reference
from pnc import contract_administration
from pnc.contract import Contract, ContractState, NewContract, PaymentKind
from pnc.service import PlugAndChargeService

_CREATED: Final = 201
Pem = Annotated[str, Field(min_length=64, max_length=32_768)]
EmaidText = Annotated[str, Field(min_length=14, max_length=20, examples=["NL-NCO-C12345678-X"])]
Environment = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]


class MandateBody(WireModel):
    """A stored mandate at the PSP, charged off session."""

    type: Literal["psp_payment_method"]
    payment_method: Token
    customer: Token | None = None


class AccountBody(WireModel):
    """The funded account of the contract's party."""

    type: Literal["partner_account"]


class ContractBody(WireModel):
    """A contract: its party, its means of payment and its limit."""

    emaid: EmaidText
    party: Slug = Field(description="the demand partner or eMSP that brings the driver")
    payment: Annotated[MandateBody | AccountBody, Field(discriminator="type")]
    valid_from: api_schemas.Instant
    valid_to: api_schemas.Instant | None = None
    limit: PositiveMinor | None = Field(
        None, description="caps one session, minor units; a session in another currency has the same figure"
    )
    currency: CurrencyCode | None = Field(None, description="of the limit; the party's own unless given")
    certificate_chain: Pem | None = Field(None, description="PEM, leaf first; registers the certificate")
    environment: Environment | None = None


class ContractReasonBody(WireModel):
    """Why the contract is changed; kept in its history."""

    reason: Reason = ""


class ContractsQuery(QueryModel):
    """Contracts in the order of their eMAIDs."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=20)] | None = None
    party: Slug | None = None


class ContractSchema(api_schemas.PublicSchema):
    """A contract without its means of payment."""

    object: Literal["contract"] = "contract"
    emaid: str
    environment: str
    party: str
    payment_type: str
    payment_usable: bool
    state: str
    limit: api_schemas.Minor | None
    currency: api_schemas.Currency | None
    valid_from: api_schemas.Instant
    valid_to: api_schemas.Instant | None
    revision: int
    warning: str | None = None


async def put_contract(call: ApiRequest) -> ApiResponse:
    """Store or update a contract; the same content again changes nothing."""
    body: ContractBody = call.body
    environment = body.environment or call.services.options.environment
    stored = await call.services.contracts.put(
        new_contract(body), trust=service_of(call), environment=environment, actor=call.caller.party_id
    )
    return ApiResponse(body=_shown(stored.contract, warning=stored.warning or None), status=_CREATED)


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
        bundle=body.certificate_chain,
    )


async def list_contracts(call: ApiRequest) -> ApiResponse:
    """Contracts of this environment, in the order of their eMAIDs."""
    query: ContractsQuery = call.query
    found = await contract_administration.list_contracts(
        call.services.pool,
        environment=call.services.options.environment,
        party=query.party,
        after=query.cursor or "",
        limit=query.limit + 1,
    )
    shown = [_shown(contract) for contract in found]
    return ApiResponse(body=page(shown, limit=query.limit, cursor=lambda contract: contract.emaid))


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
    contract = await call.services.contracts.set_state(
        call.path["emaid"],
        state,
        environment=call.services.options.environment,
        actor=call.caller.party_id,
        reason=_reason(call),
    )
    return ApiResponse(body=_shown(contract))


async def _set_payment_usable(call: ApiRequest, *, usable: bool) -> ApiResponse:
    contract = await call.services.contracts.set_payment_usable(
        call.path["emaid"],
        usable=usable,
        environment=call.services.options.environment,
        actor=call.caller.party_id,
        reason=_reason(call),
    )
    return ApiResponse(body=_shown(contract))


def _reason(call: ApiRequest) -> str:
    return "" if call.body is None else str(call.body.reason)


def _payment(body: ContractBody) -> tuple[PaymentKind, str]:
    if isinstance(body.payment, MandateBody):
        reference = payment_reference(
            payment_method=body.payment.payment_method, customer=body.payment.customer
        )
        return PaymentKind.PSP_MANDATE, reference
    return PaymentKind.PARTNER_ACCOUNT, body.party


def service_of(call: ApiRequest) -> PlugAndChargeService:
    """The Plug & Charge service. Raises ProblemError `unavailable`."""
    if call.services.plug_and_charge is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not available in this process.")
    return call.services.plug_and_charge


def _shown(contract: Contract, *, warning: str | None = None) -> ContractSchema:
    on_account = contract.payment_kind is PaymentKind.PARTNER_ACCOUNT
    return ContractSchema(
        emaid=contract.emaid,
        environment=contract.environment,
        party=contract.party,
        payment_type="partner_account" if on_account else "psp_payment_method",
        payment_usable=contract.payment_usable,
        state=contract.state.value,
        limit=contract.limit_minor,
        currency=contract.currency,
        valid_from=contract.valid_from,
        valid_to=contract.valid_until,
        revision=contract.revision,
        warning=warning,
    )


def endpoint(method: str, tail: str, operation: str, summary: str, **rest: Any) -> ApiEndpoint:
    """An endpoint of the administrators' part of Plug & Charge."""
    return ApiEndpoint(
        method=method,
        path=f"/v1/plug-and-charge/{tail}",
        operation=operation,
        summary=summary,
        tag="Plug & Charge",
        scope=Scope.ADMIN,
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
