"""The console's pure parts: texts, figures, amounts, timeline, flows and their drawing, roles."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.books.vat_return import VatSide
from clearing.daily_audit.run import CHECKS
from clearing.money import to_major
from clearing.tax.vat import SupplyLeg
from gateway.audit.checks import DETAILS
from gateway.audit.system_audit import PSP_RECORD
from gateway.console import figures
from gateway.console.amounts import AmountNotReadError, read_amount
from gateway.console.bar_chart import HEIGHT, draw_bars
from gateway.console.cookies import own_page
from gateway.console.csv_file import cell
from gateway.console.flow_chart import draw
from gateway.console.money_flow import MoneyFlow, flows_of_transfers, receiver_of
from gateway.console.navigation import SECTIONS
from gateway.console.object_pages import object_page, split_at_ids
from gateway.console.texts import FILES, LANGUAGES, Texts, catalogue, choose_language
from gateway.console.timeline import CheckedUsage, SessionInstants, TimelineFacts, Tone, timeline
from gateway.console.views.overview import range_of
from gateway.console.views.payouts import calendar, forecast_sums, held_parties
from gateway.console.views.reconciliation import side_rows
from gateway.console.views.routes import FORMS, PAGES
from gateway.console.views.sessions import DECLINE_CODES
from gateway.exception_kinds import ExceptionEventKind, ExceptionKind
from gateway.exceptions.rules import KINDS
from gateway.people.roles import PARTY_RIGHTS, PLATFORM_RIGHTS, ActArea, PersonRole
from gateway.webhooks.events import EventType
from pnc.rejection_reasons import RejectionReason

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "gateway" / "console" / "templates"
SPACE = "\u00a0"


def test_every_text_is_there_in_every_language_with_the_same_values() -> None:
    for key, texts in catalogue().items():
        assert set(texts) == set(LANGUAGES), key
        values = {language: set(re.findall(r"\{(\w+)\}", text)) for language, text in texts.items()}
        assert len({frozenset(one) for one in values.values()}) == 1, key
        assert all(text.strip() == text and text for text in texts.values()), key


def test_a_key_is_in_one_file_and_the_files_are_in_order() -> None:
    seen: set[str] = set()
    for name in FILES:
        keys = list(json.loads((TEMPLATES.parent / name).read_text(encoding="utf-8")))
        assert len(keys) == len(set(keys))
        assert not seen & set(keys), name
        seen |= set(keys)
    assert keys == sorted(keys)


def test_every_text_that_a_template_asks_for_is_in_the_catalogue() -> None:
    for path in TEMPLATES.glob("*.html"):
        asked = re.findall(r"""(?<![\w.])t\(["']([a-z_.]+)["']\s*[,)]""", path.read_text(encoding="utf-8"))
        asked += re.findall(r'cell\("([a-z_.]+)"\)', path.read_text(encoding="utf-8"))
        for key in asked:
            assert key in catalogue(), f"{path.name}: {key}"
    for section in SECTIONS:
        assert section.key in catalogue()
        assert section.path in PAGES
    for kind in ExceptionKind:
        assert f"exception.{kind.value}" in catalogue()
    for line in ExceptionEventKind:
        assert f"history.{line.value}" in catalogue()
    for role in PersonRole:
        assert f"role.{role.value}" in catalogue()


def test_codes_that_a_person_reads_have_a_word() -> None:
    for kind, codes in (
        ("rejection", RejectionReason),
        ("vat_side", VatSide),
        ("vat_supply", SupplyLeg),
    ):
        assert {f"{kind}.{code.value}" for code in codes} <= set(catalogue())
    shown = ("authorization.", "session.", "capture.", "dispute.", "plug_and_charge.", "booking.")
    events = {f"event.{one.value}" for one in EventType if one.value.startswith(shown)}
    assert events <= set(catalogue())  # what a session's timeline shows
    assert {f"owner.{one.owner}" for one in KINDS.values()} <= set(catalogue())
    assert {f"decline.{one}" for one in DECLINE_CODES} <= set(catalogue())


def names_in(pattern: str, *paths: str) -> set[str]:
    """What a pattern finds in the sources of the audits."""
    texts = [one.read_text("utf-8") for path in paths for one in sorted(ROOT.glob(path))]
    return {name for text in texts for name in re.findall(pattern, text, re.MULTILINE)}


def test_every_check_of_the_audits_has_its_words_in_every_language() -> None:
    audits = ("gateway/audit/*.py", "clearing/audit.py", "clearing/daily_audit/*.py")
    compared = names_in(r'AuditCheck\(\s+name="([a-z_]+)"|DailyCheck\(\s+name="([a-z_]+)"', *audits)
    compared = {name for pair in compared for name in pair if name}
    compared |= names_in(r'PspComparison\(\s+check="([a-z_]+)"', *audits) | {PSP_RECORD}
    assert {"ledger", "sessions", "ledger_shards", "psp_balance", "administrative_acts"} <= compared
    found = names_in(r'(?:check=|\.find\()"([a-z_]+)"', *audits) | set(CHECKS) | set(DETAILS)
    found |= names_in(r"^-- name: (\w+_(?:unequal|unposted|gapped|not_zero))$", "clearing/sql/audit.sql")
    found |= names_in(r'^    "([a-z_]+)",$', "clearing/audit.py")
    assert {"hash_chain", "captures_equal_postings", "unbooked_charges", "transit_not_zero"} <= found
    for name in compared:
        assert {f"audit_check.{name}", f"audit_about.{name}"} <= set(catalogue()), name
    for name in found:
        assert f"audit_check.{name}" in catalogue(), name
    # A check that the catalogue does not know is shown by its own words.
    assert Texts("de").of_code("audit_check", "a_new_check") == "a new check"
    assert Texts("de").of_known("audit_about.a_new_check") is None


@pytest.mark.parametrize(
    ("language", "count", "text"),
    [
        ("en", 1, "1 payment"),
        ("en", 0, "0 payments"),
        ("fr", 0, "0 paiement"),
        ("fr", 2, "2 paiements"),
        ("de", "1", "1 Zahlung"),
    ],
)
def test_a_count_of_one_is_said_in_the_singular(language: str, count: int | str, text: str) -> None:
    assert Texts(language)("home.payments", count=count) == text


@pytest.mark.parametrize(
    ("name", "platform", "address"),
    [
        ("ses_1", False, "/console/sessions/ses_1"),
        ("dis_1", False, "/console/payouts/dis_1"),
        ("rdf_1", True, "/console/reconciliation/rdf_1"),
        ("rdf_1", False, None),
        ("exc_1", False, None),
        ("auth_1", False, "/console/objects/auth_1"),
        ("ocp_1", True, "/console/operators/connections/ocp_1"),
        ("tsk_1", True, None),
        ("ses", True, None),
        ("NL-ABC", True, None),
    ],
)
def test_an_id_leads_to_its_page_where_the_person_has_one(
    name: str, *, platform: bool, address: str | None
) -> None:
    assert object_page(name, platform=platform) == address
    if address is not None:
        pattern = address.replace(name, "{id}")
        assert any(re.sub(r"\{\w+\}", "{id}", path) == pattern for path in PAGES)


def test_ids_in_a_text_are_pieces_of_their_own() -> None:
    name = "ses_01jd2w3x4y5z6a7b8c9d0e1f2g"
    assert split_at_ids(f"of {name}: late") == ["of ", name, ": late"]
    assert split_at_ids(f"{name},{name}") == ["", name, ",", name, ""]
    assert split_at_ids(f"x_{name} {name}0 ses_1 no_agreement") == [f"x_{name} {name}0 ses_1 no_agreement"]


def test_every_header_cell_says_what_it_heads() -> None:
    for path in TEMPLATES.glob("*.html"):
        bare = re.findall(r"<th(?![^>]*scope=)[^>]*>", path.read_text(encoding="utf-8"))
        assert [one for one in bare if not one.startswith("<thead")] == [], path.name


def test_no_template_holds_a_style_a_script_or_another_host_and_every_form_its_token() -> None:
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|\son\w+=|<style|\|\s*safe|https?://(?!www\.w3\.org)(?!\")", text), (
            path.name
        )
        assert not re.search(r"<script(?! src=\"\{\{ static)", text), path.name
        for form in re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL):
            guarded = "guard(" in form or 'name="csrf"' in form or path.name == "sign_in_link.html"
            assert guarded, f"{path.name}: {form[:80]}"


