"""A statement over rows of several shards names them to a distributed database, table by table."""

import pytest

from gateway.named_shards import with_shards_named

MARKED = """DELETE FROM gateway.task AS t USING unnest($2::smallint[], $1::uuid[]) AS done (shard, id)
JOIN gateway.shard_lease AS l ON l.shard = done.shard  -- shards of l
WHERE t.shard = done.shard AND t.id = done.id  -- shards of t
RETURNING t.id;"""


def test_each_marked_table_gets_a_condition_on_the_shards_that_are_given() -> None:
    assert with_shards_named(MARKED) == (
        "DELETE FROM gateway.task AS t USING unnest($2::smallint[], $1::uuid[]) AS done (shard, id)\n"
        "JOIN gateway.shard_lease AS l ON l.shard = done.shard AND l.shard = ANY ($2::smallint[])\n"
        "WHERE t.shard = done.shard AND t.id = done.id AND t.shard = ANY ($2::smallint[])\n"
        "RETURNING t.id;"
    )


def test_a_statement_without_a_mark_is_sent_as_it_is() -> None:
    plain = "SELECT 1 FROM unnest($1::smallint[]) AS given (shard)  -- shards of all"
    assert with_shards_named(plain + " kinds") == plain + " kinds"


def test_a_mark_without_an_array_of_shards_is_rejected() -> None:
    with pytest.raises(ValueError, match="is given none"):
        with_shards_named("SELECT 1 FROM gateway.task AS t WHERE t.id = $1  -- shards of t")
