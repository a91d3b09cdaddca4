"""The driver names the company that buys a session, on a page without a key and without script."""

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlencode

from gateway.database import Pool
from gateway.ids import parse_id
from gateway.jobs.driver_documents import DriverDocumentJob
from gateway.limits.address_limit import AddressLimiter
from gateway.limits.rate_limit import RateRule
from tests.fakes.api import Answer, Api, open_api
from tests.integration import test_api_disbursements as settlement
from tests.integration.test_buyers import BODY

api = settlement.api  # the fixture: parties, an agreement, a server
FIELDS = {
    "name": "Bäcker & <Söhne> GmbH",
    "street": "Weg 1",
    "post_code": "10115",
    "town": "Berlin",
    "country": "de",
    "vat_id": "DE 136695976",
    "reference": "Fahrt 7",
}
OTHER = FIELDS | {"name": "Another GmbH"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def link(api: Api, session: str) -> str:
    made = await api.call("POST", f"/v1/sessions/{session}/buyer-link")
    assert made.status == 200, made.text
    assert made.json["url"].startswith("http://api.test/v1/receipts/ses_")
    return str(made.json["url"]).removeprefix("http://api.test")


async def submit(api: Api, path: str, fields: dict[str, str] | bytes) -> Answer:
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    return await api.call("POST", path, body, party=None, headers=FORM)


async def issue(api: Api) -> None:
    while await DriverDocumentJob(pool=api.services.pool, clock=api.clock).run_once():
        pass


async def own(api: Api, session: str) -> Sequence[str]:
    shown = (await api.call("GET", f"/v1/sessions/{session}/receipt")).json["documents"]
    return [one["number"] for one in shown if one["buyer"] is not None]


async def test_a_driver_names_the_company_after_clearing_and_gets_its_document(api: Api) -> None:
    session = await settlement.settle(api)
    await issue(api)
    path = await link(api, session)
    assert path == await link(api, session)
    form = await api.call("GET", path, party=None)
    assert form.status == 200
    assert "<script" not in form.text
    assert "form-action 'self'" in form.headers["Content-Security-Policy"]
    assert form.headers["Cache-Control"] == "private, no-store"
    for name in FIELDS:
        assert f"<label for='{name}'>" in form.text
        assert f"id='{name}'" in form.text

    early = await submit(api, path, FIELDS)  # the client follows to the invoice's page
    assert (early.status, "The invoice follows" in early.text) == (200, True)
    await issue(api)
    page = await submit(api, path, FIELDS)  # a second click
    (number,) = await own(api, session)
    assert number in page.text
    file = re.search(r"href='(/v1/invoices/[^']+)'", page.text)
    assert file is not None
    pdf = await api.call("GET", file[1], party=None)
    assert (pdf.status, pdf.headers["Content-Type"]) == (200, "application/pdf")
    assert pdf.content.startswith(b"%PDF")
    foreign = file[1].replace(number, "DR-platform-000000001")  # the driver's own, cancelled one
    assert (await api.call("GET", foreign, party=None)).status == 404
    closed = await api.call("GET", path, party=None)
    assert (closed.status, "named already" in closed.text) == (409, True)
    assert FIELDS["name"].split()[0] not in closed.text  # the station's operator knows this link too


async def test_bad_input_is_shown_beside_its_field_and_stores_nothing(api: Api) -> None:
    session = await settlement.settle(api)
    path = await link(api, session)
    cases: list[tuple[dict[str, str], str]] = [
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"street": ""}, "street"),
        ({"town": " "}, "town"),
        ({"country": "Deutschland"}, "country"),
        ({"country": "QQ"}, "country"),
        ({"post_code": "1" * 17}, "post_code"),
        ({"vat_id": "DE136695977"}, "vat_id"),
        ({"vat_id": "!"}, "vat_id"),
        ({"reference": "x" * 101}, "reference"),
        ({"reference": "4242424242424242"}, "reference"),
    ]
    for change, field in cases:
        answer = await submit(api, path, FIELDS | change)
        assert answer.status == 400, change
        assert f"id='{field}-fault'" in answer.text, change
        assert "<Söhne>" not in answer.text
    assert "4242" not in answer.text
    for raw in (b"", b"\xff\xfe", b"name", urlencode([("name", "x")] * 50).encode(), b"name=%00&town=a"):
        assert (await submit(api, path, raw)).status == 400, raw
    pool = api.services.pool
    assert await pool.fetchval("SELECT count(*) FROM gateway.buyer") == 0
    assert await pool.fetchval("SELECT count(*) FROM gateway.session_buyer") == 0


