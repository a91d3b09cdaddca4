"""Working a batch: each step for all sessions, one session's trouble kept from the others."""

from collections.abc import Mapping
from typing import Any

import pytest

from clearing import reference
from clearing.errors import InvariantViolation, UnclearableError
from clearing.fx import RateTable
from clearing.session import CapturedSession
from clearing.sessions.posting import Course, post_capture
from clearing.sessions.reprice import Repriced, TariffRepricer
from clearing.sessions.settlement import References
from clearing.work.batch import BatchWorker, Books, Worked, cleared
from tests.fakes import clearing_world as world


class Pricing:
    """Prices as captured, and fails for the sessions that a test names."""

    def __init__(self, failures: Mapping[int, Exception]) -> None:
        self.failures = {world.session_id(number): error for number, error in failures.items()}

    def __call__(self, session: CapturedSession) -> Repriced:
        if session.session_id in self.failures:
            raise self.failures[session.session_id]
        return world.repriced(session)


def worker(repricer: Any = None, **terms: Any) -> BatchWorker:
    references = References(
        vat=reference.vat_rates(),
        fx=RateTable(reference.ecb_reference_rates()),
        calendars=reference.calendars(),
    )
    agreements = {world.NL_CPO.id: [world.agreement(world.NL_CPO, **terms)]}
    books = Books(parties=world.PARTIES, agreements=agreements, references=references)
    return BatchWorker(repricer=repricer or TariffRepricer(), books=books)


def test_a_session_that_fails_at_any_step_leaves_the_others_cleared() -> None:
    pricing = Pricing({3: UnclearableError("unpriceable", "no"), 4: ZeroDivisionError("nobody foresaw")})
    sessions = [world.session(number) for number in range(6)]
    sessions[1] = world.session(1, cpo_id="XX-NON")
    sessions[5] = world.session(5, currency="CHF", captured_minor=1)
    pricing.failures[sessions[2].session_id] = InvariantViolation("broken")
    worked = Worked(counts={})
    worker(pricing).work(sessions, into=worked)
    reasons = {session.session_id: parked.reason for session, parked in worked.parked}
    assert [entry.subject_id for entry in worked.entries] == [world.session_id(0), world.session_id(5)]
    assert reasons == {
        world.session_id(1): "no_agreement",
        world.session_id(2): "invariant_violation",
        world.session_id(3): "unpriceable",
        world.session_id(4): "unexpected",
    }


def test_working_in_portions_gives_the_entries_of_the_whole() -> None:
    sessions = [world.session(number, psp_fee_minor=number) for number in range(50)]
    whole, portions = Worked(counts={}), Worked(counts={})
    worker().work(sessions, into=whole)
    by_portions = worker()
    for start in range(0, 50, 7):
        by_portions.work(sessions[start : start + 7], into=portions)
    assert whole.entries == portions.entries
    assert len(whole.entries) == 50


def test_a_course_that_was_made_before_posts_what_a_new_one_does() -> None:
    session, worked = world.session(1), Worked(counts={})
    worker().work([session], into=worked)
    (entry,), course = worked.entries, worked.courses[session.session_id]
    price = TariffRepricer()(session)
    assert post_capture(session, price, course.plan) == entry
    assert post_capture(session, price, course.plan, course=Course(course.plan)) == entry


def test_rulings_are_those_of_every_plan_in_use() -> None:
    sessions = [world.session(1), world.session(2, territory="DE", time_zone="Europe/Berlin")]
    worked = Worked(counts={})
    worker(Pricing({})).work(sessions, into=worked)
    used = {name for course in worked.courses.values() for name in course.plan.rulings}
    assert worked.rulings().keys() == used
    assert len(used) > len(worked.plan_of(worked.entries[0]).rulings)


@pytest.mark.parametrize("psp_fee_minor", [None, 0, 34])
def test_what_is_told_of_a_session_adds_up_to_its_capture(psp_fee_minor: int | None) -> None:
    currency = None if psp_fee_minor is None else "EUR"
    session = world.session(1, psp_fee_minor=psp_fee_minor, psp_fee_currency=currency)
    worked = Worked(counts={})
    worker().work([session], into=worked)
    (entry,) = worked.entries
    told = cleared(entry, worked.plan_of(entry))
    assert told.net_minor + told.vat_minor == told.gross_minor == 605
    assert told.platform_fee_minor + sum(share.amount_minor for share in told.shares) == told.net_minor
