"""Bank details: submitted by a party or the platform, approved by another principal, shown masked.

Owns: the request and response schemas. Must not know: how a change affects a disbursement. While a version is
pending nothing is paid.
"""

from typing import Annotated, Final

from pydantic import Field

from clearing.errors import InvalidPaymentError
from clearing.parties import service as party_service
from clearing.parties.bank_details import BankDetails, PostalAddress, SubmittedDetails
from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import principal, the_party
from gateway.api.problems import FieldError, ProblemError
from gateway.database import Connection, transaction
from gateway.webhooks import events, payout_events
from gateway.webhooks.events import EventType

_CREATED: Final = 201
_MAX_VERSION: Final = 9
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"


class AddressBody(WireModel):
    """A structured address; banks require the town."""

    street: Annotated[str, Field(max_length=70, pattern=_PRINTABLE)] = ""
    building: Annotated[str, Field(max_length=16, pattern=_PRINTABLE)] = ""
    post_code: Annotated[str, Field(max_length=16, pattern=_PRINTABLE)] = ""
    town: Annotated[str, Field(min_length=1, max_length=35, pattern=_PRINTABLE, examples=["Amsterdam"])]
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["NL"])]


class BankDetailsBody(WireModel):
    """The account that a party is paid to."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=140,
            pattern=_PRINTABLE,
            description="The account holder.",
            examples=["Laad B.V."],
        ),
    ]
    iban: Annotated[
        str, Field(max_length=42, examples=["NL91 ABNA 0417 1643 00"], description="Spaces are ignored.")
    ]
    bic: Annotated[str, Field(max_length=11, examples=["ABNANL2A"])] | None = None
    reference: Annotated[str, Field(max_length=40, examples=["RF18539007547034"])] | None = Field(
        None,
        description="Creditor reference of every disbursement: a QR reference for a QR-IBAN, or ISO 11649.",
    )
    address: AddressBody


async def create(call: ApiRequest) -> ApiResponse:
    """Store new bank details as pending; nothing is paid until they are approved or rejected."""
    now = call.services.now()
    payouts = call.services.clearing.payouts
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        by = await principal(call, connection)
        try:
            version = await payouts.submit_bank_details(
                connection, party.id, _details(call.body), by=by, now=now
            )
        except InvalidPaymentError as error:
            raise _wrong(error) from None
        details = await _version(connection, party.id, version)
        cancelled = await payouts.cancel_unpayable(connection, now=now, party_id=party.id)
        new = [payout_events.details(EventType.BANK_DETAILS_SUBMITTED, details)]
        new += await payout_events.disbursement_events(
            connection, EventType.DISBURSEMENT_CANCELLED, cancelled
        )
        await events.record(connection, new, now=now)
    return ApiResponse(body=payout_events.details_object(details), status=_CREATED)


async def list_all(call: ApiRequest) -> ApiResponse:
    """Every version, the latest first."""
    async with call.services.pool.acquire() as connection:
        party = await the_party(call, connection)
        found = await party_service.list_bank_details(connection, party.id)
    shown = [payout_events.details_object(one) for one in found]
    return ApiResponse(body={"object": "list", "data": shown, "has_more": False, "next_cursor": None})


async def approve(call: ApiRequest) -> ApiResponse:
    """Pay to this account from now on, after the party confirmed it over another channel."""
    return await _decide(call, approved=True)


async def reject(call: ApiRequest) -> ApiResponse:
    """Never pay to this account; the approved details stay in force."""
    return await _decide(call, approved=False)


async def _decide(call: ApiRequest, *, approved: bool) -> ApiResponse:
    now = call.services.now()
    payouts = call.services.clearing.payouts
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        version = (await _version(connection, party.id, _number(call))).version
        by = await principal(call, connection)
        await payouts.decide_bank_details(connection, party.id, version, approve=approved, by=by, now=now)
        details = await _version(connection, party.id, version)
        cancelled = await payouts.cancel_unpayable(connection, now=now, party_id=party.id)
        kind = EventType.BANK_DETAILS_APPROVED if approved else EventType.BANK_DETAILS_REJECTED
        new = [payout_events.details(kind, details)]
        new += await payout_events.disbursement_events(
            connection, EventType.DISBURSEMENT_CANCELLED, cancelled
        )
        await events.record(connection, new, now=now)
    return ApiResponse(body=payout_events.details_object(details))


def _number(call: ApiRequest) -> int:
    text = call.path["version"]
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_VERSION):
        raise ProblemError(problems.NOT_FOUND, "The party has no such bank details.")
    return int(text)


async def _version(connection: Connection, party_id: str, version: int) -> SubmittedDetails:
    for one in await party_service.list_bank_details(connection, party_id):
        if one.version == version:
            return one
    raise ProblemError(problems.NOT_FOUND, "The party has no such bank details.")


def _details(body: BankDetailsBody) -> BankDetails:
    return BankDetails(
        name=body.name.strip(),
        iban="".join(body.iban.split()).upper(),
        bic=None if body.bic is None else body.bic.strip().upper(),
        reference=None if body.reference is None else "".join(body.reference.split()).upper(),
        address=PostalAddress(**body.address.model_dump()),
    )


def _wrong(error: InvalidPaymentError) -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"{error}.",
        errors=[
            FieldError(pointer=f"/{error.field.replace('.', '/')}", expected=str(error).partition(": ")[2])
        ],
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/bank-details",
        operation="submitBankDetails",
        summary="Submit bank details",
        description="The details are pending, and nothing is paid to the party, until another principal "
        "approves or rejects them.",
        tag="Payouts",
        scope=Scope.SETTLEMENT_WRITE,
        handler=create,
        body=BankDetailsBody,
        answers={201: api_schemas.BankDetailsSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/bank-details",
        operation="listBankDetails",
        summary="List a party's bank details",
        tag="Payouts",
        scope=Scope.SETTLEMENT_READ,
        handler=list_all,
        answers={200: api_schemas.BankDetailsSchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    *(
        ApiEndpoint(
            method="POST",
            path=f"/v1/parties/{{id}}/bank-details/{{version}}/{noun}",
            operation=f"{verb}BankDetails",
            summary=f"{verb.title()} bank details",
            description="Requires an API key of another principal than the one who submitted them.",
            tag="Payouts",
            scope=Scope.ADMIN,
            handler=handler,
            answers={200: api_schemas.BankDetailsSchema},
            key_rule=KeyRule.OPTIONAL,
            problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
        )
        for noun, verb, handler in (("approve", "approve", approve), ("reject", "reject", reject))
    ),
)
