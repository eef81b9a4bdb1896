"""What a live role's documents let happen is judged, not how they look."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.core.roles import EXTERNAL_ID
from broker.trust.finding import Finding
from broker.trust.judge import judge, near_miss
from broker.trust.live import Live
from tests.fakes.trust import BROKER, DIRECT, EXTERNAL_IDS, MIDDLE, documents, hop

FOUND = documents()


def live(arn: str, **changed: Any) -> Live:
    """A role exactly as it was printed, but for what is changed."""
    one = FOUND[arn]
    found = Live(
        arn=arn,
        trust=deepcopy(one.trust_policy()),
        policies=(one.permissions(),) if one.goes else (),
        boundary=None,
        max_session_duration=one.max_session_duration,
    )
    return replace(found, **changed)


def said_of(arn: str, **changed: Any) -> list[Finding]:
    return judge(FOUND[arn], live(arn, **changed))


def statement(document: dict[str, Any], sid: str) -> dict[str, Any]:
    return next(one for one in document["Statement"] if one["Sid"] == sid)


def _without_condition(key: str) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        statement(document, "Assume1")["Condition"].pop(key)

    return bend


def _ids(*ids: str | None) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        statement(document, "Assume1")["Condition"]["StringEquals"]["sts:ExternalId"] = list(ids)

    return bend


def _condition(block: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        statement(document, "Assume1")["Condition"] = block

    return bend


def _also(block: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        statement(document, "Assume1")["Condition"].update(block)

    return bend


def _drop(sid: str) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        document["Statement"].remove(statement(document, sid))

    return bend


def _principal(sid: str, named: object) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        statement(document, sid)["Principal"] = named

    return bend


def _add(**elements: object) -> Callable[[dict[str, Any]], None]:
    def bend(document: dict[str, Any]) -> None:
        document["Statement"].append({"Effect": "Allow", "Action": "sts:AssumeRole", **elements})

    return bend


def _deleted(document: dict[str, Any]) -> None:
    """As IAM shows it: the unique ID in the place of each ARN."""
    for one in document["Statement"]:
        if one["Principal"] == USER:
            one["Principal"] = {"AWS": "AIDAQDEADBEEFDEADBEEF"}


CURRENT, NEXT = (one(hop(DIRECT).arn) for one in (EXTERNAL_IDS.current, EXTERNAL_IDS.next))
SOURCE = {"StringLike": {"sts:SourceIdentity": "*"}}
USER = {"AWS": BROKER.text}

BROKEN: dict[str, tuple[Callable[[dict[str, Any]], None], str, str]] = {
    "no condition on the external ID": (_without_condition("StringEquals"), "bad", "in without any external ID"),
    "a condition that holds without one": (
        _condition({"StringEqualsIfExists": {"sts:ExternalId": [CURRENT, NEXT]}, **SOURCE}),
        "bad",
        "in without any external ID",
    ),
    "a second statement that asks for none": (_add(Principal=USER), "bad", "in without any external ID"),
    "a pattern": (
        _condition({"StringLike": {"sts:ExternalId": "zerotrust-v*", "sts:SourceIdentity": "*"}}),
        "bad",
        "in with a wrong external ID",
    ),
    "any external ID at all": (
        _condition({"Null": {"sts:ExternalId": "false"}, **SOURCE}),
        "bad",
        "in with a wrong external ID",
    ),
    "another external ID": (_ids("zerotrust-v3-other"), "bad", "does not let"),
    "only the next external ID": (_ids(NEXT), "bad", "does not let"),
    "only the current external ID": (_ids(CURRENT), "warn", "does not accept the next external ID yet"),
    "no source identity demanded": (_without_condition("StringLike"), "warn", "without a source identity"),
    "no word on the source identity": (_drop("Identify1"), "bad", "do sts:SetSourceIdentity"),
    "no word on tags": (_drop("Tag2"), "bad", "do sts:TagSession"),
    "another principal": (
        _principal("Assume1", {"AWS": "arn:aws:iam::999900001111:user/other"}),
        "bad",
        "does not let",
    ),
    "a principal that was deleted": (_deleted, "bad", "was deleted"),
    "everybody": (_principal("Assume1", "*"), "bad", "trusts everybody"),
    "everybody, in the other way of writing": (_principal("Assume1", {"AWS": "*"}), "bad", "trusts everybody"),
    "a whole account": (
        _principal("Assume1", {"AWS": "arn:aws:iam::999900001111:root"}),
        "warn",
        "trusts arn:aws:iam::999900001111:root",
    ),
    "somebody else as well": (
        _add(Principal={"AWS": "arn:aws:iam::555566667777:role/Vendor"}),
        "warn",
        "trusts arn:aws:iam::555566667777:role/Vendor",
    ),
    "a service": (_add(Principal={"Service": "ec2.amazonaws.com"}), "warn", "trusts ec2.amazonaws.com"),
    "users of a SAML provider": (
        _add(Principal={"Federated": "arn:aws:iam::111122223333:saml-provider/Corp"}, Action="sts:AssumeRoleWithSAML"),
        "warn",
        "trusts arn:aws:iam::111122223333:saml-provider/Corp",
    ),
    "an external ID of before a rotation": (
        _ids(CURRENT, NEXT, "zerotrust-v0-canary"),
        "warn",
        "accepts another external ID than",
    ),
    "a pattern that the last character does not show": (
        _also({"StringLike": {"sts:ExternalId": [f"?{CURRENT[1:]}", f"?{NEXT[1:]}"], "sts:SourceIdentity": "*"}}),
        "warn",
        "accepts another external ID than",
    ),
    "a deny": (_add(Effect="Deny", Principal="*"), "bad", "does not let"),
    "a second factor": (_also({"Bool": {"aws:MultiFactorAuthPresent": "true"}}), "bad", "does not let"),
    "what only AWS can judge": (
        _also({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-example"}}),
        "warn",
        "that only AWS can judge",
    ),
}


@pytest.mark.parametrize("arn", list(FOUND))
def test_what_was_printed_is_well(arn: str) -> None:
    [finding] = said_of(arn)
    assert finding.level == "ok"


@pytest.mark.parametrize(("bend", "level", "said"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_trust_policy_is_named(bend, level: str, said: str) -> None:
    trust = FOUND[DIRECT].trust_policy()
    bend(trust)
    found = said_of(DIRECT, trust=trust)
    assert any(said in one.what for one in found if one.level == level), found
    assert "ok" not in {one.level for one in found}
    # A warning is one only where nothing is broken.
    assert level == "bad" or "bad" not in {one.level for one in found}


@pytest.mark.parametrize("bend", [bend for bend, _, _ in BROKEN.values()], ids=list(BROKEN))
def test_no_finding_shows_an_external_id(bend) -> None:
    trust = FOUND[DIRECT].trust_policy()
    bend(trust)
    for one in said_of(DIRECT, trust=trust):
        assert "zerotrust-v" not in str(one)


@pytest.mark.parametrize(
    ("document", "level", "said"),
    [
        ({"Action": "sts:AssumeRole", "Resource": "*"}, "bad", "no permission to do sts:SetSourceIdentity"),
        ({"Action": "sts:*", "Resource": "*"}, "warn", "none of this configuration"),
        ({"Action": "sts:*", "Resource": "arn:aws:iam::111122223333:role/Other"}, "bad", "no permission"),
        ({"NotAction": "iam:*", "NotResource": "arn:aws:s3:::x"}, "warn", "none of this configuration"),
        (
            {"Action": "sts:*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-x"}}},
            "warn",
            "that only AWS can judge",
        ),
    ],
    ids=["one action", "everything", "another role", "everything but", "an organisation"],
)
def test_permissions_that_do_not_fit_are_named(document: dict[str, Any], level: str, said: str) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **document}]}
    found = said_of(MIDDLE, policies=(policy,))
    assert any(said in one.what for one in found if one.level == level), found


@pytest.mark.parametrize(("hours", "level"), [(1, "bad"), (12, "warn")])
def test_a_max_session_duration_that_is_not_the_declared_one_is_named(hours: int, level: str) -> None:
    [finding] = said_of(DIRECT, max_session_duration=timedelta(hours=hours))
    assert (finding.level, "MaxSessionDuration is" in finding.what) == (level, True)


def test_permissions_of_the_callers_own_account_may_be_left_to_the_trust_policy() -> None:
    found = said_of(BROKER.text, policies=())
    by_role = {one.what.rpartition(" on ")[2].partition(";")[0]: one.level for one in found}
    assert by_role == {"arn:aws:iam::999900001111:role/BrokerHub": "warn", DIRECT: "bad"}


def test_a_near_miss_is_another_id() -> None:
    for external_id in (CURRENT, NEXT, "ab0", "ab"):
        assert near_miss(external_id) != external_id
        assert EXTERNAL_ID.fullmatch(near_miss(external_id))
