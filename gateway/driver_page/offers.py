"""What a driver is shown before paying: the EVSE, its price in force, and what is held.

Owns: that the price shown is the one that an authorization would freeze now. Must not know: HTTP, the page.
Source: Regulation (EU) 2023/1804 (AFIR) art. 5(3) to (5): prices of ad hoc payment, shown before the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from clearing.errors import ClearingError
from clearing.parties.party import PLATFORM_ID
from gateway.clock import Clock
from gateway.database import Pool
from gateway.driver_page import repository
from gateway.driver_page.errors import NoDriverPageError, NoPriceError, SeveralEvsesError
from gateway.driver_page.repository import DriverPageRecord
from gateway.ids import new_id
from gateway.ocpi.evse_directory import DirectoryEntry, EvseDirectory
from gateway.payments.errors import EvseNotFoundError, TariffMissingError
from gateway.payments.psp.port import HOSTED_PAGE
from gateway.payments.psp_holds import PAGE_LANGUAGE
from gateway.payments.requests import ANY_DRIVER, AuthorizationRequest, ChargePoint, PspMethod
from gateway.payments.service import PaymentService

_SAME_NAME: Final = 20  # EVSEs of one name that are looked at
_NO_CHARGING: Final = frozenset({"INOPERATIVE", "OUTOFORDER", "PLANNED"})
METHOD: Final = "card"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An EVSE with its prices in one language, per kWh first; `hold_minor` is what a payment would hold.

    `entry` is what the operator published of the EVSE, None where only its tariff is known. `usable`: the
    operator reports no fault.
    """

    evse_id: str
    page: DriverPageRecord
    point: ChargePoint
    entry: DirectoryEntry | None
    tariff_sha256: str
    prices: Sequence[str]
    hold_minor: int
    currency: str

    @property
    def usable(self) -> bool:
        """Whether the operator reports that vehicles can charge here."""
        return self.entry is None or self.entry.evse.status not in _NO_CHARGING


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferService:
    """Finds offers. Only reads."""

    pool: Pool
    clock: Clock
    payments: PaymentService
    directory: EvseDirectory

    async def find(self, name: str, *, cpo_id: str | None, locale: str) -> Offer:
        """The offer of the EVSE called `name`, prices in the language of `locale` (such as de).

        Raises NoDriverPageError, SeveralEvsesError, NoPriceError.
        """
        entry = await self._entry(name, cpo_id=cpo_id, locale=locale)
        owner = cpo_id if entry is None else entry.evse.party_id
        try:
            async with self.pool.acquire() as connection:
                point = await self.payments.quotes.charge_point(
                    connection, evse_id=name, cpo_id=owner, now=self.clock.now(), choice=ANY_DRIVER
                )
        except EvseNotFoundError as error:
            raise NoDriverPageError(str(error)) from error
        except TariffMissingError as error:
            raise NoPriceError(str(error)) from error
        page = await self._page(point.cpo_id)
        regional = f"{locale}-{point.country}"
        try:
            snapshot = self.payments.tariffs.freeze(point.tariff_raw, version=point.tariff_version)
            prices = self.payments.tariffs.display(
                snapshot.canonical, version=snapshot.version.value, locale=regional
            )
            hold_minor, currency = await self.payments.authorizations.expected_hold(
                request_of(page, evse_id=name, cpo_id=point.cpo_id, payment=PspMethod(payment_method="shown"))
            )
        except (ClearingError, TariffMissingError) as error:
            raise NoPriceError(str(error)) from error
        return Offer(
            evse_id=name,
            page=page,
            point=point,
            entry=entry,
            tariff_sha256=snapshot.sha256,
            prices=prices,
            hold_minor=hold_minor,
            currency=currency,
        )

    async def _entry(self, name: str, *, cpo_id: str | None, locale: str) -> DirectoryEntry | None:
        found = await self.directory.find(name, cpo_id=cpo_id, locale=locale, limit=_SAME_NAME)
        owners = sorted({entry.evse.party_id for entry in found})
        if len(owners) > 1:
            raise SeveralEvsesError(owners)
        return max(found, key=lambda entry: entry.evse.last_updated, default=None)

    async def _page(self, cpo_id: str) -> DriverPageRecord:
        async with self.pool.acquire() as connection:
            page = await repository.page_of_cpo(connection, cpo_id=cpo_id, platform_id=PLATFORM_ID)
        if page is None:
            raise NoDriverPageError(f"no driver page is set up for {cpo_id}")
        return page


def request_of(
    page: DriverPageRecord, *, evse_id: str, cpo_id: str, payment: PspMethod, language: str | None = None
) -> AuthorizationRequest:
    """The authorization of a driver who pays on the spot: by card, at the ad hoc tariff.

    `language` is that of the PSP's page, where the driver pays on one.
    """
    at_page = payment.payment_method == HOSTED_PAGE and language is not None
    return AuthorizationRequest(
        authorization_id=new_id(),
        party_id=page.demand_partner_id,
        evse_id=evse_id,
        cpo_id=cpo_id,
        method=METHOD,
        payment=payment,
        metadata={"channel": "driver_page"} | ({PAGE_LANGUAGE: language or ""} if at_page else {}),
    )
