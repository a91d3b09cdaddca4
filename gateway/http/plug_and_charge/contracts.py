"""Contracts of Plug & Charge, each with what pays for it.

Owns: the wire form. Must not know certificates. An eMAID's certificate may be registered with its
contract; the means of payment goes in and never comes out.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import MAX_PAGE, CurrencyCode, PositiveMinor, Slug, Token
from gateway.http.plug_and_charge.hook import payment_reference
from gateway.http.problems import ProblemError
from gateway.store import parties
from pnc import contract_desk
from pnc.authorization import Contract, ContractState, PaymentKind
from pnc.contract_desk import NewContract
from pnc.service import PlugAndChargeService

_CREATED: Final = 201
_STATES: Final = {
    "block": ContractState.BLOCKED,
    "unblock": ContractState.ACTIVE,
    "cancel": ContractState.CANCELLED,
}
Pem = Annotated[str, Field(min_length=64, max_length=32_768)]
EmaidText = Annotated[str, Field(min_length=14, max_length=20, examples=["NL-NCO-C12345678-X"])]
Environment = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]


class MandateIn(WireModel):
    """A stored mandate at the PSP, charged off session."""

    type: Literal["psp_payment_method"]
    payment_method: Token
    customer: Token | None = None


class AccountIn(WireModel):
    """The funded account of the contract's party."""

    type: Literal["partner_account"]


class ContractIn(WireModel):
    """A contract: whose driver it is, what pays, and for how much."""

    emaid: EmaidText
    party: Slug = Field(description="the demand partner or eMSP that brings the driver")
    payment: Annotated[MandateIn | AccountIn, Field(discriminator="type")]
    valid_from: objects.Instant
    valid_to: objects.Instant | None = None
    limit: PositiveMinor | None = Field(
        None, description="caps one session, minor units; a session in another currency has the same figure"
    )
    currency: CurrencyCode | None = Field(None, description="of the limit; the party's own unless given")
    certificate_chain: Pem | None = Field(None, description="PEM, leaf first; registers the certificate")
    environment: Environment | None = None


class StateIn(WireModel):
    """Why."""

    reason: Reason = ""


class ContractsQuery(QueryModel):
    """Contracts in the order of their eMAIDs."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=20)] | None = None
    party: Slug | None = None


class ContractOut(objects.PublicObject):
    """A contract without its means of payment."""

    object: Literal["contract"] = "contract"
    emaid: str
    environment: str
    party: str
    payment_type: str
    payment_usable: bool
    state: str
    limit: objects.Minor | None
    currency: objects.Currency | None
    valid_from: objects.Instant
    valid_to: objects.Instant | None
    revision: int
    warning: str | None = None


async def put_contract(call: Call) -> Answer:
    """Store a contract or bring it up to date; the same content again changes nothing."""
    body: ContractIn = call.body
    environment = body.environment or call.services.options.environment
    new = await new_contract(call, body)
    verifier, _ = await service_of(call).trust_of(call.services.pool, environment=environment)
    async with transaction(call.services.pool) as connection:
        stored = await contract_desk.put_contract(
            connection,
            new,
            environment=environment,
            verifier=verifier,
            actor=call.caller.party_id,
            now=call.services.now(),
        )
    return Answer(body=_shown(stored.contract, warning=stored.warning or None), status=_CREATED)


async def new_contract(call: Call, body: ContractIn) -> NewContract:
    """A body as a contract to be stored; a limit without a currency is in the party's own.

    Raises ProblemError `not_found` where there is no such party.
    """
    async with call.services.pool.acquire() as connection:
        if await parties.find_party(connection, body.party) is None:
            raise ProblemError(problems.NOT_FOUND, f"There is no party {body.party}.")
    currency = body.currency
    if body.limit is not None and currency is None:
        currency = await _settlement_currency(call, body.party)
    kind, reference = _payment(body)
    return NewContract(
        emaid=body.emaid,
        party=body.party,
        payment_kind=kind,
        payment_reference=reference,
        valid_from=body.valid_from,
        valid_until=body.valid_to,
        limit_minor=body.limit,
        currency=currency,
        bundle=body.certificate_chain,
    )


async def list_contracts(call: Call) -> Answer:
    """Contracts of this environment, in the order of their eMAIDs."""
    query: ContractsQuery = call.query
    found = await contract_desk.list_contracts(
        call.services.pool,
        environment=call.services.options.environment,
        party=query.party,
        after=query.cursor or "",
        limit=query.limit + 1,
    )
    shown = [_shown(contract) for contract in found[: query.limit]]
    more = len(found) > query.limit
    cursor = shown[-1].emaid if more else None
    return Answer(body={"object": "list", "data": shown, "has_more": more, "next_cursor": cursor})


async def set_state(call: Call) -> Answer:
    """Block, unblock or cancel; a cancelled contract is not revived."""
    async with transaction(call.services.pool) as connection:
        contract = await contract_desk.set_state(
            connection,
            environment=call.services.options.environment,
            emaid=call.path["emaid"],
            state=_STATES[call.path["verb"]],
            actor=call.caller.party_id,
            reason=call.body.reason if call.body is not None else "",
            now=call.services.now(),
        )
    return Answer(body=_shown(contract))


def _payment(body: ContractIn) -> tuple[PaymentKind, str]:
    if isinstance(body.payment, MandateIn):
        reference = payment_reference(
            payment_method=body.payment.payment_method, customer=body.payment.customer
        )
        return PaymentKind.PSP_MANDATE, reference
    return PaymentKind.PARTNER_ACCOUNT, body.party


async def _settlement_currency(call: Call, party_id: str) -> str:
    async with call.services.pool.acquire() as connection:
        party = await call.services.clearing.party(connection, party_id)
    if party is None:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {party_id}.")
    return party.settlement_currency


def service_of(call: Call) -> PlugAndChargeService:
    """The service, where this process has it. Raises ProblemError `unavailable`."""
    if call.services.plug_and_charge is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not wired in this process.")
    return call.services.plug_and_charge


def _shown(contract: Contract, *, warning: str | None = None) -> ContractOut:
    on_account = contract.payment_kind is PaymentKind.PARTNER_ACCOUNT
    return ContractOut(
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


def endpoint(method: str, tail: str, operation: str, summary: str, **rest: Any) -> Endpoint:
    """An endpoint of the administrators' part of Plug & Charge."""
    return Endpoint(
        method=method,
        path=f"/v1/plug-and-charge/{tail}",
        operation=operation,
        summary=summary,
        tag="Plug & Charge",
        scope=Scope.ADMIN,
        **rest,
    )


ENDPOINTS: Final = (
    endpoint(
        "POST",
        "contracts",
        "putContract",
        "Store a contract",
        handler=put_contract,
        body=ContractIn,
        answers={201: ContractOut},
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
        answers={200: ContractOut},
        listed=True,
    ),
    endpoint(
        "POST",
        "contracts/{emaid}/{verb:block|unblock|cancel}",
        "setContractState",
        "Block, unblock or cancel a contract",
        handler=set_state,
        body=StateIn,
        body_required=False,
        answers={200: ContractOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