async def test_of_two_companies_at_once_one_is_named_and_of_two_clicks_one_document_comes(api: Api) -> None:
    session = await settlement.settle(api)
    await issue(api)
    path = await link(api, session)
    answers = await asyncio.gather(*(submit(api, path, one) for one in (FIELDS, OTHER, FIELDS, OTHER)))
    assert sorted(answer.status for answer in answers) == [200, 200, 409, 409]
    await issue(api)
    assert len(await own(api, session)) == 1
    assert await api.services.pool.fetchval("SELECT count(*) FROM gateway.invoice_link") == 1


async def test_a_company_named_for_two_sessions_is_one_buyer(api: Api) -> None:
    for key in ("x1", "x2"):
        session = (await api.authorize(key=key)).json["session"]
        assert (await submit(api, await link(api, session), FIELDS)).status == 200
    (buyer,) = (await api.call("GET", "/v1/buyers")).json["data"]
    assert (buyer["name"], buyer["vat_id"], buyer["vat_id_valid"]) == (FIELDS["name"], "DE136695976", False)
    stored = await api.services.pool.fetch("SELECT buyer_id FROM gateway.session_buyer")
    assert [row["buyer_id"] for row in stored] == [buyer["id"]] * 2


async def test_the_partners_buyer_stands_and_a_link_is_for_its_own_session(api: Api) -> None:
    made = await api.call("POST", "/v1/buyers", BODY, key="b1")
    session = (await api.authorize(key="x1", buyer=made.json["id"])).json["session"]
    path = await link(api, session)
    assert (await api.call("GET", path, party=None)).status == 409
    assert (await submit(api, path, FIELDS)).status == 409
    foreign = await api.call("POST", f"/v1/sessions/{session}/buyer-link", party="superapp")
    assert foreign.status == 404
    other = (await api.authorize(key="x2")).json["session"]
    await link(api, other)
    mixed = path.replace(session, other)
    assert (await api.call("GET", mixed, party=None)).status == 404
    assert (await submit(api, mixed, FIELDS)).status == 404
    token = path.split("/")[-2]
    assert (await api.call("GET", f"/v1/invoices/{session}/{token}", party=None)).status == 404


async def test_after_90_days_and_for_a_disputed_payment_the_page_says_why_not(api: Api) -> None:
    session = await settlement.settle(api)
    path = await link(api, session)
    async with api.services.pool.acquire() as connection, connection.transaction():
        await api.services.clearing.sessions.open_dispute(
            connection, parse_id("ses", session), minor=100, fee_minor=0, reference="d", now=api.clock.now()
        )
    disputed = await submit(api, path, FIELDS)
    assert (disputed.status, "is disputed" in disputed.text) == (409, True)
    api.clock.at += timedelta(days=91)
    late = await api.call("GET", path, party=None)
    assert (late.status, "too long ago" in late.text) == (409, True)
    assert (await submit(api, path, FIELDS)).status == 409


async def test_whoever_guesses_links_is_slowed_down(pool: Pool) -> None:
    limiter = AddressLimiter(RateRule(name="address", per_second=1, burst=3))
    async with open_api(pool, addresses=limiter) as opened:
        path = "/v1/receipts/ses_01jd2w3x4y5z6a7b8c9d0e1f2g/aaaaaaaaaaaaaaaaaaaaaaaa/buyer"
        found = [(await submit(opened, path, FIELDS)).status for _ in range(5)]
    assert found[:3] == [404] * 3
    assert found[-1] == 429


async def test_the_page_reads_in_the_language_that_was_chosen_else_accepted(api: Api) -> None:
    session = await settlement.settle(api)
    path = await link(api, session)
    for accepted, query, language, word in (
        ("", "", "en", "Invoice to a company"),
        ("de-CH, en;q=0.5", "", "de", "Rechnung an eine Firma"),
        ("de", "?lang=fr", "fr", "Facture à une entreprise"),
        ("xx, it;q=0.1", "", "it", "Fattura a un&#x27;azienda"),
    ):
        found = await api.call("GET", path + query, party=None, headers={"Accept-Language": accepted})
        assert f"<html lang='{language}'>" in found.text
        assert word in found.text
        assert found.text.count("hreflang=") == 3, "the other languages are one click away"
    wrong = await submit(api, f"{path}?lang=de", FIELDS | {"country": "Deutschland"})
    assert wrong.status == 400
    assert "Bitte berichtigen: Land" in wrong.text
    done = await submit(api, f"{path}?lang=de", FIELDS)
    assert "<html lang='de'>" in done.text, "the page behind the redirect is in the same language"
    assert "Die Rechnung folgt" in done.text
    other = await api.call("GET", f"{path}?lang=xx", party=None)
    assert "<html lang='en'>" in other.text, "an unknown language is none"
