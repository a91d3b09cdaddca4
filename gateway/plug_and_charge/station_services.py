"""What the operator of stations may ask for, as one set of services.

Owns: how they are put together. Must not know HTTP or settings.
"""

from dataclasses import dataclass
from datetime import timedelta

from gateway.clock import Clock
from gateway.database import Pool
from gateway.payments.service import PaymentService
from gateway.plug_and_charge.authorization_service import DEFAULT_PATIENCE, VehicleAuthorizationService
from gateway.plug_and_charge.contract_signals import ContractSignalService
from gateway.plug_and_charge.contract_spending import ContractSpendingService
from gateway.plug_and_charge.receipts import ReceiptService
from gateway.plug_and_charge.session_cost import SessionCostService
from gateway.plug_and_charge.settlement_notice import SettlementNoticeService
from gateway.plug_and_charge.station_transactions import StationTransactionService
from gateway.plug_and_charge.vehicle_hold import VehicleHoldService
from pnc.service import PlugAndChargeService


@dataclass(frozen=True, slots=True, kw_only=True)
class StationServices:
    """Authorizing vehicles, what their sessions cost, and how they were settled.

    `authorization` is None where no contract can be decided on in this process.
    """

    authorization: VehicleAuthorizationService | None
    costs: SessionCostService
    receipts: ReceiptService
    notices: SettlementNoticeService
    transactions: StationTransactionService


def build_station_services(
    *,
    pool: Pool,
    clock: Clock,
    environment: str,
    base_url: str,
    payments: PaymentService,
    decisions: PlugAndChargeService | None,
    spending: ContractSpendingService,
    signals: ContractSignalService,
    patience: timedelta = DEFAULT_PATIENCE,
) -> StationServices:
    """Put the services together; links to receipts begin with `base_url`."""
    receipts = ReceiptService(pool=pool, clock=clock, base_url=base_url, payments=payments)
    notices = SettlementNoticeService(pool=pool, clock=clock, payments=payments, receipts=receipts)
    holds = VehicleHoldService(
        pool=pool,
        clock=clock,
        quotes=payments.quotes,
        tariffs=payments.tariffs,
        policy=payments.authorizations.policy,
    )
    authorization = None
    if decisions is not None:
        authorization = VehicleAuthorizationService(
            pool=pool,
            clock=clock,
            environment=environment,
            decisions=decisions,
            payments=payments,
            holds=holds,
            spending=spending,
            signals=signals,
            patience=patience,
        )
    return StationServices(
        authorization=authorization,
        costs=SessionCostService(pool=pool, payments=payments),
        receipts=receipts,
        notices=notices,
        transactions=StationTransactionService(
            pool=pool, clock=clock, environment=environment, payments=payments, notices=notices, holds=holds
        ),
    )
