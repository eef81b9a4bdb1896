"""The queries in docs/queries/athena: Athena's grammar, and the right answers over CloudTrail's events and the broker's records.

There is no Athena here. sqlglot reads each statement as Athena does and writes it for DuckDB, which runs it over tables of the
types in the CREATE TABLE statements, filled as AWS's readers fill them: names in small letters, parameters as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from broker.audit.event import Kind
from tests.fakes import cloudtrail
from tests.fakes.audit import NOON, Log
from tests.fakes.sts.demo import BROKER_USER, DEVELOPER_ROLE, HUB_ROLE
from tests.unit.admin.test_audit_cloudtrail import ALICE, KEY, MADE, STOLEN, walk
from tests.unit.admin.test_audit_trace import OTHER, at, intent, issued, revoked

QUERIES = Path(__file__).parents[3] / "docs" / "queries" / "athena"
TABLES = ("cloudtrail", "records")
# What the readers leave as JSON text: `STRING` where CloudTrail has an object.
_TEXTS = frozenset({"requestparameters", "responseelements"})


def statement(name: str) -> exp.Expression:
    (found,) = sqlglot.parse((QUERIES / f"{name}.sql").read_text(), read="athena")
    assert found is not None
    assert not isinstance(found, exp.Command), "sqlglot did not understand it"
    return found


def columns(table: str) -> dict[str, str]:
    """Names and types in DuckDB's words."""
    schema = statement(table).this
    return {
        column.name: column.args["kind"].sql(dialect="duckdb")
        for column in schema.expressions
        if isinstance(column, exp.ColumnDef)
    }


def lowered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key.lower(): lowered(inner) for key, inner in value.items()}
    return value


def as_read(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as CloudTrail's SerDe gives it."""
    return {
        key.lower(): json.dumps(value) if key.lower() in _TEXTS and value is not None else lowered(value)
        for key, value in event.items()
    }


def used(key: str, seconds: int, *, error: str | None = None, name: str = "GetObject") -> dict[str, Any]:
    identity = cloudtrail.session_identity(DEVELOPER_ROLE, ALICE, key, source_identity=ALICE)
    when = f"{NOON + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
    return cloudtrail.action(name, identity, time=when) | ({"errorCode": error, "errorMessage": "no"} if error else {})


RECORDS = (
    Log()
    .add(1, **intent(MADE), **at(1))
    .add(1, **issued(MADE, KEY, MADE), **at(3))
    .add(1, **issued("b" * 24, KEY, MADE), **at(60))
    .add(1, **issued("c" * 24, OTHER, "c" * 24, source_identity="bob@EXAMPLE.COM"), **at(70))
    .add(1, **revoked(ALICE), **at(900))
    .lines
)
EVENTS = [
    *walk(),
    *map(cloudtrail.across, walk()),
    *walk(after=2000, key=STOLEN),
    used(KEY, 600),
    used(KEY, 960, name="PutObject"),
    used(KEY, 1000, error="AccessDenied", name="DeleteObject"),
    used(KEY, 5000, error="AccessDenied"),
    cloudtrail.action(
        "ListBuckets", {"type": "IAMUser", "arn": BROKER_USER, "accessKeyId": "AKIA"}, time="2026-01-31T12:10:00Z"
    ),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    folder = tmp_path_factory.mktemp("athena")
    (folder / "records").write_bytes(b"".join(line + b"\n" for line in RECORDS))
    (folder / "cloudtrail").write_text("".join(json.dumps(as_read(event)) + "\n" for event in EVENTS))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table in TABLES:
        types = ", ".join(f"'{name}': '{kind}'" for name, kind in columns(table).items())
        source = f"read_json('{folder / table}', format='newline_delimited', columns={{{types}}})"
        connection.execute(f"CREATE TABLE {table} AS FROM {source}")
    return connection


def ask(database: duckdb.DuckDBPyConnection, name: str, *parameters: object) -> list[dict[str, Any]]:
    found = database.execute(statement(name).sql(dialect="duckdb"), list(parameters))
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_every_statement_is_one_that_athena_reads_and_is_in_the_list() -> None:
    names = {path.stem for path in QUERIES.glob("*.sql")}
    assert names == {*TABLES, "who_was_this_key", "sessions_without_record", "actions_of_a_person", "after_revocation"}
    page = (QUERIES.parent / "README.md").read_text()
    for name in names:
        assert statement(name).sql(dialect="athena")
        assert f"athena/{name}.sql" in page


def test_the_columns_of_records_are_members_of_records() -> None:
    members = set().union(*(json.loads(line) for line in RECORDS))
    assert set(columns("records")) <= members
    assert {kind.value for kind in (Kind.INTENT, Kind.ISSUED, Kind.REVOKED)} == {
        json.loads(line)["event"] for line in RECORDS
    }


def test_the_columns_of_cloudtrail_are_members_of_its_events() -> None:
    members = set().union(*(as_read(event) for event in EVENTS))
    assert set(columns("cloudtrail")) <= members


def test_who_was_this_key(database: duckdb.DuckDBPyConnection) -> None:
    found = ask(database, "who_was_this_key", KEY, KEY)
    assert [(row["event"], row["user"], row["request_id"], row["rule"]) for row in found] == [
        ("intent", ALICE, MADE, "engineers"),
        ("issued", ALICE, MADE, None),
        ("issued", ALICE, "b" * 24, None),
    ]
    assert ask(database, "who_was_this_key", STOLEN, STOLEN) == []


def test_sessions_that_nobody_recorded(database: duckdb.DuckDBPyConnection) -> None:
    found = ask(database, "sessions_without_record", "role/(BrokerHub|Developer)$")
    assert [(row["role_arn"], row["session_name"], row["made"]) for row in found] == [
        (HUB_ROLE, ALICE, "ASIAHUBHUBHUBHUBHUB2"),
        (DEVELOPER_ROLE, ALICE, STOLEN),
    ]
    assert found[0]["caller"] == BROKER_USER
    assert ask(database, "sessions_without_record", "role/Other$") == []


def test_what_one_person_did(database: duckdb.DuckDBPyConnection) -> None:
    found = ask(database, "actions_of_a_person", ALICE)
    done = [(row["eventname"], row["errorcode"], row["minted_by"]) for row in found if row["role"]]
    assert done == [
        ("GetObject", None, MADE),
        ("PutObject", None, MADE),
        ("DeleteObject", "AccessDenied", MADE),
        ("GetObject", "AccessDenied", MADE),
    ]
    assert {row["eventname"] for row in found if not row["role"]} == {"AssumeRole"}
    assert ask(database, "actions_of_a_person", "bob@EXAMPLE.COM") == []


def test_what_was_tried_after_a_revocation(database: duckdb.DuckDBPyConnection) -> None:
    found = ask(database, "after_revocation", 3600)
    assert [(row["eventname"], row["outcome"]) for row in found if row["access_key_id"] == KEY] == [
        ("PutObject", "went through"),
        ("DeleteObject", "denied"),
    ]
    assert {row["source_identity"] for row in found} == {ALICE}
    assert [row["eventname"] for row in ask(database, "after_revocation", 70)] == ["PutObject"]
