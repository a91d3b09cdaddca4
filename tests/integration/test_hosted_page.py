"""Paying on the PSP's own page, over real HTTP on a PostgreSQL: held once, whoever learns of it first."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape

import pytest

from gateway.database import Pool
from gateway.ids import format_id
from gateway.jobs.hold_monitor import HoldMonitorJob
from gateway.payments.psp.port import PspEvent
from tests.fakes.driver_page import EVSE, PAGE, PARTNER, Driver, Seen, open_driver_page, token_of

FORM = f"{PAGE}/hosted-page"


@pytest.fixture
async def driver(pool: Pool) -> AsyncIterator[Driver]:
    async with open_driver_page(pool) as opened:
        yield opened


async def choose(driver: Driver, page: Seen | None = None, **changes: str) -> Seen:
    """The driver chooses to pay on the PSP's page."""
    shown = page or await driver.get(PAGE)
    form = {name: shown.value(name) for name in ("token", "tariff", "cpo", "lang")}
    return await driver.post(FORM, form | changes)


def page_in(sent: Seen) -> str:
    """The hosted page that a driver was led to."""
    assert sent.status == 303, sent.text
    assert sent.location.startswith("https://psp.example/pay/cs_"), sent.location
    return sent.location.rpartition("/")[2]


async def token_at(driver: Driver, page: str) -> str:
    found: str = await driver.pool.fetchval(
        "SELECT p.token FROM gateway.driver_payment AS p JOIN gateway.payment_authorization AS a "
        "ON a.id = p.authorization_id WHERE a.psp_payment = $1",
        page,
    )
    return found


async def authorization(driver: Driver, token: str) -> tuple[str, str | None]:
    row = await driver.pool.fetchrow(
        "SELECT a.state, a.psp_payment FROM gateway.driver_payment AS p "
        "JOIN gateway.payment_authorization AS a ON a.id = p.authorization_id WHERE p.token = $1",
        token,
    )
    return row["state"], row["psp_payment"]


def starts(driver: Driver) -> int:
    return sum(name == "START_SESSION" for name, _ in driver.operator.commands)


async def test_the_page_offers_the_way_without_script_beside_the_card_form(driver: Driver) -> None:
    shown = await driver.get(PAGE)
    plain = re.search(r'<form id="pay-there" class="plain".*?</form>', shown.text, re.DOTALL)
    assert plain
    assert f'action="{FORM}"' in plain[0]
    assert "by the operator's app" in unescape(plain[0])  # what else there is, where that page opens neither
    assert re.search(r"<noscript><link rel=.stylesheet. href=./driver-page/plain.css", shown.text)
    assert "form-action 'self' https://psp.example;" in shown.headers["Content-Security-Policy"]
    style = await driver.get("/driver-page/plain.css")
    assert "#pay" in style.text


async def test_a_driver_pays_on_the_psps_page_and_charges(driver: Driver) -> None:
    sent = await choose(driver)
    page = page_in(sent)
    token = await token_at(driver, page)
    payment = driver.psp.payments[page]
    assert payment.request.return_url == f"http://page.test/charge/{token}/return"
    assert (payment.request.locale, payment.request.payment_method) == ("en", "hosted_page")
    made = driver.edge.clock.now()
    assert timedelta(minutes=34) < payment.request.page_until - made <= timedelta(minutes=35)
    back = await driver.get(f"/charge/{token}")  # before anything was paid
    assert back.stage == "at_psp"
    assert f"https://psp.example/pay/{page}" in back.text
    assert "To be held on your card" in back.words
    assert starts(driver) == 0
    driver.psp.pay_at_page(page)
    returned = await driver.get(f"/charge/{token}/return?anything=1")
    assert (returned.status, returned.location) == (303, f"/charge/{token}")
    shown = await driver.get(returned.location)
    assert shown.stage == "starting"
    assert await authorization(driver, token) == ("authorized", payment.id)
    await driver.report(token)
    assert (await driver.get(f"/charge/{token}")).stage == "charging"
    stopped = await driver.post(f"/charge/{token}/stop", {})
    assert stopped.status == 303
    await driver.complete(token)
    assert (await driver.get(f"/charge/{token}")).stage == "paid"
    assert (driver.psp.capture_effects, starts(driver)) == (1, 1)
    await driver.clear()
    receipt = await driver.get(f"/charge/{token}/receipt.pdf")
    assert receipt.headers["Content-Type"] == "application/pdf"


