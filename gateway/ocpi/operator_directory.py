"""What people see of operators: connections and their handshakes, locations, tariffs and their faults.

Owns: what belongs together on a page, the checks of a tariff, and what a charging session would cost by it.
Must not know: HTTP, languages, SQL. `party_id` None is the platform, which sees everybody's. Only reads.
Source: Regulation (EU) 2023/1804 (AFIR) art. 5(4): from 50 kW on, a price for ad hoc payment is per kWh.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from clearing.errors import ClearingError
from clearing.pricing.engine import compile_tariff
from clearing.pricing.explain import display_prices
from clearing.pricing.lint import AFIR_POWER_KW, lint
from clearing.pricing.lint_finding import LintCode, LintFinding
from clearing.pricing.notes import NoteSeverity
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.quote import Quote, QuoteRequest, quote
from clearing.pricing.tariff import Tariff, parse_tariff
from gateway.database import Pool
from gateway.ocpi.repository import handshakes, operators
from gateway.ocpi.repository.handshakes import HandshakeStep
from gateway.ocpi.repository.operators import (
    ConnectorRecord,
    CurrentTariff,
    ModuleEndpoint,
    ObjectPosition,
    OcpiConnection,
    OperatorLocation,
    PendingPush,
    PullProgress,
    ReceivedObjects,
    RejectedPush,
)

_STEPS_SHOWN: Final = 60
_PENDING_SHOWN: Final = 50
_CONNECTORS_SHOWN: Final = 200
_WATTS_PER_KW: Final = Decimal(1000)
_AFIR: Final = frozenset({LintCode.AFIR_NO_ENERGY, LintCode.AFIR_NOT_KWH_BASED, LintCode.AFIR_STEP})
_DEFAULT_ZONE: Final = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionDetails:
    """A connection with its handshakes (newest call first), modules, lists and messages."""

    connection: OcpiConnection
    steps: Sequence[HandshakeStep]
    endpoints: Sequence[ModuleEndpoint]
    pulls: Sequence[PullProgress]
    received: Sequence[ReceivedObjects]
    pending: Sequence[PendingPush]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationEntry:
    """A location with its connectors, each under its EVSE."""

    record: OperatorLocation
    name: str
    address: str
    connectors: Sequence[ConnectorRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffEntry:
    """A tariff as people read it; `problem` is why it can't be read, then the rest is empty."""

    record: CurrentTariff
    currency: str
    display: Sequence[str]
    findings: Sequence[LintFinding]
    problem: str = ""

    @property
    def warnings(self) -> int:
        """How many findings are more than information."""
        return sum(one.severity is not NoteSeverity.INFO for one in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class AfirCheck:
    """Whether a tariff fits article 5(4); `applies`: some connector that names it gives 50 kW or more."""

    power_kw: Decimal | None
    applies: bool
    findings: Sequence[LintFinding]

    @property
    def fits(self) -> bool:
        """Whether no finding is more than information."""
        return all(one.severity is NoteSeverity.INFO for one in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffDetails:
    """A tariff with what is wrong in it, where it is used, and its text as pushed."""

    entry: TariffEntry
    afir: AfirCheck
    connectors: Sequence[ConnectorRecord]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceQuestion:
    """An expected session: energy in Wh, seconds of charging from `start` (aware), at a connector or none."""

    energy_wh: int
    duration_s: int
    start: datetime
    connector: ConnectorRecord | None

    @property
    def time_zone(self) -> str:
        """In which the tariff's hours are meant: the connector's, where there is one that has it."""
        return time_zone_of(self.connector)


def time_zone_of(connector: ConnectorRecord | None) -> str:
    """A connector's time zone; without one UTC."""
    return (connector.time_zone if connector is not None else "") or _DEFAULT_ZONE


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDirectory:
    """Reads what operators are and have sent."""

    pool: Pool

    async def list_connections(
        self, *, party_id: str | None, before: UUID | None, limit: int
    ) -> list[OcpiConnection]:
        """Connections, newest first."""
        async with self.pool.acquire() as connection:
            found = await operators.list_connections(
                connection, party_id=party_id, before=before, limit=limit
            )
        return [_as_seen_by(party_id, one) for one in found]

    async def find_connection(self, peer_id: UUID, *, party_id: str | None) -> ConnectionDetails | None:
        """One connection with all that is known of it; None where there is none that the party may see.

        Of a platform that several parties share a party sees its own objects and messages, and the handshake
        only where it was the one invited.
        """
        async with self.pool.acquire() as connection:
            found = await operators.find_connection(connection, peer_id, party_id=party_id)
            if found is None:
                return None
            found = _as_seen_by(party_id, found)
            parties = found.parties
            invited = [found.party_id] if party_id in {None, found.party_id} else []
            return ConnectionDetails(
                connection=found,
                steps=await handshakes.list_steps(connection, parties=invited, limit=_STEPS_SHOWN),
                endpoints=await operators.list_endpoints(connection, peer_id=peer_id),
                pulls=await operators.list_pulls(connection, peer_id=peer_id),
                received=await operators.list_received(connection, parties=parties),
                pending=await operators.list_pending_pushes(
                    connection, parties=parties, limit=_PENDING_SHOWN
                ),
            )

    async def list_rejections(
        self, *, party_id: str | None, before: UUID | None, limit: int
    ) -> list[RejectedPush]:
        """Messages that were rejected, newest first."""
        async with self.pool.acquire() as connection:
            return await operators.list_rejections(connection, party_id=party_id, before=before, limit=limit)

    async def list_locations(
        self, *, party_id: str | None, after: ObjectPosition | None, limit: int
    ) -> list[LocationEntry]:
        """Locations with their connectors, by owner and id."""
        async with self.pool.acquire() as connection:
            found = await operators.list_locations(connection, party_id=party_id, after=after, limit=limit)
            connectors = await operators.list_connectors(connection, found)
        return [
            _location(one, [c for c in connectors if (c.party_id, c.location_key) == _key(one)])
            for one in found
        ]

    async def list_tariffs(
        self, *, party_id: str | None, after: ObjectPosition | None, limit: int, locale: str
    ) -> list[TariffEntry]:
        """Tariffs that stand now, by owner and id, with their findings."""
        async with self.pool.acquire() as connection:
            found = await operators.list_tariffs(connection, party_id=party_id, after=after, limit=limit)
        return [_tariff(one, locale=locale, power_kw=None) for one in found]

    async def find_tariff(
        self, *, owner: str, key: str, party_id: str | None, locale: str
    ) -> TariffDetails | None:
        """One tariff; None where there is none that the party may see."""
        async with self.pool.acquire() as connection:
            found = await operators.find_tariff(connection, owner=owner, tariff_key=key, party_id=party_id)
            if found is None:
                return None
            connectors = await operators.list_connectors_with(
                connection, owner=owner, tariff_key=key, limit=_CONNECTORS_SHOWN
            )
            power = await operators.find_greatest_power(connection, owner=owner, tariff_key=key)
        power_kw = Decimal(power) / _WATTS_PER_KW if power else None
        entry = _tariff(found, locale=locale, power_kw=power_kw)
        return TariffDetails(
            entry=entry,
            afir=AfirCheck(
                power_kw=power_kw,
                applies=power_kw is not None and power_kw >= AFIR_POWER_KW,
                findings=[one for one in entry.findings if one.code in _AFIR],
            ),
            connectors=connectors,
            text=_pretty(found.raw),
        )

    async def find_connectors(self, tariff: CurrentTariff, name: str) -> list[ConnectorRecord]:
        """The connectors of a name that name a tariff: none, one, or two where the name fits several."""
        async with self.pool.acquire() as connection:
            return await operators.find_connectors_named(
                connection, owner=tariff.party_id, tariff_key=tariff.tariff_key, name=name
            )

    def price(self, tariff: CurrentTariff, question: PriceQuestion) -> Quote:
        """What an expected session costs by a tariff. Raises ClearingError where it can't be priced."""
        connector = question.connector
        request = QuoteRequest(
            energy_wh=question.energy_wh,
            duration_s=question.duration_s,
            start=question.start,
            time_zone=question.time_zone,
            max_power_w=connector.max_power_w or None if connector is not None else None,
        )
        return quote(compile_tariff(_parsed(tariff)), request)


def _as_seen_by(party_id: str | None, found: OcpiConnection) -> OcpiConnection:
    """A connection without the other parties that share it; the platform (None) sees them."""
    return found if party_id is None else replace(found, parties=(party_id,))


def _key(record: OperatorLocation) -> tuple[str, str]:
    return record.party_id, record.location_key


def _location(record: OperatorLocation, connectors: Sequence[ConnectorRecord]) -> LocationEntry:
    body: Mapping[str, Any] = msgspec.json.decode(record.body)
    lines = [body.get("address"), f"{body.get('postal_code') or ''} {body.get('city') or ''}".strip()]
    return LocationEntry(
        record=record,
        name=str(body.get("name") or body.get("address") or record.location_id),
        address=", ".join(str(line) for line in [*lines, body.get("country")] if line),
        connectors=connectors,
    )


def _parsed(record: CurrentTariff) -> Tariff:
    return parse_tariff(record.raw, version=OcpiVersion(record.version))


def _tariff(record: CurrentTariff, *, locale: str, power_kw: Decimal | None) -> TariffEntry:
    try:
        parsed = _parsed(record)
        return TariffEntry(
            record=record,
            currency=parsed.currency,
            display=display_prices(parsed, locale=locale),
            findings=lint(parsed, power_kw=power_kw),
        )
    except ClearingError as error:
        return TariffEntry(record=record, currency="", display=(), findings=(), problem=str(error))


def _pretty(raw: bytes) -> str:
    """A tariff's text, indented; its numbers as they were pushed."""
    return msgspec.json.format(raw, indent=2).decode()