@pytest.mark.parametrize(
    ("accepted", "cookie", "language"),
    [
        ("de-CH, en;q=0.8", None, "de"),
        ("xx, fr;q=0.2, it;q=0.9", None, "it"),
        ("xx", None, "en"),
        ("", None, "en"),
        ("de;q=nonsense", None, "en"),
        ("de", "fr", "fr"),
        ("de", "xx", "de"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_browsers(
    accepted: str, cookie: str | None, language: str
) -> None:
    assert choose_language(cookie=cookie, accepted=accepted) == language


def test_a_code_without_a_word_is_shown_readable() -> None:
    assert Texts("de").of_code("state", "some_new_state") == "some new state"
    assert Texts("de").of_key("event.some.new_kind") == "some.new kind"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", f"1,234,567.89{SPACE}EUR"),
        ("de", f"1.234.567,89{SPACE}EUR"),
        ("fr", f"1\u202f234\u202f567,89{SPACE}EUR"),
        ("it", f"1.234.567,89{SPACE}EUR"),
    ],
)
def test_amounts_are_written_as_the_language_writes_them(language: str, text: str) -> None:
    assert figures.money(123_456_789, "EUR", language) == text
    assert figures.money(-123_456_789, "EUR", language) == f"\u2212{text}"


def test_amounts_energies_and_times_by_example() -> None:
    assert figures.money(1234, "JPY", "en") == f"1,234{SPACE}JPY"
    assert figures.money(0, "EUR", "en") == f"0.00{SPACE}EUR"
    assert figures.energy(20_000, "en") == f"20{SPACE}kWh"
    assert figures.energy(48_575, "de") == f"48,575{SPACE}kWh"
    assert figures.number(1234, "en") == "1,234"
    assert figures.duration(timedelta(hours=2, minutes=5)) == f"2{SPACE}h 05{SPACE}min"
    assert figures.duration(timedelta(seconds=59)) == f"59{SPACE}s"
    at = datetime(2026, 10, 29, 20, 0, tzinfo=UTC)
    assert figures.instant(at, figures.zone_of("Europe/Zurich"), "de") == "29. Okt. 2026, 21:00:00"
    assert figures.zone_name(at, figures.zone_of("Europe/Zurich")) == "CET"
    for nonsense in (None, "", "../../etc/passwd", "Nowhere/Here", "x" * 500):
        assert figures.zone_of(nonsense) is UTC


@given(minor=st.integers(0, 10**14), currency=st.sampled_from(["EUR", "JPY", "ISK", "CHF", "TND"]))
def test_an_amount_that_is_shown_is_read_back(minor: int, currency: str) -> None:
    shown = f"{to_major(minor, currency):f}"
    if len(shown.partition(".")[0]) <= 12:
        assert read_amount(shown, currency) == minor
        assert read_amount(shown.replace(".", ","), currency) == minor


@pytest.mark.parametrize("text", ["", "x", "1.234,56", "1,234.56", "-5", "1e3", "1.005", "9" * 13, "٣"])
def test_what_could_mean_two_things_is_no_amount(text: str) -> None:
    with pytest.raises(AmountNotReadError, match="expected an amount in EUR such as"):
        read_amount(text, "EUR")


SESSION = {
    "id": "ses_1",
    "currency": "EUR",
    "price": None,
    "cdr_id": "cdr-1",
    "created": "2026-10-29T20:00:00Z",
    "started_at": "2026-10-29T20:15:00Z",
    "ended_at": "2026-10-29T22:00:00Z",
    "energy_wh": 20_000,
    "capture": None,
}


def _event(kind: str, at: str, **data: Any) -> dict[str, Any]:
    return {"type": kind, "object_id": "x", "created": at, "data": data}


def test_a_timeline_is_in_order_and_says_once_what_two_parties_were_sent() -> None:
    captured = _event(
        "capture.succeeded", "2026-10-29T22:00:01Z", state="succeeded", amount=1190, currency="EUR"
    )
    refund = {
        "id": "ref_1",
        "created": "2026-10-30T08:00:00Z",
        "state": "failed",
        "amount": 100,
        "currency": "EUR",
        "failure_code": "expired_card",
        "reason": "duplicate",
    }
    payout = {
        "id": "dis_1",
        "party": "DE-ABC",
        "state": "paid",
        "amount": 99_999,
        "currency": "EUR",
        "paid_at": "2026-11-05T08:00:00Z",
        "created": "2026-11-04T08:00:00Z",
    }
    found = timeline(
        TimelineFacts(
            session=SESSION,
            events=[captured, captured],
            refunds=[refund],
            payables=[{"disbursement": "dis_1", "amount": 880}, {"disbursement": None, "amount": 5}],
            disbursements=[payout],
        )
    )
    assert [(one.key, one.amount, one.tone) for one in found] == [
        ("timeline.requested", None, Tone.PLAIN),
        ("timeline.started", None, Tone.PLAIN),
        ("timeline.ended", None, Tone.PLAIN),
        ("event.capture.succeeded", 1190, Tone.GOOD),
        ("timeline.refund_failed", 100, Tone.BAD),
        ("timeline.payout_paid", 880, Tone.GOOD),  # this session's part, not the whole payout
    ]


def test_a_timeline_is_whole_without_events_and_says_nothing_twice_with_them() -> None:
    held = {
        "id": "auth_1",
        "state": "captured",
        "amount": 5000,
        "currency": "EUR",
        "decline_code": None,
        "created": datetime(2026, 10, 29, 20, 0, 1, tzinfo=UTC),
        "updated": datetime(2026, 10, 29, 22, 0, 1, tzinfo=UTC),
    }
    declined = held | {"id": "auth_0", "state": "failed", "decline_code": "expired_card"}
    declined["updated"] = datetime(2026, 10, 29, 20, 0, 0, 500, tzinfo=UTC)
    capture = {"id": "cap_1", "amount": 1190, "currency": "EUR", "captured_at": "2026-10-29T22:00:01Z"}
    capture |= {"authorization": "auth_1", "state": "succeeded"}
    minute = datetime(2026, 10, 29, 22, 0, tzinfo=UTC)
    dispute = {"id": "dsp_1", "state": "won", "amount": 1190, "currency": "EUR"}
    dispute |= {"opened_at": "2026-11-02T08:00:00Z", "closed_at": "2026-11-20T08:00:00Z"}
    inquiry = dispute | {"id": "dsp_2", "state": "closed", "closed_at": "2026-11-21T08:00:00Z"}
    facts = TimelineFacts(
        session=SESSION | {"capture": capture, "price": {"incl_vat": 1190}},
        instants=SessionInstants(
            completed=minute + timedelta(milliseconds=1),
            cleared=minute + timedelta(minutes=1),
            exception=minute + timedelta(seconds=50),
            capture_created=minute + timedelta(milliseconds=1),
        ),
        check_flags=["cpo_total_differs"],
        authorizations=[declined, held],
        disputes=[dispute, inquiry],
        batches=[{"booked_at": "2026-10-29T22:01:00Z", "entries": [{"kind": "capture"}, {"kind": "refund"}]}],
        documents=[
            {
                "number": "D-1",
                "issued": "2026-10-29T22:02:00Z",
                "gross": 1190,
                "currency": "EUR",
                "type": "invoice",
            },
        ],
    )
    whole = [
        ("timeline.requested", None),
        ("event.authorization.failed", 5000),
        ("event.authorization.authorized", 5000),
        ("timeline.started", None),
        ("timeline.ended", None),
        ("timeline.checks_flagged", None),
        ("event.session.completed", 1190),
        ("event.capture.succeeded", 1190),
        ("event.session.exception", 1190),
        ("event.session.cleared", 1190),
        ("timeline.booked", None),  # the refund: that of the sale is the clearing
        ("timeline.document", 1190),
        ("event.dispute.opened", 1190),
        ("event.dispute.inquiry", 1190),
        ("event.dispute.won", 1190),
        ("event.dispute.closed", 1190),
    ]
    assert [(one.key, one.amount) for one in timeline(facts)] == whole
    late = "2026-10-29T22:00:03Z"
    sent = [
        _event(key.removeprefix("event."), late, amount=amount, currency="EUR") | {"object_id": name}
        for key, amount, name in (
            ("event.capture.succeeded", 1190, "cap_1"),
            ("event.dispute.opened", 1190, "dsp_1"),
            ("event.authorization.authorized", 5000, "auth_1"),
        )
    ]
    sent += [
        _event(f"session.{kind}", late, price={"incl_vat": 1190}, currency="EUR") | {"object_id": "ses_1"}
        for kind in ("completed", "cleared", "exception")
    ]
    both = timeline(replace(facts, events=sent))
    assert sorted((one.key, one.amount or 0) for one in both) == sorted((key, one or 0) for key, one in whole)
    captured = next(one for one in both if one.key == "event.capture.succeeded")
    assert captured.at == datetime(2026, 10, 29, 22, 0, 3, tzinfo=UTC)  # as the event says
    assert next(one for one in both if one.key == "event.session.cleared").link == "#journal"


def test_a_failed_capture_and_what_a_check_stopped_come_from_rows() -> None:
    minute = datetime(2026, 10, 29, 22, 0, tzinfo=UTC)
    failed = {"id": "cap_1", "authorization": "auth_1", "amount": 1190, "currency": "EUR"}
    failed |= {"captured_at": None, "state": "failed"}
    held = {"id": "auth_1", "state": "failed", "amount": 5000, "currency": "EUR"}
    held |= {"decline_code": "expired_card", "created": minute - timedelta(hours=2), "updated": minute}
    usage = {"price": 1100, "stated_at": "2026-10-29T21:59:00Z"}
    stopped = CheckedUsage(
        id="1",
        cdr_id="cdr-1",
        state="accepted",
        reasons=["too_old"],
        received_at=minute - timedelta(seconds=30),
        updated_at=minute - timedelta(seconds=10),
    )
    facts = TimelineFacts(
        session=SESSION | {"capture": failed, "provisional_usage": usage, "ended_at": None},
        instants=SessionInstants(completed=minute, capture_created=minute),
        authorizations=[held],
        checked=[stopped],
    )
    found = timeline(facts)
    assert [(one.key, one.amount) for one in found] == [
        ("timeline.requested", None),
        ("event.authorization.authorized", 5000),  # a capture was asked of it
        ("timeline.started", None),
        ("event.session.usage_stated", 1100),
        ("timeline.checks_failed", None),
        ("timeline.usage_accepted", None),
        ("event.authorization.failed", 5000),
        ("event.session.completed", None),
        ("event.capture.failed", 1190),
    ]
    assert found[4].codes == ["too_old"]
    passed = timeline(replace(facts, checked=[replace(stopped, cdr_id="cdr-0", state="rejected")]))
    assert [one.key for one in passed if "checks" in one.key or "usage_" in one.key] == [
        "event.session.usage_stated",
        "timeline.checks_failed",
        "timeline.usage_rejected",
    ]


# https://docs.stripe.com/api/disputes/object#dispute_object-reason
DISPUTE_REASONS = (
    "bank_cannot_process",
    "check_returned",
    "credit_not_processed",
    "customer_initiated",
    "debit_not_authorized",
    "duplicate",
    "fraudulent",
    "general",
    "incorrect_account_details",
    "insufficient_funds",
    "noncompliant",
    "product_not_received",
    "product_unacceptable",
    "subscription_canceled",
    "unrecognized",
)


def test_every_reason_of_a_dispute_has_words_of_its_own_in_each_language() -> None:
    for language in LANGUAGES:
        words = [catalogue()[f"dispute_reason.{one}"][language] for one in DISPUTE_REASONS]
        assert len(set(words)) == len(DISPUTE_REASONS), language
    assert Texts("de").of_code("dispute_reason", "duplicate") == "Doppelt belastet"
    assert Texts("de").of_code("dispute_reason", "a_new_one") == "a new one"


def _transfer(debit: str, credit: str, minor: int) -> dict[str, Any]:
    return {"debit": debit, "credit": credit, "minor": minor, "currency": "EUR"}


def test_flows_are_what_each_receiver_gets_and_add_up_to_what_drivers_paid() -> None:
    flows = flows_of_transfers(
        [
            _transfer("psp:stripe:receivable", "session:transit", 1190),
            _transfer("session:transit", "vat:DE:output", 190),
            _transfer("vat:DE:input", "session:transit", 140),
            _transfer("session:transit", "cpo:DE-ABC:payable", 1040),
            _transfer("session:transit", "platform:fee:revenue", 100),
            _transfer("platform:psp:expense", "psp:stripe:receivable", 30),
            _transfer("session:transit", "cpo:DE-ABC:payable", 0) | {"currency": "CHF"},
        ],
        currency="EUR",
    )
    assert [(one.group, one.name, one.amount_minor) for one in flows] == [
        ("cpo", "DE-ABC", 1040),
        ("platform", "", 70),
        ("vat", "DE", 50),
        ("psp", "", 30),
    ]
    assert sum(one.amount_minor for one in flows) == 1190


@pytest.mark.parametrize(
    ("account", "receiver"),
    [
        ("partner:superapp:funds", ("source", "")),
        ("partner:superapp:payable", ("demand_partner", "superapp")),
        ("site:mall:payable", ("site_host", "mall")),
        ("fx:EUR-CHF:position", ("fx", "EUR-CHF")),
        ("suspense", ("other", "suspense")),
    ],
)
def test_an_account_stands_for_its_receiver(account: str, receiver: tuple[str, str]) -> None:
    assert receiver_of(account) == receiver


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=20))
def test_bands_never_overlap_and_the_source_is_as_tall_as_all(amounts: list[int]) -> None:
    chart = draw(
        [
            MoneyFlow(group="cpo", name=str(n), amount_minor=one, currency="EUR")
            for n, one in enumerate(amounts)
        ]
    )
    assert chart.total_minor == sum(amounts)
    assert chart.source_height == sum(band.bar_height for band in chart.bands)
    for before, after in zip(chart.bands, chart.bands[1:], strict=False):
        assert before.bar_y + before.bar_height < after.bar_y
    assert chart.bands[-1].bar_y + chart.bands[-1].bar_height <= chart.height


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60))
def test_bars_stay_in_their_space(amounts: list[int]) -> None:
    start = datetime(2026, 10, 29, tzinfo=UTC)
    chart = draw_bars([(start + timedelta(hours=n), one) for n, one in enumerate(amounts)], currency="EUR")
    for bar in chart.bars:
        assert 0 <= bar.y <= HEIGHT
        assert bar.y + bar.height == HEIGHT
        assert bar.x + bar.width <= chart.width + 2


