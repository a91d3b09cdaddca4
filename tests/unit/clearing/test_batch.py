"""Working a batch: each step for all sessions, one session's trouble kept from the others."""

from collections.abc import Mapping
from typing import Any

import pytest

from clearing.captured_session import CapturedSession
from clearing.errors import ClearingInvariantViolation, UnclearableError
from clearing.fx import RateTable
from clearing.reference_data import bundled_data
from clearing.reference_data.dataset import RatesAndCalendars, ReferenceData
from clearing.sessions.batch import BatchProcessor, BatchResult, cleared
from clearing.sessions.posting import CompiledPlan, post_capture
from clearing.sessions.reprice import RepricedSession, TariffRepricer
from tests.fakes import clearing_fixtures as world


class Pricing:
    """Prices as captured, and fails for the sessions that a test names."""

    def __init__(self, failures: Mapping[int, Exception]) -> None:
        self.failures = {world.session_id(number): error for number, error in failures.items()}

    def __call__(self, session: CapturedSession) -> RepricedSession:
        if session.session_id in self.failures:
            raise self.failures[session.session_id]
        return world.repriced(session)


def processor(repricer: Any = None, **terms: Any) -> BatchProcessor:
    reference_data = ReferenceData(
        parties=world.PARTIES,
        agreements={world.NL_CPO.id: [world.agreement(world.NL_CPO, **terms)]},
        rates_and_calendars=RatesAndCalendars(
            vat=bundled_data.vat_rates(),
            fx=RateTable(bundled_data.ecb_reference_rates()),
            calendars=bundled_data.calendars(),
        ),
    )
    return BatchProcessor(repricer=repricer or TariffRepricer(), reference_data=reference_data)


def test_a_session_that_fails_at_any_step_leaves_the_others_cleared() -> None:
    pricing = Pricing({3: UnclearableError("unpriceable", "no"), 4: ZeroDivisionError("a bug")})
    sessions = [world.session(number) for number in range(6)]
    sessions[1] = world.session(1, cpo_id="XX-NON")
    sessions[5] = world.session(5, currency="CHF", captured_minor=1)
    pricing.failures[sessions[2].session_id] = ClearingInvariantViolation("broken")
    result = BatchResult(counts={})
    processor(pricing).process(sessions, into=result)
    reasons = {session.session_id: uncleared.reason for session, uncleared in result.uncleared}
    assert [entry.subject_id for entry in result.entries] == [world.session_id(0), world.session_id(5)]
    assert reasons == {
        world.session_id(1): "no_agreement",
        world.session_id(2): "invariant_violation",
        world.session_id(3): "unpriceable",
        world.session_id(4): "unexpected",
    }


def test_processing_in_portions_gives_the_entries_of_the_whole() -> None:
    sessions = [world.session(number, psp_fee_minor=number) for number in range(50)]
    whole, portions = BatchResult(counts={}), BatchResult(counts={})
    processor().process(sessions, into=whole)
    by_portions = processor()
    for start in range(0, 50, 7):
        by_portions.process(sessions[start : start + 7], into=portions)
    assert whole.entries == portions.entries
    assert len(whole.entries) == 50


def test_a_plan_that_was_made_before_posts_what_a_new_one_does() -> None:
    session, result = world.session(1), BatchResult(counts={})
    processor().process([session], into=result)
    (entry,), compiled = result.entries, result.compiled_plans[session.session_id]
    price = TariffRepricer()(session)
    assert post_capture(session, price, compiled.plan) == entry
    assert post_capture(session, price, compiled.plan, compiled=CompiledPlan(compiled.plan)) == entry


def test_rulings_are_those_of_every_plan_in_use() -> None:
    sessions = [world.session(1), world.session(2, tax_jurisdiction="DE", time_zone="Europe/Berlin")]
    result = BatchResult(counts={})
    processor(Pricing({})).process(sessions, into=result)
    used = {name for compiled in result.compiled_plans.values() for name in compiled.plan.rulings}
    assert result.rulings().keys() == used
    assert len(used) > len(result.plan_of(result.entries[0]).rulings)


@pytest.mark.parametrize("psp_fee_minor", [None, 0, 34])
def test_what_is_published_of_a_session_adds_up_to_its_capture(psp_fee_minor: int | None) -> None:
    currency = None if psp_fee_minor is None else "EUR"
    session = world.session(1, psp_fee_minor=psp_fee_minor, psp_fee_currency=currency)
    result = BatchResult(counts={})
    processor().process([session], into=result)
    (entry,) = result.entries
    published = cleared(entry, result.plan_of(entry))
    assert published.net_minor + published.vat_minor == published.gross_minor == 605
    assert (
        published.platform_fee_minor + sum(share.amount_minor for share in published.shares)
        == published.net_minor
    )
