"""The functions that run a session's two calls beside its shard: made of the statements' own texts."""

import re
from dataclasses import replace

import pytest

from gateway.database import NamedStatement
from gateway.distribution.node_functions import ShardGroup, Signature, functions
from gateway.distribution.places import BY_NAME, ON_COORDINATOR
from gateway.distribution.plan import DistributionError
from gateway.shard_statements import OF_THE_CALLS, ShardStatement, shard_statements

_TABLE = re.compile(r"\b(?:gateway|clearing|pnc)\.[a-z_]+\b(?!\()")
STATEMENTS = shard_statements()
ELSEWHERE = {name for names in ON_COORDINATOR.values() for name in names} | set(BY_NAME)


def group(*, lease: int = 1002, endpoints: int = 9) -> ShardGroup:
    """A group of shards with every table that these statements write beside a session."""
    tables = {table for one in STATEMENTS.values() for table in _TABLE.findall(one.statement.sql)}
    beside = sorted(tables - ELSEWHERE)
    numbers = {table: 2000 + place for place, table in enumerate(beside)}
    return ShardGroup(numbers=numbers | {"gateway.shard_lease": lease}, endpoints=endpoints)


def signature(statement: ShardStatement) -> Signature:
    return Signature(parameters=["text"] * len(statement.statement.parameters), columns=[("done", "boolean")])


def made(statement: ShardStatement, *groups: ShardGroup) -> dict[str, str]:
    return dict(functions(statement, signature(statement), groups or (group(),)))


@pytest.mark.parametrize("name", STATEMENTS)
def test_on_a_node_a_statement_names_tables_of_its_shard_alone(name: str) -> None:
    statement = STATEMENTS[name]
    own = made(statement)[f"{statement.function}_1002"]
    named = set(re.findall(r"\b(?:gateway|clearing|pnc|node)\.\w+\b(?!\()", own))
    named -= {f"node.{statement.function}_1002"}
    assert named, own
    assert all(re.search(r"_\d+$", table) for table in named), named
    assert ("node.webhook_endpoint_9" in named) is (name in OF_THE_CALLS)  # where events are handed out
    assert "--" not in own


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_group_of_shards_has_a_function_and_one_finds_it(name: str) -> None:
    statement = STATEMENTS[name]
    names = set(made(statement, group(lease=1), group(lease=2)))
    both = {f"{statement.function}_1", f"{statement.function}_2", f"{statement.function}_of_shard"}
    assert names == both | ({statement.function} if statement.at_coordinator else set())
    assert f"{statement.function}_of_shard(l.tableoid, $1, " in statement.query


def test_what_the_coordinator_does_is_run_with_the_statements_own_parameters() -> None:
    opening = STATEMENTS["open_authorization"]
    given = opening.statement.parameters
    number = {name: f"${given.index(name) + 1}::" for name in ("session_name", "session_id", "tariff_sha256")}
    assert number["session_name"] in opening.is_named
    assert number["session_name"] in opening.lookup
    assert number["session_id"] in opening.lookup
    assert number["tariff_sha256"] in opening.before
    whole = made(opening)[opening.function]
    for part in (opening.is_whole, opening.before, opening.query, opening.is_named, opening.lookup):
        assert part
        assert part in whole
    assert "gateway.partner_account" in whole  # as on one PostgreSQL, where the coordinator's rows decide


def test_a_part_that_lies_elsewhere_is_empty_with_its_columns() -> None:
    text = STATEMENTS["open_authorization"].text
    assert "known_customer AS (SELECT NULL::text AS party_id WHERE false" in text
    assert "funds AS (SELECT NULL::integer AS one WHERE false" in text
    assert "session_lookup" not in text


def test_a_table_of_the_coordinator_in_a_part_that_is_not_marked_is_found() -> None:
    ending = STATEMENTS["record_end"]
    sql = ending.statement.sql.replace("gateway.task", "gateway.partner_account")
    other = replace(ending, statement=replace(ending.statement, sql=sql))
    with pytest.raises(DistributionError, match=r"gateway\.partner_account .* -- elsewhere"):
        made(other)


def test_another_text_has_functions_of_another_name() -> None:
    ending = STATEMENTS["record_end"]
    longer = replace(ending.statement, sql=ending.statement.sql + " ")
    assert replace(ending, statement=longer).function != ending.function


def test_a_row_that_is_inserted_into_is_called_by_its_tables_name() -> None:
    sql = "INSERT INTO gateway.capture (shard) SELECT $1 ON CONFLICT DO UPDATE SET x = 1 WHERE capture.x = 2"
    statement = ShardStatement(statement=NamedStatement(name="one", sql=sql, parameters=["shard"]))
    own = made(statement)[f"{statement.function}_1002"]
    assert re.search(r"INSERT INTO gateway\.capture_\d+ AS capture \(shard\)", own), own