def test_a_range_is_of_whole_days_and_ends_with_the_day_asked_for() -> None:
    now = datetime(2026, 11, 12, 15, 30, tzinfo=figures.zone_of("Europe/Zurich"))
    assert range_of("week", now=now).since.isoformat() == "2026-11-06T00:00:00+01:00"
    assert range_of("nonsense", now=now).name == "today"
    chosen = range_of("today", now=now, last_day="2026-10-29")
    assert (chosen.since.isoformat(), chosen.width) == ("2026-10-29T00:00:00+01:00", timedelta(hours=1))
    assert range_of("today", now=now, last_day="nonsense").since.day == 12


def test_a_calendar_is_by_day_and_the_greatest_first() -> None:
    lines = [
        {"due_date": "2026-11-06", "amount": 5, "party": "a"},
        {"due_date": "2026-11-05", "amount": 1, "party": "a"},
        {"due_date": "2026-11-05", "amount": 9, "party": "b"},
    ]
    assert [(one.day, [line["amount"] for line in one.lines]) for one in calendar(lines)] == [
        ("2026-11-05", [9, 1]),
        ("2026-11-06", [5]),
    ]


def test_forecast_and_actual_are_summed_by_day_and_currency_and_no_forecast_is_none() -> None:
    def line(day: str, forecast: int | None, actual: int, currency: str = "EUR") -> dict[str, Any]:
        return {"day": day, "currency": currency, "forecast": forecast, "actual": actual}

    found = forecast_sums(
        [line("d2", None, 7), line("d1", 5, 4), line("d1", None, 2), line("d1", 9, 9, "CHF")]
    )
    assert [(one.day, one.currency, one.forecast, one.actual, one.difference) for one in found] == [
        ("d2", "EUR", None, 7, None),
        ("d1", "EUR", 5, 6, 1),
        ("d1", "CHF", 9, 9, 0),
    ]


