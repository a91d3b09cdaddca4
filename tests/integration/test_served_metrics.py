"""What Prometheus reads of a gateway: all that rules and dashboards name, and the holds about to end."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from gateway.database import Pool
from tests.fakes.api import START, Api, open_api
from tests.watched_metrics import expressions, selectors

pytestmark = pytest.mark.postgres


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def scraped(api: Api) -> str:
    answer = await api.call("GET", "/metrics", party="admin")
    assert answer.status == 200
    return answer.text


async def test_every_metric_of_the_rules_and_dashboards_is_served_by_a_gateway(api: Api) -> None:
    await api.call("GET", "/v1/sessions")
    served = set(re.findall(r"^# TYPE (\S+) ", await scraped(api), re.MULTILINE))
    named = {name for _, expression in expressions() for name, _ in selectors(expression)} - {"up"}
    assert len(named) > 30
    assert {re.sub(r"_bucket$", "", name) for name in named} - served == set()


async def test_a_hold_that_ends_within_two_hours_and_is_not_captured_counts(api: Api) -> None:
    api.psp.capture_before = START + timedelta(hours=3)
    await api.authorize(key="k1")
    assert "\nnetworkcore_card_holds_ending 0.0\n" in await scraped(api)
    api.clock.at += timedelta(hours=2)
    assert "\nnetworkcore_card_holds_ending 1.0\n" in await scraped(api)
