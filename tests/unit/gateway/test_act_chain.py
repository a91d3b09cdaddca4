"""The hash chain over administrative acts: any change of any of them changes every later hash."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.acts.hash_chain import FIRST, SealableAct, chained, hash_of

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
ACTS = [
    SealableAct(
        id=number,
        acted_at=AT + timedelta(seconds=number),
        texts=["changed", None, "anna"],
        before=None,
        after="{}",
    )
    for number in range(1, 4)
]


def test_each_hash_covers_the_act_and_the_one_before() -> None:
    hashes = chained(ACTS, previous=FIRST)
    assert hashes[0] == hash_of(ACTS[0], previous=FIRST)
    assert hashes[2] == hash_of(ACTS[2], previous=hashes[1])
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 9},
        {"acted_at": AT},
        {"texts": ["changed", "", "anna"]},
        {"texts": ["changed", None, "anna", None]},
        {"before": ""},
        {"after": None},
        {"after": "{ }"},
    ],
)
def test_no_column_changes_unnoticed(changes: dict[str, object]) -> None:
    assert changes.keys() <= {one.name for one in fields(SealableAct)}
    changed = [replace(ACTS[0], **changes), *ACTS[1:]]  # type: ignore[arg-type]
    pairs = zip(chained(changed, previous=FIRST), chained(ACTS, previous=FIRST), strict=True)
    assert all(new != old for new, old in pairs)


def test_a_time_is_hashed_as_the_instant_that_it_is() -> None:
    east = replace(ACTS[0], acted_at=ACTS[0].acted_at.astimezone(timezone(timedelta(hours=9))))
    assert hash_of(east, previous=FIRST) == hash_of(ACTS[0], previous=FIRST)
