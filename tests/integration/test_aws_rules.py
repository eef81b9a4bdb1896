"""The rules of AssumeRole, in the order of AWS's reference: each is broken once against the strict STS, where AWS's refusal
comes, and once in the broker's configuration or grant, where we refuse first (or never ask so).

Sources: STS API Reference, AssumeRole; IAM User Guide, "Session policies", "Pass session tags in AWS STS", "Role chaining".
What STS does when it is ill (throttling among it) is in test_sts_client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials as Keys
from botocore.exceptions import ClientError

from broker.config.load import load
from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError, InternalError, StsDenied, StsRejected
from broker.core.grant import Grant
from broker.core.principal import Principal
from broker.core.rate import Rate
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.scope import PolicyArn, Scope, ScopeName
from broker.core.tags import SessionTag
from broker.sts.base import GivenCredentials
from broker.sts.chain import plan
from broker.sts.client import StsClient
from broker.sts.endpoint import Region
from tests.fakes.broker import configuration
from tests.fakes.sts import Role as FakeRole
from tests.fakes.sts import StrictSts, User, World
from tests.fakes.sts.demo import BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY, BROKER_USER, allow, trust

EVERYTHING = allow(["sts:*"], "*")
HUB = "arn:aws:iam::999900001111:role/Hub"
TARGET = "arn:aws:iam::111122223333:role/Target"
DIRECT = "arn:aws:iam::111122223333:role/Direct"
NO_TAGS = "arn:aws:iam::111122223333:role/NoTags"
NO_SOURCE_IDENTITY = "arn:aws:iam::111122223333:role/NoSourceIdentity"
OF_CHINA = "arn:aws-cn:iam::111122223333:role/Target"
EXTERNAL_ID = "hub-7f3a"
ALICE = "alice@EXAMPLE.COM"
BASE = Keys(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY)
_BOTO = boto3.Session()
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def world() -> World:
    name_only = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    return World(
        users=(User(BROKER_USER, BASE.access_key, BASE.secret_key, EVERYTHING),),
        roles=(
            FakeRole(HUB, trust(BROKER_USER, external_id=EXTERNAL_ID), EVERYTHING),
            FakeRole(TARGET, trust(HUB, external_id=None), EVERYTHING),
            FakeRole(DIRECT, trust("*", external_id=None), EVERYTHING, max_session_duration=4 * 3600),
            FakeRole(NO_TAGS, trust("*", external_id=None, actions=name_only)),
            FakeRole(NO_SOURCE_IDENTITY, trust("*", external_id=None, actions=["sts:AssumeRole"])),
            FakeRole(OF_CHINA, trust("*", external_id=None)),
        ),
    )


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(world()) as running:
        yield running


@pytest.fixture
def client(sts: StrictSts) -> Iterator[StsClient]:
    made = StsClient(
        regions=[Region("eu-central-1", sts.url)],
        base=GivenCredentials(access_key_id=BASE.access_key, secret_key=BASE.secret_key, session_token=None),
        rate=Rate(1000, 1),
        clock=SystemClock(),
        chance=lambda: 0.5,
        on_failure=lambda *_: None,
    )
    yield made
    made.close()


def assume(sts: StrictSts, who: Keys = BASE, *, region: str = "eu-central-1", **parameters: Any) -> dict[str, Any]:
    """One call past all checks, botocore's among them."""
    client = _BOTO.client(
        "sts",
        region_name=region,
        endpoint_url=sts.url,
        aws_access_key_id=who.access_key,
        aws_secret_access_key=who.secret_key,
        aws_session_token=who.token,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )
    answer: dict[str, Any] = client.assume_role(**{"RoleArn": DIRECT, "RoleSessionName": ALICE} | parameters)
    return answer


def session(sts: StrictSts, **parameters: Any) -> Keys:
    given = assume(sts, **parameters)["Credentials"]
    return Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def tags(**given: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in given.items()]


# ---- rules that a configuration can break ----


@dataclass(frozen=True)
class Rule:
    """A rule, how AWS is asked to break it and refuses, and a role whose configuration would break it, with our words."""

    name: str
    asked: dict[str, Any]
    code: str
    role: dict[str, Any]
    says: str
    chained: bool = False
    region: str = "eu-central-1"
    aws: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return "".join(char if char.isalnum() else "_" for char in self.name)[:60]