async def test_two_returns_two_tabs_and_the_event_adopt_one_hold_and_start_once(driver: Driver) -> None:
    page = page_in(await choose(driver))
    token = await token_at(driver, page)
    driver.psp.pay_at_page(page)
    await asyncio.gather(
        *(driver.get(f"/charge/{token}/return") for _ in range(3)),
        *(driver.get(f"/charge/{token}") for _ in range(3)),
        *(driver.payments.psp_events.sync_payment(psp_payment=page) for _ in range(3)),
    )
    assert (await driver.get(f"/charge/{token}")).stage == "starting"
    assert await authorization(driver, token) == ("authorized", driver.psp.payments[page].id)
    assert starts(driver) == 1


async def test_an_event_before_the_return_adopts_the_hold(driver: Driver) -> None:
    page = page_in(await choose(driver))
    token = await token_at(driver, page)
    driver.psp.pay_at_page(page)
    assert await driver.payments.psp_events.sync_payment(psp_payment=page)
    held = driver.psp.payments[page].id
    assert await authorization(driver, token) == ("authorized", held)
    # From now on the payment itself is known by its own id, for captures, refunds and disputes.
    assert await driver.payments.psp_events.sync_payment(psp_payment=held)
    assert (await driver.get(f"/charge/{token}/return")).status == 303
    assert (await driver.get(f"/charge/{token}")).stage == "starting"


async def test_the_event_of_a_page_under_way_leaves_a_task_for_the_worker_and_a_late_one_none(
    driver: Driver,
) -> None:
    page = page_in(await choose(driver))
    token = await token_at(driver, page)
    for number in (1, 2):
        event = PspEvent(
            id=f"evt_{number}", psp_type="checkout.session.completed", psp_payment=page, session_id=None
        )
        assert await driver.payments.psp_events.keep_event(event, f"evt_{number}".encode())
        driver.psp.pay_at_page(page)
        await driver.payments.psp_events.sync_payment(psp_payment=page)
    assert (await authorization(driver, token))[0] == "authorized"
    tasks = await driver.pool.fetch("SELECT payload FROM gateway.task WHERE kind = 'handle_psp_event'")
    assert [page in str(one["payload"]) for one in tasks] == [True]


async def test_a_driver_who_never_returns_is_found_and_the_hold_released_in_time(driver: Driver) -> None:
    page = page_in(await choose(driver))
    token = await token_at(driver, page)
    driver.edge.clock.at += timedelta(minutes=20)  # paid after the patience for payments that start nothing
    driver.psp.pay_at_page(page)
    await HoldMonitorJob(clock=driver.edge.clock, payments=driver.payments).run_once()
    assert (await authorization(driver, token))[0] == "authorized"
    await driver.run_job(after=timedelta(minutes=1))  # counted from the hold, not from the tap
    assert (await authorization(driver, token))[0] == "authorized"
    await driver.run_job(after=timedelta(minutes=15))
    assert (await authorization(driver, token))[0] == "voided"
    assert driver.psp.payments[page].status == "canceled"
    shown = await driver.get(f"/charge/{token}")
    assert shown.stage == "released"
    assert starts(driver) == 0


async def test_a_page_that_expires_unpaid_holds_nothing_and_says_so(driver: Driver) -> None:
    page = page_in(await choose(driver))
    token = await token_at(driver, page)
    driver.psp.payments[page].status = "canceled"  # the PSP ended it
    shown = await driver.get(f"/charge/{token}")
    assert shown.stage == "lapsed"
    assert "Nothing was paid" in shown.words
    assert "Try again" in shown.words
    driver.psp.pay_at_page(page)  # too late
    assert (await driver.get(f"/charge/{token}")).stage == "lapsed"
    assert starts(driver) == 0


async def test_a_driver_who_cancels_can_pay_no_more_on_that_page(driver: Driver) -> None:
    page = page_in(await choose(driver))
    token = await token_at(driver, page)
    cancelled = await driver.post(f"/charge/{token}/cancel", {})
    assert cancelled.status == 303
    assert (await driver.get(f"/charge/{token}")).stage == "lapsed"
    driver.psp.pay_at_page(page)
    assert driver.psp.payments[page].status == "canceled"


async def test_a_cancel_that_meets_a_payment_releases_it(driver: Driver) -> None:
    page = page_in(await choose(driver))
    token = await token_at(driver, page)
    driver.psp.pay_at_page(page)  # in the other tab, a moment before
    # Only read of what we know: the page's own way would read the payment first.
    reference = await driver.pool.fetchval(
        "SELECT authorization_id FROM gateway.driver_payment WHERE token = $1", token
    )
    await driver.payments.release(party_id=PARTNER, authorization_id=reference)
    assert driver.psp.payments[page].status == "canceled"
    assert starts(driver) == 0


