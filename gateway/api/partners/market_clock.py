"""The market's clock, for a sandbox whose days pass faster.

Owns: the path. Must not know who follows the clock. Signatures, leases and key expiry use wall time.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import InstantIn
from gateway.schemas import api_schemas


class MarketClockBody(WireModel):
    """The business time from now on."""

    business_at: InstantIn
    rate: int = Field(
        1, ge=0, le=86_400, description="seconds of business time per second; 0 stops the clock"
    )


class MarketClockSchema(api_schemas.PublicSchema):
    """Business time as this process sees it; others follow within 100 ms."""

    object: Literal["market_clock"] = "market_clock"
    business_at: api_schemas.Instant


async def put(call: ApiRequest) -> ApiResponse:
    """Set business time, forward only."""
    await call.services.market_clock.set(business_at=call.body.business_at, rate=call.body.rate)
    return ApiResponse(body=MarketClockSchema(business_at=call.body.business_at))


async def get(call: ApiRequest) -> ApiResponse:
    """Business time now."""
    return ApiResponse(body=MarketClockSchema(business_at=call.services.now()))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="PUT",
        path="/v1/market-clock",
        operation="setMarketClock",
        summary="Set business time",
        tag="Sandbox",
        handler=put,
        body=MarketClockBody,
        answers={200: MarketClockSchema},
        problems=(problems.STATE_CONFLICT,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/market-clock",
        operation="getMarketClock",
        summary="Get business time",
        tag="Sandbox",
        handler=get,
        answers={200: MarketClockSchema},
    ),
)
