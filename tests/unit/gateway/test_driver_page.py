"""The driver page's pure parts: stages, languages, a company's fields, the code on a charger, the policy."""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from itertools import product
from pathlib import Path

import pytest
import segno
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader

from clearing.language import Language
from gateway.cli.main import networkcore
from gateway.driver_page import qr_codes
from gateway.driver_page.buyers import FIELDS, buyer_fields, buyer_of, wrong_fields
from gateway.driver_page.languages import choose_language, texts_of
from gateway.driver_page.presenter import money
from gateway.driver_page.rendering import PageFrame, asset, policy, render, static_file
from gateway.driver_page.service import TOKEN_LENGTH, token_after
from gateway.driver_page.stages import FINAL_STAGES, MOVING_STAGES, PaymentFacts, Stage, may_cancel, stage_of
from gateway.driver_page.start_state import StartState
from gateway.payments.psp.payer_port import PageSources
from gateway.payments.psp.stripe.payers import StripePayers
from gateway.payments.state_machine import PaymentState
from gateway.schemas.api_schemas import SessionState

COMPANY = {
    "name": "  Vracht   B.V. ",
    "street": "Haven 3",
    "postal_code": "3011 AB",
    "city": "Rotterdam",
    "country": "nl",
    "vat_id": "nl 0044.95445-B01",
    "reference": "",
}


def facts(payment: PaymentState | None, **changes: object) -> PaymentFacts:
    given: dict[str, object] = {
        "payment": payment,
        "session": SessionState.ACTIVE,
        "priced": False,
        "start": StartState.SENT,
        "command_state": "accepted",
    }
    return PaymentFacts(**(given | changes))  # type: ignore[arg-type]


STAGES = [
    (facts(None), Stage.UNPAID),
    (facts(PaymentState.REQUIRES_ACTION), Stage.CONFIRM),
    (facts(PaymentState.REQUIRES_AUTHORIZATION), Stage.CHECKING),
    (facts(PaymentState.OUTCOME_UNKNOWN), Stage.CHECKING),
    (facts(PaymentState.OUTCOME_UNKNOWN, priced=True), Stage.ENDED),
    (facts(PaymentState.CAPTURE_REQUESTED), Stage.CHECKING),
    (facts(PaymentState.CAPTURE_REQUESTED, priced=True), Stage.ENDED),
    (facts(PaymentState.FAILED), Stage.DECLINED),
    (facts(PaymentState.FAILED, priced=True), Stage.NOT_COLLECTED),
    (facts(PaymentState.VOIDED), Stage.RELEASED),
    (facts(PaymentState.VOIDED, priced=True), Stage.FREE),
    (facts(PaymentState.CAPTURED, priced=True), Stage.PAID),
    (facts(PaymentState.AUTHORIZED, start=StartState.NONE, command_state=None), Stage.STARTING),
    (facts(PaymentState.AUTHORIZED, start=StartState.ASKED, command_state=None), Stage.STARTING),
    (facts(PaymentState.AUTHORIZED, start=StartState.NOT_OFFERED, command_state=None), Stage.PLUG_IN),
    (facts(PaymentState.AUTHORIZED, command_state="unanswered"), Stage.STARTING),
    (facts(PaymentState.AUTHORIZED, command_state="rejected"), Stage.START_FAILED),
    (facts(PaymentState.AUTHORIZED, command_state="timed_out"), Stage.START_FAILED),
    (facts(PaymentState.AUTHORIZED, command_state="timed_out", reported="PENDING"), Stage.STARTING),
    (facts(PaymentState.AUTHORIZED, command_state="failed", reported="ACTIVE"), Stage.CHARGING),
    (facts(PaymentState.AUTHORIZED, reported="ACTIVE", stop_asked=True), Stage.STOPPING),
    (facts(PaymentState.AUTHORIZED, reported="COMPLETED"), Stage.ENDED),
    (facts(PaymentState.AUTHORIZED, priced=True), Stage.ENDED),
    (facts(PaymentState.AUTHORIZED, session=SessionState.EXCEPTION), Stage.ENDED),
]


@pytest.mark.parametrize(("known", "stage"), STAGES)
def test_each_combination_of_facts_has_its_stage(known: PaymentFacts, stage: Stage) -> None:
    assert stage_of(known) is stage


def every_fact() -> list[PaymentFacts]:
    return [
        facts(payment, session=session, priced=priced, start=start, command_state=command, reported=reported)
        for payment, session, priced, start, command, reported in product(
            [None, *PaymentState],
            SessionState,
            (False, True),
            StartState,
            (None, "requested", "accepted", "rejected", "failed", "timed_out", "succeeded", "unanswered"),
            (None, "PENDING", "ACTIVE", "COMPLETED", "INVALID", "RESERVATION"),
        )
    ]


