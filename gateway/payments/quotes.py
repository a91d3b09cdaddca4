"""The charge point with its tariff in force, and what an expected session would cost there.

Owns: turning the tariff source's answers into the payments' errors, and quotes. Must not know: holds, SQL.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from clearing.errors import ClearingError
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.payments.errors import EvseNotFoundError, TariffMissingError
from gateway.payments.requests import (
    ANY_DRIVER,
    ChargePoint,
    Estimate,
    EvseUnknown,
    TariffChoice,
    TariffMissing,
    TariffSource,
)
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payments.views import QuoteView


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteService:
    """Quotes, and the charge point that an authorization is for."""

    pool: Pool
    source: TariffSource
    tariffs: TariffSnapshotService
    clock: Clock

    async def quote(
        self, *, evse_id: str, estimate: Estimate, choice: TariffChoice = ANY_DRIVER
    ) -> QuoteView:
        """What an expected session would cost by the tariff in force. Holds nothing, stores nothing."""
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            point = await self.charge_point(connection, evse_id=evse_id, cpo_id=None, now=now, choice=choice)
        try:
            snapshot = self.tariffs.freeze(point.tariff_raw, version=point.tariff_version)
            quoted = self.tariffs.quote(
                snapshot,
                energy_wh=estimate.energy_wh,
                duration_s=estimate.duration_s,
                start=now,
                time_zone=point.time_zone,
                max_power_w=point.max_power_w,
            )
        except ClearingError as error:
            raise TariffMissingError(
                f"the tariff of EVSE {evse_id} can't price a session: {error}"
            ) from error
        return QuoteView(
            point=point,
            tariff_sha256=snapshot.sha256,
            tariff_display=self.tariffs.display(snapshot.canonical, version=snapshot.version.value),
            quote=quoted,
        )

    async def charge_point(
        self, connection: Connection, *, evse_id: str, cpo_id: str | None, now: datetime, choice: TariffChoice
    ) -> ChargePoint:
        """The EVSE with its tariff in force. Raises EvseNotFoundError, TariffMissingError."""
        point = await self.source.tariff_for(
            connection, evse_id=evse_id, at=now, cpo_id=cpo_id, choice=choice
        )
        match point:
            case EvseUnknown():
                if choice.connector_id is not None:
                    raise EvseNotFoundError(
                        f"no CPO has published EVSE {evse_id} with connector {choice.connector_id}"
                    )
                raise EvseNotFoundError(f"no CPO has published EVSE {evse_id}; check evse_id")
            case TariffMissing(cpo_id=owner):
                raise TariffMissingError(f"{owner} has no tariff in force for EVSE {evse_id}")
            case ChargePoint():
                return point
            case _:
                assert_never(point)
