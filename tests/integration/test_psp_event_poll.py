"""The poll of the PSP's list of events: what no webhook brought is kept, in order and in bounded memory."""

import json
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import pytest
from typing_extensions import override

from gateway.database import Pool
from gateway.jobs.psp_event_poll import PspEventPollJob
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp.failures import PspOutcomeUnknown
from gateway.payments.psp.port import PspEvent
from gateway.payments.psp.stripe.events import read_signed_event
from gateway.payments.psp.stripe.kept_events import kept_body, without_secrets
from gateway.payments.service import PaymentService, build_payments
from tests.fakes.api import OneTariff
from tests.fakes.psp import FakePsp
from tests.integration.test_payments import Hands

PAGES, PAGE, BODY_BYTES = 50, 100, 20_000


class Listing(FakePsp):
    """A PSP with a long list of events of Stripe's form, newest first, each page made when it is read."""

    def __init__(self, *, breaks_after: int = PAGES) -> None:
        super().__init__()
        self.breaks_after = breaks_after

    @override
    def parse_event(self, body: bytes) -> PspEvent:
        return read_signed_event(body, live=False)

    @override
    def kept_body(self, body: bytes, *, whole: bool) -> bytes:
        return without_secrets(body) if whole else kept_body(body)

    @override
    async def event_pages_since(
        self, *, since: datetime, limit: int
    ) -> AsyncIterator[Sequence[bytes] | PspOutcomeUnknown]:
        for page in range(PAGES):
            if page == self.breaks_after:
                yield PspOutcomeUnknown(reason="timeout")
                return
            yield [listed(PAGES * PAGE - page * PAGE - place) for place in range(PAGE)]


def listed(number: int) -> bytes:
    subject = {"object": "payment_intent", "id": f"pi_{number // 2}", "description": "x" * BODY_BYTES}
    said = {"id": f"evt_{number}", "type": "payment_intent.canceled", "livemode": False, "created": number}
    return json.dumps(said | {"data": {"object": subject}}).encode()


def payments_of(pool: Pool, psp: FakePsp) -> PaymentService:
    return build_payments(
        pool=pool, psp=psp, tariffs=OneTariff(), clock=Hands(), policy=PaymentPolicy(), checked=False
    )


@pytest.fixture
async def known(pool: Pool) -> Pool:
    """All events but five have come by webhook."""
    payments = payments_of(pool, Listing())
    for number in range(1, PAGES * PAGE + 1):
        if number % 1000:
            body = listed(number)
            await payments.psp_events.keep_event(payments.psp.parse_event(body), body)
    return pool


async def test_a_long_list_is_read_in_the_memory_of_a_page(known: Pool) -> None:
    job = PspEventPollJob(clock=Hands(), payments=payments_of(known, Listing()))
    tracemalloc.start()
    try:
        assert await job.run_once() == 5
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 * PAGE * BODY_BYTES, "a few pages; the list has fifty"
    found = await known.fetch(
        "SELECT id, length(body) AS bytes FROM gateway.psp_event"
        " ORDER BY received_at, split_part(id, '_', 2)::int"
    )
    assert len(found) == PAGES * PAGE
    assert max(row["bytes"] for row in found) < 200


async def test_what_was_missed_is_kept_oldest_first_and_nothing_of_a_list_that_broke_off(pool: Pool) -> None:
    kept: list[str] = []
    broken = PspEventPollJob(clock=Hands(), payments=payments_of(pool, Listing(breaks_after=1)))
    assert await broken.run_once() == 0
    assert await pool.fetchval("SELECT count(*) FROM gateway.psp_event") == 0

    class Short(Listing):
        @override
        async def event_pages_since(
            self, *, since: datetime, limit: int
        ) -> AsyncIterator[Sequence[bytes] | PspOutcomeUnknown]:
            yield [listed(number) for number in (9, 8, 7)]
            yield [listed(number) for number in (10, 6)]

        @override
        def kept_body(self, body: bytes, *, whole: bool) -> bytes:
            shown = super().kept_body(body, whole=whole)
            kept.append(json.loads(shown)["id"])
            return shown

    job = PspEventPollJob(clock=Hands(), payments=payments_of(pool, Short()))
    assert await job.run_once() == 5
    assert kept[-5:] == [f"evt_{number}" for number in (6, 7, 8, 9, 10)]