def hop(arn: str = DIRECT, **more: Any) -> dict[str, Any]:
    return {"chain": [{"arn": arn, **more}]}


def with_tags(**given: str) -> dict[str, Any]:
    return hop() | {"tags": given}


def with_scope(**given: Any) -> dict[str, Any]:
    return hop() | {"scopes": {"less": given}}


def statement(**more: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*", **more}]}


INVALID, PARAMETER, MALFORMED = "ValidationError", "InvalidParameterValue", "MalformedPolicyDocument"
ELEVEN = [f"arn:aws:iam::aws:policy/P{number}" for number in range(11)]
LONG = "arn:aws:s3:::" + "x" * 2048
TEMPORARY = {"access_key_id": "ASIAEXAMPLEEXAMPLE00", "secret_key": "x", "session_token": "x"}
STATES_4H = {"max_session_duration": "4h"}

RULES = [
    Rule("900 seconds at least", {"DurationSeconds": 899}, INVALID, hop() | {"duration": "899s"}, "under 20 minutes"),
    Rule("43200 seconds at most", {"DurationSeconds": 43201}, INVALID, hop() | {"duration": "43201s"}, "over 12 hours"),
    Rule(
        "no more than the role's MaxSessionDuration",
        {"DurationSeconds": 4 * 3600 + 1},
        INVALID,
        hop(**STATES_4H) | {"duration": "14401s"},
        "over the role's max_session_duration of 4h",
    ),
    Rule(
        "no more than MaxSessionDuration by default",
        {"RoleArn": NO_TAGS, "DurationSeconds": 3601},
        INVALID,
        hop() | {"duration": "3601s"},
        "over the role's max_session_duration of 1h",
    ),
    Rule(
        "an hour at most in a chain",
        {"DurationSeconds": 3601},
        INVALID,
        {"chain": [{"arn": HUB}, {"arn": DIRECT, **STATES_4H}], "duration": "3601s"},
        "over one hour, where AWS ends role chaining",
        chained=True,
    ),
    Rule(
        "an hour at most with temporary keys",
        {"DurationSeconds": 3601},
        INVALID,
        hop(**STATES_4H) | {"duration": "3601s"},
        "a call with temporary keys or a role's is chained",
        chained=True,
        aws=TEMPORARY,
    ),
    Rule(
        "an hour at most with what the SDK finds (an instance profile)",
        {"DurationSeconds": 3601},
        INVALID,
        hop(**STATES_4H) | {"duration": "3601s"},
        "a call with temporary keys or a role's is chained",
        chained=True,
        aws={"credentials_provider": "default"},
    ),
    Rule(
        "an external ID of two characters", {"ExternalId": "x"}, INVALID, hop(external_id="x"), "is not an external ID"
    ),
    Rule(
        "an external ID without spaces", {"ExternalId": "x y"}, INVALID, hop(external_id="x y"), "is not an external ID"
    ),
    Rule("1224 characters", {"ExternalId": "x" * 1225}, INVALID, hop(external_id="x" * 1225), "is not an external ID"),
    Rule("the ARN of a role", {"RoleArn": BROKER_USER}, INVALID, hop(BROKER_USER), "is not the ARN of an IAM role"),
    Rule("2048 of ARN", {"RoleArn": DIRECT + "x" * 2048}, INVALID, hop(DIRECT + "x" * 2048), "is not the ARN"),
    Rule(
        "50 tags",
        {"Tags": tags(**{f"t{number}": "x" for number in range(51)})},
        INVALID,
        with_tags(**{f"t{number}": "x" for number in range(51)}),
        "has more than 50 entries",
    ),
    Rule("128 of tag key", {"Tags": tags(**{"k" * 129: "x"})}, INVALID, with_tags(**{"k" * 129: "x"}), "1 to 128"),
    Rule("256 of tag value", {"Tags": tags(k="v" * 257)}, INVALID, with_tags(k="v" * 257), "257 characters long"),
    Rule("tag key charset", {"Tags": tags(**{"a,b": "x"})}, INVALID, with_tags(**{"a,b": "x"}), "the character ','"),
    Rule("tag value charset", {"Tags": tags(k="a&b")}, INVALID, with_tags(k="a&b"), "the character '&'"),
    Rule("tag keys by case", {"Tags": tags(a="x", A="y")}, PARAMETER, with_tags(a="x", A="y"), "one key to AWS"),
    Rule(
        "aws: in tags", {"Tags": tags(**{"AWS:k": "x"})}, INVALID, with_tags(**{"AWS:k": "x"}), "AWS keeps for itself"
    ),
    Rule(
        "transitive tags are tags",
        {"Tags": tags(a="x"), "TransitiveTagKeys": ["b"]},
        PARAMETER,
        with_tags(a="x") | {"transitive_tags": ["b"]},
        "'b' is no tag of this role",
    ),
    Rule(
        "ten managed policies",
        {"PolicyArns": [{"arn": arn} for arn in ELEVEN]},
        INVALID,
        with_scope(policy_arns=ELEVEN),
        "has more than 10 entries",
    ),
    Rule(
        "2048 characters of policy",
        {"Policy": json.dumps(statement(Resource=LONG))},
        INVALID,
        with_scope(policy=statement(Resource=LONG)),
        "of which AWS takes 2048",
    ),
    Rule(
        "2048 characters together",
        {"Policy": json.dumps(statement(Resource=LONG[:1940])), "PolicyArns": [{"arn": READ_ONLY}]},
        INVALID,
        with_scope(policy=statement(Resource=LONG[:1940]), policy_arns=[READ_ONLY]),
        "of which AWS takes 2048",
    ),
    Rule(
        "managed policies of the role's account",
        {"PolicyArns": [{"arn": "arn:aws:iam::999900001111:policy/Foreign"}]},
        INVALID,
        with_scope(policy_arns=["arn:aws:iam::999900001111:policy/Foreign"]),
        "is no policy that the role's account can have",
    ),
    Rule(
        "managed policies of the role's partition",
        {"PolicyArns": [{"arn": READ_ONLY.replace("aws:", "aws-cn:", 1)}]},
        INVALID,
        with_scope(policy_arns=[READ_ONLY.replace("aws:", "aws-cn:", 1)]),
        "is no policy that the role's account can have",
    ),
    Rule("a policy is JSON", {"Policy": "{"}, MALFORMED, with_scope(policy="{"), "is not JSON"),
    Rule(
        "no Principal in a session policy",
        {"Policy": json.dumps(statement(Principal="*"))},
        MALFORMED,
        with_scope(policy=statement(Principal="*")),
        "with a Principal",
    ),
    Rule(
        "a policy has a Version",
        {"Policy": json.dumps({"Statement": statement()["Statement"]})},
        MALFORMED,
        with_scope(policy={"Statement": statement()["Statement"]}),
        "no Version that AWS knows",
    ),
    Rule("roles of the keys' partition", {"RoleArn": OF_CHINA}, "AccessDenied", hop(OF_CHINA), "the partition aws-cn"),
    Rule(
        "keys of the region's partition",
        {},
        "InvalidClientTokenId",
        hop(),
        "lies in the partition aws, and aws.region in aws-cn",
        region="cn-north-1",
        aws={"region": "cn-north-1"},
    ),
]
_BY_NAME = [pytest.param(rule, id=rule.name) for rule in RULES]


@pytest.mark.parametrize("rule", _BY_NAME)
def test_aws_would_refuse_it(sts: StrictSts, rule: Rule) -> None:
    who = session(sts) if rule.chained else BASE
    assert code_of(lambda: assume(sts, who, region=rule.region, **rule.asked)) == rule.code


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Rule], list[str]]:
    """What is wrong with the configuration of all the rules' roles at once; a file each where the section aws differs."""
    said: dict[str, list[str]] = {}

    def of(rule: Rule) -> list[str]:
        section = {"region": "eu-central-1"} | rule.aws
        which = json.dumps(section)
        if which not in said:
            folder = tmp_path_factory.mktemp("configuration")
            said[which] = _check(folder, section, [one for one in RULES if one.aws == rule.aws])
        return [line for line in said[which] if f" roles.{rule.key}." in line]

    return of


