"""The exceptions queue: each kind opens once and ends with its cause; people list, assign and "
"resolve it."""

import json
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from clearing.errors import ClearingConflictError
from clearing.services import build_clearing
from gateway.cli.status import read_status
from gateway.database import Pool, transaction
from gateway.exception_kinds import ExceptionEventKind, ExceptionKind, ExceptionState
from gateway.exceptions.errors import ExceptionConflictError, ExceptionNotFoundError
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.rules import KINDS, ExceptionRecord
from gateway.exceptions.service import ExceptionService, ExceptionView
from gateway.ids import format_id, new_id, shard_of
from gateway.jobs.exceptions import PAUSE, ExceptionsJob
from gateway.payments.errors import PaymentConflictError
from gateway.payments.stated_usage import UsageAction, UsageDecision
from tests.fakes import clearing_fixtures as world
from tests.fakes.api import Api, Hands, open_api
from tests.fakes.command import networkcore
from tests.integration.test_clearing_job import hand_over, open_books

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=3)


class Queue:
    """The queue on a database with a few parties, and causes put in by hand."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.service = pool, ExceptionService(clearing=build_clearing())
        self.session = world.session(1)

    async def open(self) -> None:
        async with self.pool.acquire() as connection:
            await open_books(connection, build_clearing())
            await hand_over(connection, [self.session])
            await connection.execute("DELETE FROM gateway.task")

    async def run(self, sql: str, *values: Any) -> None:
        await self.pool.execute(sql, *values)

    async def listed(self, *, state: ExceptionState | None = ExceptionState.OPEN) -> list[ExceptionRecord]:
        async with transaction(self.pool) as connection:
            await self.service.refresh(connection, now=NOW, wall_now=NOW)
            wanted = ExceptionFilter(state=state)
            return list(await self.service.list_exceptions(connection, wanted, limit=100))

    async def resolve(
        self, exception_id: UUID, *, by: str = "anna", decision: UsageDecision | None = None
    ) -> ExceptionView:
        async with transaction(self.pool) as connection:
            return await self.service.resolve(
                connection, exception_id, by=by, note="mended", now=NOW, wall_now=NOW, decision=decision
            )

    async def events(self, exception_id: UUID) -> list[ExceptionEventKind]:
        async with transaction(self.pool) as connection:
            return [one.kind for one in (await self.service.get(connection, exception_id)).history]


@pytest.fixture
async def queue(pool: Pool) -> Queue:
    opened = Queue(pool)
    await opened.open()
    return opened


def task_id(queue: Queue) -> UUID:
    return new_id(shard=queue.session.shard)


async def stop_task(queue: Queue) -> str:
    identifier = task_id(queue)
    await queue.run(
        "INSERT INTO gateway.task (shard, id, kind, session_id, run_at, exception_at, last_error, "
        "attempts) "
        "VALUES ($1, $2, 'capture_session', $3, $4, $4, 'no tariff', 30)",
        queue.session.shard,
        identifier,
        queue.session.session_id,
        LONG_AGO,
    )
    return format_id("tsk", identifier)


async def uncleared_session(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO clearing.session_exception (shard, session_id, reason, detail, exception_at, last_at) "
        "VALUES ($1, $2, 'no_agreement', 'no agreement of NL-ABC', $3, $3)",
        queue.session.shard,
        queue.session.session_id,
        LONG_AGO,
    )
    await queue.run(
        "UPDATE gateway.session SET state = 'exception', exception_at = now(), flags = '{no_agreement}'"
    )
    return format_id("ses", queue.session.session_id)


async def audit_difference(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO gateway.audit_run (finished_at, result, checks) VALUES ($1, 'agrees', '{}'),"
        " ($2, 'differs', '{ledger}'), ($3, 'not_compared', '{psp_record}')",
        LONG_AGO - timedelta(days=1),
        LONG_AGO,
        NOW,
    )
    return "audit"


async def unpaid_session(queue: Queue) -> str:
    await queue.run("DELETE FROM gateway.capture")
    await queue.run(
        "UPDATE gateway.session SET state = 'exception', exception_at = now(), flags = '{unpaid}'"
    )
    return format_id("ses", queue.session.session_id)


async def unknown_psp_outcome(queue: Queue) -> str:
    identifier = task_id(queue)
    await queue.run(
        "INSERT INTO gateway.psp_request (shard, id, session_id, authorization_id, kind, state, "
        "amount_minor, "
        "attempts, next_attempt_at, created_at) SELECT shard, $1, session_id, id, 'capture', "
        "'unknown', 605, 9, "
        "$2::timestamptz, $3 FROM gateway.payment_authorization",
        identifier,
        NOW + timedelta(hours=1),
        LONG_AGO,
    )
    return format_id("psr", identifier)


async def failed_check(queue: Queue) -> str:
    identifier = task_id(queue)
    await queue.run(
        "INSERT INTO gateway.stated_usage (shard, id, session_id, cpo_id, source, cdr_id, cdr_key, "
        "cdr_version, cdr, state, reasons, detail, currency, price_minor, lower_minor, received_at, "
        "updated_at) VALUES ($1, $2, $3, 'NL-ABC', 'operator_cdr', 'C9', 'c9', '2.2.1', '', 'exception', "
        "'{cpo_total_lower}', 'less', 'EUR', 500, 400, $4, $4)",
        queue.session.shard,
        identifier,
        queue.session.session_id,
        LONG_AGO,
    )
    return format_id("usg", identifier)


async def unapplied_credit(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO gateway.ocpi_cdr (party_id, cdr_key, cdr_id, version, raw, fingerprint, currency, "
        "ended_at, credit, credit_reference_id, last_updated, received_at, status, credit_state, reason, "
        "updated_at) VALUES ('NL-ABC', 'c-1', 'C-1', '2.2.1', '', $1, 'EUR', $2, true, 'C', $2, $2, "
        "'credit', 'exception', 'partial_credit: 1 of 2', $2)",
        bytes(32),
        LONG_AGO,
    )
    return "NL-ABC/C-1"


async def psp_refuses(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO gateway.psp_incident VALUES ('acct-1', 'parameter_unknown', 'colour', 3, $1, $1)",
        LONG_AGO,
    )
    return "acct-1/parameter_unknown"


async def unmatched_cdr(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO gateway.ocpi_cdr (party_id, cdr_key, cdr_id, version, raw, fingerprint, "
        "currency, ended_at, "
        "credit, last_updated, received_at, status, reason, updated_at) VALUES ('NL-ABC', 'cdr/1', "
        "'CDR/1', "
        "'2.2.1', '', $1, 'EUR', $2, false, $2, $2, 'unmatched', 'no session', $2)",
        bytes(32),
        LONG_AGO,
    )
    return "NL-ABC/CDR/1"


async def rejected_cdr(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO gateway.ocpi_rejected_push (id, party_id, module, object_id, version, status_code, "
        "reason, raw, url, pulled, received_at) VALUES ($1, 'NL-ABC', 'cdrs', 'CDR9', '2.2.1', 2001, "
        "'$.currency: missing', '', '/cdrs', true, $2)",
        new_id(),
        LONG_AGO,
    )
    return "NL-ABC/CDR9"


async def undelivered_message(queue: Queue) -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO gateway.ocpi_outbox (id, party_id, module, method, path, object_id, body, "
        "created_at, run_at, "
        "attempts, last_error, exception_at) VALUES ($1, 'NL-ABC', 'tokens', 'PUT', '', 'T', '', "
        "$2, $2, 11, "
        "'HTTP 500', $2)",
        identifier,
        LONG_AGO,
    )
    return format_id("msg", identifier)


async def failing_pull(queue: Queue) -> str:
    peer = new_id()
    await queue.run(
        "INSERT INTO gateway.ocpi_peer (id, party_id, state, token_hash, outbound_token, version, "
        "versions_url, "
        "created_at, registered_at) VALUES ($1, 'NL-ABC', 'registered', $2, 't', '2.2.1', "
        "'https://x', $3, $3)",
        peer,
        bytes(32),
        LONG_AGO,
    )
    await queue.run(
        "INSERT INTO gateway.ocpi_pull (peer_id, module, due_at, failures, last_error, updated_at) "
        "VALUES ($1, 'cdrs', $2, 3, 'HTTP 500', $3)",
        peer,
        NOW + timedelta(hours=6),
        LONG_AGO,
    )
    return "NL-ABC/cdrs"


async def failing_endpoint(queue: Queue) -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO gateway.webhook_endpoint (id, party_id, url, event_types, secret, failing_since, "
        "failures_in_a_row, created_at) VALUES ($1, 'superapp', 'https://x.example', '{*}', $2, $3, 3, $3)",
        identifier,
        bytes(32),
        LONG_AGO,
    )
    return format_id("whe", identifier)


async def difference(queue: Queue) -> str:
    found = await queue.pool.fetchval(
        "INSERT INTO clearing.reconciliation_difference (pair, reference, type, amount_minor, "
        "currency, since, "
        "owner, proposal, detail, first_seen_at, last_seen_at, run) VALUES ('book_bank', 'E2E', "
        "'missing_right', "
        "250, 'EUR', $1, 'treasury', '{}', 'nothing at the bank', $2, $2, $3) RETURNING id",
        LONG_AGO.date(),
        NOW,
        new_id(),
    )
    return format_id("rdf", found)


async def document(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO clearing.document_exception (supplier_id, customer_id, currency, period_start, "
        "period_end, "
        "party_id, reason, first_at, last_at) VALUES ('NL-ABC', 'platform', 'EUR', $1, $2, 'NL-ABC', "
        "'no VAT id', $3, $3)",
        date(2026, 9, 1),
        date(2026, 9, 30),
        LONG_AGO,
    )
    return "NL-ABC/platform/EUR/2026-09-01/2026-09-30"


async def pending_driver_document(queue: Queue) -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.pending_driver_document (shard, session_id, kind, supplier_id, reason, "
        "first_at, last_at) VALUES ($1, $2, 'capture', 'NL-ABC', 'lacks address', $3, $3)",
        shard_of(identifier),
        identifier,
        LONG_AGO,
    )
    return "NL-ABC"


async def payout_hold(queue: Queue, *, four_eyes: bool = False) -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.payout_hold (id, party_id, reason, since, placed_by, four_eyes) "
        "VALUES ($1, 'NL-ABC', 'a court order', $2, 'anna', $3)",
        identifier,
        LONG_AGO.date(),
        four_eyes,
    )
    return format_id("hld", identifier)


async def unpayable_account(queue: Queue) -> str:
    """A hold of the PSP, and an amount that it keeps from being paid."""
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.payable (shard, subject_id, kind, party_id, amount_minor, currency, due_date) "
        "VALUES (0, $1, 'session', 'NL-ABC', 700, 'EUR', $2)",
        identifier,
        LONG_AGO.date(),
    )
    await queue.run(
        "INSERT INTO clearing.payout_hold (id, party_id, reason, since, placed_by, rail) "
        "VALUES ($1, 'NL-ABC', 'account acct_1 can''t be paid', $2, 'psp', 'psp')",
        identifier,
        LONG_AGO.date(),
    )
    return format_id("hld", identifier)


async def unchecked_party(queue: Queue) -> str:
    """A hold of the party's checks, and an amount that it keeps from being paid."""
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.payable (shard, subject_id, kind, party_id, amount_minor, currency, due_date) "
        "VALUES (0, $1, 'session', 'NL-ABC', 700, 'EUR', $2)",
        identifier,
        LONG_AGO.date(),
    )
    await queue.run(
        "INSERT INTO clearing.payout_hold (id, party_id, reason, since, placed_by, cause) "
        "VALUES ($1, 'NL-ABC', 'sanctions screening: not recorded', $2, 'party_checks', 'party_checks')",
        identifier,
        LONG_AGO.date(),
    )
    return format_id("hld", identifier)


