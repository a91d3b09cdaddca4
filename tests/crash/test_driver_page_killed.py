"""A gateway that dies anywhere in a driver's payment: the next tap goes on; one hold, one capture."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from gateway.database import Pool
from gateway.driver_page.service import DriverPaymentService, PayRequest
from gateway.ids import parse_id
from gateway.ocpi.last_update import OcpiLastUpdates
from gateway.ocpi.remote import RemoteControlService
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.payments.policy import PaymentPolicy
from gateway.payments.service import build_payments
from tests.fakes.driver_page import EVSE, Driver, ends_paid_once, open_driver_page
from tests.fakes.dying_pool import Died, DyingPool
from tests.fakes.workers import resolve_outcomes

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
STEPS = 40  # more connections than a payment takes: the last runs die nowhere


def over(driver: Driver, pool: DyingPool) -> DriverPaymentService:
    """The page's service as another process has it, on the same PSP and operator."""
    given = cast("Pool", pool)
    payments = build_payments(
        pool=given,
        psp=driver.psp,
        tariffs=OcpiTariffSource(),
        clock=driver.edge.clock,
        policy=PaymentPolicy(),
        checked=False,
        updates=OcpiLastUpdates(),
    )
    remote = RemoteControlService(services=replace(driver.edge.services, pool=given), payments=payments)
    return DriverPaymentService(pool=given, clock=driver.edge.clock, payments=payments, remote=remote)


def request(number: int, method: str, tariff_sha256: str) -> PayRequest:
    return PayRequest(
        token=f"{number:043d}",
        payment_method=method,
        tariff_sha256=tariff_sha256,
        language="en",
        return_url="http://page.test/charge",
    )


@pytest.mark.parametrize("method", ["pm_good", "pm_challenge"])
async def test_a_payment_that_died_anywhere_holds_starts_and_captures_once(pool: Pool, method: str) -> None:
    async with open_driver_page(pool) as driver:
        offer = await driver.services.offers.find(EVSE, cpo_id=None, locale="en")
        finished = 0
        for gives in range(STEPS):
            asked = request(gives, f"{method}", offer.tariff_sha256)
            dying = DyingPool(pool, gives=gives)
            with suppress(Died):
                await over(driver, dying).pay(offer, asked)
            finished += dying.left > 0
            driver.edge.clock.at += timedelta(minutes=11)  # past the limit of payments at one charger
            await goes_on(driver, offer, asked)
        assert finished  # the last runs reached the end: every step before was cut


async def goes_on(driver: Driver, offer: Any, asked: PayRequest) -> None:
    """The driver taps again, at a gateway that lives."""
    service = driver.services.driver_payments
    token = (await service.pay(offer, asked)).token
    assert token == asked.token
    driver.edge.clock.at += timedelta(seconds=31)  # a start that was claimed and lost is claimed anew
    resolver = driver.payments.resolver  # the worker's: a request whose sender died is sent again
    await resolve_outcomes(resolver)
    reference = await driver.authorization(token)
    mine = [
        one
        for one in driver.psp.payments.values()
        if one.request.authorization_id == parse_id("auth", reference)
    ]
    assert len(mine) == 1, f"{len(mine)} holds"
    if mine[0].status == "challenge":
        driver.psp.authenticate(mine[0].id)
    payment = await service.read(token, at_psp=True)
    payment = await service.read(token)
    assert payment.stage == "starting"
    await ends_paid_once(driver, token)