def _check(folder: Path, aws: dict[str, Any], rules: list[Rule]) -> list[str]:
    keytab = folder / "http.keytab"
    keytab.touch(mode=0o600)
    roles = {rule.key: rule.role for rule in rules}
    settings = configuration(folder, keytab=keytab, sts_endpoint="(replaced)", roles=roles, rules=[], aws=aws)
    file = folder / "config.yaml"
    file.touch(mode=0o600)
    file.write_text(json.dumps(settings))
    keys = {} if "credentials_provider" in aws else {"AWS_ACCESS_KEY_ID": BASE.access_key, "AWS_SECRET_ACCESS_KEY": "x"}
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ=keys)
    return caught.value.problems


@pytest.mark.parametrize("rule", _BY_NAME)
def test_we_refuse_it_first(refusals: Callable[[Rule], list[str]], rule: Rule) -> None:
    (line,) = refusals(rule)
    assert rule.says in line
    assert " — fix: " in line


# ---- rules that only a grant could break: they are kept by how a chain is planned ----


def grant(
    *arns: str, who: str = ALICE, given: tuple[SessionTag, ...] = (), scope: Scope | None = None, lasts: int = 3600
) -> Grant:
    chain = tuple(Hop(arn=RoleArn.parse(arn), external_id=EXTERNAL_ID if arn == HUB else None) for arn in arns)
    lifetime = timedelta(seconds=lasts)
    return Grant(
        principal=Principal.parse(who),
        role=Role(name=RoleName("r"), chain=chain, duration=lifetime),
        rule="rule",
        policy_digest="d",
        lifetime=lifetime,
        ends_at=None,
        tags=given,
        scope=scope,
    )


