"""What the driver page works with, built once by the composition root."""

from dataclasses import dataclass, field
from typing import Final

from gateway.documents.document_service import DocumentService
from gateway.driver_page.offers import OfferService
from gateway.driver_page.service import DriverPaymentService
from gateway.limits.address_limit import AddressLimiter
from gateway.limits.edge_limits import EdgeLimits
from gateway.limits.rate_limit import RateRule
from gateway.ocpi.evse_directory import EvseDirectory
from gateway.ocpi.remote import RemoteControlService
from gateway.ocpi.services import OcpiServices
from gateway.partners.buyer_service import BuyerService
from gateway.payments.service import PaymentService

# Many phones of one mobile network share an address: looking is cheap, paying holds money.
LOOKING: Final = RateRule(name="address", per_second=10, burst=120)
PAYING: Final = RateRule(name="address", per_second=1, burst=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPageServices:
    """Everything that the page's handlers may use.

    Args:
        base_url: how drivers reach us, without a trailing slash.
        looking: the limit of an address for pages without a token, and for tokens that are none.
        paying: the limit of an address for payments begun.
        live_seconds: pause between two looks at a payment for its live page.
    """

    base_url: str
    offers: OfferService
    driver_payments: DriverPaymentService
    payments: PaymentService
    buyers: BuyerService
    documents: DocumentService
    looking: AddressLimiter = field(default_factory=lambda: AddressLimiter(LOOKING))
    paying: AddressLimiter = field(default_factory=lambda: AddressLimiter(PAYING))
    live_seconds: float = 3.0


def build_driver_page(
    ocpi: OcpiServices,
    payments: PaymentService,
    buyers: BuyerService,
    documents: DocumentService,
    limits: EdgeLimits,
) -> DriverPageServices:
    """Compose the page over the services of the API; drivers reach it where OCPI peers reach us."""
    pool, clock = ocpi.pool, ocpi.clock
    directory = EvseDirectory(pool=pool, clock=clock, tariffs=payments.tariffs)
    return DriverPageServices(
        base_url=ocpi.public_url,
        offers=OfferService(pool=pool, clock=clock, payments=payments, directory=directory),
        driver_payments=build_driver_payments(ocpi, payments),
        payments=payments,
        buyers=buyers,
        documents=documents,
        looking=limits.by_address(LOOKING),
        paying=limits.by_address(PAYING),
    )


def build_driver_payments(ocpi: OcpiServices, payments: PaymentService) -> DriverPaymentService:
    """Compose the payments of the page, as the worker needs them too."""
    return DriverPaymentService(
        pool=ocpi.pool,
        clock=ocpi.clock,
        payments=payments,
        remote=RemoteControlService(services=ocpi, payments=payments),
    )
