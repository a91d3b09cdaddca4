"""Where tables lie and what is left to do: the rules, without a database."""

import re

import pytest

from gateway.distribution.named_statements import named_statements
from gateway.distribution.places import KEYS_BETWEEN_SHARDS, ON_COORDINATOR, ForeignKey
from gateway.distribution.plan import (
    DistributionError,
    Place,
    PlacedTable,
    SchemaTable,
    place_table,
    plan_distribution,
)
from gateway.distribution.several_shards import (
    NOT_DISTRIBUTED,
    SEVERAL_SHARDS,
    listed_statements,
    reason_of,
)
from gateway.distribution.statement_check import CheckedStatement, PlannedOn


def table(
    name: str, *keys: tuple[str, ...], columns: tuple[str, ...] = (), by: str | None = None
) -> SchemaTable:
    named = frozenset(column for key in keys for column in key) | set(columns)
    return SchemaTable(
        name=name,
        columns=named,
        unique_keys=tuple(frozenset(key) for key in keys),
        distributed_by=by,
    )


SESSION = table("gateway.session", ("shard", "id"))
AUTHORIZATION = table("gateway.payment_authorization", ("shard", "id"), columns=("session_id",))
CAPTURE = table("gateway.capture", ("shard", "session_id"), ("shard", "id"))
LOOKUP = table("gateway.session_lookup", ("kind", "foreign_id"), columns=("shard",))
PARTY = table("gateway.party", ("id",))
BETWEEN = [
    key
    for key in KEYS_BETWEEN_SHARDS
    if {key.table, key.referenced} <= {SESSION.name, AUTHORIZATION.name, CAPTURE.name}
]
TO_PARTY = ForeignKey(
    table="gateway.session", name="to_party", definition="FOREIGN KEY (cpo_id) REFERENCES gateway.party(id)"
)


@pytest.mark.parametrize(
    ("given", "place", "column"),
    [
        (SESSION, Place.SHARD, "shard"),
        (LOOKUP, Place.NAME, "foreign_id"),
        (PARTY, Place.COORDINATOR, None),
        (
            table("gateway.unbooked_charge", ("psp_payment",), columns=("shard",)),
            Place.COORDINATOR,
            None,
        ),
        (table("gateway.shard_work", ("shard",)), Place.SHARD, "shard"),
    ],
)
def test_a_table_lies_where_its_keys_allow(given: SchemaTable, place: Place, column: str | None) -> None:
    assert place_table(given) == PlacedTable(name=given.name, place=place, column=column)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (table("gateway.news", ("id",)), "gateway.news has no place"),
        (table("gateway.capture", ("shard", "id"), ("psp_charge",)), "a unique key lacks the shard"),
        (table("gateway.party", ("shard", "id")), "has the shard and is kept on the coordinator"),
        (table("gateway.session_lookup", ("kind",)), "a unique key lacks foreign_id"),
    ],
)
def test_a_table_that_can_lie_nowhere_is_named(given: SchemaTable, error: str) -> None:
    with pytest.raises(DistributionError, match=error):
        place_table(given)


def test_referenced_tables_come_first_and_their_keys_last() -> None:
    plan = plan_distribution([CAPTURE, AUTHORIZATION, SESSION, PARTY, LOOKUP], [*BETWEEN, TO_PARTY])
    order = [one.name for one in plan.tables]
    assert order.index("gateway.session") < order.index("gateway.payment_authorization")
    assert order.index("gateway.session") < order.index("gateway.capture")
    assert set(plan.dropped) == {*BETWEEN, TO_PARTY}
    assert TO_PARTY not in plan.added
    assert set(BETWEEN) <= set(plan.added)
    assert plan.on_coordinator == ("gateway.party",)


def test_a_run_that_died_is_completed() -> None:
    half = [
        table("gateway.session", ("shard", "id"), by="shard"),
        AUTHORIZATION,
        CAPTURE,
        PARTY,
    ]
    plan = plan_distribution(half, [])
    assert {one.name for one in plan.tables} == {"gateway.payment_authorization", "gateway.capture"}
    assert plan.dropped == ()
    assert set(plan.added) == set(KEYS_BETWEEN_SHARDS)