def test_no_payment_is_taken_back_where_a_vehicle_may_be_charging() -> None:
    for known in every_fact():
        if may_cancel(known):
            assert known.payment in {PaymentState.REQUIRES_ACTION, PaymentState.AUTHORIZED}
            if known.payment is PaymentState.AUTHORIZED:
                assert known.start_refused
                assert not known.priced
                assert known.reported is None


def test_what_is_final_does_not_move_and_money_that_was_taken_is_paid() -> None:
    assert not FINAL_STAGES & MOVING_STAGES
    for known in every_fact():
        assert (stage_of(known) is Stage.PAID) == (known.payment is PaymentState.CAPTURED)


@pytest.mark.parametrize("language", Language)
def test_every_stage_and_advice_has_words_in_every_language(language: Language) -> None:
    texts = texts_of(language)
    for stage in Stage:
        assert texts[f"stage_{stage}"]
        assert isinstance(texts[f"stage_{stage}_text"], str)
    assert "{host}" in texts["sheet_check"]
    assert texts["as_of"].format(time="12:00").count("12:00") == 1


@pytest.mark.parametrize(
    ("chosen", "accepted", "expected"),
    [
        (None, "", Language.ENGLISH),
        ("fr", "de", Language.FRENCH),
        ("klingon", "de-CH", Language.GERMAN),
        (None, "en;q=0.1, it;q=0.8, de;q=0.2", Language.ITALIAN),
        (None, "de;q=0, *", Language.ENGLISH),
        (None, "de;q=banana, fr;q=0.1", Language.FRENCH),
        (None, "de;q=NaN", Language.ENGLISH),
        (None, ",".join(["xx"] * 50 + ["de"]), Language.ENGLISH),
    ],
)
def test_the_best_language_that_there_is(chosen: str | None, accepted: str, expected: Language) -> None:
    assert choose_language(chosen, accepted) is expected


@given(chosen=st.none() | st.text(max_size=40), accepted=st.text(max_size=200))
def test_any_header_gives_a_language(chosen: str | None, accepted: str) -> None:
    assert choose_language(chosen, accepted) in Language


def test_a_company_is_the_same_buyer_for_the_same_fields_of_the_same_payment() -> None:
    fields = buyer_fields(COMPANY)
    assert wrong_fields(fields) == []
    assert (fields["name"], fields["country"], fields["vat_id"]) == ("Vracht B.V.", "NL", "NL004495445B01")
    first = buyer_of(fields, token="a" * 43, language=Language.GERMAN)
    assert first == buyer_of(fields, token="a" * 43, language=Language.GERMAN)
    assert first.id != buyer_of(fields, token="b" * 43, language=Language.GERMAN).id
    assert first.details.language is Language.GERMAN
    assert first.id.startswith("buy_")


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("street", "x" * 101), ("country", "Germany"), ("vat_id", "<b>"), ("city", "a\u202eb")],
)
def test_what_is_wrong_with_a_company_is_named(field: str, value: str) -> None:
    assert wrong_fields(buyer_fields(COMPANY | {field: value})) == [field]


def test_a_form_without_fields_names_each_that_is_needed() -> None:
    assert set(wrong_fields(buyer_fields({}))) == set(FIELDS) - {"vat_id", "reference"}


def test_another_card_on_the_same_page_has_a_token_of_its_own_that_nobody_guesses() -> None:
    first = token_after("a" * 43, "pm_1")
    assert (len(first), first) == (TOKEN_LENGTH, token_after("a" * 43, "pm_1"))
    assert len({first, token_after("a" * 43, "pm_2"), token_after("b" * 43, "pm_1")}) == 3


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "shown"),
    [
        (1215, "EUR", "en-NL", "12.15 EUR"),
        (1215, "EUR", "de-DE", "12,15 EUR"),
        (1215, "CHF", "de-CH", "12.15 CHF"),
        (5, "EUR", "fr-FR", "0,05 EUR"),
        (1500, "ISK", "en-IS", "1500 ISK"),
    ],
)
def test_amounts_read_as_the_language_writes_them(minor: int, currency: str, locale: str, shown: str) -> None:
    assert money(minor, currency, locale=locale) == shown


def test_a_page_loads_its_own_files_and_of_the_psp_what_its_form_needs() -> None:
    own = policy(None)
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in own
    assert "frame-src 'none'" in own
    live = policy(StripePayers(None, publishable_key=None, base_url=None).page_sources)  # type: ignore[arg-type]
    assert "script-src 'self' https://*.js.stripe.com https://js.stripe.com;" in live
    assert "connect-src 'self' https://api.stripe.com;" in live
    assert "frame-src https://*.js.stripe.com https://js.stripe.com https://hooks.stripe.com;" in live
    sandbox = StripePayers(None, publishable_key=None, base_url="http://127.0.0.1:9")  # type: ignore[arg-type]
    own_host = ("http://127.0.0.1:9",)
    assert sandbox.page_sources == PageSources(scripts=own_host, frames=own_host, pages=own_host)
    # A form is answered by 303 to Stripe's page: browsers hold form-action for redirects too.
    assert live.count("form-action 'self' https://checkout.stripe.com;") == 1
    assert "form-action 'self';" in own
    assert sandbox.form_amount(1500, "ISK") == 150_000  # docs.stripe.com/currencies#special-cases
    for one in (own, live):
        assert "unsafe" not in one
        assert "form-action 'self'" in one


