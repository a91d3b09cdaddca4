"""Requests whose outcome is unknown: sent again until the PSP answers, and never decided by ourselves.

Owns: which requests are due, and that one that fails keeps no other waiting. Must not know: when it is run,
how a request is sent again or looked up (psp_requests.py), what an outcome leads to (outcomes.py).
"""

from dataclasses import dataclass
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.database import Pool
from gateway.failure_log import log_failure
from gateway.ids import format_id
from gateway.payments import psp_request_repository
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp_requests import PspRequestService

_log = structlog.get_logger(__name__)
_BATCH: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeResolver:
    """Resolves requests that were not answered."""

    pool: Pool
    clock: Clock
    psp_requests: PspRequestService
    policy: PaymentPolicy

    async def run_shard(self, shard: int, *, fence: int) -> int:
        """Resolve what is due in one shard, as long as it has this fencing number; how many requests."""
        now = self.clock.wall_now()
        async with self.pool.acquire() as connection:
            requests = await psp_request_repository.lease_requests(
                connection,
                shard=shard,
                fence=fence,
                wall_now=now,
                leased_until=now + self.policy.call_grace,
                batch=_BATCH,
            )
        for request in requests:
            try:
                await self.psp_requests.resolve(request)
            except Exception as error:  # noqa: BLE001 - the boundary of one request: the others go on
                log_failure(
                    _log,
                    "psp_request_not_resolved",
                    error,
                    request=format_id("call", request.id),
                    kind=request.kind.value,
                )
        return len(requests)