def tag(key: str, value: str = "x", *, transitive: bool = False, optional: bool = False) -> SessionTag:
    return SessionTag(key=key, value=value, transitive=transitive, optional=optional)


async def test_a_direct_hop_lasts_as_long_as_its_role_allows_and_a_chained_one_an_hour(
    client: StsClient, sts: StrictSts
) -> None:
    sts.clear()
    await client.assume(grant(DIRECT, lasts=4 * 3600))
    await client.assume(grant(HUB, DIRECT, lasts=4 * 3600))
    assert [call["duration"] for call in sts.calls()] == [4 * 3600, 900, 3600]


@pytest.mark.parametrize("parameter", ["RoleSessionName", "SourceIdentity"])
@pytest.mark.parametrize(
    "name", ["a", "alice/admin@EXAMPLE.COM", "a" * 54 + "@EXAMPLE.COM", "aws:alice", "gr\u00fcn@R"]
)
async def test_names_that_aws_refuses_are_encoded(client: StsClient, sts: StrictSts, parameter: str, name: str) -> None:
    assert code_of(lambda: assume(sts, **{parameter: name})) == INVALID
    principal = Principal.parse(name if "@" in name else f"{name}@R")
    await client.assume(grant(DIRECT, who=str(principal)))
    assert sts.calls()[-1]["session_name"] == sts.calls()[-1]["source_identity"] == principal.session_name()


def test_tags_that_aws_refuses_leave_in_no_call_even_if_a_grant_has_them() -> None:
    many = tuple(tag(f"t{number}") for number in range(51))
    for wrong in (many, (tag("a"), tag("A")), (tag("aws:a"),), (tag("a", "b&c"),), (tag("a", "v" * 257),), (tag(""),)):
        with pytest.raises(InternalError):
            plan(grant(HUB, TARGET, given=wrong))


async def test_a_role_that_lets_nobody_tag_refuses_and_the_hop_is_named(client: StsClient, sts: StrictSts) -> None:
    assert code_of(lambda: assume(sts, RoleArn=NO_TAGS, Tags=tags(a="x"))) == "AccessDenied"
    with pytest.raises(StsDenied) as caught:
        await client.assume(grant(DIRECT, NO_TAGS, given=(tag("a", transitive=True),)))
    assert caught.value.reason == "hop2_access_denied"


async def test_a_transitive_tag_is_set_once_and_inherited_and_another_is_the_last_session_s(
    client: StsClient, sts: StrictSts
) -> None:
    hub = session(sts, Tags=tags(Team="x"), TransitiveTagKeys=["Team"])
    assert code_of(lambda: assume(sts, hub, Tags=tags(team="x"))) == PARAMETER
    sts.clear()
    await client.assume(
        grant(HUB, DIRECT, TARGET.replace("Target", "Direct"), given=(tag("Team", transitive=True), tag("Why")))
    )
    assert [call["tags"] for call in sts.calls()] == [{"Team": "x"}, {}, {"Why": "x"}]
    assert [call["transitive_tags"] for call in sts.calls()] == [["Team"], [], []]
    sts.clear()
    await client.assume(grant(DIRECT, given=(tag("Team", transitive=True), tag("Why"))))
    assert [call["tags"] for call in sts.calls()] == [{"Team": "x", "Why": "x"}]


