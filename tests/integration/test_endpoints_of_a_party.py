"""How many webhook endpoints a party has, whoever makes them when."""

import asyncio
from typing import Any

from gateway.clock import SystemClock
from gateway.database import Pool
from gateway.ids import new_id
from gateway.webhooks.endpoint_service import (
    MAX_ENDPOINTS,
    EndpointWishes,
    TooManyEndpointsError,
    WebhookEndpointService,
)
from gateway.webhooks.secret_cipher import SecretCipher
from gateway.webhooks.signing import WebhookScheme


async def test_a_repeat_of_the_last_endpoint_is_accepted_and_of_two_at_once_none_is_too_many(
    pool: Pool,
) -> None:
    await pool.execute("INSERT INTO gateway.party (id, kind, created_at) VALUES ('aa', 'cpo', now())")
    service = WebhookEndpointService(pool=pool, clock=SystemClock(), secrets=SecretCipher())
    wishes = EndpointWishes(
        url="https://198.51.100.7/in",
        event_types=["session.completed"],
        signature=WebhookScheme.SYMMETRIC,
        headers={},
        api_version="2026-11-30",
    )
    ids = [new_id() for _ in range(MAX_ENDPOINTS + 3)]

    async def create(place: int) -> Any:
        return await service.create(endpoint_id=ids[place], party_id="aa", wishes=wishes)

    for place in range(MAX_ENDPOINTS - 1):
        await create(place)
    places = range(MAX_ENDPOINTS - 1, MAX_ENDPOINTS + 3)
    came = await asyncio.gather(*(create(place) for place in places), return_exceptions=True)
    assert [type(one) for one in came if isinstance(one, BaseException)] == [TooManyEndpointsError] * 3
    assert await pool.fetchval("SELECT count(*) FROM gateway.webhook_endpoint") == MAX_ENDPOINTS
    first = await create(0)  # as a call that lost its answer
    assert first.endpoint.id == ids[0]
