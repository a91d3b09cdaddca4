"""What a captured session costs the database: its statements are counted, so that they can't creep back.

One connection serves the whole API here, which also shows that no request holds two at once.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.database import create_pool
from gateway.ids import parse_id
from gateway.payments.psp.port import PspEvent, PspEventKind
from gateway.payments.psp_events import PspEventHandler
from tests.fakes.api import Answer, Api, open_api

# Intent with the key's claim, outcome with its answer. The OCPI package reads the charge point: one more.
AUTHORIZE = 2
# One read; the CDR with its price, the intent and the key's claim; the outcome with the key's answer.
COMPLETE = 3
# Idempotency-Key: claim and answer; intent and outcome; two reads, and whether the session has begun.
RELEASE = 7


@dataclass
class Counted:
    """The API and the statements that it made."""

    api: Api
    statements: list[str] = field(default_factory=list)

    def pop_all(self) -> list[str]:
        """The statements since the last look."""
        made, self.statements[:] = list(self.statements), []
        return made


@pytest.fixture
async def counted(database_url: str) -> AsyncIterator[Counted]:
    pool = await create_pool(database_url, min_size=1, max_size=1, application="test")
    statements: list[str] = []
    async with pool.acquire() as connection:
        connection.add_query_logger(lambda query: statements.append(query.query))
    async with open_api(pool) as api:
        yield Counted(api=api, statements=statements)
    await pool.close()


async def authorize(counted: Counted, number: int, **changes: Any) -> dict[str, Any]:
    made = await counted.api.authorize(key=f"a{number}", session_ref=f"R{number}", **changes)
    assert made.status == 201, made.content
    shown: dict[str, Any] = made.json
    return shown


USAGE = {"started_at": "2026-10-29T08:05:00Z", "ended_at": "2026-10-29T08:50:00Z", "energy_wh": 18_500}


async def complete(counted: Counted, shown: dict[str, Any], *, key: str, **usage: Any) -> Answer:
    path = f"/v1/sessions/{shown['session']}/complete"
    return await counted.api.call("POST", path, {"usage": USAGE | usage}, key=key)


async def as_read(counted: Counted, shown: dict[str, Any]) -> tuple[Any, str]:
    """The session as it is read, and the version of its authorization."""
    session = await counted.api.call("GET", f"/v1/sessions/{shown['session']}")
    authorization = await counted.api.call("GET", f"/v1/authorizations/{shown['id']}")
    return session.json, authorization.headers["ETag"]


async def test_a_captured_session_makes_five_statements(counted: Counted) -> None:
    await authorize(counted, 0)  # the key of the caller and the types of the columns are known from then on
    counted.pop_all()
    shown = await authorize(counted, 1)
    assert len(made := counted.pop_all()) <= AUTHORIZE, made
    done = await complete(counted, shown, key="c1")
    assert done.json["capture"]["state"] == "succeeded"
    assert len(made := counted.pop_all()) <= COMPLETE, made


async def test_the_answer_built_from_what_was_written_is_what_is_read(counted: Counted) -> None:
    for number, payment in enumerate(
        (
            {"type": "psp_payment_method", "payment_method": "pm_good"},
            {"type": "psp_payment_method", "payment_method": "pm_late_decline"},
        )
    ):
        shown = await authorize(counted, number, payment=payment)
        read = await counted.api.call("GET", f"/v1/authorizations/{shown['id']}")
        assert (read.json, read.headers["ETag"]) == (shown, f'"{shown["version"]}"')
        done = await complete(counted, shown, key=f"c{number}")
        assert await as_read(counted, shown) == (done.json, done.headers["ETag"])
        again = await complete(counted, shown, key=f"d{number}")  # nothing is left to write
        assert (again.json, again.headers["ETag"]) == (done.json, done.headers["ETag"])


async def test_a_session_that_delivered_nothing_is_answered_as_it_is_read(counted: Counted) -> None:
    shown = await authorize(counted, 1)
    done = await complete(counted, shown, key="c", energy_wh=0)
    assert await as_read(counted, shown) == (done.json, done.headers["ETag"])
    assert done.json["capture"] is None


async def test_a_release_makes_few_statements(counted: Counted) -> None:
    await authorize(counted, 0)
    shown = await authorize(counted, 1)
    counted.pop_all()
    released = await counted.api.call("POST", f"/v1/authorizations/{shown['id']}/release", {}, key="r")
    assert released.json["state"] == "voided"
    assert len(made := counted.pop_all()) <= RELEASE + 1, made


async def test_an_event_that_says_what_is_known_is_kept_and_leaves_no_task(counted: Counted) -> None:
    shown = await authorize(counted, 1)
    handler: PspEventHandler = counted.api.services.payments.psp_events  # type: ignore[attr-defined]
    pool = counted.api.services.pool
    session = parse_id("ses", shown["session"])
    async with pool.acquire() as connection:
        payment = await connection.fetchval(
            "SELECT psp_payment FROM gateway.payment_authorization WHERE session_id = $1",
            session,
        )
    counted.pop_all()
    kinds = ("payment_intent.created", "payment_intent.amount_capturable_updated", "charge.succeeded")
    for number, kind in enumerate(kinds):
        event = PspEvent(id=f"evt_{number}", psp_type=kind, psp_payment=payment, session_id=session)
        assert await handler.keep_event(event, b"{}")
    assert len(counted.pop_all()) == len(kinds)
    ended = PspEvent(
        id="evt_9",
        kind=PspEventKind.HOLD_ENDED,
        psp_type="payment_intent.canceled",
        psp_payment=payment,
        session_id=None,
    )
    assert await handler.keep_event(ended, b"{}")
    async with pool.acquire() as connection:
        left = await connection.fetch("SELECT payload FROM gateway.task WHERE kind = 'handle_psp_event'")
        assert await connection.fetchval("SELECT count(*) FROM gateway.psp_event") == 4
    assert [row["payload"]["event"] for row in left] == ["evt_9"]
