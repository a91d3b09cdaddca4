"""A session that is not known here, written again from the PSP's record of its payment.

Owns: what such a session is made of, at the very tariff that was shown to the driver. Must not know: why the
session is not known, what becomes of the payment.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from clearing.errors import ClearingError
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import shard_of
from gateway.payments import psp_record
from gateway.payments import unbooked_charge_repository as charges
from gateway.payments.errors import EvseNotFoundError, TariffMissingError
from gateway.payments.psp.payment_port import PspPayment
from gateway.payments.psp_record import RecordedSession
from gateway.payments.quotes import QuoteService
from gateway.payments.records import session_name
from gateway.payments.requests import ChargePoint, TariffChoice
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.stored_tariffs import StoredTariff


class CantRebuildSessionError(Exception):
    """The PSP's record is not enough; the text says what is missing and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRebuilder:
    """Writes sessions from payments."""

    pool: Pool
    clock: Clock
    quotes: QuoteService
    snapshots: TariffSnapshotCache

    async def rebuild(self, payment: PspPayment, *, session_id: UUID) -> None:
        """Write the session without an active authorization, so that its CDR completes it.

        One that is there stays as it is. Raises CantRebuildSessionError.
        """
        recorded = psp_record.read(payment.metadata)
        if recorded.missing:
            missing = ", ".join(recorded.missing)
            raise CantRebuildSessionError(f"the PSP's record of the payment lacks {missing}: refund it")
        ref = recorded.session_ref
        async with transaction(self.pool) as connection:
            point, tariff = await self._recorded_tariff(connection, recorded, at=payment.created_at)
            try:
                await charges.rebuild_session(
                    connection,
                    shard=shard_of(session_id),
                    session_id=session_id,
                    party_id=recorded.party_id,
                    cpo_id=point.cpo_id,
                    evse_id=point.evse_id,
                    location_id=point.location_id,
                    session_ref=ref,
                    session_name=session_name(point.cpo_id, ref) if ref else None,
                    tax_jurisdiction=point.tax_jurisdiction,
                    time_zone=point.time_zone,
                    currency=payment.currency,
                    tariff_sha256=tariff.sha256,
                    tariff_version=tariff.version,
                    tariff_canonical=tariff.canonical,
                    evse_uid=point.evse_uid,
                    evse_power_w=point.evse_power_w,
                    power_type=point.power_type,
                    psp_payment=payment.psp_payment,
                    authorized_at=payment.created_at,
                    now=self.clock.now(),
                )
            except asyncpg.ForeignKeyViolationError as error:
                parties = f"its party {recorded.party_id} or CPO {recorded.cpo_id}"
                raise CantRebuildSessionError(
                    f"{parties} is not registered: register it, then adopt"
                ) from error

    async def _recorded_tariff(
        self, connection: Connection, recorded: RecordedSession, *, at: datetime
    ) -> tuple[ChargePoint, StoredTariff]:
        """The charge point, and the tariff of the very hash that was recorded."""
        try:
            point = await self.quotes.charge_point(
                connection,
                evse_id=recorded.evse_id or "",
                cpo_id=recorded.cpo_id,
                now=at,
                choice=TariffChoice.of_method(recorded.authorization_method),
            )
            frozen = self.snapshots.tariffs.freeze(point.tariff_raw, version=point.tariff_version)
        except (EvseNotFoundError, TariffMissingError, ClearingError) as error:
            raise CantRebuildSessionError(f"its session can't be rebuilt: {error}") from error
        known = await self.snapshots.stored.find(connection, recorded.tariff_sha256 or "")
        if known is not None:
            return point, known
        if frozen.sha256 != recorded.tariff_sha256:
            raise CantRebuildSessionError(
                f"the tariff that was shown ({recorded.tariff_sha256}) is not known here: refund it"
            )
        return point, StoredTariff(
            sha256=frozen.sha256,
            version=str(frozen.version),
            canonical=frozen.canonical,
            currency=frozen.currency,
        )