# AWS publishes no figures; the strict STS takes about 456 bytes of tags.
LARGE = "v" * 250
TOO_LARGE = {"Tags": tags(a=LARGE, b=LARGE)}


async def test_optional_tags_are_shed_once_where_aws_has_no_room(client: StsClient, sts: StrictSts) -> None:
    assert code_of(lambda: assume(sts, **TOO_LARGE)) == "PackedPolicyTooLarge"
    sts.clear()
    # The first hop takes its tag, the second has no room for its own beside what it inherits.
    given = (tag("Who", ALICE), tag("a", LARGE, transitive=True, optional=True), tag("b", LARGE, optional=True))
    credentials = await client.assume(grant(HUB, TARGET, given=given))
    assert credentials.shed == ("a", "b")
    assert credentials.packed_percent == 5
    assert [(call["outcome"], call["tags"]) for call in sts.calls()] == [
        ("OK", {"a": LARGE}),
        ("PackedPolicyTooLarge", {"Who": ALICE, "b": LARGE}),
        ("OK", {}),
        ("OK", {"Who": ALICE}),
    ]


@pytest.mark.parametrize(("optional", "calls"), [(False, 1), (True, 2)])
async def test_required_tags_are_never_shed(client: StsClient, sts: StrictSts, *, optional: bool, calls: int) -> None:
    sts.clear()
    given = (tag("a", LARGE), tag("b", LARGE), *((tag("c", optional=True),) if optional else ()))
    with pytest.raises(StsRejected) as caught:
        await client.assume(grant(DIRECT, given=given))
    assert caught.value.reason == "packed_policy_too_large"
    assert len(sts.calls()) == calls
    assert all({"a", "b"} <= set(call["tags"]) for call in sts.calls())


async def test_where_everything_fits_nothing_is_shed(client: StsClient, sts: StrictSts) -> None:
    credentials = await client.assume(grant(DIRECT, given=(tag("a", LARGE, optional=True),)))
    assert (credentials.shed, credentials.packed_percent) == ((), 56)
    assert (await client.assume(grant(DIRECT))).packed_percent is None


async def test_the_source_identity_is_one_from_the_first_hop_to_the_last(client: StsClient, sts: StrictSts) -> None:
    alice = session(sts, SourceIdentity=ALICE)
    assert code_of(lambda: assume(sts, alice, SourceIdentity="mallory")) == "AccessDenied"
    assert code_of(lambda: assume(sts, RoleArn=NO_SOURCE_IDENTITY, SourceIdentity=ALICE)) == "AccessDenied"
    sts.clear()
    await client.assume(grant(HUB, TARGET))
    assert [call["source_identity"] for call in sts.calls()] == [ALICE, ALICE]
    with pytest.raises(StsDenied):
        await client.assume(grant(NO_SOURCE_IDENTITY))


async def test_a_scope_limits_the_last_session_alone_and_the_effect_is_the_intersection(
    client: StsClient, sts: StrictSts
) -> None:
    sts.clear()
    text = json.dumps(statement(), separators=(",", ":"))
    scope = Scope(name=ScopeName("less"), policy=text, policy_arns=(PolicyArn.parse(READ_ONLY),))
    given = await client.assume(grant(HUB, DIRECT, scope=scope))
    assert [(call["policy"], call["policy_arns"]) for call in sts.calls()] == [(None, []), (text, [READ_ONLY])]
    # The role itself may do everything in STS; this session may not.
    keys = Keys(given.access_key_id, given.secret_access_key.reveal(), given.session_token.reveal())
    assert code_of(lambda: assume(sts, keys, RoleArn=NO_TAGS)) == "AccessDenied"
    assert assume(sts, session(sts), RoleArn=NO_TAGS)["Credentials"]


async def test_a_wrong_or_missing_external_id_is_refused(client: StsClient, sts: StrictSts) -> None:
    for wrong in ({"ExternalId": "other"}, {}):
        assert code_of(lambda wrong=wrong: assume(sts, RoleArn=HUB, **wrong)) == "AccessDenied"  # type: ignore[misc]
    assert (await client.assume(grant(HUB))).role_arn == HUB
