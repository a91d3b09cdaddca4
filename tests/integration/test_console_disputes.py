"""The console's disputes, and a session's timeline that needs no event."""

import re
from collections.abc import AsyncIterator

import pytest

from gateway.console.texts import catalogue
from gateway.database import Pool
from tests.fakes.console import HOSTILE, ConsoleOfTest, disputed, open_console, paid_session


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


async def test_a_timeline_is_whole_when_its_events_are_deleted(console: ConsoleOfTest, pool: Pool) -> None:
    session = await paid_session(console.api)
    await disputed(console.api, session)
    visitor = await console.signed_in()
    path = f"/console/sessions/{session}"
    keys = (
        "event.authorization.authorized",
        "event.capture.succeeded",
        "event.dispute.opened",
        "timeline.booked",
        "timeline.payout_paid",
    )

    async def steps() -> dict[str, int]:
        shown = (await visitor.get(path)).text
        entries = shown[shown.index('<ol class="timeline">') : shown.index("</ol>")]
        return {key: entries.count(catalogue()[key]["en"]) for key in keys}

    with_events = await steps()
    await pool.execute("DELETE FROM gateway.delivery")
    await pool.execute("DELETE FROM gateway.event")
    assert await steps() == with_events
    assert all(with_events.values()), with_events
    assert with_events["event.dispute.opened"] == with_events["event.capture.succeeded"] == 1
    operator = await console.signed_in(party="DE-ABC", role="viewer")
    theirs = (await operator.get(path)).text
    assert catalogue()["event.authorization.authorized"]["en"] not in theirs  # who pays how is its partner's
    assert HOSTILE not in theirs
