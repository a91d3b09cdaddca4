"""Raises holds to the running cost of sessions that were updated, one session at a time.

Owns: which session is next and when it is tried again. Must not know how a cost is computed or a hold raised.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from clearing.errors import ClearingError
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.repository import objects
from gateway.ocpi.running_cost import RunningCostService
from gateway.ocpi.services import OcpiServices
from gateway.payments.errors import PaymentError
from gateway.payments.service import PaymentService
from gateway.retry_policy import RetryPolicy

RETRY: Final = RetryPolicy(delays=(timedelta(minutes=1),), max_attempts=5)  # the delay is the lease
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCostJob:
    """Looks at updated sessions and raises the holds that they exceed."""

    services: OcpiServices
    payments: PaymentService
    name: str = "ocpi_running_cost"

    async def run_once(self) -> int:
        """Look at the session that has been due the longest. Returns 1 if one was due."""
        wall_now = self.services.clock.wall_now()
        async with self.services.pool.acquire() as connection:
            due = await objects.lease_due_session(
                connection, wall_now=wall_now, leased_until=wall_now + RETRY.delays[0]
            )
        if due is None:
            return 0
        try:
            await RunningCostService(payments=self.payments).raise_hold(due)
        except (PaymentError, ClearingError, OcpiRejectionError) as error:
            _log.warning("hold_not_raised", cpo=due.party_id, session=due.session_ref, reason=str(error))
            if RETRY.delay_after(due.attempts) is not None:
                return 1  # again when the lease ends
        async with self.services.pool.acquire() as connection:
            await objects.finish_due_session(connection, due)
        return 1
