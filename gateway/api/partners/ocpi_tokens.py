"""Drivers' tokens for OCPI: what CPOs find in our token list and ask about in real time.

Owns: the path and the shapes. Must not know OCPI's wire form, or how a payment is secured.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.capture.authorizations import PartnerAccountBody, PspPaymentMethodBody
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import Slug
from gateway.api.problems import FieldError, ProblemError
from gateway.ocpi.token_service import TokenTakenError, TokenType, TokenUpdate, WhitelistType

# OCPI's CiString is printable ASCII.
_Ci36 = Annotated[str, Field(min_length=1, max_length=36, pattern=r"^[!-~]+$")]
_Ci64 = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[ -~]+$")]


class OcpiTokenBody(WireModel):
    """Whose driver the token stands for, what pays, and how a CPO may treat it."""

    party: Slug = Field(description="the demand partner that brings the driver")
    contract_id: _Ci36 = Field(description="contract as OCPI names it", examples=["CH-NWC-C12345678-X"])
    issuer: _Ci64 = Field(description="who issued the token, as printed", examples=["Super App"])
    payment: Annotated[PspPaymentMethodBody | PartnerAccountBody, Field(discriminator="type")] = Field(
        description="what pays for sessions of this token"
    )
    valid: bool = Field(default=True, description="false blocks the token")
    whitelist: WhitelistType = Field(
        WhitelistType.NEVER,
        description="whether a CPO may accept the token without asking; NEVER: each start is authorized",
    )
    visual_number: _Ci64 | None = Field(None, description="number printed on the token")
    group_id: _Ci36 | None = Field(None, description="tokens of one group may stop each other's sessions")
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = Field(
        None, description="the driver's language, ISO 639-1"
    )


class OcpiTokenSchema(api_schemas.PublicSchema):
    """A driver's token as CPOs see it; what pays is not shown."""

    object: Literal["ocpi_token"] = "ocpi_token"
    uid: str = Field(description="as read from the token")
    type: TokenType = Field(description="TokenType of OCPI 2.2.1")
    party: str = Field(description="the demand partner that brings the driver")
    contract_id: str = Field(description="contract as OCPI names it")
    issuer: str = Field(description="who issued the token")
    valid: bool = Field(description="false: blocked")
    whitelist: WhitelistType = Field(description="whether a CPO may accept it without asking")
    updated_at: api_schemas.Instant = Field(description="CPOs that pull since then get this version")


async def put(call: ApiRequest) -> ApiResponse:
    """Create or change a token; CPOs get it with their next pull."""
    body: OcpiTokenBody = call.body
    if call.services.ocpi_tokens is None:
        raise ProblemError(problems.UNAVAILABLE, "This process has no OCPI.")
    await call.services.parties.get(body.party)
    if isinstance(body.payment, PspPaymentMethodBody):
        await call.services.payments.payers.check_payer(
            party_id=body.party,
            psp_customer=body.payment.customer,
            psp_method=body.payment.payment_method,
        )
    try:
        token = await call.services.ocpi_tokens.save(_update(call.path, body))
    except TokenTakenError as error:
        raise ProblemError(
            problems.ALREADY_EXISTS,
            f"Token {error} is another demand partner's.",
            errors=[FieldError(pointer="/party", expected="the demand partner that has this token")],
        ) from None
    shown = OcpiTokenSchema(
        uid=token.uid,
        type=TokenType(token.type),
        party=token.demand_partner_id,
        contract_id=token.contract_id,
        issuer=token.issuer,
        valid=token.valid,
        whitelist=WhitelistType(token.whitelist),
        updated_at=token.last_updated,
    )
    return ApiResponse(body=shown)


def _update(path: Any, body: OcpiTokenBody) -> TokenUpdate:
    return TokenUpdate(
        uid=path["uid"],
        type=TokenType(path["type"]),
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
        path="/v1/ocpi/tokens/{type:APP_USER|RFID|OTHER}/{uid:[!-.0-~]{1,36}}",
        operation="setOcpiToken",
        summary="Set a driver's token",
        description="CPOs find the token in our OCPI token list. When a driver presents it, the CPO asks for "
        "authorization, and ALLOWED means that the session's payment is secured.",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=put,
        body=OcpiTokenBody,
        answers={200: OcpiTokenSchema},
        problems=(problems.NOT_FOUND, problems.ALREADY_EXISTS),
    ),
)
