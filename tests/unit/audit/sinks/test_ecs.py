"""Every kind of record as a document of the Elastic Common Schema, judged by a schema after its field reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from broker.audit.event import Kind
from broker.audit.sinks import ecs
from tests.fakes.records import members, of_kind

SCHEMA = json.loads((Path(__file__).parent / "ecs.schema.json").read_text())
JUDGE = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def faults(document: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in JUDGE.iter_errors(document)]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_record_is_a_document_of_the_schema(kind: Kind) -> None:
    assert kind in ecs._MEANINGS, f"say in broker/audit/sinks/ecs.py what {kind!r} is to ECS"
    for record in of_kind(kind):
        document = orjson.loads(ecs.ecs(record, b""))
        assert faults(document) == []
        assert (document["event"]["code"], document["event"]["id"]) == (kind.value, "db-1.example.com-1:7")


def test_the_judge_notices_what_is_no_ecs() -> None:
    document = ecs.mapped(members(Kind.ISSUED))
    assert faults({**document, "surprise": 1})
    assert faults({**document, "source": {"ip": "nowhere"}})
    assert faults({**document, "event": {**document["event"], "type": ["deletion"]}})


def test_credentials_handed_out_say_to_whom_from_where_and_for_which_account() -> None:
    document = ecs.mapped(members(Kind.ISSUED))
    assert document["user"] == {"name": "alice@EXAMPLE.COM", "domain": "EXAMPLE.COM"}
    assert document["related"] == {"user": ["alice@EXAMPLE.COM"], "ip": ["127.0.0.1"]}
    assert document["cloud"] == {"provider": "aws", "account": {"id": "111122223333"}}
    assert document["event"]["outcome"] == "success"
    assert document["zerotrust"]["access_key_id"] == "ASIAEXAMPLE000000001"
    assert document["zerotrust"]["sig"] == "e30..c2ln"


def test_whom_an_operator_revoked_is_the_target_of_what_the_operator_did() -> None:
    document = ecs.mapped(members(Kind.REVOKED, details={"about": "mallory@EXAMPLE.COM"}))
    assert document["user"]["target"] == {"name": "mallory@EXAMPLE.COM"}
    assert document["related"]["user"] == ["alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"]


def test_an_alarm_is_an_alert_that_names_what_was_noticed() -> None:
    details = {"severity": "high", "why": ["One."]}
    document = ecs.mapped(members(Kind.ALERT, success=False, reason="impossible_travel", details=details))
    assert (document["event"]["kind"], document["event"]["reason"]) == ("alert", "impossible_travel")
    assert document["event"]["severity"] == 2
    assert document["zerotrust"]["why"] == ["One."]


def test_a_kind_that_only_a_newer_broker_knows_is_still_a_document() -> None:
    assert faults(ecs.mapped({**members(Kind.SHOWN), "event": "of_tomorrow"})) == []
