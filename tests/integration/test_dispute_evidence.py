"""Evidence against a dispute: staged, submitted once before its deadline, announced, or the loss accepted."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import new_id, parse_id, shard_of
from gateway.jobs.dispute_deadlines import DisputeDeadlineJob
from gateway.payments.errors import (
    InvalidPaymentRequestError,
    NotFoundError,
    PaymentConflictError,
    PspUnavailableError,
)
from gateway.payments.psp.dispute_port import DisputeResponse, DisputeState, DisputeUpdate, PspEvidenceRequest
from gateway.payments.psp.failures import PspOutcomeUnknown
from tests.fakes.api import open_api
from tests.integration.test_api_after_capture import captured
from tests.integration.test_dispute_states import OPENED
from tests.integration.test_payments import START, System
from tests.integration.test_rare_payments import hear, system

__all__ = ["system"]
DUE = START + timedelta(days=7)
AWAITED = replace(OPENED, response=DisputeResponse.NEEDED, respond_by=DUE)


async def disputed(system: System, update: DisputeUpdate = AWAITED) -> tuple[Any, Any]:
    view = await system.authorize()
    await system.complete(view)
    system.psp.disputes["du_1"] = update
    await hear(system, view, update)
    (row,) = await system.rows("dispute")
    return view, row["id"]


async def test_evidence_is_staged_and_then_submitted_whole(system: System) -> None:
    _, dispute = await disputed(system)
    service = system.payments.dispute_evidence
    staged = await service.respond(dispute, evidence={"statement": "a", "access_log": "b"}, submit=False)
    assert (staged.response, staged.evidence) == ("needed", {"statement": "a", "access_log": "b"})
    sent = await service.respond(dispute, evidence={"statement": "c", "access_log": ""}, submit=True)
    assert (sent.response, sent.submissions, sent.evidence) == ("under_review", 1, {"statement": "c"})
    with pytest.raises(PaymentConflictError, match="under review"):
        await service.respond(dispute, evidence={"statement": "d"}, submit=True)


async def test_a_repeat_of_the_same_evidence_is_the_same_request(system: System) -> None:
    _, dispute = await disputed(system)
    service = system.payments.dispute_evidence
    for _ in range(2):
        await service.respond(dispute, evidence={"statement": "a"}, submit=False)
    keys = [key for kind, key in system.psp.calls if kind == "evidence"]
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_without_an_answer_the_dispute_still_waits_and_may_be_asked_again(system: System) -> None:
    _, dispute = await disputed(system)
    answers = system.psp.submit_evidence

    async def silent(request: PspEvidenceRequest) -> PspOutcomeUnknown:
        await answers(request)
        return PspOutcomeUnknown(reason="timeout")

    system.psp.submit_evidence = silent  # type: ignore[method-assign, assignment]
    service = system.payments.dispute_evidence
    with pytest.raises(PspUnavailableError):
        await service.respond(dispute, evidence={"statement": "a"}, submit=True)
    assert [row["response"] for row in await system.rows("dispute")] == ["needed"]
    system.psp.submit_evidence = answers  # type: ignore[method-assign]
    assert (await service.respond(dispute, evidence={}, submit=True)).response == "under_review"


@pytest.mark.parametrize(
    ("update", "evidence", "error"),
    [
        (AWAITED, {}, InvalidPaymentRequestError),
        (AWAITED, {"statement": "x" * 75_001, "access_log": "x" * 75_000}, InvalidPaymentRequestError),
        (replace(AWAITED, respond_by=START), {"statement": "a"}, PaymentConflictError),
        (replace(AWAITED, respond_by=None), {"statement": "a"}, PaymentConflictError),
        (
            replace(AWAITED, state=DisputeState.WON, response=DisputeResponse.NONE),
            {"statement": "a"},
            PaymentConflictError,
        ),
    ],
)
async def test_evidence_that_nobody_would_read_is_never_sent(
    system: System, update: DisputeUpdate, evidence: dict[str, str], error: type[Exception]
) -> None:
    _, dispute = await disputed(system, update)
    with pytest.raises(error):
        await system.payments.dispute_evidence.respond(dispute, evidence=evidence, submit=True)
    assert "evidence" not in {kind for kind, _ in system.psp.calls}


async def test_a_loss_is_accepted_once(system: System) -> None:
    _, dispute = await disputed(system)
    service = system.payments.dispute_evidence
    for _ in range(2):
        assert (await service.accept(dispute)).state == "lost"
    assert [kind for kind, _ in system.psp.calls].count("accept") == 1
    with pytest.raises(NotFoundError):
        await service.accept(new_id())


async def test_a_deadline_is_announced_once_three_days_ahead_and_anew_for_an_appeal(system: System) -> None:
    view, _ = await disputed(system)

    async def announced() -> int:
        await DisputeDeadlineJob(clock=system.clock, payments=system.payments).run_once()
        rows = await system.rows("event")
        return sum(row["type"] == "dispute.evidence_due" for row in rows)

    assert await announced() == 0
    system.clock.at = DUE - timedelta(days=3)
    assert await announced() == 3  # the platform, the demand partner, the CPO
    assert await announced() == 3
    lost = replace(AWAITED, state=DisputeState.LOST)
    later = DUE + timedelta(days=20)
    await hear(system, view, replace(lost, response=DisputeResponse.NONE), replace(lost, respond_by=later))
    assert await announced() == 3
    system.clock.at = later - timedelta(hours=1)
    assert await announced() == 6
    system.clock.at = later
    assert await announced() == 6


async def test_only_the_platform_answers_a_dispute_over_the_api(pool: Pool) -> None:
    async with open_api(pool) as api:
        session = await captured(api)
        session_id = parse_id("ses", session["id"])
        update = replace(AWAITED, respond_by=api.clock.now() + timedelta(days=1))
        api.psp.disputes["du_1"] = update
        await api.services.payments.disputes.record_update(
            update, shard=shard_of(session_id), session_id=session_id
        )
        (shown,) = (await api.call("GET", "/v1/disputes")).json["data"]
        path = f"/v1/disputes/{shown['id']}"
        assert (shown["response"], shown["submissions"], shown["withdrawn"]) == ("needed", 0, 1190)
        body = {"evidence": {"statement": "12 kWh"}, "submit": True}
        assert (await api.call("POST", f"{path}/evidence", body, key="a")).status == 403
        unknown = {"evidence": {"receipt": "file_1"}}
        assert (await api.call("POST", f"{path}/evidence", unknown, key="b", party="admin")).status == 400
        sent = await api.call("POST", f"{path}/evidence", body, key="c", party="admin")
        assert (sent.status, sent.json["response"]) == (200, "under_review")
        read = await api.call("GET", f"{path}/evidence", party="admin")
        assert read.json["evidence"] == {"statement": "12 kWh"}
        refused = await api.call("POST", f"{path}/accept", {}, key="d", party="admin")
        assert refused.status == 409, refused.text
