"""A worker that pays what is due until it is killed: `python -m tests.crash.paying DSN DIRECTORY`.

The PSP is a directory: a transfer takes effect when its file appears, once per key, before it is answered.
"""

import asyncio
import contextlib
import os
import random
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from clearing.services import build_clearing
from gateway.database import create_pool
from gateway.jobs.disbursements import DisbursementJob, PspRail
from gateway.payments.psp.port import Psp, PspTransferRequest, Transferred
from tests.integration.test_disbursements import THURSDAY


class Hurried:
    """Business time runs a thousand times as fast as the wall's, so that leases end soon."""

    def __init__(self) -> None:
        self._began = datetime.now(UTC)

    def now(self) -> datetime:
        return THURSDAY + (self.wall_now() - _EPOCH) * 1000

    def wall_now(self) -> datetime:
        return datetime.now(UTC)


_EPOCH = datetime.fromtimestamp(float(os.environ.get("PAYING_SINCE", "0")), UTC)


@dataclass(frozen=True)
class DirectoryPsp:
    """Transfers as files named by their key."""

    folder: Path

    async def transfer(self, request: PspTransferRequest) -> Transferred:
        await asyncio.sleep(random.random() * 0.02)
        file = self.folder / request.idempotency_key
        if not file.exists():
            # Whole or not at all: a PSP has no half of a transfer, whenever its sender is killed.
            draft = self.folder.with_name(f"draft-{os.getpid()}-{request.idempotency_key}")
            draft.write_text(f"{request.connected_account} {request.amount_minor}")
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
        await asyncio.sleep(random.random() * 0.02)
        return Transferred(psp_transfer=f"tr_{request.end_to_end_id}")

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | None:
        await asyncio.sleep(0.001)
        found = (self.folder / end_to_end_id).exists()
        return Transferred(psp_transfer=f"tr_{end_to_end_id}") if found else None


async def pay(dsn: str, folder: Path) -> None:
    pool = await create_pool(dsn, min_size=1, max_size=2)
    job = DisbursementJob(
        pool=pool,
        clock=Hurried(),
        clearing=build_clearing(),
        rail=PspRail(psp=cast("Psp", DirectoryPsp(folder))),
        batch=10,
        at_once=4,
        page=7,
    )
    while True:
        await job.plan()
        await job.pay()
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(pay(sys.argv[1], Path(sys.argv[2])))
