"""Files against a dispute: our own documents uploaded to the PSP, files named by id, and what is refused."""

from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from gateway.ids import parse_id, shard_of
from gateway.payments.psp.dispute_port import FileUploaded, PspEvidenceRequest, PspFileRequest
from gateway.payments.psp.failures import Declined
from gateway.payments.psp.stripe.adapter import StripePsp
from tests.fakes.api import Answer, Api
from tests.integration import test_api_disbursements as settlement
from tests.integration.sandbox_psp_client import KEY, Sandbox, sandbox
from tests.integration.test_api_documents import documented, signed
from tests.integration.test_dispute_evidence import AWAITED
from tests.unit.clearing.meter_builders import METER, public_der

api = settlement.api  # the fixture: parties, an agreement, a server
PDF = b"%PDF-1.7\r\n--not a boundary\r\n\x00\xff%%EOF"


async def disputed(api: Api, session: str) -> str:
    """A dispute of the session that waits for evidence: its path."""
    session_id = parse_id("ses", session)
    update = replace(AWAITED, respond_by=api.clock.now() + timedelta(days=1))
    api.psp.disputes["du_1"] = update
    await api.services.payments.disputes.record_update(
        update, shard=shard_of(session_id), session_id=session_id
    )
    (shown,) = (await api.call("GET", "/v1/disputes", party="admin")).json["data"]
    return f"/v1/disputes/{shown['id']}"


async def answered(api: Api, path: str, body: Any, *, key: str) -> Answer:
    return await api.call("POST", f"{path}/evidence", body, key=key, party="admin")


async def test_the_receipt_and_the_cdr_are_given_as_evidence(api: Api) -> None:
    session = await documented(api)
    await signed(api, session, public_key=public_der())
    path = await disputed(api, session)
    body = {"documents": ["receipt", "cdr"], "evidence": {"statement": "10 kWh"}, "submit": True}
    sent = await answered(api, path, body, key="e1")
    assert sent.status == 200, sent.text
    assert (sent.status, sent.json["response"]) == (200, "under_review"), sent.text
    ((key, content),) = api.psp.files.items()
    assert key.startswith("nc_dsp_")
    shown = PdfReader(BytesIO(content)).pages[0].extract_text()
    assert METER in shown  # the receipt bears what the meter signed
    read = (await api.call("GET", f"{path}/evidence", party="admin")).json
    assert read["files"] == {"receipt": "file_1"}
    assert read["evidence"]["statement"] == "10 kWh"
    assert '"signed_data"' in read["evidence"]["access_log"]


async def test_files_are_named_by_id_beside_the_texts_and_removed_by_an_empty_one(api: Api) -> None:
    path = await disputed(api, await documented(api))
    staged = await answered(api, path, {"files": {"other": "file_a", "receipt": "file_b"}}, key="e1")
    assert staged.status == 200, staged.text
    await answered(api, path, {"files": {"receipt": ""}, "evidence": {"access_log": "x"}}, key="e2")
    read = (await api.call("GET", f"{path}/evidence", party="admin")).json
    assert (read["files"], read["evidence"]) == ({"other": "file_a"}, {"access_log": "x"})


async def test_without_a_document_nothing_is_uploaded_and_nothing_staged(api: Api) -> None:
    session = await settlement.settle(api)  # no document is issued yet
    path = await disputed(api, session)
    refused = await answered(api, path, {"documents": ["receipt"]}, key="e1")
    assert (refused.status, refused.json["code"]) == (409, "state_conflict"), refused.text
    assert api.psp.files == {}
    assert (await api.call("GET", f"{path}/evidence", party="admin")).json["files"] == {}


@pytest.mark.parametrize(
    "body",
    [
        {"files": {"receipt": "no-file"}},
        {"files": {"selfie": "file_1"}},
        {"documents": ["photograph"]},
        {"evidence": {"receipt": "file_1"}},
    ],
)
async def test_what_is_no_file_and_no_document_is_refused(api: Api, body: Any) -> None:
    path = await disputed(api, await documented(api))
    assert (await answered(api, path, body, key="e1")).status == 400


async def psp_dispute(psp: Sandbox) -> str:
    held = await psp.hold(payment_method="pm_card_createDispute")
    await psp.v1.payment_intents.capture_async(held.id)
    return (await psp.v1.disputes.list_async()).data[0].id


async def test_a_file_reaches_the_psp_byte_for_byte_and_once() -> None:
    async with sandbox() as psp:
        adapter = StripePsp(api_key=KEY, webhook_secret="whsec_test", base_url=psp.psp.url)
        request = PspFileRequest(idempotency_key="f1", name="receipt.pdf", content=PDF)
        uploaded = await adapter.upload_evidence(request)
        assert isinstance(uploaded, FileUploaded)
        assert await adapter.upload_evidence(request) == uploaded
        file = await psp.v1.files.retrieve_async(uploaded.psp_file)
        assert (file.purpose, file.type, file.size) == ("dispute_evidence", "pdf", len(PDF))
        dispute = await psp_dispute(psp)
        await adapter.submit_evidence(
            PspEvidenceRequest(
                idempotency_key="e1",
                psp_dispute=dispute,
                evidence={"receipt": uploaded.psp_file, "other": uploaded.psp_file},
                submit=True,
            )
        )
        answered = await psp.v1.disputes.retrieve_async(dispute)
        assert answered.evidence.receipt == answered.evidence.uncategorized_file == uploaded.psp_file
        assert answered.status == "under_review"
        await adapter.close()


async def test_a_file_that_is_none_and_one_that_is_no_document_are_declined_and_no_incident() -> None:
    async with sandbox() as psp:
        adapter = StripePsp(api_key=KEY, webhook_secret="whsec_test", base_url=psp.psp.url)
        dispute = await psp_dispute(psp)
        request = PspEvidenceRequest(
            idempotency_key="e1", psp_dispute=dispute, evidence={"receipt": "file_none"}, submit=False
        )
        unknown = await adapter.submit_evidence(request)
        text = await adapter.upload_evidence(
            PspFileRequest(idempotency_key="f1", name="a.txt", content=b"text")
        )
        await adapter.close()
    assert unknown == Declined(code="resource_missing", retryable=False)
    assert text == Declined(code="invalid_file", retryable=False)
