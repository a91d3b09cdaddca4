"""What the checks compare a CDR with: the session as it was authorized, and what else is known of it.

Owns: the value. Must not know: where its fields come from. None always means: not known, so not compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierUsage:
    """Usage of the same session that its payer stated: watt-hours, aware times."""

    energy_wh: int
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """The authorized session. Times are aware; power is in watts.

    `power_type` is OCPI's PowerType (DC, AC_1_PHASE ...). `other_evse_same_tariff`: whether the EVSE that the
    CDR names, if it is another one, has the session's tariff. `other_cdr_id`: a CDR that the session has or
    that waits for it, not credited. `overlapping`: sessions with a CDR at the same EVSE at the same time.
    `stated_by_api`: the usage was stated by API, so that it is older sooner. `earlier_usage`: what the payer
    stated of the session, where this CDR is its operator's. `references`: the names by which the CDR may
    refer to the authorization, empty where it names it in no form of ours.
    """

    now: datetime
    authorized_at: datetime
    cpo_id: str
    currency: str
    evse_id: str
    location_id: str
    evse_uid: str | None = None
    max_power_w: int | None = None
    power_type: str | None = None
    token_uid: str | None = None
    contract_id: str | None = None
    other_evse_same_tariff: bool | None = None
    other_cdr_id: str | None = None
    overlapping: Sequence[str] = ()
    stated_by_api: bool = False
    earlier_usage: EarlierUsage | None = None
    references: Sequence[str] = ()
