"""The hold follows the running cost: an update that makes a session dearer than its hold raises the hold.

Owns: a running session priced as if it ended now, and when that raises the hold. Must not know: how a hold is
raised, HTTP. A session's figures never bill: the CDR does, and what the hold can't bear is settled then.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from clearing.errors import ClearingError
from clearing.money import Rounding, round_units
from clearing.pricing.cdr import parse_cdr
from clearing.pricing.engine import compile_tariff, price
from clearing.pricing.ocpi import OcpiVersion
from clearing.pricing.tariff import parse_tariff
from gateway.ocpi.bodies import Tree, encode, objects, read_moment, read_object
from gateway.ocpi.envelope import timestamp
from gateway.ocpi.errors import Refusal
from gateway.ocpi.services import OcpiServices
from gateway.payments import store as payment_store
from gateway.payments.orders import AuthorizationView, PaymentError
from gateway.payments.payment import PaymentState
from gateway.store import ocpi_objects
from gateway.store.ocpi_cdrs import session_or_authorization
from gateway.store.ocpi_objects import DueSession

_log = structlog.get_logger(__name__)
HEADROOM: Final = Decimal("1.25")  # a card allows few increments, so each raise looks ahead
_LEASE: Final = timedelta(minutes=1)
_MAX_ATTEMPTS: Final = 5
_SAME_ENERGY: Final = Decimal("0.01")  # periods and meter may differ by this share
_SECONDS_PER_HOUR: Final = 3600


class Holds(Protocol):
    """What of the payment service is needed here."""

    async def get_authorization(
        self, *, party_id: str, authorization_id: UUID, admin: bool = False
    ) -> AuthorizationView:
        """One authorization."""
        ...

    async def increment(
        self,
        *,
        party_id: str,
        authorization_id: UUID,
        amount_minor: int,
        expected_version: int | None,
        admin: bool = False,
    ) -> AuthorizationView:
        """Raise a hold to `amount_minor` in all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCostLane:
    """A lane of work: looks at sessions that were updated, one at a time."""

    services: OcpiServices
    holds: Holds
    name: str = "ocpi_running_cost"

    async def run_once(self) -> int:
        """Look at the longest due session. Returns 1 if one was due."""
        wall_now = self.services.clock.wall_now()
        async with self.services.pool.acquire() as connection:
            due = await ocpi_objects.take_due_session(
                connection, wall_now=wall_now, leased_until=wall_now + _LEASE
            )
        if due is None:
            return 0
        try:
            await self._look(due)
        except (PaymentError, ClearingError, Refusal) as error:
            _log.warning(
                "running_cost_not_held", cpo=due.party_id, session=due.session_ref, reason=str(error)
            )
            if due.attempts < _MAX_ATTEMPTS:
                return 1  # again when the lease ends
        async with self.services.pool.acquire() as connection:
            await ocpi_objects.session_done(connection, due)
        return 1

    async def _look(self, due: DueSession) -> None:
        named = session_or_authorization(due.authorization_reference)
        if named is None or named[0] != "auth":
            return
        view = await self.holds.get_authorization(party_id="", authorization_id=named[1], admin=True)
        standing = view.authorization
        if standing.state is not PaymentState.AUTHORIZED or view.session.cpo_id != due.party_id:
            return
        async with self.services.pool.acquire() as connection:
            snapshot = await payment_store.snapshot(connection, sha256=view.session.tariff_sha256)
        if snapshot is None:
            return
        cost = running_cost_minor(
            due, tariff=snapshot.canonical, tariff_version=snapshot.version, time_zone=view.session.time_zone
        )
        if cost <= standing.hold_minor:
            return
        amount = round_units(cost * HEADROOM, rounding=Rounding.CEILING)
        raised = await self.holds.increment(
            party_id=standing.party_id,
            authorization_id=standing.id,
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


def running_cost_minor(due: DueSession, *, tariff: bytes, tariff_version: str, time_zone: str) -> int:
    """What the session would cost if it ended at its last update, VAT included, in minor units.

    Raises:
        ClearingError, Refusal: the session or the tariff can't be priced.
    """
    program = compile_tariff(parse_tariff(tariff, version=OcpiVersion(tariff_version)))
    cdr = parse_cdr(as_if_ended(due), version=OcpiVersion.V2_2_1)
    return price(program, cdr, time_zone=time_zone).incl_vat_minor


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
