"""The figures that partners' developers and drivers read in the guides are those of the code."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from clearing.cdr_checks.limits import LimitName, default_rows, limits_at
from gateway.api.capture.evses import _DEFAULT_RADIUS_M, _MAX_RADIUS_M
from gateway.api.field_types import MAX_PAGE
from gateway.api.services import ApiOptions
from gateway.driver_page import service as driver_page
from gateway.driver_page.services import LOOKING, PAYING
from gateway.jobs.hold_monitor import HoldDeadlines
from gateway.ocpi.booking_rules import LONGEST_AHEAD
from gateway.ocpi.remote import LONGEST_RESERVATION
from gateway.payments.double_tap_repository import DEFAULT_WITHIN_S
from gateway.payments.psp.stripe.amount_rules import STRIPE_AMOUNTS
from gateway.payments.psp_holds import PAGE_LASTS
from gateway.people.person import LINK_LIFETIME, SessionLimits
from gateway.personal_data.rules import default_policy
from gateway.webhooks import back_pressure, retry, sender
from gateway.webhooks.own_headers import MAX_HEADERS
from tests.guides import ROOT

WORDS = {4: "four", 5: "five", 10: "ten"}


def said(seconds: float) -> str:
    """A time as the guides write it: 5 s, 30 min, 14 h."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def whole(time: timedelta, unit: timedelta) -> int:
    assert time % unit == timedelta(0)
    return time // unit


DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def capture_api() -> Iterator[str]:
    limits, kept = ApiOptions(base_url="http://a.test", sandbox=True), default_policy().rules
    yield f"A body is at most {limits.small_body_bytes >> 10} KiB,"
    yield f"for a completion {limits.max_body_bytes >> 20} MiB,"
    yield f"Lists take `?limit=`, up to {MAX_PAGE},"
    yield f"keys are kept for {kept['idempotency_key'].keep}"
    yield f"The hold is released after {whole(HoldDeadlines().cdr_patience, DAY)} days"
    yield f"at most {_MAX_RADIUS_M // 1000} km, {_DEFAULT_RADIUS_M // 1000} km if not given"
    yield f"keeps the charge point free for up to {whole(LONGEST_RESERVATION, HOUR)} hours"
    yield f"books a time in the next {whole(LONGEST_AHEAD, DAY)} days"
    euro, pound, forint = (STRIPE_AMOUNTS.rules[one].least_minor or 0 for one in ("EUR", "GBP", "HUF"))
    yield f"{euro / 100:.2f} EUR, {pound / 100:.2f} GBP, {forint // 100} HUF and so on"
    of = limits_at(default_rows(), datetime(2026, 11, 30, tzinfo=UTC))
    percent = of[LimitName.USAGE_ENERGY_PERCENT]
    slack_kwh, slack_min = of[LimitName.USAGE_ENERGY_SLACK_WH] / 1000, of[LimitName.USAGE_TIME_SLACK_S] // 60
    yield f"({percent} % of the energy and {slack_kwh} kWh, or {slack_min} minutes;"


def driver_page_guide() -> Iterator[str]:
    yield (
        f"{LOOKING.per_second} pages a second ({LOOKING.burst} at once), one payment a second "
        f"({PAYING.burst} at once)"
    )
    assert PAYING.per_second == 1
    window = whole(driver_page._BUSY_WINDOW, MINUTE)
    yield f"At one EVSE {driver_page._MOST_PER_EVSE} payments can be begun within {WORDS[window]} minutes"
    yield f"It can be opened for {whole(driver_page.KEPT, DAY)} days."
    assert str(default_policy().rules["driver_payment"].keep) == f"{driver_page.KEPT.days} days"
    yield f"a token of {(driver_page.TOKEN_LENGTH * 6) // 8 * 8} random bits"
    yield f"{whole(driver_page.UNSTARTED_AFTER, MINUTE)} minutes after it was made the hold is released"
    yield f"which lasts {whole(PAGE_LASTS, MINUTE)} minutes and holds"
    yield f"was left expires after {whole(PAGE_LASTS, MINUTE)} minutes"
    assert HoldDeadlines().action_patience == HOUR
    yield "A bank's question that nobody answers is voided after an hour."
    pause = re.search(r"PAUSE_MS = (\d+)000;", asset("static/live.js"))
    renewed = re.search(r'http-equiv="refresh" content="(\d+)"', asset("templates/payment.html"))
    assert pause
    assert renewed
    yield f"the page asks every {WORDS[int(pause.group(1))]} seconds"
    yield f"Without JavaScript the page renews itself every {WORDS[int(renewed.group(1))]} seconds."


def payment_methods() -> Iterator[str]:
    yield f"the same payment method at the same EVSE within {DEFAULT_WITHIN_S} seconds"


def webhooks() -> Iterator[str]:
    waits = [said(one.total_seconds()) for one in retry.DELIVERY_RETRY.delays]
    yield f"A 2xx within {sender.TIMEOUT_SECONDS:.0f} seconds acknowledges the event"
    yield f"the event is sent again after {', '.join(waits[:-1])} and {waits[-1]},"
    yield (
        f"Delivery starts with {WORDS[back_pressure._FIRST_CALLS]} messages in parallel and adds one "
        f"for each acknowledged message, up to {back_pressure.Limits().per_endpoint}."
    )
    longest = whole(retry.ENDPOINT_PAUSE.delays[-1], MINUTE)
    yield f"one event at a time at growing intervals of up to {longest} minutes."
    yield f"After {WORDS[whole(retry.DISABLE_AFTER, DAY)]} days without a success the endpoint is disabled"
    first, second = retry.WARN_AFTER
    assert first == DAY
    yield f"You are warned after one day and again after {WORDS[whole(second, DAY)]}"
    assert retry.PAUSE_AFTER_FAILURES == 3
    yield "sees the endpoint among its exceptions from the third failure on."
    kept = default_policy().rules
    yield f"Each attempt is kept for {kept['delivery_attempt'].keep} with status"
    yield f"An event is kept for {kept['event'].keep} after its last delivery"
    yield f"up to {WORDS[MAX_HEADERS]} headers of your own"
    assert sender.KEPT_ANSWER_BYTES == 1024
    yield "the first KiB of your answer's body"


def console() -> Iterator[str]:
    yield f"The link signs in once, within {whole(LINK_LIFETIME, HOUR)} hours,"
    yield f"A session ends {whole(SessionLimits().idle, MINUTE)} minutes after the last request"
    yield f"events with their body, for {default_policy().rules['event'].keep} after their last delivery"


def asset(name: str) -> str:
    return (ROOT / "gateway/driver_page" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "sentences"),
    [
        ("capture-api", capture_api),
        ("driver-page", driver_page_guide),
        ("payment-methods", payment_methods),
        ("webhooks", webhooks),
        ("console", console),
    ],
)
def test_a_guide_says_the_figures_of_the_code(page: str, sentences: Callable[[], Iterator[str]]) -> None:
    text = " ".join((ROOT / f"docs/guides/{page}.md").read_text(encoding="utf-8").split())
    assert [one for one in sentences() if one not in text] == []
