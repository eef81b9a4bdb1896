"""Roles of a configuration, the AWS world that the printed documents make of it, and the broker's own calls in that world."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from broker.config.values import duration_text
from broker.core.external_id import ExternalIdKey
from broker.core.grant import Grant
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.tags import SessionTag, Tag, TagTemplate
from broker.sts.chain import Call, plan
from broker.trust.documents import AwsPrincipal, Needed, needed
from tests.fakes.sts import demo, world
from tests.fakes.sts.parameters import read_assume_role
from tests.fakes.sts.service import Sts

BROKER = AwsPrincipal.parse(demo.BROKER_USER)
EXTERNAL_IDS = ExternalIdKey(key=bytes(range(32)), version=3)
DIRECT = "arn:aws:iam::111122223333:role/Direct"
MIDDLE = "arn:aws:iam::444455556666:role/way/Middle"


def hop(arn: str, *, external_id: str | None = None, key: ExternalIdKey = EXTERNAL_IDS) -> Hop:
    """A hop under a chosen external ID, or under a derived one."""
    role = RoleArn.parse(arn)
    if external_id is not None:
        return Hop(arn=role, external_id=external_id)
    return Hop(arn=role, external_id=key.current(role), next_external_id=key.next(role))


def roles(key: ExternalIdKey = EXTERNAL_IDS) -> dict[RoleName, Role]:
    """Chains of one to three hops that share hops, chosen and derived external IDs, with tags and without."""
    hub = hop(demo.HUB_ROLE, external_id=demo.HUB_EXTERNAL_ID)
    team, person = (
        Tag(name, TagTemplate.parse("x"), transitive=name == "Team", optional=False) for name in ("Team", "Who")
    )
    hour, long = timedelta(hours=1), timedelta(hours=4)
    chains = {
        "developer": Role(RoleName("developer"), (hub, hop(demo.DEVELOPER_ROLE, key=key)), hour),
        "readonly": Role(RoleName("readonly"), (hub, hop(demo.READ_ONLY_ROLE, key=key)), hour, tags=(person,)),
        "direct": Role(RoleName("direct"), (replace(hop(DIRECT, key=key), max_session_duration=long),), long),
        "far": Role(RoleName("far"), (hub, hop(MIDDLE, key=key), hop(DIRECT, key=key)), hour, tags=(team, person)),
    }
    return {RoleName(name): role for name, role in chains.items()}


def calls(role: Role) -> list[Call]:
    """What the broker asks for this role, for alice."""
    return plan(
        Grant(
            principal=Principal(("alice",), "EXAMPLE.COM"),
            role=role,
            rule="engineers",
            policy_digest="d1",
            lifetime=role.duration,
            ends_at=None,
            tags=tuple(SessionTag(tag.key, "x", tag.transitive, tag.optional) for tag in role.tags),
        )
    )


def documents() -> dict[str, Needed]:
    """What ``roles()`` need."""
    return needed(roles(), first=lambda _: BROKER)


def applied(found: Mapping[str, Needed]) -> dict[str, dict[str, Any]]:
    """Trust and permission policies by ARN, free to be bent."""
    return {
        arn: deepcopy({"trust": one.trust_policy() if one.comes else None, "permissions": one.permissions()})
        for arn, one in found.items()
    }


def world_of(policies: Mapping[str, Mapping[str, Any]], found: Mapping[str, Needed]) -> world.World:
    """The accounts in which exactly these documents were applied."""
    return world.World(
        users=(
            world.User(
                arn=BROKER.text,
                access_key_id=demo.BROKER_ACCESS_KEY_ID,
                secret_access_key=demo.BROKER_SECRET_ACCESS_KEY,
                policy=policies[BROKER.text]["permissions"],
            ),
        ),
        roles=tuple(
            world.Role(
                arn=arn,
                trust_policy=one["trust"],
                policy=one["permissions"],
                max_session_duration=int(found[arn].max_session_duration.total_seconds()),
            )
            for arn, one in policies.items()
            if one["trust"] is not None
        ),
    )


def walk(accounts: world.World, asked: Iterable[Call]) -> None:
    """Make the calls one after the other, without HTTP. Raises ``StsRefusal`` where AWS would refuse."""
    sts = Sts(accounts, now=lambda: datetime.now(UTC), random_bytes=os.urandom)
    credential = sts._credentials[demo.BROKER_ACCESS_KEY_ID]
    for call in asked:
        issued = sts.assume_role(credential, read_assume_role(form(call.parameters())))
        credential = sts._credentials[issued.access_key_id]


def form(parameters: Mapping[str, Any]) -> dict[str, str]:
    """boto3's parameters as the Query protocol writes them."""
    found: dict[str, str] = {}
    for name, value in parameters.items():
        if not isinstance(value, list):
            found[name] = str(value)
            continue
        for number, member in enumerate(value, start=1):
            if isinstance(member, dict):
                found.update({f"{name}.member.{number}.{key}": text for key, text in member.items()})
            else:
                found[f"{name}.member.{number}"] = member
    return found


def configuration(folder: Path) -> Path:
    """``roles()`` as a configuration file, beside the files that it names."""
    key, keytab = folder / "key", folder / "http.keytab"
    for file in (key, keytab):
        file.touch(mode=0o600)
    key.write_bytes(base64.b64encode(bytes(range(32))))
    text = json.dumps(
        {
            "server": {"listen": ["http://127.0.0.1:0"]},
            "kerberos": {"keytabs": str(keytab), "realms": {"EXAMPLE.COM": {}}},
            "aws": {
                "region": "eu-central-1",
                "access_key_id": demo.BROKER_ACCESS_KEY_ID,
                "secret_key": demo.BROKER_SECRET_ACCESS_KEY,
                "external_ids": {"key_file": str(key), "version": f"v{EXTERNAL_IDS.version}"},
            },
            "roles": {name: _entry(role) for name, role in roles().items()},
            "encryption": {"key_file": str(key)},
            "audit": {"directory": str(folder / "audit")},
        }
    )
    config = folder / "config.yaml"
    config.touch(mode=0o600)
    config.write_text(text)
    return config


def _entry(role: Role) -> dict[str, Any]:
    chain = [
        {"arn": one.arn.text}
        | ({"derive_external_id": True} if one.next_external_id else {"external_id": one.external_id})
        | {"max_session_duration": duration_text(one.max_session_duration)}
        for one in role.chain
    ]
    entry = {"chain": chain, "duration": duration_text(role.duration)}
    transitive = [tag.key for tag in role.tags if tag.transitive]
    if role.tags:
        entry["tags"] = {tag.key: tag.template.text for tag in role.tags}
    return entry | ({"transitive_tags": transitive} if transitive else {})
