"""Who may state a session's usage, and whose word ends it.

Owns: the ranks: the operator's CDR, its session, its key, the payer. Must not know: what is stated, storage.
Source: OCPI mod_cdrs (a CDR is the billing record, created by the CPO); by decision: docs/decisions/0820.
"""

from typing import Final

from gateway.payments.records import SessionRecord, UsageSource
from gateway.payments.session_flags import BEGUN_BEFORE

_PLUG_AND_CHARGE: Final = "plug_and_charge"


def source_of_caller(session: SessionRecord, *, party_id: str, admin: bool) -> UsageSource:
    """As whom a caller of the capture API states usage of a session that it may see."""
    if party_id == session.cpo_id:
        return UsageSource.OPERATOR_API
    if party_id == session.demand_partner_id:
        return UsageSource.PAYER
    return UsageSource.PLATFORM if admin else UsageSource.PAYER


def is_provisional(source: UsageSource, *, method: str | None, operator_sends_cdrs: bool) -> bool:
    """Whether a statement only counts until the operator's CDR comes, or as long as none does.

    So is the payer's where the operator is connected, or opened the session by Plug & Charge (`method`).
    """
    return source is UsageSource.PAYER and (operator_sends_cdrs or method == _PLUG_AND_CHARGE)


def may_release(
    source: UsageSource, session: SessionRecord, *, method: str | None, provisional: bool
) -> bool:
    """Whether `source` may release the hold of a session that no CDR has ended.

    To release it states that nothing was used: a payer whose word is provisional may until the operator
    reports that the session runs, and never where it had begun before its payment was secured, or where the
    operator accepted a vehicle on this payment (`method`): that one charges at once, and an operator
    that is not connected reports nothing.
    """
    begun = (
        session.started_at is not None
        or not BEGUN_BEFORE.isdisjoint(session.flags)
        or method == _PLUG_AND_CHARGE
    )
    return source is not UsageSource.PAYER or not provisional or not begun


def may_replace(source: UsageSource, session: SessionRecord) -> bool:
    """Whether a statement takes the place of the one that ended the session."""
    return session.yields_to_operator and source is not UsageSource.PAYER