def test_holds_are_shown_of_the_party_asked_for_else_of_those_that_wait() -> None:
    lines = [{"party": "b", "hold": "manual"}, {"party": "a", "hold": "manual"}, {"party": "c", "hold": None}]
    assert held_parties(lines, asked=None) == ["a", "b"]
    assert held_parties(lines, asked="c") == ["c"]


def test_what_the_three_sides_have_open_stands_in_one_row() -> None:
    books = {"pair": "book_psp", "currency": "EUR", "side": "books", "amount": 5}
    psp = {"pair": "book_psp", "currency": "EUR", "side": "psp", "amount": 7}
    other = {"pair": "book_psp", "currency": "CHF", "side": "psp", "amount": 1}
    first, second = side_rows([books, psp, other])
    assert (first["books"], first["psp"], first["bank"]) == (books, psp, None)
    assert (second["currency"], second["books"], second["psp"]) == ("CHF", None, other)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_of_a_file_is_a_formula(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell(-5) == "-5"  # a number is no text
    assert cell(None) == ""


def test_a_viewer_acts_nowhere_and_only_administrators_let_people_in() -> None:
    for table in (PARTY_RIGHTS, PLATFORM_RIGHTS):
        assert set(table) == set(PersonRole)
        assert table[PersonRole.VIEWER].areas == frozenset()
        people = {role for role, rights in table.items() if ActArea.PEOPLE in rights.areas}
        assert people == {PersonRole.ADMINISTRATOR}
    for rights in PARTY_RIGHTS.values():
        assert "admin" not in rights.scopes
        assert ActArea.APPROVALS not in rights.areas
    assert all(path.startswith("/console") for path in [*PAGES, *FORMS])


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/console/sessions/ses_1?day=2026-10-29", "/console/sessions/ses_1?day=2026-10-29"),
        ("/console?range=month", "/console?range=month"),
        ("/console", "/console"),
        ("", "/console"),
        ("//evil.example/console", "/console"),
        ("https://evil.example/console", "/console"),
        ("/console//evil.example", "/console"),
        ("/consolement", "/console"),
        ("/v1/sessions", "/console"),
        ("/console/\\evil.example", "/console"),
        ("/console/a\r\nSet-Cookie: x=1", "/console"),
        ("/console/" + "a" * 1000, "/console"),
    ],
)
def test_only_a_page_of_the_console_is_gone_to_after_signing_in(address: str, page: str) -> None:
    assert own_page(address) == page
