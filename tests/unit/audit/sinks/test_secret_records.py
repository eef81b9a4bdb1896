"""How receivers elsewhere are told of access to secrets."""

from __future__ import annotations

from typing import Any

import pytest

from broker.admin.records import line_of
from broker.audit.event import Kind
from broker.audit.sinks import ecs, ocsf
from tests.fakes.audit import an_event


def members(*, success: bool = True, **rest: Any) -> dict[str, Any]:
    event = an_event(kind=Kind.SECRET, success=success, role=None, reason=None if success else "no_secret_rule", **rest)
    return event.members() | {"instance": "h-1", "seq": 1}


@pytest.mark.parametrize(
    ("action", "activity"),
    [
        ("read", "Read"),
        ("list", "Read"),
        ("write", "Update"),
        ("delete", "Delete"),
        ("destroy", "Delete"),
        ("undelete", "Update"),
    ],
)
def test_ocsf_says_what_was_done_with_which_secret(action: str, activity: str) -> None:
    event = ocsf.mapped(members(action=action, resource="team-a/db"))
    assert (event["class_uid"], event["activity_name"]) == (6003, activity)
    assert event["resources"] == [{"name": "team-a/db", "type": "secret"}]


def test_whoever_was_never_named_failed_to_log_on() -> None:
    assert ocsf.mapped(members(success=False, principal=None))["class_uid"] == 3002


def test_ecs_says_access_and_its_outcome() -> None:
    event = ecs.mapped(members(action="read", resource="team-a/db", success=False))["event"]
    assert (event["category"], event["type"], event["outcome"]) == (["database"], ["access"], "failure")


def test_people_read_that_it_was_refused() -> None:
    line = line_of(members(action="read", resource="team-a/db", success=False, access_key_id=None))
    assert "secret_access alice@EXAMPLE.COM read team-a/db REFUSED no_secret_rule" in line
