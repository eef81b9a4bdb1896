"""Where the broker has no AWS keys, the first hop trusts the provider of its tokens, and the rest is as with keys."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.trust.documents import AwsPrincipal, needed
from broker.trust.judge import judge
from broker.trust.live import Live
from tests.fakes.sts import demo, world
from tests.fakes.sts.parameters import read_assume_role
from tests.fakes.sts.service import Sts
from tests.fakes.sts.web_identity import Shown
from tests.fakes.sts.wire import StsRefusal
from tests.fakes.sts.world import OidcProvider
from tests.fakes.trust import applied, calls, form, hop, roles

ISSUER = "https://broker.example.com/Aws"
PROVIDER = "arn:aws:iam::999900001111:oidc-provider/broker.example.com/Aws"
HUB = Hop(arn=RoleArn.parse(demo.HUB_ROLE), external_id=None)
ROLE = Role(RoleName("far"), (HUB, hop(demo.DEVELOPER_ROLE)), timedelta(hours=1), tags=roles()[RoleName("far")].tags)
FOUND = needed({ROLE.name: ROLE}, first=partial(AwsPrincipal.provider, ISSUER))


def walk(policies: dict[str, dict[str, Any]], *, audience: str = "sts.amazonaws.com") -> None:
    """The chain with a token for the first hop. Raises ``StsRefusal`` where AWS would refuse."""
    provider = OidcProvider(arn=PROVIDER, url=ISSUER, client_ids=(audience,), documents_at="http://127.0.0.1:1")
    made = [world.Role(arn=arn, trust_policy=one["trust"], policy=one["permissions"]) for arn, one in policies.items()]
    sts = Sts(
        world.World(users=(), roles=tuple(made), providers=(provider,)),
        now=lambda: datetime.now(UTC),
        random_bytes=os.urandom,
    )
    first, second = (read_assume_role(form(call.parameters())) for call in calls(ROLE))
    name = first.session_name
    shown = Shown(provider, name, audience, name, first.tags, first.transitive_keys)
    issued = sts.assume_role_with_web_identity(shown, first)
    sts.assume_role(sts._credentials[issued.access_key_id], second)


def test_the_printed_documents_let_the_chain_through() -> None:
    assert list(FOUND) == [demo.HUB_ROLE, demo.DEVELOPER_ROLE], "a provider needs no permissions"
    walk(applied(FOUND))


def test_a_token_for_another_audience_is_refused_by_the_condition() -> None:
    with pytest.raises(StsRefusal):
        walk(applied(FOUND), audience="other.example.com")
    bent = applied(FOUND)
    del bent[demo.HUB_ROLE]["trust"]["Statement"][0]["Condition"]
    walk(bent, audience="other.example.com")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_none_of_the_three_actions_can_be_left_out(place: int) -> None:
    bent = applied(FOUND)
    del bent[demo.HUB_ROLE]["trust"]["Statement"][place]
    with pytest.raises(StsRefusal):
        walk(bent)


def live(arn: str) -> Live:
    one = FOUND[arn]
    policies = (one.permissions(),) if one.goes else ()
    return Live(arn, deepcopy(one.trust_policy()), policies, None, one.max_session_duration)


def test_the_doctor_finds_the_printed_documents_well() -> None:
    assert {finding.level for arn in FOUND for finding in judge(FOUND[arn], live(arn))} == {"ok"}


def test_the_doctor_raises_an_alarm_where_the_audience_is_not_demanded() -> None:
    lax = live(demo.HUB_ROLE)
    del lax.trust["Statement"][0]["Condition"]
    [finding] = judge(FOUND[demo.HUB_ROLE], lax)
    assert (finding.level, "ALARM: takes tokens" in finding.what) == ("bad", True)


def test_the_doctor_names_a_hub_that_does_not_trust_the_provider() -> None:
    found = judge(FOUND[demo.HUB_ROLE], replace(live(demo.HUB_ROLE), trust={"Statement": []}))
    assert "does not let " + PROVIDER in found[0].what
