"""The judge of two hosts finds what it is there for: each wrong thing, made up, is named; and a fair run is no finding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.fakes.judge import Facts, Revocation, wrongs
from tests.fakes.traffic import Attempt

KEY, OTHER_KEY = "ASIAALICE", "ASIABOB"
SERVED = Attempt(
    user="alice",
    broker="one",
    mark="run 0 token 7",
    way="ticket",
    began=10.0,
    ended=10.1,
    status=200,
    code="",
    access_key_id=KEY,
)
REPLAYED = replace(SERVED, broker="two", status=401, code="auth_failed", access_key_id=None)
CALLS = [
    {"access_key_id_issued": KEY, "source_identity": "alice@EXAMPLE.COM"},
    {"access_key_id_issued": OTHER_KEY, "source_identity": "bob@EXAMPLE.COM"},
    {"access_key_id_issued": None, "source_identity": "alice@EXAMPLE.COM"},
]


def record(**members: Any) -> dict[str, Any]:
    own = {"event": "issued", "stated_reason": SERVED.mark, "access_key_id": KEY, "user": "alice@EXAMPLE.COM"}
    return own | members


def judged(*attempts: Attempt, records: dict[str, list[dict[str, Any]]], **more: Any) -> list[str]:
    return wrongs(Facts(attempts=attempts, calls=CALLS, records=records, **more))


def test_a_token_that_one_broker_takes_and_the_other_refuses_is_as_it_should_be() -> None:
    refused = record(event="denied", access_key_id=None, user=None)
    assert judged(SERVED, REPLAYED, records={"one": [record()], "two": [refused]}) == []


def test_a_token_that_both_take_is_found_by_the_answers_and_by_the_records() -> None:
    again = replace(SERVED, broker="two")
    found = judged(SERVED, again, records={"one": [record()], "two": [record()]})
    assert found == [
        "run 0 token 7 was good for 2 answers with credentials, by the answers",
        "run 0 token 7 was good for 2 answers with credentials, by the records",
    ]


def test_a_token_that_was_taken_twice_is_found_where_one_answer_never_arrived() -> None:
    lost = replace(SERVED, broker="two", status=0, access_key_id=None)
    found = judged(SERVED, lost, records={"one": [record()], "two": [record()]})
    assert found == ["run 0 token 7 was good for 2 answers with credentials, by the records"]


def test_a_session_may_be_used_as_often_as_one_likes() -> None:
    first = replace(SERVED, way="session", mark="run 0 session 1")
    records = {"one": [record(stated_reason="run 0 session 1")] * 2}
    assert judged(first, first, records=records) == []


def test_somebody_elses_key_is_found() -> None:
    found = judged(replace(SERVED, access_key_id=OTHER_KEY), records={"one": [record(access_key_id=OTHER_KEY)]})
    assert found == ["alice was given ASIABOB by one, which AWS made for bob@EXAMPLE.COM"]


def test_a_key_that_aws_never_made_is_found() -> None:
    found = judged(replace(SERVED, access_key_id="ASIANOBODY"), records={"one": [record(access_key_id="ASIANOBODY")]})
    assert found == ["alice was given ASIANOBODY by one, which AWS made for None"]


def test_who_is_served_behind_the_deadline_of_a_revocation_is_found() -> None:
    early, late = Revocation("alice", {"one": 9.5}), Revocation("alice", {"one": 10.5, "two": 1.0})
    records = {"one": [record()]}
    assert judged(SERVED, records=records, revocations=[late]) == []
    assert judged(SERVED, records=records, revocations=[early]) == ["alice was served by one 0.50 s after the deadline"]


def test_an_answer_without_its_own_record_at_its_own_broker_is_found() -> None:
    for records in (
        {"one": [], "two": []},
        {"one": [], "two": [record()]},
        {"one": [record(access_key_id=OTHER_KEY)], "two": []},
        {"one": [record(user="bob@EXAMPLE.COM")], "two": []},
    ):
        (found,) = judged(SERVED, records=records)
        assert found.startswith("1 of 1 answers are on no record")


def test_two_answers_want_two_records() -> None:
    first = replace(SERVED, way="session", mark="run 0 session 1")
    (found,) = judged(first, first, records={"one": [record(stated_reason="run 0 session 1")]})
    assert found.startswith("1 of 2 answers are on no record")
