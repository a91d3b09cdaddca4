"""Evidence against a dispute: staged, submitted before its deadline, or the loss accepted.

Owns: when evidence is accepted, and the order of intent, request and record. Must not know: HTTP, what the
PSP calls its fields, what a dispute costs. The key of a request follows from the dispute and what is sent, so
a repeat submits once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from gateway.database import transaction
from gateway.ids import format_id
from gateway.payments import dispute_repository, presenters, repository
from gateway.payments.dispute import DisputeService
from gateway.payments.errors import InvalidPaymentRequestError, PaymentConflictError, PspUnavailableError
from gateway.payments.psp.dispute_port import (
    EVIDENCE_FILES,
    DisputeUpdate,
    PspEvidenceRequest,
    PspFileRequest,
)
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import Psp
from gateway.payments.psp_answers import known
from gateway.payments.records import DisputeRecord
from gateway.webhooks import events

MAX_CHARACTERS: Final = 150_000  # of all fields together (docs.stripe.com/api/disputes/update)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeEvidenceService:
    """Answers disputes, for the platform: it is the merchant."""

    disputes: DisputeService
    psp: Psp

    async def respond(self, dispute_id: UUID, *, evidence: Mapping[str, str], submit: bool) -> DisputeRecord:
        """Stage evidence beside what was staged before, and submit all of it where `submit`.

        Texts, and ids of files by the names of EVIDENCE_FILES; an empty text removes a field. Evidence is
        submitted once. Raises NotFoundError, PaymentConflictError
        where none is accepted, InvalidPaymentRequestError, PspUnavailableError.
        """
        dispute = await self._answerable(dispute_id)
        if dispute.respond_by is None or dispute.respond_by <= self.disputes.clock.now():
            raise PaymentConflictError("the time for evidence has passed; the dispute is decided without it")
        staged = {name: text for name, text in {**dispute.evidence, **evidence}.items() if text}
        if submit and not staged:
            raise InvalidPaymentRequestError("no evidence is staged: give at least one field")
        written = sum(len(text) for name, text in staged.items() if name not in EVIDENCE_FILES)
        if written > MAX_CHARACTERS:
            raise InvalidPaymentRequestError(
                f"the evidence has more than {MAX_CHARACTERS} characters in all; shorten it"
            )
        async with transaction(self.disputes.pool) as connection:
            await dispute_repository.stage_evidence(
                connection, shard=dispute.shard, dispute_id=dispute.id, evidence=staged
            )
        # A field that was removed is cleared at the PSP too.
        sent = {**dict.fromkeys(dispute.evidence, ""), **staged}
        digest = sha256(json.dumps([sent, submit], sort_keys=True).encode()).hexdigest()[:16]
        answer = await self.psp.submit_evidence(
            PspEvidenceRequest(
                idempotency_key=f"nc_{format_id('dsp', dispute.id)}_{digest}",
                psp_dispute=dispute.psp_dispute,
                evidence=sent,
                submit=submit,
            )
        )
        return await self._record(dispute, answer)

    async def upload(self, dispute_id: UUID, *, name: str, content: bytes) -> str:
        """Upload a PDF for the evidence of a dispute; the PSP's id of it. Errors as `respond`.

        The same bytes again are the same file.
        """
        dispute = await self._answerable(dispute_id)
        answer = await self.psp.upload_evidence(
            PspFileRequest(
                idempotency_key=f"nc_{format_id('dsp', dispute.id)}_{sha256(content).hexdigest()[:16]}",
                name=name,
                content=content,
            )
        )
        return known(answer).psp_file

    async def accept(self, dispute_id: UUID) -> DisputeRecord:
        """Accept the loss: final at the PSP. Errors as `respond`; a dispute that was lost is a no-op."""
        dispute = await self.disputes.get(party_id=None, dispute_id=dispute_id)
        if dispute.state == "lost" and dispute.response == "none":
            return dispute
        dispute = await self._answerable(dispute_id)
        answer = await self.psp.accept_dispute(
            psp_dispute=dispute.psp_dispute, idempotency_key=f"nc_{format_id('dsp', dispute.id)}_accept"
        )
        return await self._record(dispute, answer)

    async def announce_deadlines(self, *, before: datetime, batch: int) -> int:
        """Publish once each dispute whose evidence is due by `before` and not submitted; how many."""
        now = self.disputes.clock.now()
        async with transaction(self.disputes.pool) as connection:
            due = await dispute_repository.announce_deadlines(connection, now=now, before=before, batch=batch)
            for dispute in due:
                session = await repository.find_session(
                    connection, shard=dispute.shard, session_id=dispute.session_id
                )
                if session is not None:
                    await events.record(connection, presenters.evidence_due_events(dispute, session), now=now)
        return len(due)

    async def _answerable(self, dispute_id: UUID) -> DisputeRecord:
        dispute = await self.disputes.get(party_id=None, dispute_id=dispute_id)
        if dispute.response != "needed":
            why = "it is under review" if dispute.response == "under_review" else f"it is {dispute.state}"
            raise PaymentConflictError(f"the dispute waits for no response: {why}")
        return dispute

    async def _record(
        self, dispute: DisputeRecord, answer: DisputeUpdate | Declined | PspOutcomeUnknown
    ) -> DisputeRecord:
        match answer:
            case Declined(code=code):
                raise InvalidPaymentRequestError(f"the PSP rejected it: {code}; read the dispute again")
            case PspOutcomeUnknown(reason=reason):
                raise PspUnavailableError(
                    f"the PSP did not answer ({reason}); the same request again is safe"
                )
            case DisputeUpdate():
                await self.disputes.record_update(answer, shard=dispute.shard, session_id=dispute.session_id)
        return await self.disputes.get(party_id=None, dispute_id=dispute.id)
