"""Quotes: what an expected session would cost, before anything is held.

Owns: the wire form. Must not know how a session is priced.
"""

from typing import Final, Literal

from pydantic import Field

from clearing.pricing.explain import receipt
from gateway.api import problems
from gateway.api.capture.authorizations import EstimateBody
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import EvseId
from gateway.api.idempotency import KeyRule
from gateway.payments.requests import ChargingProfile, Estimate, TariffChoice
from gateway.schemas import api_schemas


class QuoteBody(WireModel):
    """The EVSE, and the expected energy and duration."""

    evse_id: EvseId
    estimate: EstimateBody
    method: Literal["card", "app", "plug_and_charge"] = Field(
        "card", description="how the driver is going to be authorized: it decides which public tariff applies"
    )
    profile: ChargingProfile | None = Field(
        None, description="the charging preference that the driver asks for, where the CPO prices it apart"
    )


async def create(call: ApiRequest) -> ApiResponse:
    """Price an expected session by the tariff in force; nothing is stored."""
    wanted = call.body.estimate
    view = await call.services.payments.quote(
        evse_id=call.body.evse_id,
        estimate=Estimate(energy_wh=wanted.energy_wh, duration_s=wanted.duration_s),
        choice=TariffChoice.of_method(call.body.method, call.body.profile),
    )
    priced = view.quote.priced
    return ApiResponse(
        body=api_schemas.QuoteSchema(
            evse_id=view.point.evse_id,
            cpo=view.point.cpo_id,
            currency=view.quote.currency,
            incl_vat=priced.incl_vat_minor,
            excl_vat=priced.excl_vat_minor,
            hold=view.quote.hold_minor,
            tariff=api_schemas.TariffReferenceSchema(
                sha256=view.tariff_sha256,
                version=view.point.tariff_version,
                display=list(view.tariff_display),
            ),
            explained=list(receipt(priced)),
        )
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/quotes",
        operation="createQuote",
        summary="Quote a session",
        description=(
            "Returns the price components to show to the driver, the expected price and the amount to hold."
        ),
        tag="Quotes",
        handler=create,
        body=QuoteBody,
        answers={200: api_schemas.QuoteSchema},
        key_rule=KeyRule.NONE,
        problems=(problems.EVSE_NOT_FOUND, problems.TARIFF_MISSING),
    ),
)
