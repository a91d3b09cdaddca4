"""The console's disputes, and a session's timeline that needs no event."""

import re
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from gateway.console.texts import catalogue
from gateway.database import Pool
from gateway.ids import parse_id, shard_of
from gateway.jobs.driver_documents import DriverDocumentJob
from tests.fakes.console import HOSTILE, ConsoleOfTest, Visitor, disputed, open_console, paid_session

WHOLE = (
    "timeline.requested",
    "event.authorization.authorized",
    "timeline.started",
    "timeline.ended",
    "event.session.completed",
    "event.capture.succeeded",
    "event.session.cleared",
    "timeline.booked",
    "timeline.payout_paid",
    "timeline.refund_succeeded",
    "event.dispute.opened",
    "timeline.document",
)


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        yield opened


async def test_a_dispute_has_a_page_for_those_whose_it_is(console: ConsoleOfTest, pool: Pool) -> None:
    session = await paid_session(console.api)
    await disputed(console.api, session)
    row = await pool.fetchrow("SELECT amount_minor, fee_minor, withdrawn_minor, reason FROM gateway.dispute")
    assert tuple(row) == (1190, 1500, 1190, "fraudulent")
    platform = await console.signed_in()
    found = re.search(r"/console/disputes/dsp_\w+", (await platform.get(f"/console/sessions/{session}")).text)
    assert found is not None  # the session leads to it
    listed = (await platform.get("/console/disputes")).text
    assert found[0] in listed
    shown = (await platform.get(found[0])).text
    assert shown.count("11.90\u00a0EUR") >= 3  # the amount as the title, claimed, withdrawn
    assert "15.00\u00a0EUR" in shown  # the fee
    assert f"/console/sessions/{session}" in shown
    assert "/console/events/evt_" in shown
    booked = await pool.fetch(
        "SELECT debit_account, credit_account FROM clearing.transfer WHERE kind = 'dispute'"
    )
    assert booked
    for one in booked:
        assert one["debit_account"] in shown
        assert one["credit_account"] in shown
    assert catalogue()["dispute.not_booked"]["en"] not in shown
    own = await console.signed_in(party="parking", role="viewer")
    theirs = await own.get(found[0])
    assert theirs.status == 200
    assert booked[0]["debit_account"] not in theirs.text  # the journal is of every party's money
    other = await console.signed_in(party="superapp", role="viewer")
    assert (await other.get(found[0])).status == 404
    assert found[0] not in (await other.get("/console/disputes")).text
    assert (await platform.get("/console/disputes/dsp_nothing")).status == 404
    text = (await platform.get("/console/disputes?format=csv")).content.decode("utf-8-sig")
    assert text.splitlines()[1].startswith(f"{found[0].rpartition('/')[2]},{session},opened,")


_STEP = re.compile(r'<p class="what"><span>(?:<a [^>]*>)?([^<]+)')


async def test_a_timeline_is_whole_when_its_events_are_deleted(console: ConsoleOfTest, pool: Pool) -> None:
    session = await paid_session(console.api)
    body = {"session": session, "amount": 150, "reason": "duplicate"}
    assert (await console.api.call("POST", "/v1/refunds", body, key="r1")).json["state"] == "succeeded"
    await disputed(console.api, session)
    while await DriverDocumentJob(pool=pool, clock=console.api.clock).run_once():
        pass
    visitor = await console.signed_in()
    path = f"/console/sessions/{session}"

    async def steps(who: Visitor) -> Counter[str]:
        shown = (await who.get(path)).text
        entries = shown[shown.index('<ol class="timeline">') : shown.index("</ol>")]
        return Counter(one.strip() for one in _STEP.findall(entries))

    operator = await console.signed_in(party="DE-ABC", role="viewer")
    partner = await console.signed_in(party="parking", role="viewer")
    with_events = [await steps(who) for who in (visitor, operator, partner)]
    await pool.execute("DELETE FROM gateway.delivery")
    await pool.execute("DELETE FROM gateway.event")
    assert [await steps(who) for who in (visitor, operator, partner)] == with_events
    of_platform, of_operator, of_partner = (
        {key: found[catalogue()[key]["en"]] for key in WHOLE} for found in with_events
    )
    assert of_platform == dict.fromkeys(WHOLE, 1) | {
        "timeline.booked": of_platform["timeline.booked"],  # the dispute and the refund, not the sale again
        "timeline.payout_paid": 2,
    }
    assert of_platform["timeline.booked"] >= 1
    assert of_partner["event.authorization.authorized"] == of_partner["event.session.cleared"] == 1
    assert of_operator["event.authorization.authorized"] == 0  # who pays how is its partner's
    assert of_operator["event.session.completed"] == of_operator["event.session.cleared"] == 1
    shown = (await visitor.get(path)).text
    assert HOSTILE not in shown
    for kind in ("auth", "cap", "ref"):
        assert re.search(rf'href="/console/objects/{kind}_\w+"', shown), kind


async def test_a_timeline_keeps_what_stopped_without_events(console: ConsoleOfTest, pool: Pool) -> None:
    """Usage that its payer stated, a flag of a check, and clearing that failed first."""
    session = await paid_session(console.api)
    session_id = parse_id("ses", session)
    shard = shard_of(session_id)
    row = await pool.fetchrow("SELECT * FROM gateway.session WHERE id = $1", session_id)
    await pool.execute(
        "INSERT INTO gateway.provisional_usage (shard, session_id, party_id, cdr_version, cdr, price_minor, "
        "energy_wh, started_at, ended_at, stated_at) VALUES ($1, $2, 'parking', $3, $4, 1100, 1, $5, $6, $6)",
        shard,
        session_id,
        row["cdr_version"],
        row["cdr"],
        row["started_at"],
        row["ended_at"],
    )
    await pool.execute(
        "INSERT INTO clearing.session_exception (shard, session_id, reason, detail, exception_at, last_at, "
        "resolved_at) VALUES ($1, $2, 'no_agreement', 'none', $3, $3, $3)",
        shard,
        session_id,
        row["ended_at"],
    )
    await pool.execute(
        "UPDATE gateway.session SET flags = '{cpo_total_differs,unpaid}' WHERE id = $1", session_id
    )
    await pool.execute("DELETE FROM gateway.delivery")
    await pool.execute("DELETE FROM gateway.event")
    visitor = await console.signed_in()
    shown = (await visitor.get(f"/console/sessions/{session}")).text
    entries = shown[shown.index('<ol class="timeline">') : shown.index("</ol>")]
    for key in (
        "event.session.usage_stated",
        "event.session.exception",
        "event.session.cleared",
        "timeline.checks_flagged",
    ):
        assert entries.count(catalogue()[key]["en"]) == 1, key
    assert "cpo total differs" in entries
    assert "unpaid" not in entries  # of no check
