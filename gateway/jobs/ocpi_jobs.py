"""The jobs of the OCPI edge, in one list.

Owns: which they are. Must not know what each does.
"""

from gateway.driver_page.services import build_driver_payments
from gateway.jobs.driver_payments import DriverPaymentJob
from gateway.jobs.emaid_tokens import EmaidTokenJob
from gateway.jobs.financial_advice import EVERY_S as ADVICE_EVERY_S
from gateway.jobs.financial_advice import FinancialAdviceJob
from gateway.jobs.job import Job
from gateway.jobs.ocpi_outbox import OcpiOutboxJob
from gateway.jobs.ocpi_pull import OcpiPullJob
from gateway.jobs.running_cost import RunningCostJob
from gateway.ocpi.emaid_tokens import EmaidTokenService
from gateway.ocpi.services import PLATFORM_ROLE, OcpiServices
from gateway.ocpi.throttle import Throttle
from gateway.payments.service import PaymentService


def ocpi_jobs(services: OcpiServices, *, payments: PaymentService, environment: str) -> list[Job]:
    """Lists are read, messages sent, running sessions priced, contracts made tokens, holds released."""
    tokens = EmaidTokenService(
        pool=services.pool, clock=services.clock, role=PLATFORM_ROLE, environment=environment
    )
    return [
        OcpiPullJob(services=services),
        OcpiOutboxJob(services=services),
        FinancialAdviceJob(services=services, throttle=Throttle(every_s=ADVICE_EVERY_S)),
        RunningCostJob(services=services, payments=payments),
        EmaidTokenJob(tokens=tokens),
        DriverPaymentJob(
            pool=services.pool,
            clock=services.clock,
            driver_payments=build_driver_payments(services, payments),
        ),
    ]
