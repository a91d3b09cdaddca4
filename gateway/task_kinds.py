"""The kinds of tasks: what work may be deferred as a row of `gateway.task`.

Owns: their names, which the table's CHECK repeats. Must not know: what is done for each.
"""

from enum import StrEnum


class TaskKind(StrEnum):
    """What a task asks for."""

    COMPLETE_SESSION = "complete_session"  # a CDR arrived by OCPI: match it and complete its session
    CAPTURE_SESSION = "capture_session"  # a completed session is to be captured
    CHARGE_RESIDUAL = "charge_residual"  # part of a captured session's price is still owed
    CLEAR_SESSION = "clear_session"  # a captured session is to be cleared
    BOOK_CORRECTION = "book_correction"  # a refund or dispute is to be posted
    HANDLE_PSP_EVENT = "handle_psp_event"  # the PSP reported a change of a payment
    SETTLE_UNBOOKED_CHARGE = "settle_unbooked_charge"  # money at the PSP in no book: adopt or refund it
