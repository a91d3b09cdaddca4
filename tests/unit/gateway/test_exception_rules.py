"""The rules of the exceptions queue: each kind is complete, and the queue follows its causes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Formatter
from uuid import UUID

import pytest

from clearing.reporting.open_items import OpenCauseKind
from gateway.database import named_queries
from gateway.exception_kinds import ExceptionEventKind, ExceptionKind, ExceptionState
from gateway.exceptions import four_eyes
from gateway.exceptions.actions import ACTIONS
from gateway.exceptions.due import DUE_AFTER, due_at
from gateway.exceptions.rules import KINDS, ExceptionRecord, FoundException, compare, next_step
from gateway.ids import format_id
from gateway.payments.stated_usage import UsageAction, UsageDecision

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def cause(subject: str = "tsk_1", **changes: object) -> FoundException:
    found = FoundException(
        kind=ExceptionKind.FAILED_TASK,
        subject_id=subject,
        owner="operations",
        party_id=None,
        amount_minor=None,
        currency=None,
        reason="clear_session",
        detail="no tariff",
        since=NOW,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def known(found: FoundException) -> ExceptionRecord:
    return ExceptionRecord(
        id=UUID(int=hash(found.subject_id) % 2**128),
        kind=found.kind,
        subject_id=found.subject_id,
        state=ExceptionState.OPEN,
        owner=found.owner,
        assignee=None,
        party_id=found.party_id,
        amount_minor=found.amount_minor,
        currency=found.currency,
        reason=found.reason,
        detail=found.detail,
        since=found.since,
        opened_at=NOW,
        resolved_at=None,
    )


def test_a_new_cause_is_opened_and_one_that_is_gone_is_resolved() -> None:
    changes = compare([known(cause("old"))], [cause("new")])
    assert [one.subject_id for one in changes.opened] == ["new"]
    assert [one.subject_id for one in changes.gone] == ["old"]
    assert not changes.changed


def test_a_cause_that_is_there_still_is_open_once() -> None:
    changes = compare([known(cause())], [cause(), cause()])
    assert (changes.opened, changes.changed, changes.gone) == ([], [], [])
    assert len(compare([], [cause(), cause()]).opened) == 1


def test_the_same_subject_of_another_kind_is_another_exception() -> None:
    other = cause(kind=ExceptionKind.UNKNOWN_PSP_OUTCOME)
    assert compare([known(cause())], [cause(), other]).opened == [other]


@pytest.mark.parametrize(
    "change",
    [{"reason": "capture_session"}, {"detail": "x"}, {"amount_minor": 5, "currency": "EUR"}, {"owner": "y"}],
)
def test_what_is_said_of_a_cause_follows_it(change: dict[str, object]) -> None:
    ((_, now_found),) = compare([known(cause())], [cause(**change)]).changed
    assert now_found == cause(**change)


def test_the_age_of_an_open_exception_never_changes() -> None:
    assert not compare([known(cause())], [cause(since=datetime(2026, 1, 1, tzinfo=UTC))]).changed


def test_what_a_person_has_acknowledged_is_not_opened_again() -> None:
    acknowledged = frozenset({("failed_task", "tsk_1")})
    assert not compare([], [cause()], acknowledged=acknowledged).opened
    assert not compare([], [cause()], acknowledged=acknowledged).acknowledged_gone
    assert compare([], [], acknowledged=acknowledged).acknowledged_gone == [("failed_task", "tsk_1")]


@pytest.mark.parametrize("kind", list(ExceptionKind))
def test_every_kind_says_what_to_do_next(kind: ExceptionKind) -> None:
    spec = KINDS[kind]
    assert spec.title
    assert spec.owner
    named = {name for text in (spec.next_step, spec.command) for _, name, _, _ in Formatter().parse(text)}
    assert named <= {"subject", "party", "exception", None}
    step = next_step(known(cause(kind=kind)), public_id="exc_1")
    assert "{" not in step.text + step.command


@pytest.mark.parametrize("kind", list(ExceptionKind))
def test_a_kind_is_retried_or_acknowledged_or_names_its_own_command(kind: ExceptionKind) -> None:
    spec = KINDS[kind]
    assert (spec.retry is not None) == (kind in ACTIONS)
    assert not (spec.final and kind in ACTIONS)
    if spec.retry is None and not spec.final:
        assert "exceptions resolve" not in spec.command
    if spec.prefix is not None:
        format_id(spec.prefix, UUID(int=1))


def test_every_kind_has_a_source() -> None:
    of_gateway = named_queries("gateway", "exceptions.sql").found.sql
    of_clearing = {kind.value for kind in OpenCauseKind}
    assert of_clearing <= {kind.value for kind in ExceptionKind}
    for kind in ExceptionKind:
        assert f"'{kind.value}'" in of_gateway or kind.value in of_clearing, kind


def test_the_schema_knows_the_same_states_and_events() -> None:
    schema = (ROOT / "gateway/sql/migrations/0001_schema.sql").read_text()
    changed = (ROOT / "gateway/sql/migrations/0042_exception_decisions.sql").read_text()
    states = schema.split("CREATE TABLE gateway.exception (", 1)[1].split("CHECK (state IN (", 1)[1]
    kinds = changed.split("CHECK (kind IN (", 1)[1]
    for text, names in ((states, ExceptionState), (kinds, ExceptionEventKind)):
        listed = text.split(")", 1)[0]
        assert {name.strip(" '\n") for name in listed.split(",")} == {one.value for one in names}


def test_every_kind_has_an_age_limit_of_hours_to_weeks() -> None:
    assert set(DUE_AFTER) == set(ExceptionKind)
    assert all(timedelta(hours=1) <= limit <= timedelta(days=14) for limit in DUE_AFTER.values())
    assert due_at(known(cause())) == NOW + timedelta(days=1)


LIMITS = {"*": 100, "EUR": 10_000}


@pytest.mark.parametrize(
    ("kind", "amount", "set_to", "two"),
    [
        (ExceptionKind.FAILED_CDR_CHECK, 10_000, None, False),
        (ExceptionKind.FAILED_CDR_CHECK, 10_001, None, True),
        (ExceptionKind.FAILED_CDR_CHECK, 5, 10_001, True),
        (ExceptionKind.UNPAID_SESSION, 10_001, None, True),
        (ExceptionKind.UNAPPLIED_CREDIT, -10_001, None, True),
        (ExceptionKind.FAILED_TASK, 10_001, None, False),  # a retry decides nothing
        (ExceptionKind.PAYOUT_HOLD, 10_001, None, False),  # has its own rule
    ],
)
def test_two_people_decide_above_the_limit(
    kind: ExceptionKind, amount: int, set_to: int | None, *, two: bool
) -> None:
    record = known(cause(kind=kind, amount_minor=amount, currency="EUR"))
    decision = None
    if kind is ExceptionKind.FAILED_CDR_CHECK:
        action = UsageAction.TAKE_AS_IS if set_to is None else UsageAction.SET_AMOUNT
        decision = UsageDecision(action=action, amount_minor=set_to)
    assert four_eyes.needs_two(record, decision, limits=LIMITS) is two
    other = known(cause(kind=kind, amount_minor=101, currency="CHF"))
    assert four_eyes.needs_two(other, None, limits=LIMITS) is (kind in four_eyes.DECIDED)
    assert not four_eyes.needs_two(known(cause(kind=kind)), None, limits=LIMITS)


def test_a_second_person_confirms_to_the_letter() -> None:
    first = four_eyes.proposal_of(
        UsageDecision(action=UsageAction.SET_AMOUNT, amount_minor=5), note="n", by="Anna", now=NOW
    )
    other = replace(first, amount_minor=6)
    assert four_eyes.confirms(first, first)
    assert not four_eyes.confirms(first, other)
    assert four_eyes.is_own(first, by=" anna ")
    assert not four_eyes.is_own(first, by="ben")
    assert four_eyes.described(first) == "set_amount to 5 minor units, by Anna: n"
