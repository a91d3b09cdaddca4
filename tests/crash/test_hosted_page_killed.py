"""A gateway that dies anywhere while a driver pays on the PSP's page: one hold, adopted once, one capture."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.driver_page.errors import DriverPageError
from gateway.ids import parse_id
from gateway.payments.errors import PaymentError
from gateway.payments.psp.port import HOSTED_PAGE
from tests.crash.test_driver_page_killed import over, request
from tests.fakes.driver_page import EVSE, Driver, ends_paid_once, open_driver_page
from tests.fakes.dying_pool import Died, DyingPool
from tests.fakes.workers import resolve_outcomes

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
STEPS = 24  # more connections than a step takes: the last runs die nowhere
Act = Callable[[Any, str, str], Awaitable[Any]]


async def returns(service: Any, token: str, _page: str) -> None:
    await service.read(token, at_psp=True)


async def is_notified(service: Any, _token: str, page: str) -> None:
    await service.payments.psp_events.sync_payment(psp_payment=page)


async def cancels(service: Any, token: str, _page: str) -> None:
    await service.cancel(token)


async def the_worker_ends_it(service: Any, token: str, _page: str) -> None:
    await service.release_unstarted(token)


async def opened(driver: Driver, number: int) -> tuple[str, str]:
    """A payment with its page, begun by a gateway that lives."""
    driver.edge.clock.at += timedelta(minutes=11)  # past the limit of payments at one charger
    offer = await driver.services.offers.find(EVSE, cpo_id=None, locale="en")
    begun = await driver.services.driver_payments.pay(
        offer, request(number, HOSTED_PAGE, offer.tariff_sha256)
    )
    assert begun.page_url is not None
    return begun.token, begun.page_url.rpartition("/")[2]


async def of_token(driver: Driver, token: str) -> list[Any]:
    """The payments at the PSP that were asked for: one, or the driver would be charged twice."""
    reference = parse_id("auth", await driver.authorization(token))
    found = {one.id: one for one in driver.psp.payments.values()}.values()
    return [one for one in found if one.request.authorization_id == reference]


async def ends_paid(driver: Driver, token: str) -> None:
    """The driver's phone asks on; the charge goes its way to one capture."""
    service = driver.services.driver_payments
    driver.edge.clock.at += timedelta(seconds=31)  # a start that was claimed and lost is claimed anew
    await resolve_outcomes(driver.payments.resolver)
    await service.read(token, at_psp=True)
    payment = await service.read(token)
    (held,) = await of_token(driver, token)
    assert payment.stage == "starting"
    assert payment.session is not None
    assert payment.session.authorization is not None
    assert payment.session.authorization.psp_payment == held.id
    await ends_paid_once(driver, token)


async def test_a_tap_that_died_anywhere_opens_one_page_and_holds_once(pool: Pool) -> None:
    async with open_driver_page(pool) as driver:
        finished = 0
        for gives in range(STEPS):
            driver.edge.clock.at += timedelta(minutes=11)
            offer = await driver.services.offers.find(EVSE, cpo_id=None, locale="en")
            asked = request(gives, HOSTED_PAGE, offer.tariff_sha256)
            dying = DyingPool(pool, gives=gives)
            with suppress(Died):
                await over(driver, dying).pay(offer, asked)
            finished += dying.left > 0
            service = driver.services.driver_payments
            await service.pay(offer, asked)  # the driver taps again
            driver.edge.clock.at += timedelta(seconds=31)  # a request whose sender died is sent again
            await resolve_outcomes(driver.payments.resolver)
            begun = await service.pay(offer, asked)
            assert begun.page_url is not None
            assert len(await of_token(driver, begun.token)) == 1
            driver.psp.pay_at_page(begun.page_url.rpartition("/")[2])
            await ends_paid(driver, begun.token)
        assert finished


@pytest.mark.parametrize("act", [returns, is_notified])
async def test_a_hold_whose_adoption_died_anywhere_is_adopted_once(pool: Pool, act: Act) -> None:
    async with open_driver_page(pool) as driver:
        finished = 0
        for gives in range(STEPS):
            token, page = await opened(driver, gives)
            driver.psp.pay_at_page(page)
            dying = DyingPool(pool, gives=gives)
            with suppress(Died):
                await act(over(driver, dying), token, page)
            finished += dying.left > 0
            await ends_paid(driver, token)
        assert finished


@pytest.mark.parametrize("notified", [False, True])
async def test_a_driver_who_never_returned_leaves_nothing_held(pool: Pool, *, notified: bool) -> None:
    async with open_driver_page(pool) as driver:
        finished = 0
        for gives in range(STEPS):
            token, page = await opened(driver, gives)
            driver.psp.pay_at_page(page)
            if notified:
                await is_notified(driver.services.driver_payments, token, page)
            dying = DyingPool(pool, gives=gives)
            driver.edge.clock.at += timedelta(minutes=16)
            with suppress(Died, DriverPageError, PaymentError):
                await the_worker_ends_it(over(driver, dying), token, page)
            finished += dying.left > 0
            await driver.payments.psp_events.sync_payment(psp_payment=page)  # the event comes, or comes again
            await resolve_outcomes(driver.payments.resolver)
            driver.edge.clock.at += timedelta(minutes=16)
            await the_worker_ends_it(driver.services.driver_payments, token, page)
            await resolve_outcomes(driver.payments.resolver)
            (held,) = await of_token(driver, token)
            assert held.status == "canceled"
            assert driver.psp.capture_effects == 0
        assert finished


@pytest.mark.parametrize("paid", [False, True])
async def test_a_cancel_that_died_anywhere_ends_with_nothing_held(pool: Pool, *, paid: bool) -> None:
    async with open_driver_page(pool) as driver:
        finished = 0
        for gives in range(STEPS):
            token, page = await opened(driver, gives)
            dying = DyingPool(pool, gives=gives)
            with suppress(Died, DriverPageError):
                await cancels(over(driver, dying), token, page)
            finished += dying.left > 0
            driver.edge.clock.at += timedelta(seconds=31)
            if paid:
                driver.psp.pay_at_page(page)  # in another tab; a page that has ended takes nothing
            await resolve_outcomes(driver.payments.resolver)
            (one,) = await of_token(driver, token)
            if one.status == "held":  # the cancel was never written: the driver has paid
                await ends_paid(driver, token)
                continue
            with suppress(DriverPageError):
                await driver.services.driver_payments.cancel(token)
            await resolve_outcomes(driver.payments.resolver)
            assert one.status == "canceled"
            assert (await driver.services.driver_payments.read(token)).stage == "lapsed"
        assert finished
