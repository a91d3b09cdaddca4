"""Which EVSE and which amount a vehicle's payment is for.

Owns: the choice among a station's EVSEs, and what a session that began offline has cost so far. Must not
know: HTTP, certificates, how a payment is held. A station that names its EVSE and is online needs no look-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from clearing.captured_session import AuthorizationMethod
from clearing.errors import ClearingError
from clearing.pricing.tariff import TariffSnapshot
from gateway.clock import Clock
from gateway.database import Pool
from gateway.payments.errors import InvalidPaymentRequestError, TariffMissingError
from gateway.payments.policy import PaymentPolicy
from gateway.payments.quotes import QuoteService
from gateway.payments.requests import ChargePoint, Estimate, TariffChoice
from gateway.payments.tariff_snapshots import TariffSnapshotService
from pnc.authorization import OfflineStart
from pnc.contract import Contract, offline_limit, offline_rejection
from pnc.errors import UnfitCallError
from pnc.rejection_reasons import ContractRejection

MAX_OFFLINE: Final = timedelta(days=7)
_CHOICE: Final = TariffChoice.of_method(AuthorizationMethod.PLUG_AND_CHARGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleHold:
    """What a vehicle's payment is held for; `estimate` None: what is expected of any session.

    `most_minor` bounds the hold. `started_at` is of a session that has begun already.
    """

    evse_id: str
    most_minor: int | None
    estimate: Estimate | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StationPoint:
    """An EVSE with the tariff that its session would be bound to."""

    point: ChargePoint
    snapshot: TariffSnapshot


def check_offline(offline: OfflineStart | None, *, now: datetime) -> None:
    """Check when a session that began offline began. Raises UnfitCallError."""
    if offline is not None and not now - MAX_OFFLINE <= offline.started_at <= now:
        raise UnfitCallError(
            path="offline.started_at", problem=f"expected a time of the last {MAX_OFFLINE.days} days"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleHoldService:
    """Finds the EVSE and the amount of a vehicle's hold."""

    pool: Pool
    clock: Clock
    quotes: QuoteService
    tariffs: TariffSnapshotService
    policy: PaymentPolicy

    async def plan(
        self,
        contract: Contract,
        *,
        operator_id: str,
        evse_ids: Sequence[str],
        offline: OfflineStart | None,
    ) -> VehicleHold | ContractRejection:
        """The hold for a session at one of the station's EVSEs: of several, the dearest is held.

        A session that began offline is held for what it may cost from its start on; one that has cost more
        than the contract pays for such a session is rejected.

        Raises:
            EvseNotFoundError, TariffMissingError: an EVSE is unknown or has no tariff in force.
            InvalidPaymentRequestError: the EVSEs are not of one location and one currency.
        """
        if len(evse_ids) == 1 and offline is None:
            return VehicleHold(evse_id=evse_ids[0], most_minor=contract.limit_minor)
        begun = self.clock.now() if offline is None else offline.started_at
        points = [await self.find_point(one, operator_id=operator_id, at=begun) for one in evse_ids]
        if len({(one.point.location_id, one.snapshot.currency) for one in points}) > 1:
            raise InvalidPaymentRequestError("the EVSEs of a station are of one location and one currency")
        expected = [self.policy.default_estimate(max_power_w=one.point.max_power_w) for one in points]
        holds = [self._hold(one, estimate, begun) for one, estimate in zip(points, expected, strict=True)]
        place = holds.index(max(holds))
        chosen, estimate = points[place], expected[place]
        if offline is None:
            return VehicleHold(evse_id=chosen.point.evse_id, most_minor=contract.limit_minor)
        used = Estimate(
            energy_wh=offline.energy_wh, duration_s=int((self.clock.now() - begun).total_seconds())
        )
        rejection = offline_rejection(contract, cost_minor=self._hold(chosen, used, begun))
        if rejection is not None:
            return rejection
        whole = Estimate(
            energy_wh=max(used.energy_wh, estimate.energy_wh),
            duration_s=max(used.duration_s, estimate.duration_s),
        )
        return VehicleHold(
            evse_id=chosen.point.evse_id,
            most_minor=offline_limit(contract),
            estimate=whole,
            started_at=begun,
        )

    async def find_point(
        self, evse_id: str, *, operator_id: str, at: datetime, connector_id: str | None = None
    ) -> StationPoint:
        """An operator's EVSE, or a connector of it, with its frozen tariff of a time. Raises as `plan`."""
        choice = replace(_CHOICE, connector_id=connector_id)
        async with self.pool.acquire() as connection:
            point = await self.quotes.charge_point(
                connection, evse_id=evse_id, cpo_id=operator_id, now=at, choice=choice
            )
        try:
            snapshot = self.tariffs.freeze(point.tariff_raw, version=point.tariff_version)
        except ClearingError as error:
            raise TariffMissingError(f"the tariff of EVSE {evse_id} can't be read: {error}") from error
        return StationPoint(point=point, snapshot=snapshot)

    def _hold(self, one: StationPoint, estimate: Estimate, begun: datetime) -> int:
        try:
            return self.tariffs.quote(
                one.snapshot,
                energy_wh=estimate.energy_wh,
                duration_s=estimate.duration_s,
                start=begun,
                time_zone=one.point.time_zone,
                max_power_w=one.point.max_power_w,
            ).hold_minor
        except ClearingError as error:
            raise TariffMissingError(
                f"the tariff of EVSE {one.point.evse_id} can't price a session: {error}"
            ) from error
