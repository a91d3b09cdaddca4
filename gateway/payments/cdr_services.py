"""Composes what ends sessions without a CDR, corrects them by another CDR, and decides about odd usage.

Owns: who gets which service. Must not know: what they do.
"""

from typing import TypedDict

from gateway.payments.authorize import AuthorizationService
from gateway.payments.capture import CaptureService
from gateway.payments.cdr_corrections import CdrCorrectionService
from gateway.payments.complete import CompletionService
from gateway.payments.missing_cdr import MissingCdrService, SessionUpdateSource
from gateway.payments.refund import RefundService
from gateway.payments.stated_usage import StatedUsageService
from gateway.payments.usage_statements import UsageStatementService


class CdrServices(TypedDict):
    """The services by their fields in PaymentService."""

    cdr_corrections: CdrCorrectionService
    stated_usage: StatedUsageService
    usage_statements: UsageStatementService
    missing_cdrs: MissingCdrService


def cdr_services(
    completions: CompletionService,
    captures: CaptureService,
    authorizations: AuthorizationService,
    refunds: RefundService,
    updates: SessionUpdateSource | None,
) -> CdrServices:
    """What ends sessions without a CDR, corrects them by another CDR, and decides about odd usage."""
    pool, clock, snapshots = completions.pool, completions.clock, completions.snapshots
    corrections = CdrCorrectionService(
        pool=pool,
        clock=clock,
        snapshots=snapshots,
        completions=completions,
        authorizations=authorizations,
        refunds=refunds,
    )
    usage = StatedUsageService(
        pool=pool,
        clock=clock,
        snapshots=snapshots,
        completions=completions,
        cdr_corrections=corrections,
        captures=captures,
    )
    missing = MissingCdrService(
        pool=pool, completions=completions, captures=captures, snapshots=snapshots, updates=updates
    )
    statements = UsageStatementService(
        pool=pool,
        clock=clock,
        completions=completions,
        captures=captures,
        cdr_corrections=corrections,
        updates=updates,
    )
    return CdrServices(
        cdr_corrections=corrections, stated_usage=usage, usage_statements=statements, missing_cdrs=missing
    )