def test_values_are_escaped_whatever_they_are() -> None:
    attack = "<script>alert(1)</script>\"'&"
    frame = PageFrame(language=Language.ENGLISH, path=f"/c/{attack}", query={"cpo": attack}, brand=attack)
    page = render(
        "notice.html",
        frame,
        {"heading": attack, "text": attack, "choices": [(attack, attack)], "reload": attack},
    )
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_a_file_has_an_address_that_changes_with_it() -> None:
    assert asset("driver.css").startswith("/driver-page/driver.css?v=")
    assert static_file("../routes.py") is None


def png_modules(png: bytes) -> list[list[bool]]:
    """The modules of a code in a 1-bit grayscale PNG (RFC 2083), one a square of 16 pixels: True is dark."""
    at, data, width, height = 8, b"", 0, 0
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth = *struct.unpack(">II", body[:8]), body[8]
            assert depth == 1
        if kind == b"IDAT":
            data += body
        at += 12 + length
    raw, stride = zlib.decompress(data), (width + 7) // 8
    rows, before = [], bytes(stride)
    for number in range(height):
        line = raw[number * (stride + 1) : (number + 1) * (stride + 1)]
        filtered = bytearray(line[1:])
        if line[0] == 2:
            filtered = bytearray((one + up) % 256 for one, up in zip(filtered, before, strict=True))
        else:
            assert line[0] == 0
        before = bytes(filtered)
        rows.append(before)
    return [
        [not rows[y][x // 8] >> (7 - x % 8) & 1 for x in range(8, width, 16)] for y in range(8, height, 16)
    ]


def test_the_picture_of_a_code_says_the_address_of_its_evse() -> None:
    address = qr_codes.page_address("https://charge.example", "DE*RHN*E1*0001")
    assert address == "https://charge.example/c/DE*RHN*E1*0001"
    expected = [
        [bool(module) for module in row]
        for row in segno.make(address, error="q", micro=False).matrix_iter(border=4)
    ]
    assert png_modules(qr_codes.draw_png(address)) == expected
    assert qr_codes.draw_svg(address).startswith(b"<?xml")


def terminal_modules(shown: str) -> list[list[bool]]:
    """The modules of a code in characters: light where a half of a character is drawn."""
    light = {"\u2588": (1, 1), "\u2580": (1, 0), "\u2584": (0, 1), " ": (0, 0)}
    rows = []
    for line in shown.splitlines():
        rows += [[not light[one][half] for one in line] for half in (0, 1)]
    return rows


def test_the_code_in_a_terminal_says_the_address_too() -> None:
    address = qr_codes.page_address("http://127.0.0.1:8000", "DE*RHN*E1*0001")
    expected = [
        [bool(module) for module in row]
        for row in segno.make(address, error="l", micro=False).matrix_iter(border=2)
    ]
    shown = terminal_modules(qr_codes.draw_terminal(address))
    assert shown[: len(expected)] == expected
    assert shown[len(expected) :] in ([], [[False] * len(expected[0])])


def drawn_modules(lines: Iterable[tuple[float, float, float]], side: int) -> list[list[bool]]:
    """The modules of a code drawn in strokes one module wide: each its height, its begin and its end."""
    rows = [[False] * side for _ in range(side)]
    for y, begin, end in lines:
        for x in range(round(begin), round(end)):
            rows[int(y)][x] = True
    return rows


def svg_strokes(svg: str) -> Iterator[tuple[float, float, float]]:
    path = re.search(r'stroke="#000" d="([^"]+)"', svg)
    assert path
    x = y = 0.0
    for kind, first, second in re.findall(r"([Mmh])(-?[\d.]+)(?: (-?[\d.]+))?", path.group(1)):
        if kind == "h":
            yield y, x, x + float(first)
            x += float(first)
        else:
            x, y = (x, y) if kind == "m" else (0.0, 0.0)
            x, y = x + float(first), y + float(second)


def pdf_strokes(pdf: bytes) -> Iterator[tuple[float, float, float]]:
    (page,) = PdfReader(BytesIO(pdf), strict=True).pages
    contents = page.get_contents()
    assert contents is not None
    begin = 0.0
    for operands, operator in contents.operations:
        if operator == b"m":
            begin = float(operands[0])
        elif operator == b"l" and float(operands[1]) % 1 == 0.5:  # the middle of a row
            yield float(operands[1]), begin, float(operands[0])


def test_the_drawn_codes_say_the_address_too() -> None:
    sheet = qr_codes.QrSheet(base_url="https://charge.example", evse_id="DE*RHN*E1*0001")
    address = qr_codes.page_address(sheet.base_url, sheet.evse_id)
    expected = [
        [bool(module) for module in row]
        for row in segno.make(address, error="q", micro=False).matrix_iter(border=4)
    ]
    side = len(expected)
    assert drawn_modules(svg_strokes(qr_codes.draw_svg(address).decode()), side) == expected
    pdf = qr_codes.draw_pdf_now(sheet, at=datetime(2026, 11, 30, tzinfo=UTC))
    assert drawn_modules(pdf_strokes(pdf), side) == expected


def test_a_sheet_says_in_four_languages_what_to_do_and_what_to_check() -> None:
    sheet = qr_codes.QrSheet(base_url="https://charge.example", evse_id="DE*RHN*E1", operator="Rhein #Netz")
    pdf = qr_codes.draw_pdf_now(sheet, at=datetime(2026, 11, 30, tzinfo=UTC))
    (page,) = PdfReader(BytesIO(pdf), strict=True).pages
    assert page.extract_text().splitlines() == [
        "Scan, pay by card, charge No app, no account",
        "Scannen, mit Karte bezahlen, laden Ohne App, ohne Konto",
        "Scanner, payer par carte, recharger Sans application, sans compte",
        "Scansiona, paga con carta, ricarica Senza app, senza conto",
        "DE*RHN*E1",
        "Rhein #Netz",
        "charge.example/c/DE*RHN*E1",
        "Check that the address begins with charge.example",
        "Achten Sie darauf, dass die Adresse mit charge.example beginnt",
        "Vérifiez que l'adresse commence par charge.example",
        "Controlli che l'indirizzo cominci con charge.example",
    ]


def test_long_names_stay_on_one_sheet_and_within_it() -> None:
    """48 characters of an EVSE id and 100 of a name: the longest that OCPI knows."""
    sheet = qr_codes.QrSheet(base_url="https://charge.example", evse_id="W" * 48, operator="W" * 100)
    (page,) = PdfReader(BytesIO(qr_codes.draw_pdf_now(sheet, at=datetime(2026, 11, 30, tzinfo=UTC)))).pages
    assert f"\n{sheet.evse_id}\n{sheet.operator}\n" in page.extract_text()
    contents = page.get_contents()
    assert contents is not None
    begins = [float(operands[4]) for operands, operator in contents.operations if operator == b"cm"]
    assert min(begins) >= 22 / 25.4 * 72 - 0.01  # the margin of 22 mm


def test_an_evse_id_with_signs_is_one_part_of_the_address() -> None:
    assert qr_codes.page_address("https://c.example", "a?b#c%") == "https://c.example/c/a%3Fb%23c%25"


def test_a_sheet_is_the_same_bytes_for_the_same_day() -> None:
    sheet = qr_codes.QrSheet(base_url="https://charge.example", evse_id="DE*RHN*E1", operator="Rhein #Netz")
    at = datetime(2026, 11, 30, tzinfo=UTC)
    first = qr_codes.draw_pdf_now(sheet, at=at)
    assert first.startswith(b"%PDF-")
    assert first == qr_codes.draw_pdf_now(sheet, at=at)


def test_the_command_draws_a_file_for_each_evse_and_shows_a_code_without_one(tmp_path: Path) -> None:
    command = ["qr", "DE*RHN*E1", "DE*RHN*E2", "--url", "https://charge.example/"]
    runner = CliRunner()
    for kind, begins in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF-")):
        done = runner.invoke(networkcore, [*command, "--format", kind, "--out", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert (tmp_path / f"DE-RHN-E2.{kind}").read_bytes().startswith(begins)
    shown = runner.invoke(networkcore, command)
    assert "https://charge.example/c/DE*RHN*E1\n" in shown.output
    assert "\u2588" in shown.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["qr", "a b", "--url", "https://c.example"], "expected one such as DE*ABC*E1"),
        (["qr", "***", "--url", "https://c.example"], "expected one such as DE*ABC*E1"),
        (["qr", "DE*ABC*E1", "--url", "charge.example"], "expected an address"),
        (["qr", "DE*ABC*E1"], "where do drivers reach the gateway"),
    ],
)
def test_a_code_that_would_lead_nowhere_is_not_drawn(arguments: list[str], says: str) -> None:
    done = CliRunner(env={"NETWORKCORE_PUBLIC_URL": None}).invoke(networkcore, arguments)
    assert done.exit_code == 2
    assert says in done.output
