"""The market's clock, for a sandbox that plays a day faster than it passes.

Owns: the path. Must not know what the day is. Signatures, leases and key expiry stay on wall time.
"""

from typing import Final, Literal

from pydantic import Field

from gateway import objects
from gateway.clock import MarketAnchor
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.problems import ProblemError
from gateway.store.market_clock import set_market_clock


class MarketClockIn(WireModel):
    """What time it is from now on."""

    business_at: objects.Instant
    rate: int = Field(1, ge=0, le=86_400, description="seconds of business time a second; 0 stands still")


class MarketClockOut(objects.PublicObject):
    """Business time as this process sees it; others follow within 100 ms."""

    object: Literal["market_clock"] = "market_clock"
    business_at: objects.Instant


async def put(call: Call) -> Answer:
    """Set business time, forward only."""
    anchor = MarketAnchor(
        business_at=call.body.business_at,
        anchored_at=call.services.clock.wall_now(),
        rate=call.body.rate,
    )
    async with call.services.pool.acquire() as connection:
        done = await set_market_clock(connection, anchor)
    if not done:
        raise ProblemError(problems.STATE_CONFLICT, "Business time is past that already; it never runs back.")
    return Answer(body=MarketClockOut(business_at=call.body.business_at))


async def get(call: Call) -> Answer:
    """Business time now."""
    return Answer(body=MarketClockOut(business_at=call.services.now()))


ENDPOINTS: Final = (
    Endpoint(
        method="PUT",
        path="/v1/market-clock",
        operation="setMarketClock",
        summary="Set business time",
        tag="Sandbox",
        scope=Scope.ADMIN,
        handler=put,
        body=MarketClockIn,
        answers={200: MarketClockOut},
        problems=(problems.STATE_CONFLICT,),
    ),
    Endpoint(
        method="GET",
        path="/v1/market-clock",
        operation="getMarketClock",
        summary="Get business time",
        tag="Sandbox",
        scope=Scope.ADMIN,
        handler=get,
        answers={200: MarketClockOut},
    ),
)
