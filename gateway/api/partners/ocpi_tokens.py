"""Drivers' tokens for OCPI: what CPOs find in our token list and ask about in real time.

Owns: the path and the shapes. Must not know OCPI's wire form, or how a payment is secured.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.capture.authorizations import PartnerAccountBody, PspPaymentMethodBody
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import ListQuery, Slug, foreign_cursor
from gateway.api.problems import FieldError, ProblemError
from gateway.ocpi.repository.tokens import TokenRecord
from gateway.ocpi.token_service import TokenService, TokenTakenError, TokenType, TokenUpdate, WhitelistType
from gateway.schemas import api_schemas

# OCPI's CiString is printable ASCII.
_PATH: Final = "/v1/ocpi/tokens/{type:APP_USER|RFID|OTHER}/{uid:[!-.0-~]{1,36}}"
_SHOWN: Final = frozenset(TokenType)
_Ci36 = Annotated[str, Field(min_length=1, max_length=36, pattern=r"^[!-~]+$")]
_Ci64 = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[ -~]+$")]


class OcpiTokenBody(WireModel):
    """A token's party, its means of payment, and whether a CPO may accept it without asking."""

    party: Slug = Field(description="the demand partner that brings the driver")
    contract_id: _Ci36 = Field(description="contract as OCPI names it", examples=["CH-NWC-C12345678-X"])
    issuer: _Ci64 = Field(description="who issued the token, as printed", examples=["Super App"])
    payment: Annotated[PspPaymentMethodBody | PartnerAccountBody, Field(discriminator="type")] = Field(
        description="what pays for sessions of this token"
    )
    valid: bool = Field(default=True, description="false: the token is blocked")
    whitelist: WhitelistType = Field(
        WhitelistType.NEVER,
        description="whether a CPO may accept the token without asking; NEVER: each start is authorized",
    )
    visual_number: _Ci64 | None = Field(None, description="number printed on the token")
    group_id: _Ci36 | None = Field(
        None, description="a token may stop a session that another token of its group started"
    )
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = Field(
        None, description="the driver's language, ISO 639-1"
    )


class OcpiTokenSchema(api_schemas.PublicSchema):
    """A driver's token as CPOs see it, without its means of payment."""

    object: Literal["ocpi_token"] = "ocpi_token"
    uid: str = Field(description="as read from the token")
    type: TokenType = Field(description="TokenType of OCPI 2.2.1")
    party: str = Field(description="the demand partner that brings the driver")
    contract_id: str = Field(description="contract as OCPI names it")
    issuer: str = Field(description="who issued the token")
    valid: bool = Field(description="false: blocked")
    whitelist: WhitelistType = Field(description="whether a CPO may accept it without asking")
    updated_at: api_schemas.Instant = Field(description="time of the last change")


async def put(call: ApiRequest) -> ApiResponse:
    """Create or change a token; connected CPOs are sent it, and find it in our list."""
    body: OcpiTokenBody = call.body
    service = _service(call)
    await call.services.parties.get(body.party)
    if isinstance(body.payment, PspPaymentMethodBody):
        await call.services.payments.payers.check_payer(
            party_id=body.party,
            psp_customer=body.payment.customer,
            psp_method=body.payment.payment_method,
        )
    try:
        token = await service.save(token_update(call.path["uid"], TokenType(call.path["type"]), body))
    except TokenTakenError as error:
        raise ProblemError(
            problems.ALREADY_EXISTS,
            f"Token {error} is another demand partner's.",
            errors=[FieldError(pointer="/party", expected="the demand partner that has this token")],
        ) from None
    return ApiResponse(body=_shown(token))


async def get(call: ApiRequest) -> ApiResponse:
    """One token."""
    found = await _service(call).get(
        uid=call.path["uid"], token_type=TokenType(call.path["type"]), party_id=call.own_party
    )
    if found is None:
        raise ProblemError(problems.NOT_FOUND, f"There is no {call.path['type']} token with this uid.")
    return ApiResponse(body=_shown(found))


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's tokens by uid; the platform sees everybody's."""
    found = await _service(call).list(
        party_id=call.own_party, after=_after(call.query.cursor), limit=call.query.limit + 1
    )
    shown = [_shown(token) for token in found if token.type in _SHOWN]
    return ApiResponse(body=page(shown, limit=call.query.limit, cursor=lambda row: f"{row.type}/{row.uid}"))


def _service(call: ApiRequest) -> TokenService:
    if call.services.ocpi_tokens is None:
        raise ProblemError(problems.UNAVAILABLE, "This process has no OCPI.")
    return call.services.ocpi_tokens


def _after(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    token_type, slash, uid = cursor.partition("/")
    if not slash or token_type not in _SHOWN or not uid:
        raise foreign_cursor()
    return uid, token_type


def _shown(token: TokenRecord) -> OcpiTokenSchema:
    return OcpiTokenSchema(
        uid=token.uid,
        type=TokenType(token.type),
        party=token.demand_partner_id,
        contract_id=token.contract_id,
        issuer=token.issuer,
        valid=token.valid,
        whitelist=WhitelistType(token.whitelist),
        updated_at=token.last_updated,
    )


def token_update(uid: str, token_type: TokenType, body: OcpiTokenBody) -> TokenUpdate:
    """The change that a body asks for."""
    return TokenUpdate(
        uid=uid,
        type=token_type,
        contract_id=body.contract_id,
        issuer=body.issuer,
        party_id=body.party,
        payment=body.payment.model_dump(mode="json", exclude_none=True),
        valid=body.valid,
        whitelist=body.whitelist,
        visual_number=body.visual_number,
        group_id=body.group_id,
        language=body.language,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="PUT",
        path=_PATH,
        operation="setOcpiToken",
        summary="Set a driver's token",
        description="Connected CPOs are sent the token and find it in our OCPI token list. When a driver "
        "presents it, the CPO asks for authorization, and ALLOWED means that the session's payment is "
        "secured.",
        tag="Parties",
        handler=put,
        body=OcpiTokenBody,
        answers={200: OcpiTokenSchema},
        problems=(problems.NOT_FOUND, problems.ALREADY_EXISTS),
    ),
    ApiEndpoint(
        method="GET",
        path=_PATH,
        operation="getOcpiToken",
        summary="Get a driver's token",
        tag="Parties",
        handler=get,
        answers={200: OcpiTokenSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/ocpi/tokens",
        operation="listOcpiTokens",
        summary="List drivers' tokens",
        description="Your tokens by uid; the platform sees every party's.",
        tag="Parties",
        handler=list_all,
        query=ListQuery,
        answers={200: OcpiTokenSchema},
        listed=True,
    ),
)
