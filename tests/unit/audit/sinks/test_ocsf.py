"""Every kind of record as an OCSF event, judged by OCSF's own definitions (the compiled schema that ocsf-json-schema carries)."""

from __future__ import annotations

import functools
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from broker.audit.event import Kind
from broker.audit.sinks import ocsf
from tests.fakes.records import members, of_kind


@functools.cache
def schema() -> OcsfJsonSchemaEmbedded:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=ocsf.VERSION))


@functools.cache
def validator(class_uid: int) -> Draft202012Validator:
    name = schema().lookup_class_name_from_uid(class_uid=class_uid)
    return Draft202012Validator(schema().get_class_schema(class_name=name, profiles=["cloud"]))


def faults(event: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(event["class_uid"]).iter_errors(event)]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_record_is_an_event_that_ocsf_itself_accepts(kind: Kind) -> None:
    for record in of_kind(kind):
        require_event(orjson.loads(ocsf.ocsf(record, b"")))


def require_event(event: dict[str, Any]) -> None:
    assert faults(event) == []
    assert event["metadata"]["uid"] == "db-1.example.com-1:7"
    assert event["time"] == 1769860801123
    assert event["unmapped"]["sig"] == "e30..c2ln"


@pytest.mark.parametrize("kind", Kind)
def test_no_kind_is_left_to_chance(kind: Kind) -> None:
    assert kind in ocsf._MEANINGS, f"say in broker/audit/sinks/ocsf.py what {kind!r} is to OCSF"


@pytest.mark.parametrize("meaning", [*ocsf._MEANINGS.values(), ocsf._NOBODY, ocsf._UNKNOWN])
def test_an_activity_is_called_what_ocsf_calls_it(meaning: ocsf._Meaning) -> None:
    raw = get_ocsf_schema(version=ocsf.VERSION)["classes"]
    name = schema().lookup_class_name_from_uid(class_uid=int(meaning.of))
    captions = {int(key): value["caption"] for key, value in raw[name]["attributes"]["activity_id"]["enum"].items()}
    assert meaning.activity_id in captions
    if meaning.activity_id != 99:
        assert meaning.activity == captions[meaning.activity_id]


def test_the_judge_notices_what_is_no_ocsf() -> None:
    event = ocsf.mapped(members(Kind.ISSUED))
    assert faults({**event, "surprise": 1})
    assert faults({**event, "severity_id": 77})
    assert faults({name: value for name, value in event.items() if name != "src_endpoint"})


def test_credentials_handed_out_say_to_whom_from_where_and_for_which_account() -> None:
    event = ocsf.mapped(members(Kind.ISSUED))
    assert (event["class_uid"], event["type_uid"], event["status"]) == (6003, 600301, "Success")
    assert event["actor"]["user"] == {"name": "alice@EXAMPLE.COM", "type_id": 1, "domain": "EXAMPLE.COM"}
    assert event["actor"]["session"]["credential_uid"] == "ASIAEXAMPLE000000001"
    assert event["src_endpoint"] == {"ip": "127.0.0.1"}
    assert event["cloud"]["account"]["uid"] == "111122223333"


def test_somebody_who_was_never_named_failed_to_log_on() -> None:
    event = ocsf.mapped(members(Kind.REFUSED, success=False, reason="auth_failed", principal=None))
    assert (event["class_uid"], event["activity_name"], event["status_id"]) == (3002, "Logon", 2)
    assert event["status_detail"] == "auth_failed"


def test_an_alarm_is_a_finding_as_severe_as_it_says() -> None:
    details = {"severity": "high", "why": ["One.", "Two."]}
    event = ocsf.mapped(members(Kind.ALERT, success=False, reason="impossible_travel", details=details))
    assert (event["class_uid"], event["severity"]) == (2004, "High")
    assert event["finding_info"]["title"] == "impossible travel"
    assert event["finding_info"]["desc"] == "One. Two."


def test_a_kind_that_only_a_newer_broker_knows_is_still_an_event() -> None:
    event = ocsf.mapped({**members(Kind.SHOWN), "event": "of_tomorrow"})
    assert faults(event) == []
    assert event["metadata"]["event_code"] == "of_tomorrow"


@pytest.mark.parametrize("kind", Kind)
def test_nothing_of_a_record_is_lost(kind: Kind) -> None:
    for record in of_kind(kind):
        text = orjson.dumps(ocsf.mapped(record)).decode()
        for name, value in record.items():
            if name not in ("timestamp", "unrecorded"):
                assert value is None or orjson.dumps(value).decode().strip('"') in text, name
