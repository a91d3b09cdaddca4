"""The hold follows the running cost: an update that makes a session dearer than its hold raises the hold.

Owns: a running session priced as if it ended now, and when that raises the hold. Must not know: how a hold is
raised, HTTP. A session's figures never bill: the CDR does, and what the hold can't bear is settled then.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import structlog

from clearing.money import Rounding, round_units
from clearing.pricing.cdr import parse_cdr
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.envelope import timestamp
from gateway.ocpi.repository.cdrs import session_or_authorization
from gateway.ocpi.repository.objects import DueSession
from gateway.ocpi.request_bodies import Tree, encode, objects, read_moment, read_object
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import PaymentState

_log = structlog.get_logger(__name__)
HEADROOM: Final = Decimal("1.25")  # a card allows few increments, so each raise covers more than is due
_SAME_ENERGY: Final = Decimal("0.01")  # periods and meter may differ by this share
_SECONDS_PER_HOUR: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCostService:
    """Compares a running session's cost with its hold."""

    payments: PaymentService

    async def raise_hold(self, due: DueSession) -> None:
        """Raise the session's hold where its cost so far exceeds it; leave every other session as it is.

        What a contract pays at most for a session is never exceeded: what is delivered beyond it is settled
        by the CDR.

        Raises:
            PaymentError, ClearingError, OcpiRejectionError: no cost can be computed, or the hold not raised.
        """
        named = session_or_authorization(due.authorization_reference)
        if named is None or named[0] != "auth":
            return
        view = await self.payments.get_authorization(party_id="", authorization_id=named[1], admin=True)
        authorization = view.authorization
        if authorization.state is not PaymentState.AUTHORIZED or view.session.cpo_id != due.party_id:
            return
        if view.session.started_at is None:
            await self.payments.record_start(session_id=view.session.id, started_at=started_at(due))
        running = as_if_ended(due)
        version = OcpiVersion.V2_2_1.value
        priced = await self.payments.completions.price_cdr(view.session, cdr_raw=running, cdr_version=version)
        cost = priced.price_minor
        if cost <= authorization.hold_minor:
            return
        await self.payments.completions.check_possible(view.session, cdr_raw=running, cdr_version=version)
        amount = round_units(cost * HEADROOM, rounding=Rounding.CEILING)
        if authorization.most_minor is not None:
            amount = min(amount, authorization.most_minor)
        if amount <= authorization.hold_minor:
            return
        raised = await self.payments.increment(
            party_id=authorization.party_id,
            authorization_id=authorization.id,
            amount_minor=amount,
            expected_version=None,
            admin=True,
        )
        _log.info(
            "hold_raised",
            cpo=due.party_id,
            session=due.session_ref,
            hold_minor=raised.authorization.hold_minor,
        )


def started_at(due: DueSession) -> datetime:
    """When the session began, as its CPO reports it. Raises ClearingError or OcpiRejectionError."""
    return parse_cdr(as_if_ended(due), version=OcpiVersion.V2_2_1).start


def as_if_ended(due: DueSession, *, cdr_id: str | None = None) -> bytes:
    """A CDR, in the words of 2.2.1, of a session that ended at its last update; its id is `cdr_id` if given.

    The periods are the CPO's where their energy is that of the meter; else one period with what the meter
    says, for a period in watt-hours, as some send it, would raise the hold a thousandfold.
    """
    session = read_object(due.body, name="session").tree
    started = session.get("start_datetime" if due.version is OcpiVersion.V2_1_1 else "start_date_time")
    until = timestamp(due.last_updated)
    energy_kwh = Decimal(due.energy_wh) / 1000
    seconds = _seconds(started, due)
    hours = Decimal(seconds) / _SECONDS_PER_HOUR
    metered = [
        {
            "start_date_time": started,
            "dimensions": [{"type": "ENERGY", "volume": energy_kwh}, {"type": "TIME", "volume": hours}],
        }
    ]
    periods = list(objects(session, "charging_periods"))
    record: dict[str, Any] = {
        "country_code": due.party_id[:2],
        "party_id": due.party_id[3:],
        "id": cdr_id or due.session_ref,
        "session_id": due.session_ref,
        "start_date_time": started,
        "end_date_time": until,
        "currency": session.get("currency"),
        "cdr_location": {"id": session.get("location_id")},
        "charging_periods": periods if periods and _agrees(periods, energy_kwh) else metered,
        "total_energy": energy_kwh,
        "total_time": hours,
        "last_updated": until,
    }
    return encode(_decimals(record), name="session")


def _seconds(started: Any, due: DueSession) -> int:
    begun = read_moment(str(started), at="$.start_date_time")
    return max(0, int((due.last_updated - begun).total_seconds()))


def _agrees(periods: list[Tree], energy_kwh: Decimal) -> bool:
    listed: Decimal = sum(
        (
            dimension["volume"]
            for period in periods
            for dimension in objects(period, "dimensions")
            if dimension.get("type") == "ENERGY" and isinstance(dimension.get("volume"), Decimal)
        ),
        Decimal(0),
    )
    return abs(listed - energy_kwh) <= _SAME_ENERGY * max(energy_kwh, Decimal(1))


def _decimals(record: dict[str, Any]) -> dict[str, Any]:
    """Volumes within the bounds of a document: twelve decimals are a ten-thousandth of a second."""
    for period in record["charging_periods"]:
        for dimension in period.get("dimensions", ()):
            if isinstance(dimension.get("volume"), Decimal):
                dimension["volume"] = dimension["volume"].quantize(Decimal("1e-12"))
    record["total_time"] = record["total_time"].quantize(Decimal("1e-12"))
    return record
