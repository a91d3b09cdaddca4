"""Bank details: submitted by a party or the platform, decided on by somebody else, shown masked.

Owns: the wire form. Must not know what a change does to a payment. While a version is pending nothing is
paid.
"""

from typing import Annotated, Final

from pydantic import Field

from clearing.desks.payout_desk import PayoutDesk
from clearing.errors import InvalidPaymentError
from clearing.parties.bank_details import BankDetails, PostalAddress, SubmittedDetails
from clearing.store import payout_terms
from gateway import objects
from gateway.database import Connection, transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.problems import FieldError, ProblemError
from gateway.http.settlement.payout_access import principal, the_party
from gateway.lanes import payout_news
from gateway.notify import events
from gateway.notify.events import EventType

_CREATED: Final = 201
_MAX_VERSION: Final = 9
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"


class AddressIn(WireModel):
    """A structured address; banks take none without a town."""

    street: Annotated[str, Field(max_length=70, pattern=_PRINTABLE)] = ""
    building: Annotated[str, Field(max_length=16, pattern=_PRINTABLE)] = ""
    post_code: Annotated[str, Field(max_length=16, pattern=_PRINTABLE)] = ""
    town: Annotated[str, Field(min_length=1, max_length=35, pattern=_PRINTABLE, examples=["Amsterdam"])]
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["NL"])]


class BankDetailsIn(WireModel):
    """Where a party wants to be paid."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=140,
            pattern=_PRINTABLE,
            description="the account's holder",
            examples=["Laad B.V."],
        ),
    ]
    iban: Annotated[
        str, Field(max_length=42, examples=["NL91 ABNA 0417 1643 00"], description="spaces are left out")
    ]
    bic: Annotated[str, Field(max_length=11, examples=["ABNANL2A"])] | None = None
    reference: Annotated[str, Field(max_length=40, examples=["RF18539007547034"])] | None = Field(
        None, description="on every payment: a QR reference for a QR-IBAN, or one of ISO 11649"
    )
    address: AddressIn


async def create(call: Call) -> Answer:
    """Keep new bank details as pending; nothing is paid to the party until they are decided on."""
    now = call.services.now()
    desk = PayoutDesk(call.services.clearing)
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        by = await principal(call, connection)
        try:
            version = await desk.submit_bank_details(
                connection, party.id, _details(call.body), by=by, now=now
            )
        except InvalidPaymentError as error:
            raise _wrong(error) from None
        kept = await _version(connection, party.id, version)
        withdrawn = await desk.withdraw_stopped(connection, now=now, party_id=party.id)
        news = [payout_news.details(EventType.BANK_DETAILS_SUBMITTED, kept)]
        news += payout_news.payments(EventType.DISBURSEMENT_WITHDRAWN, withdrawn)
        await events.record(connection, news, now=now)
    return Answer(body=payout_news.details_object(kept), status=_CREATED)


async def list_all(call: Call) -> Answer:
    """Every version, the latest first."""
    async with call.services.pool.acquire() as connection:
        party = await the_party(call, connection)
        found = await payout_terms.details_of(connection, party.id)
    shown = [payout_news.details_object(one) for one in found]
    return Answer(body={"object": "list", "data": shown, "has_more": False, "next_cursor": None})


async def confirm(call: Call) -> Answer:
    """Pay to this account from now on: the party was asked over another channel."""
    return await _decide(call, confirmed=True)


async def refuse(call: Call) -> Answer:
    """Never pay to this account; what was confirmed before stands."""
    return await _decide(call, confirmed=False)


async def _decide(call: Call, *, confirmed: bool) -> Answer:
    now = call.services.now()
    desk = PayoutDesk(call.services.clearing)
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        version = (await _version(connection, party.id, _number(call))).version
        by = await principal(call, connection)
        await desk.decide_bank_details(connection, party.id, version, confirm=confirmed, by=by, now=now)
        kept = await _version(connection, party.id, version)
        withdrawn = await desk.withdraw_stopped(connection, now=now, party_id=party.id)
        kind = EventType.BANK_DETAILS_CONFIRMED if confirmed else EventType.BANK_DETAILS_REFUSED
        news = [payout_news.details(kind, kept)]
        news += payout_news.payments(EventType.DISBURSEMENT_WITHDRAWN, withdrawn)
        await events.record(connection, news, now=now)
    return Answer(body=payout_news.details_object(kept))


def _number(call: Call) -> int:
    text = call.path["version"]
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_VERSION):
        raise ProblemError(problems.NOT_FOUND, "The party has no such bank details.")
    return int(text)


async def _version(connection: Connection, party_id: str, version: int) -> SubmittedDetails:
    for one in await payout_terms.details_of(connection, party_id):
        if one.version == version:
            return one
    raise ProblemError(problems.NOT_FOUND, "The party has no such bank details.")


def _details(body: BankDetailsIn) -> BankDetails:
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
    Endpoint(
        method="POST",
        path="/v1/parties/{id}/bank-details",
        operation="submitBankDetails",
        summary="Submit bank details",
        description="They are pending, and nothing is paid to the party, until somebody else has decided.",
        tag="Payouts",
        scope=Scope.SETTLEMENT_WRITE,
        handler=create,
        body=BankDetailsIn,
        answers={201: objects.BankDetails},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="GET",
        path="/v1/parties/{id}/bank-details",
        operation="listBankDetails",
        summary="List a party's bank details",
        tag="Payouts",
        scope=Scope.SETTLEMENT_READ,
        handler=list_all,
        answers={200: objects.BankDetails},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    *(
        Endpoint(
            method="POST",
            path=f"/v1/parties/{{id}}/bank-details/{{version}}/{noun}",
            operation=f"{verb}BankDetails",
            summary=f"{verb.title()} bank details",
            description="By a key of another principal than that which submitted them.",
            tag="Payouts",
            scope=Scope.ADMIN,
            handler=handler,
            answers={200: objects.BankDetails},
            key_rule=KeyRule.OPTIONAL,
            problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
        )
        for noun, verb, handler in (("confirmation", "confirm", confirm), ("refusal", "refuse", refuse))
    ),
)
