"""A disbursement's statement over HTTP and by command: three forms, one set of figures, and whose it is."""

import asyncio
import csv
import io
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pypdf import PdfReader

from clearing.documents.einvoice import cii, ubl
from clearing.documents.printed_page import invoice_page
from clearing.language import Language
from clearing.money import to_major
from clearing.settlement_statements.verification import verify_settlement_statement
from gateway.cli.clearing import command as clearing_command
from gateway.cli.verify import command as verify_command
from gateway.jobs.disbursements import DisbursementJob, PspRail
from tests.fakes.api import Api
from tests.integration import test_api_disbursements as settlement
from tests.unit.clearing import test_invoice as invoices

api = settlement.api  # the fixture: parties, an agreement, a server


async def paid(api: Api, *, party: str = "DE-ABC") -> dict[str, Any]:
    await settlement.settle(api)
    api.clock.at += timedelta(days=7)
    job = DisbursementJob(
        pool=api.services.pool,
        clock=api.clock,
        clearing=api.services.clearing,
        rail=PspRail(psp=api.psp),
    )
    await job.run()
    (one,) = (await api.call("GET", "/v1/disbursements", party=party)).json["data"]
    return dict(one)


async def test_json_csv_and_pdf_say_the_same(api: Api) -> None:
    payment = await paid(api)
    path = payment["statement"]
    assert path == f"/v1/disbursements/{payment['id']}/statement"
    shown = await api.call("GET", path, party="DE-ABC")
    assert (shown.status, shown.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert f'filename="{payment["id"]}.json"' in shown.headers["Content-Disposition"]
    proved = verify_settlement_statement(shown.text.splitlines())
    assert (proved.payout_minor, proved.sha256) == (
        payment["amount"],
        shown.headers["X-Statement-SHA256"],
    )
    table = await api.call("GET", f"{path}?format=csv", party="DE-ABC")
    assert table.text.count("\r\n") == len(table.text.splitlines())  # RFC 4180
    rows = list(csv.DictReader(io.StringIO(table.text)))
    lines = [row for row in rows if row["type"] == "line"]
    assert sum(int(row["amount_minor"]) for row in lines) == payment["amount"]
    balances = {row["type"]: row["amount"] for row in rows if row["type"] != "line"}
    assert balances["payout"] == f"-{to_major(payment['amount'], 'EUR')}"
    page = await api.call("GET", f"{path}?format=pdf&language=de", party="DE-ABC")
    assert page.headers["Content-Type"] == "application/pdf"
    assert {answer.headers["X-Statement-SHA256"] for answer in (table, page)} == {proved.sha256}
    reader = PdfReader(io.BytesIO(page.content), strict=True)
    text = "\n".join(sheet.extract_text() for sheet in reader.pages)
    assert "Abrechnung" in text
    assert f"{to_major(payment['amount'], 'EUR')} EUR" in text
    assert proved.sha256 in text
    carried = {name: content[0] for name, content in reader.attachments.items()}
    assert carried[f"{payment['id']}.csv"] == table.content
    said, kept = carried[f"{payment['id']}.json"].splitlines(), shown.content.splitlines()
    assert said[:-1] == kept[:-1]  # the last says when it was asked
    xmp = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part>" in xmp


async def test_a_page_carries_the_documents_issued_since_the_last_disbursement(api: Api) -> None:
    invoice = next(iter(invoices.cases().values()))
    pages = {
        language: asdict(
            invoice_page(
                invoice, number="SB-DE-ABC-V-000007", issued_on=api.clock.at.date(), language=language
            )
        )
        for language in Language
    }
    name = {"number": "SB-DE-ABC-V-000007", "issued_on": api.clock.at.date()}
    content = {"ubl": ubl(invoice, **name).decode(), "cii": cii(invoice, **name).decode(), "pages": pages}
    async with api.services.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO clearing.document_series (issuer_id, series) VALUES ('platform', 'SB-DE-ABC-V')"
        )
        await connection.execute(
            "INSERT INTO clearing.document (issuer_id, series, number, type_code, supplier_id, customer_id,"
            " period_start, period_end, currency, net_minor, vat_minor, gross_minor, content, issued_at)"
            " VALUES ('platform', 'SB-DE-ABC-V', 7, 389, 'DE-ABC', 'platform', '2026-09-01', '2026-09-30',"
            " 'EUR', 100, 19, 119, $1, $2)",
            content,
            api.clock.at,
        )
    payment = await paid(api)
    page = await api.call("GET", f"{payment['statement']}?format=pdf&language=fr", party="DE-ABC")
    assert page.status == 200, page.text
    reader = PdfReader(io.BytesIO(page.content), strict=True)
    carried = {name: content[0] for name, content in reader.attachments.items()}
    assert carried["SB-DE-ABC-V-000007.xml"] == content["ubl"].encode()
    own = await api.call("GET", "/v1/documents/SB-DE-ABC-V-000007?format=pdf&language=fr", party="DE-ABC")
    assert carried["SB-DE-ABC-V-000007.pdf"] == own.content  # the very file
    text = "\n".join(sheet.extract_text() for sheet in reader.pages)
    assert "SB-DE-ABC-V-000007" in text
    assert "1.19 EUR" in text
    # It is the CPO's: the demand partner's statement of the same day has none.
    (other,) = (await api.call("GET", "/v1/disbursements", party="parking")).json["data"]
    foreign = await api.call("GET", f"{other['statement']}?format=pdf", party="parking")
    assert not [name for name in PdfReader(io.BytesIO(foreign.content)).attachments if name.startswith("SB-")]


