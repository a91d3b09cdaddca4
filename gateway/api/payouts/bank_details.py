"""Bank details: submitted by a party or the platform, approved by another principal, shown masked.

Owns: the request and response schemas. Must not know: how a change affects a disbursement. While a version is
pending nothing is paid.
"""

from typing import Annotated, Final

from pydantic import Field

from clearing.errors import InvalidPaymentError
from clearing.parties.bank_details import BankDetails, PostalAddress
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, whole
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.api.problems import FieldError, ProblemError
from gateway.schemas import api_schemas
from gateway.webhooks import payout_events

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
    try:
        details = await call.services.bank_details.submit(
            own_party(call), _details(call.body), key=call.caller.key
        )
    except InvalidPaymentError as error:
        raise _wrong(error) from None
    return ApiResponse(body=payout_events.details_object(details), status=_CREATED)


async def list_all(call: ApiRequest) -> ApiResponse:
    """Every version, the latest first."""
    found = await call.services.bank_details.list(own_party(call))
    shown = [payout_events.details_object(one) for one in found]
    return ApiResponse(body=whole(shown))


async def approve(call: ApiRequest) -> ApiResponse:
    """Pay to this account from now on, after the party confirmed it over another channel."""
    return await _decide(call, approved=True)


async def reject(call: ApiRequest) -> ApiResponse:
    """Never pay to this account; the approved details stay in force."""
    return await _decide(call, approved=False)


async def _decide(call: ApiRequest, *, approved: bool) -> ApiResponse:
    details = await call.services.bank_details.decide(
        own_party(call), _number(call), approve=approved, key=call.caller.key
    )
    return ApiResponse(body=payout_events.details_object(details))


def _number(call: ApiRequest) -> int:
    text = call.path["version"]
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_VERSION):
        raise ProblemError(problems.NOT_FOUND, "The party has no such bank details.")
    return int(text)


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
            handler=handler,
            answers={200: api_schemas.BankDetailsSchema},
            key_rule=KeyRule.OPTIONAL,
            problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
        )
        for noun, verb, handler in (("approve", "approve", approve), ("reject", "reject", reject))
    ),
)
