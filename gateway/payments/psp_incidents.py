"""What the PSP refuses for a mistake of ours: kept until a person has mended it, and what follows meanwhile.

Owns: how often an incident is written, which features a new hold asks for. Must not know: SQL, the PSP's own
codes, HTTP. An account that may not have the features of a hold has that as an incident too: while it stands,
they are not asked for; once a person has resolved it, they are asked for again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.database import Pool
from gateway.payments import psp_incident_repository
from gateway.payments.policy import FeatureChoice, PaymentPolicy
from gateway.payments.psp.port import HoldFeatures, PspIncident

FEATURES_REFUSED: Final = "card_features_refused"
_INCREMENTS: Final = "increments"
_OVER_CAPTURE: Final = "over_capture"
_WRITE_AT_MOST_EVERY: Final = timedelta(seconds=10)
_READ_AGAIN_AFTER: Final = timedelta(seconds=60)
_log = structlog.get_logger(__name__)


def recorded_features(asked: HoldFeatures) -> list[str]:
    """What a hold asks for, as it is recorded with its intent."""
    names = {_INCREMENTS: asked.increments, _OVER_CAPTURE: asked.over_capture}
    return [name for name, on in names.items() if on]


def asked_features(recorded: Sequence[str] | None) -> HoldFeatures:
    """What a recorded hold asks for; everything, where it was recorded before features were."""
    if recorded is None:
        return HoldFeatures()
    return HoldFeatures(increments=_INCREMENTS in recorded, over_capture=_OVER_CAPTURE in recorded)


@dataclass(slots=True)
class _Seen:
    """One code since it was last written."""

    unwritten: int = 0
    write_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class PspIncidentLog:
    """Incidents of one PSP. Many requests meet the same one: a process writes it at most every 10 s."""

    pool: Pool
    clock: Clock
    _seen: dict[tuple[str, str], _Seen] = field(default_factory=dict)
    _refused: bool = False
    _read_at: datetime | None = None

    async def report(self, incident: PspIncident) -> None:
        """A request met it."""
        now = self.clock.wall_now()
        seen = self._seen.setdefault((incident.account, incident.code), _Seen())
        seen.unwritten += 1
        if seen.write_at is not None and now < seen.write_at:
            return
        count, seen.unwritten, seen.write_at = seen.unwritten, 0, now + _WRITE_AT_MOST_EVERY
        _log.error("psp_misconfigured", code=incident.code, detail=incident.detail, account=incident.account)
        async with self.pool.acquire() as connection:
            await psp_incident_repository.report(
                connection,
                account=incident.account,
                code=incident.code,
                detail=incident.detail,
                count=count,
                now=now,
            )

    async def report_refused_features(self, account: str) -> None:
        """The account may not have the features of a hold; they are not asked for while this stands."""
        self._refused, self._read_at = True, self.clock.wall_now()
        await self.report(
            PspIncident(
                code=FEATURES_REFUSED,
                detail="the account may not raise holds or capture above them; sessions above their hold are "
                "charged under the mandate, or owed",
                account=account,
            )
        )

    async def features(self, account: str, policy: PaymentPolicy) -> HoldFeatures:
        """What a new hold asks for; an account that was refused is read again once a minute."""
        choices = (policy.increments, policy.over_capture)
        if FeatureChoice.AUTO in choices:
            await self._read(account)
        increments, over_capture = (
            choice is FeatureChoice.ON or (choice is FeatureChoice.AUTO and not self._refused)
            for choice in choices
        )
        return HoldFeatures(increments=increments, over_capture=over_capture)

    async def _read(self, account: str) -> None:
        now = self.clock.wall_now()
        if self._read_at is not None and now < self._read_at + _READ_AGAIN_AFTER:
            return
        async with self.pool.acquire() as connection:
            self._refused = await psp_incident_repository.exists(
                connection, account=account, code=FEATURES_REFUSED
            )
        self._read_at = now