async def test_only_its_party_and_the_platform_read_a_statement(api: Api) -> None:
    payment = await paid(api)
    for form in ("json", "csv", "pdf"):
        foreign = await api.call("GET", f"{payment['statement']}?format={form}", party="parking")
        assert (foreign.status, foreign.json["code"]) == (404, "not_found")
    platform = await api.call("GET", payment["statement"], party="admin")
    own = await api.call("GET", payment["statement"], party="DE-ABC")
    assert platform.text.splitlines()[:-1] == own.text.splitlines()[:-1]
    # The demand partner that brought the session has no name on the CPO's statement.
    assert "parking" not in own.text


@pytest.mark.parametrize(
    ("query", "pointer"), [("format=xml", "/format"), ("language=nl", "/language"), ("form=csv", "/form")]
)
async def test_a_form_or_language_that_there_is_none_of_is_named(api: Api, query: str, pointer: str) -> None:
    payment = await paid(api)
    rejected = await api.call("GET", f"{payment['statement']}?{query}", party="DE-ABC")
    assert (rejected.status, rejected.json["code"]) == (400, "invalid_parameters")
    assert rejected.headers["Content-Type"] == "application/problem+json"
    assert rejected.json["errors"][0]["pointer"] == pointer


async def test_an_unpaid_or_unknown_disbursement_has_no_statement(api: Api) -> None:
    payment = await paid(api)
    async with api.services.pool.acquire() as connection:
        await connection.execute(
            "UPDATE clearing.disbursement SET state = 'requested', finished_at = NULL, rail_reference = NULL"
        )
    early = await api.call("GET", payment["statement"], party="DE-ABC")
    assert (early.status, early.json["code"]) == (409, "state_conflict")
    assert "requested" in early.json["detail"]
    (one,) = (await api.call("GET", "/v1/disbursements", party="DE-ABC")).json["data"]
    assert one["statement"] is None
    for name in ("dis_0000000000000000000000000", "nothing", "dis_01jd2w3x4y5z6a7b8c9d0e1f2g"):
        missing = await api.call("GET", f"/v1/disbursements/{name}/statement", party="DE-ABC")
        assert missing.status == 404


async def test_the_event_of_a_disbursement_links_its_statement(api: Api) -> None:
    payment = await paid(api)
    api.clock.wall = datetime.now(UTC) + timedelta(seconds=2)
    events = (await api.call("GET", "/v1/events?limit=100", party="DE-ABC")).json["data"]
    shown = {event["type"]: event["data"] for event in events if "disbursement" in event["type"]}
    assert shown["disbursement.paid"] == payment
    assert shown["disbursement.planned"]["statement"] is None
    assert shown["disbursement.planned"]["payables"] == payment["payables"] > 0


async def test_the_documentation_lists_every_form(api: Api) -> None:
    described = (await api.call("GET", "/openapi.json", party=None)).json
    operation = described["paths"]["/v1/disbursements/{id}/statement"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {
        "application/x-ndjson",
        "text/csv",
        "application/pdf",
    }
    assert "statement" in described["components"]["schemas"]["Disbursement"]["properties"]


async def test_statements_are_written_and_proved_by_command(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await paid(api)
    monkeypatch.setenv("DATABASE_URL", database_url)
    output = str(tmp_path)
    day = payment["paid_at"][:10]
    runs = [
        [payment["id"], "--output", output],
        ["--since", day, "--party", "DE-ABC", "--output", output, "--format", "pdf", "--language", "it"],
        ["--since", day, "--output", output, "--format", "csv"],
    ]
    for arguments in runs:
        ran = await run_apart(["settlement-statement", *arguments])
        assert ran.exit_code == 0, ran.output
    written = sorted(path.name for path in tmp_path.iterdir())
    assert f"{payment['id']}.json" in written
    assert [name for name in written if name.endswith(".pdf")] == [f"{payment['id']}.pdf"]
    assert len([name for name in written if name.endswith(".csv")]) == 2
    file = tmp_path / f"{payment['id']}.json"
    proved = CliRunner().invoke(verify_command, [str(file), "--json"])
    assert proved.exit_code == 0, proved.output
    assert json.loads(proved.output)["payout_minor"] == payment["amount"]
    assert "sha256 " in CliRunner().invoke(verify_command, [str(file)]).output
    file.write_text(file.read_text().replace('"kind":"capture"', '"kind":"refunds"', 1))
    rejected = CliRunner().invoke(verify_command, [str(file)])
    assert (rejected.exit_code, "NOT VERIFIED: line 2 was altered" in rejected.output) == (1, True)
    missing = await run_apart(["settlement-statement", "dis_01jd2w3x4y5z6a7b8c9d0e1f2g", "--output", output])
    assert (missing.exit_code, "there is no such disbursement" in missing.output) == (1, True)
    for wrong in (
        ["--output", output],
        ["nothing", "--output", output],
        ["--since", "x", "--output", output],
    ):
        assert (await run_apart(["settlement-statement", *wrong])).exit_code == 2


async def run_apart(arguments: list[str]) -> Any:
    """The command in a thread: it has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, clearing_command, arguments)
