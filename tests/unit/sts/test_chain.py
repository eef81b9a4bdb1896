"""What STS is asked, and what of its answer is believed."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.errors import InternalError, StsRejected
from broker.core.grant import Grant
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.scope import PolicyArn, Scope, ScopeName
from broker.core.tags import EVENT_TO_COME, SessionTag
from broker.sts.chain import Call, believe, plan, shed

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HUB = RoleArn.parse("arn:aws:iam::999900001111:role/BrokerHub")
DEVELOPER = RoleArn.parse("arn:aws:iam::111122223333:role/team/Developer")
ALICE = Principal(("alice",), "EXAMPLE.COM")


def grant(*chain: Hop, principal: Principal = ALICE, lifetime: timedelta = HOUR) -> Grant:
    return Grant(
        principal=principal,
        role=Role(name=RoleName("developer"), chain=chain, duration=HOUR),
        rule="engineers",
        policy_digest="d1",
        lifetime=lifetime,
        ends_at=None,
    )


TWO_HOPS = (Hop(arn=HUB, external_id="hub-1"), Hop(arn=DEVELOPER, external_id="dev-1"))


# ---- plan ----


def test_each_hop_is_asked_under_its_own_external_id() -> None:
    asked = [call.parameters() for call in plan(grant(*TWO_HOPS))]
    assert [(one["RoleArn"], one["ExternalId"]) for one in asked] == [(HUB.text, "hub-1"), (DEVELOPER.text, "dev-1")]


def test_a_hop_without_an_external_id_sends_none_and_not_its_neighbour_s() -> None:
    asked = [call.parameters() for call in plan(grant(Hop(arn=HUB, external_id=None), TWO_HOPS[1]))]
    assert "ExternalId" not in asked[0]
    assert asked[1]["ExternalId"] == "dev-1"


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        (ALICE, "alice@EXAMPLE.COM"),
        (Principal(("alice", "admin"), "EXAMPLE.COM"), "alice,admin@EXAMPLE.COM"),
        (Principal(("DC1$",), "EXAMPLE.COM"), "DC1=24@EXAMPLE.COM"),
    ],
)
def test_every_hop_carries_the_whole_principal_as_session_name_and_source_identity(
    principal: Principal, name: str
) -> None:
    for call in plan(grant(*TWO_HOPS, principal=principal)):
        assert call.parameters()["RoleSessionName"] == call.parameters()["SourceIdentity"] == name


def test_hops_on_the_way_live_as_short_as_aws_allows_and_the_last_as_long_as_was_granted() -> None:
    calls = plan(grant(*TWO_HOPS, TWO_HOPS[1], lifetime=timedelta(minutes=40)))
    assert [call.parameters()["DurationSeconds"] for call in calls] == [900, 900, 2400]


@given(st.integers(900, 86_400), st.integers(1, 5))
def test_no_chained_call_asks_for_more_than_an_hour_and_no_call_for_more_than_aws_has(seconds: int, hops: int) -> None:
    calls = plan(grant(*[TWO_HOPS[0]] * hops, lifetime=timedelta(seconds=seconds)))
    longest = 3600 if hops > 1 else 43200
    assert all(900 <= call.parameters()["DurationSeconds"] <= longest for call in calls)
    assert calls[-1].parameters()["DurationSeconds"] == min(seconds, longest)


def test_nothing_but_these_five_parameters_ever_reaches_sts() -> None:
    known = {"RoleArn", "RoleSessionName", "SourceIdentity", "DurationSeconds", "ExternalId"}
    assert all(set(call.parameters()) == known for call in plan(grant(*TWO_HOPS)))


def tag(key: str, *, transitive: bool = False, optional: bool = False) -> SessionTag:
    return SessionTag(key=key, value="x", transitive=transitive, optional=optional)


TAGS = (tag("a"), tag("b", transitive=True), tag("c", optional=True), tag("d", transitive=True, optional=True))
SCOPE = Scope(name=ScopeName("s"), policy="{}", policy_arns=(PolicyArn.parse("arn:aws:iam::aws:policy/A"),))


def keys(call: Call) -> tuple[list[str], list[str]]:
    """Of all its tags, and of the transitive ones."""
    parameters = call.parameters()
    return [one["Key"] for one in parameters.get("Tags", [])], parameters.get("TransitiveTagKeys", [])


def test_transitive_tags_are_the_first_hop_s_and_the_others_with_the_scope_the_last_one_s() -> None:
    first, between, last = plan(replace(grant(*TWO_HOPS, TWO_HOPS[1]), tags=TAGS, scope=SCOPE))
    assert [keys(first), keys(between), keys(last)] == [(["b", "d"], ["b", "d"]), ([], []), (["a", "c"], [])]
    limits = [(call.parameters().get("Policy"), call.parameters().get("PolicyArns")) for call in (first, between, last)]
    assert limits == [(None, None), (None, None), ("{}", [{"arn": "arn:aws:iam::aws:policy/A"}])]


def test_the_only_hop_is_the_first_and_the_last() -> None:
    (only,) = plan(replace(grant(TWO_HOPS[0]), tags=TAGS, scope=SCOPE))
    assert keys(only) == (["a", "b", "c", "d"], ["b", "d"])
    assert only.parameters()["Policy"] == "{}"


def test_shedding_leaves_out_optional_tags_and_nothing_else() -> None:
    calls = plan(replace(grant(*TWO_HOPS), tags=TAGS, scope=SCOPE))
    lean, gone = shed(calls)
    assert gone == ("d", "c")
    assert [keys(call) for call in lean] == [(["b"], ["b"]), (["a"], [])]
    assert [replace(call, tags=()) for call in lean] == [replace(call, tags=()) for call in calls]
    assert shed(lean) == (lean, ())


def test_tags_that_aws_would_refuse_are_a_defect_and_reach_no_call() -> None:
    with pytest.raises(InternalError) as caught:
        plan(replace(grant(*TWO_HOPS), tags=(tag("Team"), tag("team"))))
    assert caught.value.reason == "tags_malformed"


def test_a_tag_of_the_event_names_the_request_and_without_one_reaches_no_call() -> None:
    waiting = SessionTag(key="Event", value=f"zt-{EVENT_TO_COME}", transitive=True, optional=False)
    tagged = replace(grant(*TWO_HOPS), tags=(waiting,))
    first, last = plan(tagged, event="0123456789abcdef01234567")
    assert first.parameters()["Tags"] == [{"Key": "Event", "Value": "zt-0123456789abcdef01234567"}]
    assert (last.tags, first.parameters()["TransitiveTagKeys"]) == ((), ["Event"])
    with pytest.raises(InternalError):
        plan(tagged)


# ---- believe ----

CALL = Call(arn=DEVELOPER, external_id="dev-1", session_name="alice@EXAMPLE.COM", lifetime=HOUR)
SESSION_ARN = "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"


def answer() -> dict[str, Any]:
    return {
        "Credentials": {
            "AccessKeyId": "ASIAABCDEFGHIJKLMNOP",
            "SecretAccessKey": "secret",
            "SessionToken": "token",
            "Expiration": NOW + HOUR,
        },
        "AssumedRoleUser": {"AssumedRoleId": "AROAX:alice@EXAMPLE.COM", "Arn": SESSION_ARN},
        "SourceIdentity": "alice@EXAMPLE.COM",
        "PackedPolicySize": 3,
    }


def test_an_answer_to_the_question_becomes_credentials_of_the_role_that_was_asked_for() -> None:
    found = believe(CALL, answer(), now=NOW)
    assert (found.access_key_id, found.expiration) == ("ASIAABCDEFGHIJKLMNOP", NOW + HOUR)
    assert (found.secret_access_key.reveal(), found.session_token.reveal()) == ("secret", "token")
    assert (found.account, found.role_arn) == ("111122223333", DEVELOPER.text)


_NOTHING = "(not there)"
_OTHER_ARNS = [
    SESSION_ARN.replace("111122223333", "999900001111"),
    SESSION_ARN.replace("Developer", "Admin"),
    SESSION_ARN.replace("Developer", "team/Developer"),
    SESSION_ARN.replace("alice@", "mallory@"),
    SESSION_ARN.replace("arn:aws:", "arn:aws-cn:"),
    SESSION_ARN.replace(":sts:", ":iam:"),
    SESSION_ARN + "x",
    SESSION_ARN + "\n",
    SESSION_ARN.lower(),
]


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        *[(("AssumedRoleUser", "Arn"), arn, "other_role") for arn in _OTHER_ARNS],
        *[(("PackedPolicySize",), wrong, "malformed_answer") for wrong in (-1, 101, 498, "3", 3.0, True, [])],
        (("SourceIdentity",), "mallory@EXAMPLE.COM", "other_source_identity"),
        (("SourceIdentity",), "", "other_source_identity"),
        (("SourceIdentity",), None, "other_source_identity"),
        (("Credentials", "Expiration"), NOW, "other_expiration"),
        (("Credentials", "Expiration"), NOW - HOUR, "other_expiration"),
        (("Credentials", "Expiration"), NOW + HOUR + timedelta(minutes=5, seconds=1), "other_expiration"),
        (("Credentials", "Expiration"), NOW + HOUR - timedelta(minutes=5, seconds=1), "other_expiration"),
        (("Credentials", "Expiration"), datetime.max.replace(tzinfo=UTC), "other_expiration"),
        (("Credentials", "Expiration"), (NOW + HOUR).replace(tzinfo=None), "malformed_answer"),
        (("Credentials", "Expiration"), "2026-01-31T13:00:00Z", "malformed_answer"),
        (("Credentials", "AccessKeyId"), "AKIAABCDEFGHIJKLMNOP", "malformed_answer"),
        (("Credentials", "AccessKeyId"), "ASIA", "malformed_answer"),
        (("Credentials", "AccessKeyId"), "ASIAABCDEFGHIJKLMNOP\n", "malformed_answer"),
        (("Credentials", "AccessKeyId"), "asiaabcdefghijklmnop", "malformed_answer"),
        *[
            ((*path, name), value, "malformed_answer")
            for path, names in {
                (): ["Credentials", "AssumedRoleUser"],
                ("AssumedRoleUser",): ["Arn"],
                ("Credentials",): ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"],
            }.items()
            for name in names
            for value in (_NOTHING, None, "", 7, [])
        ],
    ],
    ids=str,
)
def test_one_wrong_field_and_nothing_is_believed(path: tuple[str, ...], value: object, reason: str) -> None:
    spoilt = deepcopy(answer())
    *way, last = path
    place = spoilt
    for step in way:
        place = place[step]
    if value is _NOTHING:
        del place[last]
    else:
        place[last] = value
    with pytest.raises(StsRejected) as caught:
        believe(CALL, spoilt, now=NOW)
    assert caught.value.reason == reason


@pytest.mark.parametrize("percent", [None, 0, 3, 100])
def test_how_much_room_a_session_takes_is_told_where_sts_says_so(percent: int | None) -> None:
    said = answer() | {"PackedPolicySize": percent}
    if percent is None:
        del said["PackedPolicySize"]
    assert believe(CALL, said, now=NOW).packed_percent == percent


def test_sts_may_leave_the_source_identity_out_and_its_clock_may_differ_by_five_minutes() -> None:
    for drift in (timedelta(minutes=-5), timedelta(0), timedelta(minutes=5)):
        fine = answer()
        del fine["SourceIdentity"]
        fine["Credentials"]["Expiration"] += drift
        assert believe(CALL, fine, now=NOW).expiration == NOW + HOUR + drift


@pytest.mark.parametrize("empty", [{}, {"Credentials": {}}, {"Error": {"Code": "x"}}])
def test_an_empty_answer_is_no_answer(empty: dict[str, Any]) -> None:
    with pytest.raises(StsRejected):
        believe(CALL, empty, now=NOW)


def test_a_refusal_names_no_key_and_no_token() -> None:
    spoilt = answer()
    spoilt["AssumedRoleUser"]["Arn"] = SESSION_ARN.replace("Developer", "Admin")
    with pytest.raises(StsRejected) as caught:
        believe(CALL, spoilt, now=NOW)
    said = f"{caught.value!r} {caught.value} {caught.value.hint}"
    assert "secret" not in said
    assert "token" not in said


# ---- the ticket's end ----


def test_what_was_waited_for_on_the_way_is_no_time_after_the_tickets_end() -> None:
    ends_at = int((NOW + timedelta(minutes=40)).timestamp())
    limited = replace(grant(*TWO_HOPS, lifetime=timedelta(minutes=40)), ends_at=ends_at)
    first, last = plan(limited)
    later = NOW + timedelta(seconds=3, milliseconds=500)
    assert last.made_at(later).lifetime == timedelta(minutes=39, seconds=56)
    assert last.made_at(NOW - timedelta(seconds=1)).lifetime == timedelta(minutes=40), "never more than was granted"
    assert last.made_at(NOW + timedelta(minutes=39)).lifetime == timedelta(minutes=15), "AWS makes none shorter"
    assert first.made_at(later) == first
    assert plan(grant(*TWO_HOPS))[1].made_at(later).lifetime == HOUR
