"""The driver page over real HTTP on a real PostgreSQL: each path from the price to the receipt."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape

import pytest
from aiohttp import web
from typing_extensions import override

from gateway.database import Pool
from gateway.limits.address_limit import AddressLimiter
from gateway.limits.rate_limit import RateRule
from tests.fakes.driver_page import BRAND, EVSE, PAGE, Driver, open_driver_page, token_of
from tests.fakes.ocpi_objects import tariff

COMPANY = {
    "name": "Vracht B.V.",
    "street": "Haven 3",
    "postal_code": "3011 AB",
    "city": "Rotterdam",
    "country": "nl",
    "vat_id": "NL 0044 95445 B01",
}


class StoppedLimiter(AddressLimiter):
    """A limit in which no time passes, however long a request takes here."""

    @override
    def check(self, request: web.Request) -> None:
        self._buckets.check(self.address(request), at=0.0)

    @override
    def count(self, request: web.Request) -> None:
        self._buckets.count(self.address(request), at=0.0)


@pytest.fixture
async def driver(pool: Pool) -> AsyncIterator[Driver]:
    async with open_driver_page(pool) as opened:
        yield opened


async def holds(driver: Driver) -> int:
    return sum(kind == "hold" for kind, _ in driver.psp.calls)


async def test_the_price_per_kwh_comes_first_then_what_is_held(driver: Driver) -> None:
    page = await driver.get(PAGE)
    assert page.status == 200
    words = page.words
    assert BRAND in words
    assert EVSE in words
    assert (
        words.index("0.5929 EUR per kWh") < words.index("Held on your card") < words.index("Pay and charge")
    )
    assert "incl. 21 % VAT" in words
    assert "35.57 EUR" in words  # 60 kWh, a full charge, at the price shown
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self' https://psp.example;" in policy
    assert "unsafe" not in policy


async def test_every_price_of_the_tariff_is_shown_before_paying(pool: Pool) -> None:
    elements = [
        {"price_components": [{"type": "FLAT", "price": 1.0, "vat": 21.0, "step_size": 1}]},
        {"price_components": [{"type": "PARKING_TIME", "price": 6.0, "vat": 21.0, "step_size": 60}]},
        {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 21.0, "step_size": 1}]},
    ]
    async with open_driver_page(pool, price={"elements": elements}) as driver:
        words = (await driver.get(PAGE)).words
    assert words.index("per kWh") < words.index("per minute") < words.index("per session")


@pytest.mark.parametrize(
    ("accepts", "query", "expected"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "", "Bezahlen und laden"),
        ("es,fr;q=0.4,it;q=0.3", "", "Payer et recharger"),
        ("ja", "", "Pay and charge"),
        ("de", "?lang=it", "Paga e ricarica"),
        ("it", "?lang=xx", "Paga e ricarica"),
    ],
)
async def test_the_language_is_the_browsers_or_the_chosen_one(
    driver: Driver, accepts: str, query: str, expected: str
) -> None:
    assert expected in (await driver.get(PAGE + query, Accept_Language=accepts)).words


async def test_a_paid_session_is_started_and_followed_to_its_receipt(driver: Driver) -> None:
    page = await driver.pay()
    token = token_of(page)
    assert page.stage == "starting"
    [(command, body)] = driver.operator.commands
    assert (command, body["evse_uid"]) == ("START_SESSION", "E1")
    assert body["authorization_reference"] == await driver.authorization(token)

    await driver.report(token, kwh=10.0)
    running = await driver.get(f"/charge/{token}")
    assert (running.stage, running.figure("energy")) == ("charging", "10.0 kWh")
    assert running.figure("cost") == "5.93 EUR"

    stopped = await driver.post(f"/charge/{token}/stop", {})
    assert stopped.status == 303
    assert driver.operator.commands[-1] == (
        "STOP_SESSION",
        {"session_id": "S1", "response_url": driver.operator.commands[-1][1]["response_url"]},
    )
    assert (await driver.get(stopped.location)).stage == "stopping"

    await driver.complete(token)
    paid = await driver.get(f"/charge/{token}")
    assert (paid.stage, paid.figure("total"), paid.figure("energy")) == ("paid", "12.15 EUR", "20.5 kWh")
    assert "Your receipt will be here" in paid.words
    assert "The operator sent no signed record" in paid.words
    assert driver.psp.capture_effects == 1


async def test_the_receipt_and_a_refund_are_documents_to_download(driver: Driver) -> None:
    token = token_of(await driver.pay())
    await driver.complete(token)
    waiting = await driver.get(f"/charge/{token}/receipt.pdf")
    assert waiting.status == 409
    await driver.clear()
    page = await driver.get(f"/charge/{token}")
    assert "Receipt (PDF)" in page.words
    assert 'data-moving="0"' in page.text
    [path] = re.findall(r'href="(/charge/[^"]*/receipt\.pdf[^"]*)"', page.text)
    document = await driver.get(unescape(path))
    assert document.status == 200
    assert document.text.startswith("%PDF-")
    assert document.headers["Content-Disposition"].startswith('attachment; filename="D')
    unknown = await driver.get(f"/charge/{token}/receipt.pdf?document=DI-other")
    assert unknown.status == 409


async def test_a_company_is_the_buyer_on_the_invoice(driver: Driver) -> None:
    token = token_of(await driver.pay())
    assert (await driver.post(f"/charge/{token}/company", COMPANY)).status == 303
    await driver.complete(token)
    await driver.clear()
    buyer = await driver.pool.fetchval("SELECT buyer_id FROM gateway.session_buyer")
    [name] = await driver.pool.fetch("SELECT * FROM clearing.party WHERE id = $1", buyer)
    assert name["name"] == "Vracht B.V."
    assert (await driver.get(f"/charge/{token}/receipt.pdf")).status == 200


async def test_a_company_that_can_not_be_named_any_more_is_said_so(driver: Driver) -> None:
    token = token_of(await driver.pay("pm_challenge"))
    await driver.post(f"/charge/{token}/cancel", {})
    late = await driver.post(f"/charge/{token}/company", COMPANY)
    assert late.status == 409
    assert "was made out already" in late.words


async def test_the_same_form_twice_is_one_payment(driver: Driver) -> None:
    shown = await driver.get(PAGE)
    first, second = await asyncio.gather(
        driver.send_payment(page=shown), driver.send_payment("pm_good_2", page=shown)
    )
    assert first.location == second.location
    assert len(driver.psp.payments) == 1
    assert len(driver.operator.commands) == 1
    again = await driver.send_payment("pm_third", page=shown)  # the back button, and once more
    assert again.location == first.location
    assert len(driver.psp.payments) == 1


async def test_a_reload_sends_nothing(driver: Driver) -> None:
    page = await driver.pay()
    for _ in range(3):
        assert (await driver.get(f"/charge/{token_of(page)}")).stage == "starting"
    assert await holds(driver) == 1
    assert len(driver.operator.commands) == 1


async def test_a_declined_card_says_what_helps_and_another_card_pays(driver: Driver) -> None:
    shown = await driver.get(PAGE)
    declined = await driver.pay("pm_declined", page=shown)
    assert declined.stage == "declined"
    assert "Nothing was charged" in declined.words
    assert "Your card does not cover the hold" in declined.words
    assert driver.operator.commands == []
    # The browser's back button shows the same form: another card is another payment, a double tap is not.
    first, second = await asyncio.gather(
        driver.send_payment("pm_good", page=shown), driver.send_payment("pm_good", page=shown)
    )
    assert first.location == second.location
    assert token_of(first) != token_of(declined)
    assert (await driver.get(first.location)).stage == "starting"
    assert len(driver.psp.payments) == 1


async def test_a_bank_that_asks_is_a_link_and_its_answer_is_read_at_the_return(driver: Driver) -> None:
    page = await driver.pay("pm_challenge")
    token = token_of(page)
    assert page.stage == "confirm"
    assert 'href="https://psp.example/challenge' in page.text
    assert 'data-follow="1"' in page.text
    # The form's own answer leads to a page of ours: a redirect to a bank would break form-action 'self'.
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    assert driver.operator.commands == []
    driver.psp.authenticate(next(iter(driver.psp.payments)))
    back = await driver.get(
        f"/charge/{token}/return?payment_intent=pi_1&payment_intent_client_secret=pi_1_secret_x"
    )
    assert (back.status, back.location) == (303, f"/charge/{token}")
    assert (await driver.get(back.location)).stage == "starting"
    assert len(driver.operator.commands) == 1


async def test_a_confirmation_that_is_not_wanted_releases_the_hold(driver: Driver) -> None:
    token = token_of(await driver.pay("pm_challenge"))
    done = await driver.post(f"/charge/{token}/cancel", {})
    page = await driver.get(done.location)
    assert page.stage == "released"
    assert "You cancelled the payment" in page.words
    assert next(iter(driver.psp.payments.values())).status != "held"
    assert driver.operator.commands == []


async def test_an_operator_that_takes_no_commands_is_said_so(pool: Pool) -> None:
    async with open_driver_page(pool, connected=False) as driver:
        page = await driver.pay()
        assert page.stage == "plug_in"
        assert "plug in now" in page.words
        refused = await driver.post(f"/charge/{token_of(page)}/cancel", {})
        assert refused.status == 409  # a vehicle may be charging: nobody would know
        await driver.run_job(after=timedelta(hours=2))
        assert (await driver.get(f"/charge/{token_of(page)}")).stage == "plug_in"


async def test_a_refused_start_may_be_repeated_or_cancelled(driver: Driver) -> None:
    driver.operator.answer = "REJECTED"
    page = await driver.pay()
    token = token_of(page)
    assert (await driver.get(f"/charge/{token}")).stage == "start_failed"
    driver.operator.answer = "ACCEPTED"
    await driver.post(f"/charge/{token}/start", {})
    assert (await driver.get(f"/charge/{token}")).stage == "starting"
    assert len(driver.operator.commands) == 2
    refused = await driver.post(f"/charge/{token}/cancel", {})
    assert refused.status == 409  # the operator has accepted: its record ends the payment
    assert "not possible any more" in refused.words


async def test_a_hold_whose_charger_never_started_is_released_and_the_page_says_why(driver: Driver) -> None:
    driver.operator.answer = "REJECTED"
    token = token_of(await driver.pay())
    await driver.run_job(after=timedelta(minutes=14))
    assert (await driver.get(f"/charge/{token}")).stage == "start_failed"
    await driver.run_job(after=timedelta(minutes=2))
    page = await driver.get(f"/charge/{token}")
    assert page.stage == "released"
    assert "The charger did not start" in page.words


async def test_a_session_that_the_operator_reports_is_never_released(driver: Driver) -> None:
    driver.operator.answer = "REJECTED"
    token = token_of(await driver.pay())
    await driver.report(token)  # a driver who started at the charger itself
    await driver.run_job(after=timedelta(minutes=30))
    assert (await driver.get(f"/charge/{token}")).stage == "charging"


async def test_what_changes_between_the_page_and_the_payment_is_shown_first(driver: Driver) -> None:
    shown = await driver.get(PAGE)
    changed = tariff(price=0.99, last_updated="2026-10-29T07:30:00Z")
    await driver.edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", driver.ocpi_token, changed)
    refused = await driver.send_payment(page=shown)
    assert refused.status == 409
    assert "The price has changed" in refused.words
    assert "1.1979 EUR per kWh" in refused.words
    assert driver.psp.payments == {}
    assert (await driver.pay(page=refused)).stage == "starting"


async def test_an_evse_that_nobody_has_published_is_not_found(driver: Driver) -> None:
    odd = ("/c/NL*ABC*E0001?cpo=%00", "/c/NL*ABC*E0001?cpo=DE-XYZ", "/c/%00")
    for path in ("/c/NL*ABC*E9999", "/c/-", "/c/%F0%9F%9A%97", *odd):
        page = await driver.get(path)
        assert page.status == 404, path
    assert "not known here" in (await driver.get("/c/NL*ABC*E9999")).words


async def test_without_a_page_or_a_price_nobody_pays(pool: Pool) -> None:
    async with open_driver_page(pool, set_up=False) as driver:
        assert (await driver.get(PAGE)).status == 404
    # A tariff that is not in force yet.
    async with open_driver_page(pool, price={"start_date_time": "2027-01-01T00:00:00Z"}) as driver:
        page = await driver.get(PAGE)
        assert page.status == 409
        assert "No price is known" in page.words
        assert "<form" not in page.text


async def test_a_charger_out_of_order_takes_no_payment(pool: Pool) -> None:
    broken = {
        "evses": [
            {
                "uid": "E1",
                "evse_id": EVSE,
                "status": "OUTOFORDER",
                "last_updated": "2026-10-29T07:00:00Z",
                "connectors": [],
            }
        ]
    }
    async with open_driver_page(pool) as driver:
        fine = await driver.get(PAGE)
        await driver.edge.call(
            "PATCH",
            "/emsp/2.2.1/locations/NL/ABC/LOC1/E1",
            driver.ocpi_token,
            {"status": broken["evses"][0]["status"], "last_updated": "2026-10-29T07:45:00Z"},
        )
        page = await driver.get(PAGE)
        assert "out of order" in page.words
        assert "<form" not in page.text
        assert (await driver.send_payment(page=fine)).status == 400
        assert driver.psp.payments == {}


async def test_names_of_others_are_text(pool: Pool) -> None:
    attack = "<script>alert(1)</script>\"'><img src=x>"
    async with open_driver_page(pool, place={"name": attack, "address": attack[:45]}) as driver:
        page = await driver.get(PAGE)
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert attack in page.words
        reflected = await driver.get("/c/%3Cscript%3Ealert(1)%3C%2Fscript%3E?cpo=%22%3E%3Cscript%3E")
        assert "<script>alert" not in reflected.text
        token = token_of(await driver.pay())
        await driver.report(token)
        form = {"name": attack, "street": attack, "postal_code": "1", "city": "x", "country": "<b>"}
        wrong = await driver.post(f"/charge/{token}/company", form)
        assert wrong.status == 422
        assert "<script>alert" not in wrong.text
        assert 'aria-invalid="true"' in wrong.text


async def test_a_company_is_named_until_the_session_is_cleared(driver: Driver) -> None:
    token = token_of(await driver.pay())
    for _ in range(2):  # a double tap is one buyer
        assert (await driver.post(f"/charge/{token}/company", COMPANY)).status == 303
    assert await driver.pool.fetchval("SELECT count(*) FROM gateway.buyer WHERE party_id = 'superapp'") == 1
    assert await driver.pool.fetchval("SELECT count(*) FROM gateway.session_buyer") == 1
    assert "in the company's name" in (await driver.get(f"/charge/{token}")).words
    bad = await driver.post(f"/charge/{token}/company", COMPANY | {"vat_id": "NL004495446B01"})
    assert bad.status == 422


async def test_a_token_that_is_none_is_not_found_and_soon_refused(pool: Pool) -> None:
    limit = StoppedLimiter(RateRule(name="address", per_second=1, burst=5))
    async with open_driver_page(pool, looking=limit) as driver:
        answers = [(await driver.get(f"/charge/{'x' * 42}{number}")).status for number in range(8)]
        assert answers[:5] == [404] * 5
        assert set(answers[5:]) == {429}


async def test_paying_is_limited_by_address_and_by_charger(pool: Pool) -> None:
    limit = StoppedLimiter(RateRule(name="address", per_second=1, burst=3))
    async with open_driver_page(pool, paying=limit) as driver:
        answers = [(await driver.send_payment(f"pm_{number}")).status for number in range(5)]
        assert answers == [303, 303, 303, 429, 429]
    many = AddressLimiter(RateRule(name="address", per_second=100, burst=100))
    async with open_driver_page(pool, paying=many) as driver:
        for number in range(17):
            assert (await driver.send_payment(f"pm_more_{number}")).status == 303
        full = await driver.send_payment("pm_last")
        assert full.status == 429
        assert "wait ten minutes" in full.words


async def test_a_form_from_another_site_is_refused(driver: Driver) -> None:
    shown = await driver.get(PAGE)
    form = {name: shown.value(name) for name in ("token", "tariff", "cpo", "lang")} | {
        "payment_method": "pm_good"
    }
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert (await driver.post(f"{PAGE}/pay", form, **headers)).status == 403
    assert driver.psp.payments == {}
    own = await driver.post(f"{PAGE}/pay", form, Sec_Fetch_Site="same-origin")
    assert own.status == 303


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "short"},
        {"payment_method": ""},
        {"payment_method": "../../v1/refunds"},
        {"token": "x" * 43 + "\x00"},
        {"tariff": "y" * 9000},
    ],
)
async def test_a_form_that_is_not_ours_holds_nothing(driver: Driver, changes: dict[str, str]) -> None:
    shown = await driver.get(PAGE)
    form = {name: shown.value(name) for name in ("token", "tariff", "cpo", "lang")} | {
        "payment_method": "pm_good"
    }
    assert (await driver.post(f"{PAGE}/pay", form | changes)).status in {400, 413}
    assert driver.psp.payments == {}


@pytest.mark.parametrize(
    "said",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}],
)
async def test_a_form_from_another_site_is_refused_and_holds_nothing(
    driver: Driver, said: dict[str, str]
) -> None:
    shown = await driver.get(PAGE)
    form = {name: shown.value(name) for name in ("token", "tariff", "cpo", "lang")} | {
        "payment_method": "pm_good"
    }
    assert (await driver.post(f"{PAGE}/pay", form, **said)).status == 403
    assert driver.psp.payments == {}
    assert (await driver.post(f"{PAGE}/pay", form, **{"Sec-Fetch-Site": "same-origin"})).status == 303


async def test_an_unanswered_hold_is_waited_for_and_never_made_twice(driver: Driver) -> None:
    driver.psp.faults.append("after")
    shown = await driver.get(PAGE)
    page = await driver.pay(page=shown)
    assert page.stage == "checking"
    assert "do not pay again" in page.words
    assert (await driver.send_payment("pm_other", page=shown)).location.startswith(
        f"/charge/{token_of(page)}"
    )
    assert len(driver.psp.payments) == 1


async def test_the_live_page_sends_what_changes_and_ends(driver: Driver) -> None:
    token = token_of(await driver.pay())
    await driver.report(token, kwh=5.0)
    async with driver.client.get(f"/charge/{token}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        first = await asyncio.wait_for(_event(answer.content), 5)
        assert "5.0 kWh" in first
        await driver.report(token, kwh=7.5, minutes=30)
        assert "7.5 kWh" in await asyncio.wait_for(_event(answer.content), 5)
    polled = await driver.get(f"/charge/{token}/live")
    assert "7.5 kWh" in polled.text
    assert "<html" not in polled.text


async def test_a_final_stage_ends_the_stream(driver: Driver) -> None:
    token = token_of(await driver.pay("pm_declined"))
    async with driver.client.get(f"/charge/{token}/events") as answer:
        text = await asyncio.wait_for(answer.text(), 5)
    assert "declined" in text


async def test_without_script_the_page_renews_itself(driver: Driver) -> None:
    page = await driver.pay()
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in page.text


async def test_an_old_address_is_forgotten(driver: Driver) -> None:
    token = token_of(await driver.pay("pm_declined"))
    await driver.run_job(after=timedelta(days=91))
    assert (await driver.get(f"/charge/{token}")).status == 404
    assert await driver.pool.fetchval("SELECT count(*) FROM gateway.driver_payment") == 0


async def test_files_are_kept_by_the_browser_and_nothing_else_is_served(driver: Driver) -> None:
    page = await driver.get(PAGE)
    for name in ("driver.css", "pay.js", "icon.svg"):
        assert f"/driver-page/{name}?v=" in page.text
        found = await driver.get(f"/driver-page/{name}")
        assert (found.status, "immutable" in found.headers["Cache-Control"]) == (200, True)
    assert (await driver.get("/driver-page/..%2froutes.py")).status == 404
    assert len(page.text) < 8_000  # a phone with a bad connection


async def test_what_the_meter_signed_is_shown_with_the_outcome_of_its_check(driver: Driver) -> None:
    from tests.integration.test_meter_settlement import signed, signed_values  # noqa: PLC0415 - its builders

    token = token_of(await driver.pay())
    await driver.complete(token, signed_data=signed_values(signed()))
    page = await driver.get(f"/charge/{token}")
    assert page.stage == "paid"
    assert "Signed by the meter" in page.words or "could not be checked" in page.words
    data = await driver.get(f"/charge/{token}/meter-data.xml")
    assert data.status == 200
    assert "OCMF|" in data.text


async def _event(content: object) -> str:
    lines: list[str] = []
    while True:
        line = (await content.readline()).decode().rstrip("\n")  # type: ignore[attr-defined]
        if line.startswith("data: "):
            lines.append(line.removeprefix("data: "))
        if not line and lines:
            return "\n".join(lines)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "Nothing is held before that"),
        ("de", "Vorher wird nichts reserviert"),
        ("fr", "Rien n'est bloqué avant"),
        ("it", "Prima non viene bloccato nulla"),
    ],
)
async def test_a_browser_without_script_reads_how_to_charge_instead(
    driver: Driver, language: str, words: str
) -> None:
    page = await driver.get(f"{PAGE}?lang={language}")
    without_script = page.text.partition('<form id="pay-there"')[2].partition("</form>")[0]
    assert words in unescape(without_script)
    otherwise = without_script.partition("<noscript>")[2].partition("</noscript>")[0]
    assert "+31 10 1234567" in otherwise, "what to do where that page does not open either"