async def lapsing_check(queue: Queue) -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.party_check (id, party_id, kind, result, performed_by, checked_on, "
        "valid_until, reference, note, recorded_by, recorded_at) VALUES ($1, 'NL-ABC', "
        "'commercial_register', 'passed', 'anna', $2, $3, 'KvK', '', 'anna', $4)",
        identifier,
        LONG_AGO.date() - timedelta(days=365),
        LONG_AGO.date(),
        LONG_AGO,
    )
    return format_id("pck", identifier)


async def unknown_disbursement(queue: Queue) -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.disbursement (id, party_id, currency, period, amount_minor, destination, "
        "end_to_end_id, state, planned_at, requested_at, attempts, next_attempt_at) VALUES ($1, "
        "'NL-ABC', 'EUR', "
        "$2, 700, 'acct', 'E2E', 'outcome_unknown', $3, $3, 4, $3)",
        identifier,
        LONG_AGO.date(),
        LONG_AGO,
    )
    return format_id("dis", identifier)


async def approval_request(queue: Queue, *, state: str = "pending") -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.approval_request (id, resolution, state, subject, reference, currency, "
        "amount_minor, entries, reason, requires_approval, proposed_by, proposed_at, decided_by, decided_at) "
        "VALUES ($1, 'suspense', $2, 'difference', 'line:1', 'EUR', 250, '[]', 'payer unknown', true, "
        "'anna', $3, $4, $5)",
        identifier,
        state,
        LONG_AGO,
        None if state == "pending" else "ben",
        None if state == "pending" else NOW,
    )
    return format_id("rdc", identifier)


