"""The world of the demo, the benchmarks and most tests: a base user, a hub role, two roles behind it.

Every key and id is made up; the keys only have AWS's form.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.sts.world import Role, User, World

BROKER_USER = "arn:aws:iam::999900001111:user/broker"
HUB_ROLE = "arn:aws:iam::999900001111:role/BrokerHub"
DEVELOPER_ROLE = "arn:aws:iam::111122223333:role/Developer"
READ_ONLY_ROLE = "arn:aws:iam::111122223333:role/team/ReadOnly"

HUB_EXTERNAL_ID = "hub-7f3a"
DEVELOPER_EXTERNAL_ID = "dev-51c9"
READ_ONLY_EXTERNAL_ID = "ro-0aa1"

BROKER_ACCESS_KEY_ID = "AKIAZTKLDEMOBROKER22"
BROKER_SECRET_ACCESS_KEY = "MadeUp/ForDemoAndTestsOnly+NotAnAwsKey00"

ASSUME_ACTIONS = ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"]


def allow(actions: list[str], *resources: str) -> dict[str, Any]:
    """An identity policy that allows ``actions`` on ``resources``."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": list(resources)}
    return {"Version": "2012-10-17", "Statement": [statement]}


def trust(principal: str, *, external_id: str | None, actions: list[str] | None = None) -> dict[str, Any]:
    """A trust policy for ``principal``, under ``external_id`` if there is one."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": actions or ASSUME_ACTIONS,
    }
    if external_id is not None:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def demo_world() -> World:
    """broker -> BrokerHub -> Developer or team/ReadOnly, an external ID on every hop."""
    return World(
        users=(
            User(
                arn=BROKER_USER,
                access_key_id=BROKER_ACCESS_KEY_ID,
                secret_access_key=BROKER_SECRET_ACCESS_KEY,
                policy=allow(ASSUME_ACTIONS, HUB_ROLE),
            ),
        ),
        roles=(
            Role(
                arn=HUB_ROLE,
                trust_policy=trust(BROKER_USER, external_id=HUB_EXTERNAL_ID),
                policy=allow(ASSUME_ACTIONS, DEVELOPER_ROLE, READ_ONLY_ROLE),
            ),
            Role(arn=DEVELOPER_ROLE, trust_policy=trust(HUB_ROLE, external_id=DEVELOPER_EXTERNAL_ID)),
            Role(arn=READ_ONLY_ROLE, trust_policy=trust(HUB_ROLE, external_id=READ_ONLY_EXTERNAL_ID)),
        ),
    )
