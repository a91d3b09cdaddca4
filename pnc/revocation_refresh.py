"""Revocation statuses asked for now, because a person wants them: those that are missing, over or end soon.

Owns: how many chains one request checks, and that it checks them side by side, so that silent sources cost
the time of one. Must not know HTTP or who may ask. The job that renews statuses each minute is
`gateway.jobs.revocation_status`.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pnc.certificate_chain import ValidChain
from pnc.ports import Executor
from pnc.repository import overview, revocation
from pnc.revocation_evidence import RevocationRecord
from pnc.service import PlugAndChargeService

MOST_CHAINS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRefresh:
    """What came of it. `chains` were checked, `failed` of them have a certificate without an answer.

    `unproved`: valid certificates that still have no status that counts.
    """

    chains: int
    failed: int
    unproved: int


async def refresh_now(
    decisions: PlugAndChargeService, executor: Executor, *, environment: str, now: datetime
) -> RevocationRefresh:
    """Ask for the statuses that are due, of up to `MOST_CHAINS` certificates; repeat it for more.

    `executor` is a pool: the sources are asked while no connection is held.
    """
    checker = decisions.revocation_checker
    due = await revocation.list_due_bundles(
        executor,
        environment=environment,
        now=now,
        ends_before=now + checker.settings.refresh_before,
        batch=MOST_CHAINS,
    )
    verifier, endpoints = await decisions.load_trust(executor, environment=environment)
    chains = [
        chain for chain in (verifier.verify(one, now=now) for one in due) if isinstance(chain, ValidChain)
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(checker.refresh(executor, chain, endpoints=endpoints, now=now))
            for chain in chains
        ]
    failed = sum(
        1 for task in tasks if not all(isinstance(found, RevocationRecord) for found in task.result())
    )
    return RevocationRefresh(
        chains=len(chains),
        failed=failed,
        unproved=await overview.count_unproved(executor, environment=environment, now=now),
    )