async def disbursement_approval(queue: Queue, *, rail: str = "psp") -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.disbursement (id, party_id, currency, period, amount_minor, rail, destination, "
        "end_to_end_id, state, approvals_needed, planned_at) VALUES ($1, 'NL-ABC', 'EUR', $2, 900000, $3, "
        "'acct', 'E2E-A', 'planned', 2, $4)",
        identifier,
        LONG_AGO.date() + timedelta(days=1),
        rail,
        LONG_AGO,
    )
    await queue.run("INSERT INTO clearing.disbursement_approval VALUES ($1, 'anna', $2)", identifier, NOW)
    return format_id("dis", identifier)


async def pending_bank_details(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO clearing.bank_details (party_id, version, name, iban, street, building, post_code, "
        "town, country, state, submitted_by, submitted_at) VALUES ('NL-ABC', 1, 'Laad', "
        "'NL91ABNA0417164300', '', '', '', 'Amsterdam', 'NL', 'pending', 'anna', $1)",
        LONG_AGO,
    )
    return "NL-ABC/1"


async def old_suspense(queue: Queue, *, days: int = 8) -> str:
    subject = await approval_request(queue, state="booked")
    await queue.run(
        "INSERT INTO clearing.suspense_item SELECT id, 'EUR', 250, 200, $1, 'treasury', 'payer unknown' "
        "FROM clearing.approval_request WHERE state = 'booked'",
        NOW.date() - timedelta(days=days),
    )
    return subject


async def unsent_payment_file(queue: Queue, *, created_at: datetime = LONG_AGO) -> str:
    await queue.run(
        "INSERT INTO clearing.payment_file (message_id, created_at, content, sha256, payment_count, "
        "control_sum) VALUES ('NC7d1f', $1, '<Document/>', repeat('a', 64), 1, 7.00)",
        created_at,
    )
    return "NC7d1f"


async def rejected_bank_message(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO clearing.bank_message (sha256, name, kind, state, size_bytes, received_at, reason, "
        "reported_by) VALUES (repeat('b', 64), 'statement.xml', 'camt.053', 'rejected', 9, $1, "
        "'GrpHdr is missing', 'inbox')",
        LONG_AGO,
    )
    return "b" * 64


async def dispute_response(queue: Queue) -> str:
    identifier = task_id(queue)
    await queue.run(
        "INSERT INTO gateway.dispute (shard, id, session_id, psp_dispute, state, amount_minor, fee_currency, "
        "currency, reason, response, respond_by, opened_at) SELECT shard, $1, session_id, 'du_1', 'inquiry', "
        "605, 'EUR', 'EUR', 'fraudulent', 'needed', $2::timestamptz, $3::timestamptz FROM gateway.capture",
        identifier,
        NOW,
        LONG_AGO,
    )
    return format_id("dsp", identifier)


async def changed_meter_key(queue: Queue) -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO clearing.meter_key (id, party_id, meter_serial, meter_key, gateway_key, point_key, "
        "curve, der, source, state, valid_from, entered_by, entered_at) VALUES ($1, 'NL-ABC', 'M1', 'm1', "
        "'', '', 'secp256r1', decode(repeat('00', 91), 'hex'), 'cpo', 'proposed', $2, 'NL-ABC', $2)",
        identifier,
        LONG_AGO,
    )
    return format_id("mtk", identifier)


async def waiting_pool_event(queue: Queue) -> str:
    feed, identifier = new_id(), new_id()
    await queue.run(
        "INSERT INTO gateway.contract_pool_feed (id, party_id, protocol, secret, authorities, new_contracts, "
        "enabled, created_at, updated_at) VALUES ($1, 'NL-ABC', 'opcp', '\\x00', '', 'wait', true, $2, $2)",
        feed,
        LONG_AGO,
    )
    await queue.run(
        "INSERT INTO gateway.contract_pool_event (id, feed_id, event_id, name, change, emaid, vehicle, "
        "state, reason, detail, occurred_at, received_at, decided_at) VALUES ($1, $2, $1, "
        "'oem.contract.created', 'contract_stored', 'DE8AAC12345678', 'V', 'waiting', 'contract_unknown', "
        "'no contract', $3, $3, $3)",
        identifier,
        feed,
        LONG_AGO,
    )
    return format_id("cpe", identifier)


async def unbooked_charge(queue: Queue) -> str:
    await queue.run(
        "INSERT INTO gateway.unbooked_charge (psp_payment, psp_charge, shard, reason, state, amount_minor, "
        "currency, found_at, updated_at) "
        "VALUES ('pi_hand', 'ch_hand', 1, 'unknown_payment', 'open', 700, 'EUR', $1, $1)",
        LONG_AGO,
    )
    return "pi_hand"


async def topup_not_arrived(queue: Queue) -> str:
    identifier = new_id()
    await queue.run(
        "INSERT INTO gateway.top_up (subject, id, currency, amount_minor, requested_at, reference, state, "
        "psp_object, failure_code, updated_at) "
        "VALUES ('platform/F', $1, 'EUR', 700, $2, 'F', 'failed', 'tu_1', 'insufficient_funds', $2)",
        identifier,
        LONG_AGO,
    )
    return format_id("top", identifier)


CAUSES = {
    ExceptionKind.UNAPPLIED_POOL_EVENT: (
        waiting_pool_event,
        "UPDATE gateway.contract_pool_event SET state = 'dismissed', reason = ''",
    ),
    ExceptionKind.UNBOOKED_CHARGE: (
        unbooked_charge,
        "UPDATE gateway.unbooked_charge SET state = 'refunded', decided_by = 'anna'",
    ),
    ExceptionKind.TOPUP_NOT_ARRIVED: (
        topup_not_arrived,
        "UPDATE gateway.top_up SET state = 'arrived', failure_code = NULL",
    ),
    ExceptionKind.DISPUTE_RESPONSE: (
        dispute_response,
        "UPDATE gateway.dispute SET response = 'under_review', submissions = 1",
    ),
    ExceptionKind.REJECTED_BANK_MESSAGE: (
        rejected_bank_message,
        "UPDATE clearing.bank_message SET state = 'imported', reason = NULL",
    ),
    ExceptionKind.APPROVAL_REQUEST: (
        approval_request,
        "UPDATE clearing.approval_request SET state = 'rejected', decided_by = 'ben', decided_at = now()",
    ),
    ExceptionKind.DISBURSEMENT_APPROVAL: (
        disbursement_approval,
        "INSERT INTO clearing.disbursement_approval SELECT id, 'ben', now() FROM clearing.disbursement",
    ),
    ExceptionKind.PENDING_BANK_DETAILS: (
        pending_bank_details,
        "UPDATE clearing.bank_details SET state = 'approved', decided_by = 'ben', decided_at = now()",
    ),
    ExceptionKind.OLD_SUSPENSE: (old_suspense, "UPDATE clearing.suspense_item SET remaining_minor = 0"),
    ExceptionKind.UNSENT_PAYMENT_FILE: (
        unsent_payment_file,
        "UPDATE clearing.payment_file SET sent_at = now()",
    ),
    ExceptionKind.FAILED_TASK: (stop_task, "DELETE FROM gateway.task"),
    ExceptionKind.UNCLEARED_SESSION: (uncleared_session, "UPDATE gateway.session SET state = 'cleared'"),
    ExceptionKind.UNPAID_SESSION: (unpaid_session, "UPDATE gateway.session SET state = 'completed'"),
    ExceptionKind.UNKNOWN_PSP_OUTCOME: (
        unknown_psp_outcome,
        "UPDATE gateway.psp_request SET state = 'succeeded', finished_at = now(), next_attempt_at = NULL",
    ),
    ExceptionKind.FAILED_CDR_CHECK: (
        failed_check,
        "UPDATE gateway.stated_usage SET state = 'replaced'",
    ),
    ExceptionKind.UNAPPLIED_CREDIT: (
        unapplied_credit,
        "UPDATE gateway.ocpi_cdr SET credit_state = 'applied' WHERE credit",
    ),
    ExceptionKind.PSP_CONFIGURATION: (psp_refuses, "DELETE FROM gateway.psp_incident"),
    ExceptionKind.UNMATCHED_CDR: (
        unmatched_cdr,
        "UPDATE gateway.ocpi_cdr SET status = 'pending' WHERE NOT credit",
    ),
    ExceptionKind.REJECTED_CDR: (rejected_cdr, "DELETE FROM gateway.ocpi_rejected_push"),
    ExceptionKind.UNDELIVERED_OCPI_MESSAGE: (undelivered_message, "DELETE FROM gateway.ocpi_outbox"),
    ExceptionKind.FAILING_OCPI_PULL: (failing_pull, "UPDATE gateway.ocpi_pull SET failures = 0"),
    ExceptionKind.FAILING_WEBHOOK_ENDPOINT: (
        failing_endpoint,
        "UPDATE gateway.webhook_endpoint SET failures_in_a_row = 0, failing_since = NULL",
    ),
    ExceptionKind.RECONCILIATION_DIFFERENCE: (
        difference,
        "UPDATE clearing.reconciliation_difference SET resolved_at = now()",
    ),
    ExceptionKind.DOCUMENT_EXCEPTION: (document, "DELETE FROM clearing.document_exception"),
    ExceptionKind.UNPAYABLE_ACCOUNT: (
        unpayable_account,
        "UPDATE clearing.payout_hold SET lifted_at = now(), lifted_by = 'psp'",
    ),
    ExceptionKind.UNCHECKED_PARTY: (
        unchecked_party,
        "UPDATE clearing.payout_hold SET lifted_at = now(), lifted_by = 'party_checks'",
    ),
    ExceptionKind.LAPSING_PARTY_CHECK: (lapsing_check, "DELETE FROM clearing.party_check"),
    ExceptionKind.PENDING_DRIVER_DOCUMENTS: (
        pending_driver_document,
        "DELETE FROM clearing.pending_driver_document",
    ),
    ExceptionKind.PAYOUT_HOLD: (
        payout_hold,
        "UPDATE clearing.payout_hold SET lifted_at = now(), lifted_by = 'b'",
    ),
    ExceptionKind.UNKNOWN_DISBURSEMENT_OUTCOME: (
        unknown_disbursement,
        "UPDATE clearing.disbursement SET state = 'paid', rail_reference = 'x', finished_at = now()",
    ),
    ExceptionKind.AUDIT_DIFFERENCE: (
        audit_difference,
        "INSERT INTO gateway.audit_run (finished_at, result, checks) VALUES (now(), 'agrees', '{}')",
    ),
    ExceptionKind.CHANGED_METER_KEY: (
        changed_meter_key,
        "UPDATE clearing.meter_key SET state = 'active', decided_by = 'b', decided_at = now()",
    ),
}
ENDED_BY_THEIR_OWN_COMMAND = (
    ExceptionKind.DISPUTE_RESPONSE,
    ExceptionKind.UNKNOWN_DISBURSEMENT_OUTCOME,
    ExceptionKind.RECONCILIATION_DIFFERENCE,
    ExceptionKind.APPROVAL_REQUEST,
    ExceptionKind.DISBURSEMENT_APPROVAL,
    ExceptionKind.PENDING_BANK_DETAILS,
    ExceptionKind.OLD_SUSPENSE,
    ExceptionKind.UNSENT_PAYMENT_FILE,
    ExceptionKind.CHANGED_METER_KEY,
    ExceptionKind.AUDIT_DIFFERENCE,
)
ENDED_BY_THEIR_RETRY = (
    ExceptionKind.UNCLEARED_SESSION,
    ExceptionKind.DOCUMENT_EXCEPTION,
    ExceptionKind.UNMATCHED_CDR,
    ExceptionKind.FAILED_TASK,
    ExceptionKind.PSP_CONFIGURATION,
    ExceptionKind.PAYOUT_HOLD,
    ExceptionKind.UNDELIVERED_OCPI_MESSAGE,
    ExceptionKind.FAILING_WEBHOOK_ENDPOINT,
    ExceptionKind.UNAPPLIED_POOL_EVENT,
)
ENDED_BY_A_DECISION = (ExceptionKind.FAILED_CDR_CHECK, ExceptionKind.UNBOOKED_CHARGE)
RETRIED_AND_OPEN = (ExceptionKind.UNKNOWN_PSP_OUTCOME, ExceptionKind.FAILING_OCPI_PULL)


def test_every_kind_is_tried_here() -> None:
    assert set(CAUSES) == set(ExceptionKind)


@pytest.mark.parametrize("kind", list(ExceptionKind))
async def test_an_exception_opens_once_ends_with_its_cause_and_comes_back_as_another(
    queue: Queue, kind: ExceptionKind
) -> None:
    put, mend = CAUSES[kind]
    subject = await put(queue)
    (first,) = await queue.listed()
    assert (first.kind, first.subject_id, first.state) == (kind, subject, ExceptionState.OPEN)
    assert first.since.date() <= LONG_AGO.date() or kind is ExceptionKind.UNPAID_SESSION
    assert await queue.listed() == [first]
    await queue.run(mend)
    assert await queue.listed() == []
    (ended,) = await queue.listed(state=None)
    assert (ended.id, ended.state, ended.resolved_at) == (first.id, ExceptionState.RESOLVED, NOW)
    assert await queue.events(first.id) == [ExceptionEventKind.OPENED, ExceptionEventKind.RESOLVED]


async def test_a_cause_that_comes_back_is_a_new_exception(queue: Queue) -> None:
    subject = await unmatched_cdr(queue)
    (first,) = await queue.listed()
    await queue.run("UPDATE gateway.ocpi_cdr SET status = 'pending' WHERE NOT credit")
    assert await queue.listed() == []
    await queue.run("UPDATE gateway.ocpi_cdr SET status = 'unpriceable'")
    (second,) = await queue.listed()
    assert (second.subject_id, second.reason) == (subject, "unpriceable")
    assert second.id != first.id


async def test_another_reason_of_the_same_cause_is_a_line_of_history(queue: Queue) -> None:
    await unmatched_cdr(queue)
    (first,) = await queue.listed()
    await queue.run("UPDATE gateway.ocpi_cdr SET status = 'unpriceable', reason = 'no tariff'")
    (second,) = await queue.listed()
    assert (second.id, second.reason, second.detail) == (first.id, "unpriceable", "no tariff")
    assert await queue.events(first.id) == [ExceptionEventKind.OPENED, ExceptionEventKind.CHANGED]


async def test_a_sum_at_stake_and_the_reason_of_clearing_are_shown(queue: Queue) -> None:
    await uncleared_session(queue)
    (shown,) = await queue.listed()
    assert (shown.amount_minor, shown.currency) == (queue.session.captured_minor, "EUR")
    assert (shown.reason, shown.detail) == ("no_agreement", "no agreement of NL-ABC")
    assert (shown.party_id, shown.since) == ("superapp", LONG_AGO)


@pytest.mark.parametrize("kind", ENDED_BY_THEIR_RETRY)
async def test_resolving_tries_the_cause_again_and_records_who_did_it(
    queue: Queue, kind: ExceptionKind
) -> None:
    await CAUSES[kind][0](queue)
    (shown,) = await queue.listed()
    view = await queue.resolve(shown.id)
    assert view.record.state is ExceptionState.RESOLVED
    opened, retried, resolved = view.history
    assert (opened.actor, retried.actor, resolved.actor) == ("system", "anna", "anna")
    assert (retried.kind, resolved.note) == (ExceptionEventKind.RETRIED, "mended")
    assert await queue.listed() == []
    with pytest.raises(ExceptionConflictError, match="resolved already"):
        await queue.resolve(shown.id)


@pytest.mark.parametrize(
    ("decision", "state", "amount", "release"),
    [
        (UsageDecision(action=UsageAction.TAKE_AS_IS), "accepted", 500, False),
        (UsageDecision(action=UsageAction.TAKE_LOWER), "accepted", 400, False),
        (UsageDecision(action=UsageAction.SET_AMOUNT, amount_minor=499), "accepted", 499, False),
        (UsageDecision(action=UsageAction.REJECT), "rejected", None, False),
        (UsageDecision(action=UsageAction.RELEASE), "rejected", None, True),
    ],
)
async def test_a_decision_ends_usage_that_failed_a_check_and_leaves_its_task(
    queue: Queue, decision: UsageDecision, state: str, amount: int | None, *, release: bool
) -> None:
    subject = await failed_check(queue)
    (shown,) = await queue.listed()
    assert (shown.subject_id, shown.reason, shown.amount_minor) == (subject, "cpo_total_lower", 500)
    with pytest.raises(ExceptionConflictError, match="take_as_is, take_lower, set_amount, reject, release"):
        await queue.resolve(shown.id)
    view = await queue.resolve(shown.id, decision=decision)
    assert view.record.state is ExceptionState.RESOLVED
    assert view.history[1].note == f"{decision.action.value}: mended"
    usage = await queue.pool.fetchrow("SELECT state, amount_minor, decided_by FROM gateway.stated_usage")
    assert tuple(usage or ()) == (state, amount, "anna")
    (task,) = await queue.pool.fetch("SELECT payload FROM gateway.task WHERE kind = 'complete_session'")
    assert (format_id("usg", UUID(task["payload"]["stated_usage"])), task["payload"]["release"]) == (
        subject,
        release,
    )


@pytest.mark.parametrize(
    "decision",
    [
        UsageDecision(action=UsageAction.SET_AMOUNT, amount_minor=501),
        UsageDecision(action=UsageAction.SET_AMOUNT),
    ],
)
async def test_no_decision_takes_more_than_the_price(queue: Queue, decision: UsageDecision) -> None:
    await failed_check(queue)
    (shown,) = await queue.listed()
    with pytest.raises(PaymentConflictError, match="expected an amount from 0 to 500"):
        await queue.resolve(shown.id, decision=decision)
    await queue.run("UPDATE gateway.stated_usage SET price_minor = NULL, lower_minor = NULL")
    with pytest.raises(PaymentConflictError, match="can't be priced"):
        await queue.resolve(shown.id, decision=UsageDecision(action=UsageAction.TAKE_AS_IS))


async def test_an_action_is_for_usage_only(queue: Queue) -> None:
    await stop_task(queue)
    (shown,) = await queue.listed()
    with pytest.raises(ExceptionConflictError, match="takes no action"):
        await queue.resolve(shown.id, decision=UsageDecision(action=UsageAction.REJECT))


@pytest.mark.parametrize("kind", RETRIED_AND_OPEN)
async def test_what_only_an_answer_ends_is_asked_again_and_stays_open(
    queue: Queue, kind: ExceptionKind
) -> None:
    await CAUSES[kind][0](queue)
    (shown,) = await queue.listed()
    view = await queue.resolve(shown.id)
    assert view.record.state is ExceptionState.OPEN
    assert [one.kind for one in view.history] == [ExceptionEventKind.OPENED, ExceptionEventKind.RETRIED]
    due = await queue.pool.fetchval("SELECT max(next_attempt_at) FROM gateway.psp_request")
    pulled = await queue.pool.fetchval("SELECT max(due_at) FROM gateway.ocpi_pull")
    assert (due or pulled) == NOW


@pytest.mark.parametrize("kind", ENDED_BY_THEIR_OWN_COMMAND)
async def test_what_is_open_at_its_source_is_never_called_resolved(queue: Queue, kind: ExceptionKind) -> None:
    await CAUSES[kind][0](queue)
    (shown,) = await queue.listed()
    with pytest.raises(ExceptionConflictError, match=r"its cause is still there\..*Use: "):
        await queue.resolve(shown.id)
    assert await queue.listed() == [shown]


@pytest.mark.parametrize("kind", [kind for kind, spec in KINDS.items() if spec.final])
async def test_what_nothing_can_mend_ends_by_a_persons_reason_and_stays_ended(
    queue: Queue, kind: ExceptionKind
) -> None:
    await CAUSES[kind][0](queue)
    (shown,) = await queue.listed()
    view = await queue.resolve(shown.id)
    assert view.record.state is ExceptionState.RESOLVED
    assert view.history[-1].note == "mended"
    assert await queue.listed() == []


async def test_an_accepted_cause_that_went_and_came_again_is_a_new_exception(queue: Queue) -> None:
    await unpaid_session(queue)
    (first,) = await queue.listed()
    await queue.resolve(first.id)
    await queue.run("UPDATE gateway.session SET state = 'completed'")
    assert await queue.listed() == []
    await queue.run("UPDATE gateway.session SET state = 'exception', exception_at = now()")
    (second,) = await queue.listed()
    assert (second.subject_id, second.id != first.id) == (first.subject_id, True)


async def test_a_hold_of_four_eyes_is_lifted_by_somebody_else(queue: Queue) -> None:
    await payout_hold(queue, four_eyes=True)
    (shown,) = await queue.listed()
    with pytest.raises(ClearingConflictError):
        await queue.resolve(shown.id, by="anna")
    assert (await queue.resolve(shown.id, by="ben")).record.state is ExceptionState.RESOLVED
    receiver = await queue.pool.fetchval(
        "SELECT party_id FROM gateway.event WHERE type = 'payout_hold.lifted'"
    )
    assert receiver == "NL-ABC"


async def test_what_waits_for_a_second_person_shows_its_amount_party_and_owner(queue: Queue) -> None:
    await approval_request(queue)
    await disbursement_approval(queue)
    await pending_bank_details(queue)
    shown = {one.kind: one for one in await queue.listed()}
    assert {kind: (one.owner, one.party_id, one.amount_minor, one.since) for kind, one in shown.items()} == {
        ExceptionKind.APPROVAL_REQUEST: ("finance", None, 250, LONG_AGO),
        ExceptionKind.DISBURSEMENT_APPROVAL: ("treasury", "NL-ABC", 900_000, LONG_AGO),
        ExceptionKind.PENDING_BANK_DETAILS: ("treasury", "NL-ABC", 0, LONG_AGO),
    }
    assert shown[ExceptionKind.DISBURSEMENT_APPROVAL].detail == "1 of 2 approvals given"


async def test_an_unsent_file_shows_its_amount_where_it_has_one_currency(queue: Queue) -> None:
    await disbursement_approval(queue, rail="bank")
    await queue.run("DELETE FROM clearing.disbursement_approval")
    await queue.run("UPDATE clearing.disbursement SET approvals_needed = 0")
    message_id = await unsent_payment_file(queue)
    await queue.run(
        "INSERT INTO clearing.payment_file_item SELECT id, $1, 'B1' FROM clearing.disbursement", message_id
    )
    (shown,) = await queue.listed()
    assert (shown.amount_minor, shown.currency, shown.owner) == (900_000, "EUR", "treasury")


async def test_young_suspense_and_a_file_of_this_hour_need_nobody(queue: Queue) -> None:
    await old_suspense(queue, days=7)
    await unsent_payment_file(queue, created_at=NOW - timedelta(minutes=59))
    assert await queue.listed() == []


async def test_young_failures_need_nobody(queue: Queue) -> None:
    await failing_pull(queue)
    await failing_endpoint(queue)
    await unknown_psp_outcome(queue)
    await queue.run("UPDATE gateway.ocpi_pull SET failures = 2")
    await queue.run("UPDATE gateway.webhook_endpoint SET failures_in_a_row = 2")
    await queue.run("UPDATE gateway.psp_request SET created_at = $1", NOW - timedelta(hours=23))
    assert await queue.listed() == []


async def test_an_endpoint_disabled_by_the_system_needs_a_person_one_of_its_owner_does_not(
    queue: Queue,
) -> None:
    await failing_endpoint(queue)
    await queue.run(
        "UPDATE gateway.webhook_endpoint SET state = 'disabled', disabled_reason = 'gone: HTTP 410'"
    )
    (shown,) = await queue.listed()
    assert (shown.reason, shown.detail) == ("disabled", "gone: HTTP 410")
    await queue.run("UPDATE gateway.webhook_endpoint SET disabled_reason = 'disabled by its owner'")
    assert await queue.listed() == []


async def test_two_comparisons_at_once_open_an_exception_once(queue: Queue) -> None:
    await stop_task(queue)
    async with queue.pool.acquire() as one, queue.pool.acquire() as other:
        first, second = one.transaction(), other.transaction()
        await first.start()
        await second.start()
        assert (await queue.service.refresh(one, now=NOW, wall_now=NOW)).opened == 1
        await first.commit()
        assert (await queue.service.refresh(other, now=NOW, wall_now=NOW)).opened == 0
        await second.commit()


async def test_the_job_compares_once_a_minute(queue: Queue) -> None:
    clock = Hands(at=NOW, wall=NOW)
    job = ExceptionsJob(pool=queue.pool, clock=clock, exceptions=queue.service)
    assert await job.run_once() == 0
    await stop_task(queue)
    await job.run_once()
    assert await queue.pool.fetchval("SELECT count(*) FROM gateway.exception") == 0
    clock.wall += PAUSE
    await job.run_once()
    assert await queue.pool.fetchval("SELECT count(*) FROM gateway.exception") == 1


async def test_status_says_that_nothing_needs_a_person_only_when_the_queue_is_empty(
    queue: Queue, database_url: str
) -> None:
    assert (await read_status(database_url, wall_now=NOW)).alerts == ()
    for put, _ in CAUSES.values():
        if put is not unpaid_session:
            await put(queue)
    status = await read_status(database_url, wall_now=NOW)
    assert set(status.exception_counts) == set(ExceptionKind) - {ExceptionKind.UNPAID_SESSION}
    for kind in status.exception_counts:
        assert any(f"--kind {kind}" in alert for alert in status.alerts)


async def published(queue: Queue) -> list[tuple[str, str, dict[str, Any]]]:
    rows = await queue.pool.fetch(
        "SELECT party_id, type, data FROM gateway.event WHERE type LIKE 'exception.%' ORDER BY id"
    )
    return [(row["party_id"], row["type"], row["data"]) for row in rows]


async def test_an_exception_that_opens_and_ends_is_an_event_to_the_platform_once(queue: Queue) -> None:
    await unmatched_cdr(queue)
    (first,) = await queue.listed()
    await queue.listed()
    ((party, kind, data),) = await published(queue)
    assert (party, kind, data["id"]) == ("platform", "exception.opened", format_id("exc", first.id))
    assert (data["state"], data["next_step"]["retry"]) == ("open", "replay the CDR")
    await queue.run("UPDATE gateway.ocpi_cdr SET status = 'pending'")
    await queue.listed()
    _, (party, kind, data) = await published(queue)
    assert (party, kind, data["state"]) == ("platform", "exception.resolved", "resolved")


@pytest.mark.parametrize("kind", [ExceptionKind.UNPAID_SESSION, ExceptionKind.PAYOUT_HOLD])
async def test_an_exception_that_a_person_ends_is_an_event_once(queue: Queue, kind: ExceptionKind) -> None:
    await CAUSES[kind][0](queue)
    (shown,) = await queue.listed()
    await queue.resolve(shown.id)
    await queue.listed()
    assert [one for _, one, _ in await published(queue)] == ["exception.opened", "exception.resolved"]


async def test_an_unknown_id_is_no_exception(queue: Queue) -> None:
    with pytest.raises(ExceptionNotFoundError):
        await queue.resolve(new_id())


# Over HTTP


@pytest.fixture
async def api(queue: Queue) -> AsyncIterator[Api]:
    async with open_api(queue.pool) as opened:
        opened.clock.at = opened.clock.wall = NOW
        yield opened


async def test_the_queue_is_listed_shown_assigned_and_resolved_over_http(queue: Queue, api: Api) -> None:
    subject = await stop_task(queue)
    await document(queue)
    listed = await api.call("GET", "/v1/exceptions?state=open&limit=1", party="admin")
    assert listed.status == 200, listed.text
    assert (len(listed.json["data"]), listed.json["has_more"]) == (1, True)
    tasks = await api.call("GET", "/v1/exceptions?kind=failed_task&older_than_hours=48", party="admin")
    (shown,) = tasks.json["data"]
    assert shown in [data for _, _, data in await published(queue)]
    assert (shown["subject"], shown["owner"], shown["history"]) == (subject, "operations", None)
    assert shown["next_step"]["retry"] == "run the task again"
    none = await api.call("GET", "/v1/exceptions?kind=failed_task&older_than_hours=100", party="admin")
    assert none.json["data"] == []
    where = f"/v1/exceptions/{shown['id']}"
    assigned = await api.call("POST", f"{where}/assign", {"assignee": "ben"}, party="admin")
    assert (assigned.status, assigned.json["assignee"]) == (200, "ben")
    resolved = await api.call("POST", f"{where}/resolve", {"note": "tariff stored"}, party="admin")
    assert (resolved.status, resolved.json["state"]) == (200, "resolved")
    got = await api.call("GET", where, party="admin")
    assert [line["kind"] for line in got.json["history"]] == ["opened", "assigned", "retried", "resolved"]


async def test_over_http_usage_is_decided_by_an_action(queue: Queue, api: Api) -> None:
    await failed_check(queue)
    listed = await api.call("GET", "/v1/exceptions?kind=failed_cdr_check", party="admin")
    (shown,) = listed.json["data"]
    where = f"/v1/exceptions/{shown['id']}/resolve"
    for body in (
        {"note": "n", "action": "set_amount"},
        {"note": "n", "action": "reject", "amount": 3},
        {"note": "n", "amount": 3},
        {"note": "n", "action": "guess"},
    ):
        assert (await api.call("POST", where, body, party="admin")).status == 400
    assert (await api.call("POST", where, {"note": "n"}, party="admin")).status == 409
    over = {"note": "n", "action": "set_amount", "amount": 501}
    assert (await api.call("POST", where, over, party="admin")).status == 409
    taken = await api.call("POST", where, {"note": "agreed", "action": "take_lower"}, party="admin")
    assert (taken.status, taken.json["state"]) == (200, "resolved"), taken.text


async def test_over_http_a_source_that_is_open_is_a_conflict(queue: Queue, api: Api) -> None:
    await changed_meter_key(queue)
    (shown,) = (await api.call("GET", "/v1/exceptions", party="admin")).json["data"]
    answer = await api.call("POST", f"/v1/exceptions/{shown['id']}/resolve", {"note": "x"}, party="admin")
    assert (answer.status, answer.json["code"]) == (409, "state_conflict")
    assert "networkcore meter accept" in answer.json["detail"]
    missing = format_id("exc", new_id())
    assert (await api.call("GET", f"/v1/exceptions/{missing}", party="admin")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/exceptions", None),
        ("GET", "/v1/exceptions/{id}", None),
        ("POST", "/v1/exceptions/{id}/resolve", {"note": "x"}),
        ("POST", "/v1/exceptions/{id}/assign", {"assignee": "x"}),
    ],
)
async def test_only_the_platform_sees_the_queue(
    queue: Queue, api: Api, method: str, path: str, body: dict[str, str] | None
) -> None:
    await stop_task(queue)
    (shown,) = await queue.listed()
    answer = await api.call(method, path.replace("{id}", format_id("exc", shown.id)), body, party="superapp")
    assert answer.status == 403, answer.text


async def test_the_metrics_count_what_waits_by_kind(queue: Queue, api: Api) -> None:
    await stop_task(queue)
    text = (await api.call("GET", "/metrics", party="admin")).text
    assert 'networkcore_exceptions{kind="failed_task"} 1.0' in text
    assert 'networkcore_exceptions{kind="unmatched_cdr"} 0.0' in text
    assert f'networkcore_exception_oldest_seconds{{kind="failed_task"}} {3 * 86400.0}' in text
    assert 'networkcore_exceptions_overdue{kind="failed_task"} 1.0' in text  # after a day
    assert 'networkcore_exceptions_overdue{kind="unmatched_cdr"} 0.0' in text


# At the command line


def _exceptions(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return networkcore("exceptions", *arguments, database_url=database_url)


async def test_the_queue_is_listed_shown_assigned_and_resolved_at_the_command_line(
    queue: Queue, database_url: str
) -> None:
    assert _exceptions(database_url, "list").stdout == "Nothing waits for a person.\n"
    subject = await stop_task(queue)
    listed = _exceptions(database_url, "list", "--owner", "operations", "--json")
    assert listed.returncode == 0, listed.stderr
    (shown,) = json.loads(listed.stdout)
    assert (shown["subject"], shown["kind"]) == (subject, "failed_task")
    assert json.loads(_exceptions(database_url, "list", "--kind", "payout_hold", "--json").stdout) == []
    page = _exceptions(database_url, "show", shown["id"])
    assert page.returncode == 0, page.stderr
    assert f"networkcore exceptions resolve {shown['id']}" in page.stdout
    assigned = _exceptions(database_url, "assign", shown["id"], "ben", "--by", "anna", "--json")
    assert json.loads(assigned.stdout)["assignee"] == "ben"
    resolved = _exceptions(
        database_url, "resolve", shown["id"], "--by", "ben", "--reason", "tariff stored", "--json"
    )
    assert resolved.returncode == 0, resolved.stderr
    assert json.loads(resolved.stdout)["state"] == "resolved"
    assert json.loads(_exceptions(database_url, "list", "--json").stdout) == []
    (ended,) = json.loads(_exceptions(database_url, "list", "--state", "all", "--json").stdout)
    assert ended["id"] == shown["id"]


async def test_at_the_command_line_an_open_source_names_its_own_command(
    queue: Queue, database_url: str
) -> None:
    await difference(queue)
    (shown,) = json.loads(_exceptions(database_url, "list", "--json").stdout)
    answer = _exceptions(database_url, "resolve", shown["id"], "--by", "ben", "--reason", "seen")
    assert answer.returncode == 2
    assert "networkcore reconcile resolve" in answer.stderr


async def test_usage_is_decided_at_the_command_line(queue: Queue, database_url: str) -> None:
    await failed_check(queue)
    (shown,) = json.loads(_exceptions(database_url, "list", "--json").stdout)
    resolve = ("resolve", shown["id"], "--by", "ben", "--reason", "agreed")
    for wrong in ((), ("--action", "set_amount"), ("--action", "reject", "--amount", "1")):
        done = _exceptions(database_url, *resolve, *wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    done = _exceptions(database_url, *resolve, "--action", "set_amount", "--amount", "1", "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "resolved"), done.stderr
