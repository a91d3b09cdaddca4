"""Which public tariff an EVSE has at an instant: the answer to every authorization.

Owns: finding the EVSE, choosing among its tariffs. Must not know: prices, payments' phases.
Sources: OCPI mod_locations (Connector.tariff_ids: one of each type active at a time), mod_tariffs
(TariffType, start_date_time inclusive, end_date_time exclusive).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.database import Connection
from gateway.ocpi.connectors import evse_key
from gateway.ocpi.repository import objects
from gateway.ocpi.repository.objects import Connector, TariffRecord
from gateway.payments.requests import (
    ANY_DRIVER,
    ChargePoint,
    EvseUnknown,
    TariffChoice,
    TariffMissing,
    TariffUse,
)

_AD_HOC: Final = "AD_HOC_PAYMENT"
# The types that a driver may pay, in this order: TariffType, where None is "valid for all sessions".
_ORDER: Final[Mapping[TariffUse, tuple[str | None, ...]]] = {
    TariffUse.AD_HOC: (_AD_HOC, "REGULAR", None),
    TariffUse.CONTRACT: ("REGULAR", None, _AD_HOC),
}
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_MAX_EVSE_ID: Final = 64


class OcpiTariffSource:
    """Reads what CPOs pushed. Stateless; it uses the caller's connection."""

    async def tariff_for(
        self,
        connection: Connection,
        *,
        evse_id: str,
        at: datetime,
        cpo_id: str | None = None,
        choice: TariffChoice = ANY_DRIVER,
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        """The charge point called `evse_id` and its tariff in force at `at`.

        Args:
            connection: any; only reads.
            evse_id: the EVSE ID, with or without separators and in any case, or the EVSE's uid at its CPO.
            at: aware; the instant of authorization, or a past one.
            choice: whose tariff; by default that of a driver who pays on the spot.
            cpo_id: slug of the CPO, where the caller knows it; needed when two CPOs use the same name.

        Returns:
            EvseUnknown also when the name fits EVSEs of several CPOs, for a guess could charge the wrong
            tariff.
        """
        key = evse_key(evse_id)
        if not key or len(evse_id) > _MAX_EVSE_ID or "\x00" in evse_id:
            return EvseUnknown()
        read = await objects.find_connectors_with_tariffs(
            connection,
            evse_key=key,
            evse_uid=evse_id,
            party_id=cpo_id,
            connector_id=choice.connector_id,
            at=at,
        )
        found = read.connectors
        named = [connector for connector in found if connector.evse_key == key] or found
        if choice.connector_id is not None:
            wanted = choice.connector_id.lower()
            named = [connector for connector in named if connector.connector_id.lower() == wanted]
        owners = {connector.party_id for connector in named}
        if len(owners) != 1:
            return EvseUnknown()
        for connector in sorted(named, key=lambda connector: not connector.tariff_keys):
            if connector is read.meant:
                tariff = choose(read.tariffs, at=at, choice=choice)
            else:  # its tariffs were not read with the connectors
                tariff = await self._tariff(connection, connector, at=at, choice=choice)
            if tariff is not None and connector.time_zone:
                return _charge_point(connector, tariff, choice, evse_power_w=_evse_power_w(named, connector))
        return TariffMissing(cpo_id=named[0].party_id)

    async def _tariff(
        self, connection: Connection, connector: Connector, *, at: datetime, choice: TariffChoice
    ) -> TariffRecord | None:
        if not connector.tariff_keys:
            return None
        known = await objects.list_tariffs_known_at(
            connection, party_id=connector.party_id, tariff_keys=connector.tariff_keys, at=at
        )
        return choose(known, at=at, choice=choice)


def choose(
    tariffs: Iterable[TariffRecord], *, at: datetime, choice: TariffChoice = ANY_DRIVER
) -> TariffRecord | None:
    """The tariff in force at `at` for a driver: by the chosen profile, else by type as the driver pays.

    On the spot: ad hoc, then regular, then general. Under a contract: regular, then general, and the ad hoc
    one where there is nothing else. A profile's tariff only when the driver chose that profile. Among
    equals the latest to have come into force, then the latest received, then the first by id.
    """
    order = _order(choice)
    in_force = [
        tariff
        for tariff in tariffs
        if _kind(tariff) in order
        and (tariff.valid_from is None or tariff.valid_from <= at)
        and (tariff.valid_until is None or at < tariff.valid_until)
    ]
    in_force.sort(key=lambda tariff: tariff.tariff_id.lower())
    in_force.sort(key=lambda tariff: (tariff.valid_from or _EARLIEST, tariff.received_at), reverse=True)
    return min(in_force, key=lambda tariff: order.index(_kind(tariff)), default=None)


def _order(choice: TariffChoice) -> tuple[str | None, ...]:
    own = () if choice.profile is None else (f"PROFILE_{choice.profile.upper()}",)
    return (*own, *_ORDER[choice.use])


def _kind(tariff: TariffRecord) -> str | None:
    return None if tariff.type is None else tariff.type.upper()


def _evse_power_w(connectors: Iterable[Connector], chosen: Connector) -> int | None:
    """The most that any connector of the EVSE gives; None where it is not known of one of them."""
    powers = [
        one.max_power_w
        for one in connectors
        if (one.location_id, one.evse_uid) == (chosen.location_id, chosen.evse_uid)
    ]
    return max(powers) if all(powers) else None


def _charge_point(
    connector: Connector, tariff: TariffRecord, choice: TariffChoice, *, evse_power_w: int | None
) -> ChargePoint:
    return ChargePoint(
        cpo_id=connector.party_id,
        location_id=connector.location_id,
        evse_id=connector.evse_id or connector.evse_uid,
        time_zone=connector.time_zone,
        country=connector.country,
        tax_jurisdiction=connector.tax_jurisdiction,
        max_power_w=connector.max_power_w or None,
        tariff_raw=tariff.raw,
        tariff_version=tariff.version.value,
        evse_uid=connector.evse_uid,
        evse_power_w=evse_power_w,
        power_type=connector.power_type or None,
        ad_hoc_for_contract=choice.use is TariffUse.CONTRACT and _kind(tariff) == _AD_HOC,
    )