@pytest.mark.parametrize("changes", [{"held_minor": 3000}, {"held_minor": 9000}, {"currency": "USD"}])
async def test_another_amount_than_was_shown_is_released_and_the_operator_learns_of_it(
    driver: Driver, changes: dict[str, object]
) -> None:
    page = page_in(await choose(driver))
    token = await token_at(driver, page)
    driver.psp.pay_at_page(page, **changes)
    await driver.get(f"/charge/{token}/return")
    shown = await driver.get(f"/charge/{token}")
    assert shown.stage == "lapsed"
    assert driver.psp.payments[page].status == "canceled"
    assert starts(driver) == 0
    incidents = await driver.pool.fetch("SELECT code FROM gateway.psp_incident")
    assert [one["code"] for one in incidents] == ["other_amount_held"]


async def test_the_same_form_twice_leads_to_the_same_page(driver: Driver) -> None:
    shown = await driver.get(PAGE)
    first, second = await asyncio.gather(choose(driver, shown), choose(driver, shown))
    third = await choose(driver, shown)
    assert page_in(first) == page_in(third)
    led = {one.location for one in (first, second)}
    assert led <= {first.location, third.location, f"/charge/{shown.value('token')}?lang=en"}
    assert await driver.pool.fetchval("SELECT count(*) FROM gateway.payment_authorization") == 1


async def test_a_declined_card_is_followed_by_the_page(driver: Driver) -> None:
    shown = await driver.get(PAGE)
    declined = await driver.send_payment("pm_declined", page=shown)
    page = page_in(await choose(driver, shown))
    assert await token_at(driver, page) != token_of(declined)


async def test_an_address_that_is_not_the_psps_page_is_never_led_to(driver: Driver) -> None:
    host = driver.psp.payers.page_sources
    object.__setattr__(host, "pages", ("https://other.example",))
    try:
        sent = await choose(driver)
        assert sent.status == 303
        assert sent.location.startswith("/charge/")
        shown = await driver.get(sent.location)
        assert "https://psp.example/pay/" in shown.text  # a link, which says where it leads
    finally:
        object.__setattr__(host, "pages", ("https://psp.example",))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"token": "short"}, 400),
        ({"token": "../" + "a" * 40}, 400),
        ({"tariff": "0" * 64}, 409),
    ],
)
async def test_a_form_that_is_none_of_ours_begins_nothing(
    driver: Driver, changes: dict[str, str], status: int
) -> None:
    assert (await choose(driver, **changes)).status == status
    assert await driver.pool.fetchval("SELECT count(*) FROM gateway.driver_payment") == 0


async def test_a_form_from_another_site_is_refused_and_many_are_slowed_down(driver: Driver) -> None:
    shown = await driver.get(PAGE)
    form = {name: shown.value(name) for name in ("token", "tariff", "cpo", "lang")}
    assert (await driver.post(FORM, form, Sec_Fetch_Site="cross-site")).status == 403
    assert (await driver.post(FORM, form, Origin="https://evil.example")).status == 403
    answers = [(await choose(driver, shown, token=f"{number:043d}")).status for number in range(14)]
    assert answers[0] == 303
    assert 429 in answers


async def test_the_page_is_in_the_drivers_language(driver: Driver) -> None:
    shown = await driver.get(f"{PAGE}?lang=fr")
    page = page_in(await choose(driver, shown))
    assert driver.psp.payments[page].request.locale == "fr"
    shown = await driver.get(f"/charge/{await token_at(driver, page)}")
    assert "Pas encore payé" in shown.words


async def test_a_lost_answer_is_awaited_and_the_page_found_then(driver: Driver) -> None:
    driver.psp.faults.append("after")
    sent = await choose(driver)
    assert (sent.status, sent.location[:8]) == (303, "/charge/")
    assert (await driver.get(sent.location)).stage == "checking"
    again = await choose(driver, None)
    assert page_in(again)
    assert EVSE in (await driver.get(sent.location)).words


async def test_the_name_of_the_session_is_sent_with_the_page(driver: Driver) -> None:
    page = page_in(await choose(driver))
    request = driver.psp.payments[page].request
    token = await token_at(driver, page)
    assert format_id("auth", request.authorization_id) == await driver.authorization(token)
    metadata = await driver.pool.fetchval(
        "SELECT metadata FROM gateway.payment_authorization WHERE psp_payment = $1", page
    )
    assert "driver_page" in str(metadata)
    assert "language" in str(metadata)
