"""What of a migration would stop a running system, and that no new migration does."""

import pytest

from gateway.errors import MigrationError
from gateway.migration_steps import StepKind, read_steps, runs_outside
from gateway.migrations import load_migrations
from tests.migration_rules import find_faults

# Migrations up to these are of the first release, which nothing runs beside: later ones run beside requests.
BEFORE_USE = {"gateway": 70, "clearing": 40, "pnc": 30}
OUTSIDE = "-- outside a transaction\n"
BATCH = "UPDATE gateway.b SET c = 1 WHERE c IN (SELECT c FROM gateway.b WHERE c IS NULL LIMIT 10);"

FAULTS = [
    ("CREATE INDEX a ON gateway.session (id);", "stops its writers"),
    ("CREATE UNIQUE INDEX a ON gateway.session (id);", "stops its writers"),
    ("CREATE INDEX CONCURRENTLY a ON gateway.session (id);", "needs a file outside"),
    ("ALTER TABLE gateway.session ADD CHECK (a > 0);", "NOT VALID"),
    (
        "ALTER TABLE gateway.session ADD CONSTRAINT a FOREIGN KEY (b) REFERENCES gateway.party (id);",
        "NOT VALID",
    ),
    ("ALTER TABLE gateway.session ADD CONSTRAINT a UNIQUE (b);", "USING INDEX"),
    ("ALTER TABLE gateway.session ADD COLUMN a integer CHECK (a > 0);", "constraint reads the whole table"),
    ("ALTER TABLE gateway.session ADD COLUMN a uuid REFERENCES gateway.party (id);", "reads the whole table"),
    ("ALTER TABLE gateway.session ADD a integer NOT NULL;", "writes no value"),
    ("ALTER TABLE gateway.session ADD COLUMN a uuid DEFAULT gen_random_uuid();", "rewrites the table"),
    (
        "ALTER TABLE gateway.session ADD COLUMN a integer, ALTER COLUMN b TYPE bigint;",
        "may rewrite the table",
    ),
    ("ALTER TABLE gateway.session ALTER COLUMN a SET NOT NULL;", "SET NOT NULL reads the whole table"),
    ("ALTER TABLE gateway.session DROP COLUMN a;", "one release later"),
    ("ALTER TABLE gateway.session RENAME COLUMN a TO b;", "knows the old name"),
    ("ALTER TABLE gateway.session VALIDATE CONSTRAINT a;", "later file outside"),
    ("UPDATE gateway.session SET a = 1;", "in batches"),
    ("DELETE FROM gateway.session;", "in batches"),
    ("INSERT INTO gateway.session SELECT * FROM gateway.other;", "in batches"),
    ("DROP TABLE gateway.session;", "the release before may use it"),
    ("DROP INDEX gateway.a;", "CONCURRENTLY IF EXISTS"),
]
MAY_RUN = [
    "-- A table.\nCREATE TABLE gateway.a (b integer);\nCREATE INDEX c ON gateway.a (b);",
    "CREATE TABLE gateway.a (b integer CHECK (b > 0)); INSERT INTO gateway.a SELECT 1;",
    "ALTER TABLE gateway.session ADD COLUMN a integer;",
    "ALTER TABLE gateway.session ADD COLUMN a integer NOT NULL DEFAULT 0, ADD COLUMN b text;",
    "ALTER TABLE gateway.session ADD CONSTRAINT a CHECK (b > 0) NOT VALID;",
    "ALTER TABLE gateway.session ADD CONSTRAINT a UNIQUE USING INDEX b;",
    "ALTER TABLE gateway.session DROP CONSTRAINT a;",
    "-- proven by the constraint session_a\nALTER TABLE gateway.session ALTER COLUMN a SET NOT NULL;",
    "-- unused since 1.2.0\nALTER TABLE gateway.session DROP COLUMN a;",
    "-- unused since 1.2.0\nDROP TABLE gateway.a;",
    "INSERT INTO gateway.session (id) VALUES (1);",
    f"{OUTSIDE}CREATE INDEX CONCURRENTLY a ON gateway.session (id);",
    f"{OUTSIDE}ALTER TABLE gateway.session VALIDATE CONSTRAINT a;",
    f"{OUTSIDE}{BATCH}",
    "CREATE FUNCTION gateway.f() RETURNS void AS $$ BEGIN UPDATE gateway.session SET a = 1; END $$;",
]


@pytest.mark.parametrize(("sql", "said"), FAULTS)
def test_sql_that_stops_a_running_system_is_a_fault_with_its_remedy(sql: str, said: str) -> None:
    faults = find_faults(sql)
    assert len(faults) == 1, faults
    assert said in faults[0]


@pytest.mark.parametrize("sql", MAY_RUN)
def test_sql_that_holds_no_request_up_may_run(sql: str) -> None:
    assert find_faults(sql) == []


def test_no_migration_since_the_first_use_stops_a_running_system() -> None:
    wrong = {
        str(migration): faults
        for migration in load_migrations()
        if migration.version > BEFORE_USE[migration.package] and (faults := find_faults(migration.sql))
    }
    assert wrong == {}


def test_the_rules_see_the_faults_of_the_migrations_before() -> None:
    found = {str(migration): find_faults(migration.sql) for migration in load_migrations()}
    assert any("stops its writers" in fault for faults in found.values() for fault in faults)
    assert not any(faults for name, faults in found.items() if name.endswith("/0001_schema"))


def test_statements_outside_a_transaction_are_those_that_may_be_repeated() -> None:
    sql = (
        f"{OUTSIDE}-- Why; with a semicolon.\nCREATE UNIQUE INDEX CONCURRENTLY a ON gateway.b (c);\n"
        "DROP INDEX CONCURRENTLY IF EXISTS gateway.old;\nALTER TABLE gateway.b VALIDATE CONSTRAINT d;\n"
        f"{BATCH}\n"
    )
    assert runs_outside(sql)
    steps = read_steps(sql, file="gateway/0100_x")
    assert [step.kind for step in steps] == [
        StepKind.CREATE_INDEX,
        StepKind.ONCE,
        StepKind.ONCE,
        StepKind.BATCHES,
    ]
    assert (steps[0].schema, steps[0].index) == ("gateway", "a")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE gateway.a (b integer)",
        "CREATE INDEX a ON gateway.b (c)",
        "CREATE INDEX CONCURRENTLY ON gateway.b (c)",
        "UPDATE gateway.b SET c = 1",
        "ALTER TABLE gateway.b ADD COLUMN c integer",
    ],
)
def test_a_statement_that_can_not_be_repeated_is_rejected_outside_a_transaction(statement: str) -> None:
    with pytest.raises(
        MigrationError, match=r"gateway/0100_x runs outside a transaction, and `.*` can't be repeated"
    ):
        read_steps(f"{OUTSIDE}{statement};", file="gateway/0100_x")
    with pytest.raises(MigrationError, match="gateway/0100_x has no statement"):
        read_steps(OUTSIDE, file="gateway/0100_x")
