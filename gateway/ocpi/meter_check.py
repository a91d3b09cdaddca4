"""The signed meter data of a CDR that completes or corrects a session: whether it waits, and its flags.

Owns: the step from a verdict to the session. Must not know: formats, keys, signatures, where a CDR waits.
"""

from dataclasses import dataclass
from typing import Final

from clearing.errors import ClearingError
from clearing.meter_data import service
from clearing.meter_data.findings import MeterOutcome, MeterVerdict
from clearing.meter_data.service import CheckedCdr
from gateway.database import transaction
from gateway.ocpi.repository.cdrs import CdrRecord
from gateway.payments.records import SessionRecord
from gateway.payments.service import PaymentService

_FLAGS: Final = {
    MeterVerdict.SELF_ASSERTED: "meter_data_self_asserted",
    MeterVerdict.NOT_CHECKED: "meter_data_not_checked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterResult:
    """Why a CDR waits, None where it does not; and the codes that its session is flagged with."""

    waits_because: str | None = None
    flags: tuple[str, ...] = ()


async def check_meter_data_of(
    cdr: CdrRecord, session: SessionRecord, *, payments: PaymentService
) -> MeterResult:
    """Check a matched CDR. One that can't be read passes: whoever completes the session rejects it."""
    try:
        read = payments.tariffs.read_cdr(cdr.raw, version=cdr.version.value)
        snapshot = await payments.snapshots.get(session.tariff_sha256)
        time_priced = payments.tariffs.prices_time(
            sha256=snapshot.sha256, canonical=snapshot.canonical, version=snapshot.version
        )
    except ClearingError:
        return MeterResult()
    async with transaction(payments.pool) as connection:
        checked = await service.check_cdr(
            connection,
            read,
            raw=cdr.raw,
            party_id=cdr.cpo_id,
            session_id=session.id,
            time_priced=time_priced,
            now=payments.clock.now(),
        )
    return _result(checked)


def _result(checked: CheckedCdr) -> MeterResult:
    check = checked.check
    if checked.outcome is MeterOutcome.WAIT:
        because = f": {check.reason}" if check.reason else ""
        return MeterResult(waits_because=f"signed meter data: {check.verdict}{because}")
    if checked.outcome is MeterOutcome.FLAG:
        return MeterResult(flags=(_FLAGS[check.verdict], *check.codes))
    return MeterResult(flags=check.codes)
