"""What follows from a pool's event: never from an older one, never against somebody else's decision."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from pnc.contract import Contract, ContractState, PaymentKind
from pnc.contract_pool import (
    PoolAction,
    PoolChange,
    PooledCertificate,
    PoolEvent,
    PoolPosition,
    WaitReason,
    events_of_lookup,
    is_superseded,
    next_action,
)
from tests.fakes.pnc_market import EMAID, NOW

ENDS = [change for change in PoolChange if change is not PoolChange.CONTRACT_STORED]
CAR = "WMI12345671234567"


def event(change: PoolChange | None = PoolChange.CONTRACT_STORED, *, minutes: int = 0) -> PoolEvent:
    return PoolEvent(
        event_id=UUID(int=1),
        name="x",
        change=change,
        emaid=EMAID,
        vehicle=CAR,
        occurred_at=NOW + timedelta(minutes=minutes),
    )


def position(change: PoolChange, *, blocked_revision: int | None = None, vehicle: str = CAR) -> PoolPosition:
    return PoolPosition(change=change, vehicle=vehicle, occurred_at=NOW, blocked_revision=blocked_revision)


def contract(state: ContractState = ContractState.ACTIVE, revision: int = 3) -> Contract:
    return Contract(
        contract_id=UUID(int=2),
        environment="live",
        emaid=EMAID,
        party="superapp",
        payment_kind=PaymentKind.PARTNER_ACCOUNT,
        payment_reference="superapp",
        state=state,
        payment_usable=True,
        valid_from=NOW,
        valid_until=None,
        limit_minor=None,
        currency=None,
        revision=revision,
    )


def act(
    of: PoolEvent,
    before: PoolPosition | None = None,
    stored: Contract | None = None,
    *,
    may_create: bool = False,
) -> PoolAction | WaitReason:
    return next_action(
        of, position=before, contract=stored, may_create=may_create, now=NOW + timedelta(hours=1)
    )


def test_an_event_about_no_contract_changes_nothing() -> None:
    assert act(event(None), stored=contract()) is PoolAction.NOTHING


@pytest.mark.parametrize("change", list(PoolChange))
def test_an_older_event_never_overwrites_a_newer_one(change: PoolChange) -> None:
    older = event(change, minutes=-1)
    for before in PoolChange:
        assert act(older, position(before), contract()) is PoolAction.NOTHING
        assert is_superseded(older, position(before))
        assert not is_superseded(event(change, minutes=1), position(before))


@pytest.mark.parametrize("change", ENDS)
def test_of_two_events_at_the_same_moment_the_one_that_ends_counts(change: PoolChange) -> None:
    assert is_superseded(event(), position(change))
    assert not is_superseded(event(change), position(PoolChange.CONTRACT_STORED))
    assert is_superseded(event(change), position(change))


def test_an_event_of_the_future_waits_for_its_time() -> None:
    ahead = event(PoolChange.VEHICLE_RESET, minutes=71)
    assert act(ahead, stored=contract()) is WaitReason.DATED_AHEAD
    soon = replace(ahead, occurred_at=NOW + timedelta(minutes=69))
    assert act(soon, stored=contract()) is PoolAction.BLOCK_WITH_CERTIFICATES


def test_a_contract_that_is_not_stored_is_created_only_where_something_pays_for_it() -> None:
    assert act(event()) is WaitReason.CONTRACT_UNKNOWN
    assert act(event(), may_create=True) is PoolAction.STORE
    reset = position(PoolChange.VEHICLE_RESET)
    assert act(event(minutes=1), reset, may_create=True) is WaitReason.VEHICLE_WAS_RESET


@pytest.mark.parametrize("change", ENDS)
def test_what_ends_a_contract_blocks_it_even_before_it_is_stored(change: PoolChange) -> None:
    only_deleted = change is PoolChange.CONTRACT_DELETED
    expected = PoolAction.BLOCK if only_deleted else PoolAction.BLOCK_WITH_CERTIFICATES
    for stored in (None, *(contract(state) for state in ContractState)):
        assert act(event(change), stored=stored) is expected


def test_a_report_about_another_vehicle_than_the_contracts_waits() -> None:
    before = position(PoolChange.CONTRACT_STORED, vehicle="WMI00000000000000")
    assert act(event(PoolChange.VEHICLE_RESET, minutes=1), before, contract()) is WaitReason.OTHER_VEHICLE
    assert act(event(minutes=1), before, contract()) is PoolAction.STORE  # it moves to this vehicle


@pytest.mark.parametrize("change", ENDS)
def test_a_block_of_the_feed_ends_with_the_next_certificate_unless_the_vehicle_was_sold(
    change: PoolChange,
) -> None:
    blocked = contract(ContractState.BLOCKED, revision=4)
    before = position(change, blocked_revision=4)
    sold = change is PoolChange.VEHICLE_RESET
    expected = WaitReason.VEHICLE_WAS_RESET if sold else PoolAction.STORE_AND_UNBLOCK
    assert act(event(minutes=1), before, blocked) is expected


@pytest.mark.parametrize("change", [change for change in ENDS if change is not PoolChange.VEHICLE_RESET])
def test_a_block_that_somebody_else_set_or_touched_stays(change: PoolChange) -> None:
    blocked = contract(ContractState.BLOCKED, revision=5)
    for revision in (None, 4):
        before = position(change, blocked_revision=revision)
        assert act(event(minutes=1), before, blocked) is PoolAction.STORE


def test_a_cancelled_contract_is_not_revived() -> None:
    cancelled = contract(ContractState.CANCELLED)
    assert act(event(), stored=cancelled, may_create=True) is WaitReason.CONTRACT_CANCELLED


FEED = UUID(int=7)
POOLED = PooledCertificate(
    vehicle=CAR, certificate="MIIB", sha256="ab" * 32, valid_from=NOW - timedelta(days=1)
)


def test_a_found_certificate_counts_from_its_own_start_and_once() -> None:
    (first,) = events_of_lookup(EMAID, [POOLED], feed_id=FEED, position=None, registered=())
    assert (first.change, first.occurred_at) == (PoolChange.CONTRACT_STORED, POOLED.valid_from)
    assert [first] == events_of_lookup(EMAID, [POOLED], feed_id=FEED, position=None, registered=())
    # What is known is reported only until the feed has a position, so that its end is noticed.
    known = {POOLED.sha256}
    assert events_of_lookup(EMAID, [POOLED], feed_id=FEED, position=None, registered=known) == [first]
    stored = position(PoolChange.CONTRACT_STORED)
    assert events_of_lookup(EMAID, [POOLED], feed_id=FEED, position=stored, registered=known) == []
    (another,) = events_of_lookup(EMAID, [POOLED], feed_id=UUID(int=8), position=None, registered=())
    assert another.event_id != first.event_id


@pytest.mark.parametrize("change", [None, *ENDS])
def test_a_contract_that_the_pool_never_stored_or_has_ended_is_not_ended_by_silence(
    change: PoolChange | None,
) -> None:
    known = None if change is None else position(change)
    assert events_of_lookup(EMAID, [], feed_id=FEED, position=known, registered=()) == []


@pytest.mark.parametrize("change", ENDS)
def test_an_event_sent_before_the_answer_and_received_after_it_still_counts(change: PoolChange) -> None:
    stored = position(PoolChange.CONTRACT_STORED)
    (gone,) = events_of_lookup(EMAID, [], feed_id=FEED, position=stored, registered=())
    assert (gone.change, gone.vehicle) == (PoolChange.CONTRACT_DELETED, CAR)
    assert not is_superseded(gone, stored)
    after = PoolPosition(
        change=PoolChange.CONTRACT_DELETED, vehicle=CAR, occurred_at=gone.occurred_at, blocked_revision=4
    )
    assert not is_superseded(event(change, minutes=1), after)