def test_a_finished_database_needs_nothing() -> None:
    done = [
        SchemaTable(name=one.name, columns=one.columns, unique_keys=one.unique_keys, distributed_by="shard")
        for one in (SESSION, AUTHORIZATION, CAPTURE)
    ]
    plan = plan_distribution([*done, PARTY], KEYS_BETWEEN_SHARDS[:0] + tuple(BETWEEN))
    assert (plan.tables, plan.dropped) == ((), ())
    assert not set(BETWEEN) & set(plan.added)


def test_a_table_that_is_distributed_by_another_column_is_named() -> None:
    with pytest.raises(DistributionError, match="is distributed by id, not by shard"):
        plan_distribution([table("gateway.session", ("shard", "id"), by="id")], [])


def test_a_key_between_shards_that_is_not_named_is_rejected() -> None:
    unnamed = ForeignKey(
        table="gateway.capture",
        name="unnamed",
        definition="FOREIGN KEY (shard, id) REFERENCES gateway.session(shard, id)",
    )
    with pytest.raises(DistributionError, match="unnamed is not named"):
        plan_distribution([SESSION, CAPTURE], [unnamed])


def test_a_statement_is_at_fault_if_it_is_rejected_or_asks_several_shards_unlisted() -> None:
    def checked(planned_on: PlannedOn, reason: str | None = None) -> CheckedStatement:
        return CheckedStatement(place="gateway/x: y", planned_on=planned_on, reason=reason)

    assert checked(PlannedOn.REJECTED).is_at_fault
    assert checked(PlannedOn.SEVERAL_SHARDS).is_at_fault
    assert not checked(PlannedOn.SEVERAL_SHARDS, "a reason").is_at_fault
    assert not checked(PlannedOn.ONE_SHARD).is_at_fault
    assert not checked(PlannedOn.COORDINATOR).is_at_fault


def test_each_listed_statement_has_its_reason() -> None:
    listed = list(listed_statements())
    assert {reason_of(place) for place, _ in listed} == set(SEVERAL_SHARDS)
    assert [place for place, reason in listed if reason_of(place) != reason] == []
    assert reason_of("gateway/x: y") is None


def test_no_statement_has_a_form_that_citus_rejects_only_as_it_runs() -> None:
    """Decision 0923."""
    on_parameters = re.compile(r"(?:\bWHERE|\n\s*AND)\s+\$\d+::\w+\s*(?:=|<>|<|>|IN|NOT IN)\s*(?:\(?'|\d)")
    for statement in named_statements(shard=5):
        text = statement.sql
        assert not re.search(r"\bSELECT\s+FROM\b", text), f"{statement.place}: select 1"
        for part in re.split(r"\bAS (?:MATERIALIZED )?\(\s*(?=UPDATE|DELETE|INSERT|SELECT)", text):
            writes_on_shard = re.match(r"(?:UPDATE|DELETE)\b", part) and "(5::smallint)" in part
            body = part.partition("\n)")[0]
            assert not (writes_on_shard and on_parameters.search(body)), (
                f"{statement.place}: a part that writes has a condition on parameters alone"
            )


def test_no_insert_of_rows_of_the_coordinator_has_a_parameter_where_they_conflict() -> None:
    """Decision 0923: Citus sends such a part to the shards without its parameters."""
    coordinator = {name for names in ON_COORDINATOR.values() for name in names}
    inserts = re.compile(r"INSERT INTO (\S+)(.*?)(?=\bINSERT INTO\b|\Z)", re.DOTALL)
    found = set()
    for statement in named_statements(shard=5):
        for table_name, rest in inserts.findall(statement.sql):
            source, _, conflict = rest.partition("ON CONFLICT")
            conflict = conflict.partition("RETURNING")[0].partition("\n)")[0]
            if table_name not in coordinator and "SELECT" in source and re.search(r"\$\d", conflict):
                found.add(statement.place)
    assert found == {"gateway/shard_leases: take_shards"}, "the one that a distributed database is not sent"
    assert found <= NOT_DISTRIBUTED
