"""The jobs of Plug & Charge, each built with what it needs.

Owns: that list. Must not know what a job does.
"""

from gateway.adapters.opcp_directory import OpcpDirectory
from gateway.clock import Clock
from gateway.config import Environment
from gateway.database import Pool
from gateway.jobs.contract_pool import ContractPoolJob
from gateway.jobs.job import Job
from gateway.jobs.revocation_status import RevocationStatusJob
from gateway.jobs.settlement_notice import SettlementNoticeJob
from gateway.plug_and_charge.contract_pool_lookup import ContractPoolLookupService
from gateway.plug_and_charge.contract_pool_service import ContractPoolService
from gateway.plug_and_charge.settlement_notice import SettlementNoticeService
from pnc.service import PlugAndChargeService


def plug_and_charge_jobs(
    *,
    pool: Pool,
    clock: Clock,
    environment: str,
    plug_and_charge: PlugAndChargeService,
    notices: SettlementNoticeService,
    pools: ContractPoolService,
) -> list[Job]:
    """Every job of Plug & Charge."""
    lookups = ContractPoolLookupService(
        pool=pool,
        clock=clock,
        environment=environment,
        secrets=pools.secrets,
        feeds=pools,
        directories={"opcp": OpcpDirectory(allow_private=environment == Environment.SANDBOX.value)},
    )
    return [
        RevocationStatusJob(pool=pool, clock=clock, plug_and_charge=plug_and_charge, environment=environment),
        SettlementNoticeJob(pool=pool, clock=clock, notices=notices, environment=environment),
        ContractPoolJob(clock=clock, pools=pools, lookups=lookups),
    ]
