"""The strict STS refuses what AWS refuses: driven by boto3, by the AWS CLI, and by requests that no SDK would sign."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.fakes.broker import NO_HOME
from tests.fakes.sts import Role, StrictSts, User, World, demo_world
from tests.fakes.sts.demo import (
    BROKER_ACCESS_KEY_ID,
    BROKER_SECRET_ACCESS_KEY,
    BROKER_USER,
    DEVELOPER_EXTERNAL_ID,
    DEVELOPER_ROLE,
    HUB_EXTERNAL_ID,
    HUB_ROLE,
    READ_ONLY_EXTERNAL_ID,
    READ_ONLY_ROLE,
    allow,
    trust,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKER = Credentials(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY)
# A user that may do everything in STS, so that only a role's trust policy can refuse it.
ROOMY = Credentials("AKIAZTKLTESTROOMY222", "MadeUp/ForDemoAndTestsOnly+NotAnAwsKey01")
ROOMY_USER = "arn:aws:iam::999900001111:user/roomy"
CHINESE = Credentials("AKIAZTKLTESTCHINA222", "MadeUp/ForDemoAndTestsOnly+NotAnAwsKey02")
CHINESE_USER = "arn:aws-cn:iam::999900002222:user/broker"

LONG_ROLE = "arn:aws:iam::999900001111:role/Long"
ONLY_ASSUME_ROLE = "arn:aws:iam::999900001111:role/OnlyAssume"
DENYING_ROLE = "arn:aws:iam::999900001111:role/Denying"
UNTRUSTING_ROLE = "arn:aws:iam::111122223333:role/Untrusting"
CHINESE_ROLE = "arn:aws-cn:iam::999900002222:role/Hub"
OPEN_CHINESE_ROLE = "arn:aws-cn:iam::999900002222:role/Open"
TAGGED_ROLE = "arn:aws:iam::111122223333:role/Tagged"

EVERYTHING = allow(["sts:*"], "*")


def _world() -> World:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}
    deny["Condition"] = {"StringEquals": {"sts:RoleSessionName": "mallory"}}
    denying = trust("*", external_id=None)
    denying["Statement"].append(deny)
    tagged = trust(LONG_ROLE, external_id=None)
    tagged["Statement"][0]["Condition"] = {"StringEquals": {"aws:PrincipalTag/Team": "blue"}}
    world = demo_world()
    return replace(
        world,
        users=(
            *world.users,
            User(ROOMY_USER, ROOMY.access_key, ROOMY.secret_key, EVERYTHING),
            User(CHINESE_USER, CHINESE.access_key, CHINESE.secret_key, EVERYTHING),
        ),
        roles=(
            *world.roles,
            Role(LONG_ROLE, trust(ROOMY_USER, external_id=None), EVERYTHING, max_session_duration=43200),
            Role(ONLY_ASSUME_ROLE, trust("*", external_id=None, actions=["sts:AssumeRole"]), EVERYTHING),
            Role(DENYING_ROLE, denying),
            Role(UNTRUSTING_ROLE, trust("444455556666", external_id=None)),
            Role(TAGGED_ROLE, tagged),
            Role(CHINESE_ROLE, trust(CHINESE_USER, external_id=None)),
            Role(OPEN_CHINESE_ROLE, trust("*", external_id=None)),
        ),
    )


@pytest.fixture(scope="module")
def running() -> Iterator[StrictSts]:
    with StrictSts(_world()) as sts:
        yield sts


@pytest.fixture
def sts(running: StrictSts) -> StrictSts:
    running.clear()
    return running


_BOTO = boto3.Session()


def client(sts: StrictSts, who: Credentials = BROKER, *, read_timeout: float = 5) -> Any:
    return _BOTO.client(
        "sts",
        region_name="cn-north-1" if who is CHINESE else "eu-central-1",
        endpoint_url=sts.url,
        aws_access_key_id=who.access_key,
        aws_secret_access_key=who.secret_key,
        aws_session_token=who.token,
        # botocore's own checks are switched off: what it would hold back has to be refused by the other side as well.
        config=Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout, parameter_validation=False),
    )


def assume(sts: StrictSts, who: Credentials = BROKER, **parameters: Any) -> dict[str, Any]:
    defaults = {"RoleArn": HUB_ROLE, "RoleSessionName": "alice@EXAMPLE.COM"}
    if parameters.get("RoleArn", HUB_ROLE) == HUB_ROLE:
        defaults["ExternalId"] = HUB_EXTERNAL_ID
    answer: dict[str, Any] = client(sts, who).assume_role(
        **{name: value for name, value in (defaults | parameters).items() if value is not None}
    )
    return answer


def session(sts: StrictSts, who: Credentials = BROKER, **parameters: Any) -> Credentials:
    given = assume(sts, who, **parameters)["Credentials"]
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def refused(sts: StrictSts, who: Credentials = BROKER, **parameters: Any) -> tuple[int, str, str]:
    """Status, code and message of a refusal."""
    with pytest.raises(ClientError) as caught:
        assume(sts, who, **parameters)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def denied(action: str, role: str, who: str = BROKER_USER) -> tuple[int, str, str]:
    return 403, "AccessDenied", f"User: {who} is not authorized to perform: {action} on resource: {role}"


# --- requests made by hand ------------------------------------------------------------------------------------------


@dataclass
class Raw:
    """A signed request that a test may still spoil."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None

    def send(self) -> tuple[int, str]:
        """Status, and the error's code or ``OK``."""
        return self.answer()[:2]

    def answer(self) -> tuple[int, str, str]:
        """Status, the error's code or ``OK``, and the error's message."""
        request = Request(self.url, data=self.body, headers=self.headers, method=self.method)  # noqa: S310
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=5) as response:
                status, text = response.status, response.read()
        except HTTPError as error:
            with error:
                status, text = error.code, error.read()
        answer = ET.fromstring(text)  # noqa: S314 - our own process
        return status, answer.findtext(".//{*}Code") or "OK", answer.findtext(".//{*}Message") or ""

    def respell(self, old: str, new: str) -> Raw:
        """The same with another Authorization header."""
        header = self.headers["Authorization"]
        assert old in header
        return replace(self, headers={**self.headers, "Authorization": header.replace(old, new)})


def signed(
    sts: StrictSts,
    who: Credentials = BROKER,
    *,
    method: str = "POST",
    service: str = "sts",
    region: str = "eu-central-1",
    headers: dict[str, str] | None = None,
    form: dict[str, str] | str | None = None,
) -> Raw:
    if form is None:
        form = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
    text = form if isinstance(form, str) else urlencode(form)
    get = method == "GET"
    request = AWSRequest(
        method=method,
        url=f"{sts.url}/?{text}" if get else f"{sts.url}/",
        data=None if get else text.encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded", **(headers or {})},
    )
    SigV4Auth(who, service, region).add_auth(request)
    return Raw(method, request.url, dict(request.headers.items()), None if get else text.encode())


# --- who is calling -------------------------------------------------------------------------------------------------


def test_a_user_learns_who_it_is(sts: StrictSts) -> None:
    identity = client(sts).get_caller_identity()
    assert (identity["Arn"], identity["Account"]) == (BROKER_USER, "999900001111")
    assert identity["UserId"].startswith("AIDA")
    assert len(identity["UserId"]) == 21


def test_a_session_learns_who_it_is_without_its_roles_path(sts: StrictSts) -> None:
    reader = session(sts, session(sts), RoleArn=READ_ONLY_ROLE, ExternalId=READ_ONLY_EXTERNAL_ID)
    identity = client(sts, reader).get_caller_identity()
    assert identity["Arn"] == "arn:aws:sts::111122223333:assumed-role/ReadOnly/alice@EXAMPLE.COM"
    assert identity["UserId"].startswith("AROA")
    assert identity["UserId"].endswith(":alice@EXAMPLE.COM")


def test_the_real_aws_cli_is_answered(sts: StrictSts) -> None:
    aws = Path(sys.executable).with_name("aws")
    environment = {
        "AWS_ACCESS_KEY_ID": BROKER_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": BROKER_SECRET_ACCESS_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "HOME": NO_HOME,
        "PATH": "/usr/bin:/bin",
    }
    command = [str(aws), "sts", "assume-role", "--endpoint-url", sts.url, "--region", "eu-central-1"]
    arguments = ["--role-arn", HUB_ROLE, "--role-session-name", "alice", "--external-id", HUB_EXTERNAL_ID]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout)["Credentials"]
    environment |= {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }
    command[2] = "get-caller-identity"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"] == "arn:aws:sts::999900001111:assumed-role/BrokerHub/alice"


# --- signatures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_rightly_signed_request_passes_by_either_method(sts: StrictSts, method: str) -> None:
    form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": HUB_ROLE, "ExternalId": HUB_EXTERNAL_ID}
    assert signed(sts, method=method, form=urlencode(form | {"RoleSessionName": "a=b,c"})).send() == (200, "OK")


def test_a_changed_body_is_refused(sts: StrictSts) -> None:
    raw = signed(sts)
    assert replace(raw, body=(raw.body or b"") + b"&Extra=1").send() == (403, "SignatureDoesNotMatch")


def test_a_changed_query_is_refused(sts: StrictSts) -> None:
    raw = signed(sts, method="GET")
    assert replace(raw, url=raw.url + "&Extra=1").send() == (403, "SignatureDoesNotMatch")


def test_a_changed_signed_header_is_refused(sts: StrictSts) -> None:
    raw = signed(sts, headers={"X-Amz-Extra": "one"})
    assert raw.send() == (200, "OK")
    assert replace(raw, headers={**raw.headers, "X-Amz-Extra": "two"}).send() == (403, "SignatureDoesNotMatch")


def test_a_wrong_secret_is_refused(sts: StrictSts) -> None:
    wrong = Credentials(BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY[::-1])
    assert refused(sts, wrong)[:2] == (403, "SignatureDoesNotMatch")


def test_an_unknown_key_is_refused(sts: StrictSts) -> None:
    unknown = Credentials("AKIAZTKLNOBODY222222", BROKER_SECRET_ACCESS_KEY)
    message = "The security token included in the request is invalid."
    assert refused(sts, unknown) == (403, "InvalidClientTokenId", message)


def test_a_request_without_a_signature_is_refused(sts: StrictSts) -> None:
    raw = signed(sts)
    del raw.headers["Authorization"]
    assert raw.send() == (403, "MissingAuthenticationToken")


@pytest.mark.parametrize("header", ["Bearer abc", "AWS4-HMAC-SHA256 Credential=AKIA", "AWS4-HMAC-SHA256"])
def test_an_authorization_that_is_no_signature_is_refused(sts: StrictSts, header: str) -> None:
    raw = signed(sts)
    raw.headers["Authorization"] = header
    assert raw.send() == (400, "IncompleteSignature")


def test_a_request_without_a_date_is_refused(sts: StrictSts) -> None:
    raw = signed(sts)
    del raw.headers["X-Amz-Date"]
    assert raw.send() == (400, "IncompleteSignature")


def test_a_signature_that_does_not_cover_the_host_is_refused(sts: StrictSts) -> None:
    status, code, message = signed(sts).respell("host;", "").answer()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "'Host'" in message


def test_a_signature_that_does_not_cover_every_amz_header_is_refused(sts: StrictSts) -> None:
    raw = signed(sts)
    raw.headers["X-Amz-Extra"] = "added later"
    assert raw.send() == (403, "SignatureDoesNotMatch")
    assert signed(sts).respell(";x-amz-date", "").send() == (403, "SignatureDoesNotMatch")


def test_a_signature_over_a_header_that_is_not_there_is_refused(sts: StrictSts) -> None:
    assert signed(sts).respell(";x-amz-date", ";x-amz-date;zzz").send() == (403, "SignatureDoesNotMatch")


def test_a_signature_for_another_service_is_refused(sts: StrictSts) -> None:
    message = "Credential should be scoped to correct service: 'sts'. "
    assert signed(sts, service="s3").answer() == (403, "SignatureDoesNotMatch", message)


def test_a_scope_of_another_day_is_refused(sts: StrictSts) -> None:
    raw = signed(sts)
    today = raw.headers["X-Amz-Date"][:8]
    status, code, message = raw.respell(f"/{today}/", "/20200101/").answer()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert message.startswith("Date in Credential scope does not match")


def test_a_signature_for_any_region_of_the_keys_partition_is_accepted(sts: StrictSts) -> None:
    assert signed(sts, region="ap-south-1").send() == (200, "OK")


@pytest.mark.parametrize(("minutes", "begins"), [(-16, "Signature expired: "), (16, "Signature not yet current: ")])
def test_a_clock_more_than_a_quarter_of_an_hour_off_is_refused(
    sts: StrictSts, monkeypatch: pytest.MonkeyPatch, minutes: int, begins: str
) -> None:
    wrong = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: wrong)
    status, code, message = refused(sts)
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert message.startswith(begins)


def test_a_session_key_without_its_token_is_refused(sts: StrictSts) -> None:
    hub = session(sts)
    assert refused(sts, Credentials(hub.access_key, hub.secret_key))[:2] == (403, "InvalidClientTokenId")


def test_a_session_key_with_the_token_of_another_session_is_refused(sts: StrictSts) -> None:
    hub, other = session(sts), session(sts)
    mixed = Credentials(hub.access_key, hub.secret_key, other.token)
    assert refused(sts, mixed)[:2] == (403, "InvalidClientTokenId")


def test_a_users_key_with_a_token_is_refused(sts: StrictSts) -> None:
    mixed = Credentials(BROKER.access_key, BROKER.secret_key, session(sts).token)
    assert refused(sts, mixed)[:2] == (403, "InvalidClientTokenId")


def test_a_session_that_has_ended_is_refused(sts: StrictSts) -> None:
    sts.fault("past")
    ended = session(sts)
    message = "The security token included in the request is expired"
    assert refused(sts, ended, RoleArn=DEVELOPER_ROLE) == (403, "ExpiredToken", message)


# --- what is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"Action": "GetSessionToken", "Version": "2011-06-15"}, "InvalidAction"),
        ({"Action": "GetCallerIdentity", "Version": "2010-05-08"}, "InvalidAction"),
        ({"Action": "GetCallerIdentity"}, "InvalidAction"),
        ({"Version": "2011-06-15"}, "MissingAction"),
        ("Action=GetCallerIdentity&Action=AssumeRole&Version=2011-06-15", "MalformedInput"),
    ],
)
def test_what_is_no_known_action_is_refused(sts: StrictSts, form: dict[str, str] | str, code: str) -> None:
    assert signed(sts, form=form).send() == (400, code)


def _tags(count: int) -> list[dict[str, str]]:
    return [{"Key": f"k{i}", "Value": "v"} for i in range(count)]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"RoleArn": None}, "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"),
        ({"RoleArn": "arn:aws:iam::1"}, "'roleArn'"),
        ({"RoleArn": HUB_ROLE + "x" * 2048}, "'roleArn'"),
        ({"RoleArn": "arn:aws:iam::999900001111:user/broker"}, "is invalid"),
        ({"RoleSessionName": None}, "'roleSessionName'"),
        ({"RoleSessionName": "x"}, "length greater than or equal to 2"),
        ({"RoleSessionName": "x" * 65}, "length less than or equal to 64"),
        ({"RoleSessionName": "alice/admin"}, r"regular expression pattern: [\w+=,.@-]*"),
        ({"RoleSessionName": "älice"}, "regular expression"),
        ({"RoleSessionName": "alice\n"}, "regular expression"),
        ({"RoleSessionName": "alice\x00"}, "regular expression"),
        ({"SourceIdentity": "x"}, "'sourceIdentity'"),
        ({"SourceIdentity": "x" * 65}, "'sourceIdentity'"),
        ({"SourceIdentity": "alice admin"}, "'sourceIdentity'"),
        ({"SourceIdentity": "aws:alice"}, "'sourceIdentity'"),
        ({"ExternalId": "x"}, "'externalId'"),
        ({"ExternalId": "x" * 1225}, "'externalId'"),
        ({"ExternalId": "hub 7f3a"}, "'externalId'"),
        ({"DurationSeconds": 899}, "value greater than or equal to 900"),
        ({"DurationSeconds": 43201}, "value less than or equal to 43200"),
        ({"Policy": "x" * 2049}, "'policy'"),
        ({"Policy": ""}, "'policy'"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/A"}] * 11}, "'policyArns'"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:role/A"}]}, "is invalid"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/" + "A" * 1000}] * 3}, "2048"),
        ({"Tags": _tags(51)}, "'tags'"),
        ({"Tags": [{"Key": "", "Value": "v"}]}, "'tags.1.member.key'"),
        ({"Tags": [{"Key": "k" * 129, "Value": "v"}]}, "'tags.1.member.key'"),
        ({"Tags": [{"Key": "k", "Value": "v" * 257}]}, "'tags.1.member.value'"),
        ({"Tags": [{"Key": "k", "Value": "a,b"}]}, "'tags.1.member.value'"),
        ({"Tags": [{"Key": "k;", "Value": "v"}]}, "'tags.1.member.key'"),
        ({"Tags": [{"Key": "k"}]}, "'tags.1.member.value'"),
        ({"Tags": [{"Key": "aws:k", "Value": "v"}]}, "reserved prefix aws:"),
        ({"SerialNumber": "GAHT12345678", "TokenCode": "123456"}, "SerialNumber is not evaluated"),
        ({"RoleSessionName": "a/b", "DurationSeconds": 1}, "2 validation errors detected: "),
    ],
)
def test_a_parameter_out_of_bounds_is_refused(sts: StrictSts, parameters: dict[str, Any], named: str) -> None:
    status, code, message = refused(sts, **parameters)
    assert (status, code) == (400, "ValidationError")
    assert named in message


def test_a_duration_that_is_no_number_is_refused(sts: StrictSts) -> None:
    form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": HUB_ROLE, "RoleSessionName": "alice"}
    assert signed(sts, form=form | {"DurationSeconds": "1e3"}).send() == (400, "MalformedInput")


@pytest.mark.parametrize(
    "parameters",
    [
        {"Tags": [{"Key": "Team", "Value": "a"}, {"Key": "team", "Value": "b"}]},
        {"Tags": [{"Key": "Team", "Value": "a"}], "TransitiveTagKeys": ["Other"]},
    ],
)
def test_tags_that_contradict_each_other_are_refused(sts: StrictSts, parameters: dict[str, Any]) -> None:
    assert refused(sts, **parameters)[:2] == (400, "InvalidParameterValue")


@pytest.mark.parametrize("policy", ["{", "[]", '{"Version": "2012-10-17"}', json.dumps(trust("*", external_id=None))])
def test_a_session_policy_that_is_none_is_refused(sts: StrictSts, policy: str) -> None:
    assert refused(sts, Policy=policy)[:2] == (400, "MalformedPolicyDocument")


def test_the_widest_charsets_are_accepted(sts: StrictSts) -> None:
    name = "A_z0+=,.@-"
    tag = {"Key": "Größe /_.:=+-@", "Value": "ünï çode\u20282"}
    answer = assume(sts, RoleSessionName=name, SourceIdentity=name, Tags=[tag])
    assert answer["AssumedRoleUser"]["Arn"].endswith(f"/{name}")
    assert sts.calls()[-1]["tags"] == {tag["Key"]: tag["Value"]}


# --- who may --------------------------------------------------------------------------------------------------------


def test_a_session_has_awss_form(sts: StrictSts) -> None:
    answer = assume(sts)
    given = answer["Credentials"]
    assert given["AccessKeyId"].startswith("ASIA")
    assert (len(given["AccessKeyId"]), len(given["SecretAccessKey"])) == (20, 40)
    assert len(given["SessionToken"]) > 300
    assert timedelta(minutes=59) < given["Expiration"] - datetime.now(UTC) <= timedelta(hours=1)
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::999900001111:assumed-role/BrokerHub/alice@EXAMPLE.COM"
    assert "SourceIdentity" not in answer
    assert "PackedPolicySize" not in answer


@pytest.mark.parametrize("external_id", ["hub-7f3b", "HUB-7F3A", DEVELOPER_EXTERNAL_ID, None])
def test_a_wrong_or_missing_external_id_is_refused(sts: StrictSts, external_id: str | None) -> None:
    assert refused(sts, ExternalId=external_id) == denied("sts:AssumeRole", HUB_ROLE)


def test_an_unknown_role_is_refused_in_the_words_of_a_forbidden_one(sts: StrictSts) -> None:
    unknown = HUB_ROLE + "2"
    assert refused(sts, ROOMY, RoleArn=unknown) == denied("sts:AssumeRole", unknown, ROOMY_USER)
    assert refused(sts, ROOMY, RoleArn=UNTRUSTING_ROLE) == denied("sts:AssumeRole", UNTRUSTING_ROLE, ROOMY_USER)


def test_a_caller_whose_own_policy_does_not_allow_it_is_refused(sts: StrictSts) -> None:
    assert refused(sts, RoleArn=DENYING_ROLE) == denied("sts:AssumeRole", DENYING_ROLE)


def test_a_role_that_does_not_trust_the_caller_refuses_it(sts: StrictSts) -> None:
    assert refused(sts, ROOMY) == denied("sts:AssumeRole", HUB_ROLE, ROOMY_USER)


def test_an_explicit_deny_in_the_trust_policy_wins(sts: StrictSts) -> None:
    assume(sts, ROOMY, RoleArn=DENYING_ROLE)
    expected = denied("sts:AssumeRole", DENYING_ROLE, ROOMY_USER)
    assert refused(sts, ROOMY, RoleArn=DENYING_ROLE, RoleSessionName="mallory") == expected


def test_tags_need_a_permission_of_their_own(sts: StrictSts) -> None:
    expected = denied("sts:TagSession", ONLY_ASSUME_ROLE, ROOMY_USER)
    assert refused(sts, ROOMY, RoleArn=ONLY_ASSUME_ROLE, Tags=_tags(1)) == expected


def test_a_source_identity_needs_a_permission_of_its_own(sts: StrictSts) -> None:
    expected = denied("sts:SetSourceIdentity", ONLY_ASSUME_ROLE, ROOMY_USER)
    assert refused(sts, ROOMY, RoleArn=ONLY_ASSUME_ROLE, SourceIdentity="alice") == expected


def test_a_partition_is_never_crossed(sts: StrictSts) -> None:
    assume(sts, CHINESE, RoleArn=CHINESE_ROLE)
    expected = denied("sts:AssumeRole", OPEN_CHINESE_ROLE, ROOMY_USER)
    assert refused(sts, ROOMY, RoleArn=OPEN_CHINESE_ROLE) == expected


# --- chains ---------------------------------------------------------------------------------------------------------


def test_a_chain_of_two_ends_in_the_last_role(sts: StrictSts) -> None:
    hub = session(sts)
    answer = assume(sts, hub, RoleArn=DEVELOPER_ROLE, ExternalId=DEVELOPER_EXTERNAL_ID)
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"


def test_the_first_hop_cannot_be_skipped(sts: StrictSts) -> None:
    got = refused(sts, RoleArn=DEVELOPER_ROLE, ExternalId=DEVELOPER_EXTERNAL_ID)
    assert got == denied("sts:AssumeRole", DEVELOPER_ROLE)


def test_a_chained_session_over_an_hour_is_refused_and_not_clamped(sts: StrictSts) -> None:
    long = session(sts, ROOMY, RoleArn=LONG_ROLE, DurationSeconds=43200)
    assume(sts, long, RoleArn=DENYING_ROLE, DurationSeconds=3600)
    assert refused(sts, long, RoleArn=DENYING_ROLE, DurationSeconds=3601) == (
        400,
        "ValidationError",
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
    )


def test_a_session_longer_than_the_role_allows_is_refused(sts: StrictSts) -> None:
    message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    assert refused(sts, DurationSeconds=3601) == (400, "ValidationError", message)


def test_a_session_lasts_as_long_as_was_asked(sts: StrictSts) -> None:
    left = assume(sts, DurationSeconds=900)["Credentials"]["Expiration"] - datetime.now(UTC)
    assert timedelta(seconds=880) < left <= timedelta(seconds=900)


def test_a_source_identity_sticks_through_the_chain(sts: StrictSts) -> None:
    hub = session(sts, SourceIdentity="alice")
    answer = assume(sts, hub, RoleArn=DEVELOPER_ROLE, ExternalId=DEVELOPER_EXTERNAL_ID)
    assert answer["SourceIdentity"] == "alice"


def test_a_source_identity_may_be_repeated_and_not_changed(sts: StrictSts) -> None:
    hub = session(sts, SourceIdentity="alice")
    hop = {"RoleArn": DEVELOPER_ROLE, "ExternalId": DEVELOPER_EXTERNAL_ID}
    assert assume(sts, hub, SourceIdentity="alice", **hop)["SourceIdentity"] == "alice"
    who = "arn:aws:sts::999900001111:assumed-role/BrokerHub/alice@EXAMPLE.COM"
    assert refused(sts, hub, SourceIdentity="bob", **hop) == denied("sts:SetSourceIdentity", DEVELOPER_ROLE, who)


def test_an_inherited_source_identity_needs_the_permission_at_every_hop(sts: StrictSts) -> None:
    long = session(sts, ROOMY, RoleArn=LONG_ROLE, SourceIdentity="alice")
    assert "sts:SetSourceIdentity" in refused(sts, long, RoleArn=ONLY_ASSUME_ROLE)[2]


def test_only_transitive_tags_are_inherited(sts: StrictSts) -> None:
    blue = [{"Key": "Team", "Value": "blue"}]
    long = session(sts, ROOMY, RoleArn=LONG_ROLE, Tags=blue, TransitiveTagKeys=["Team"])
    assume(sts, long, RoleArn=TAGGED_ROLE)
    assert "sts:TagSession" in refused(sts, long, RoleArn=ONLY_ASSUME_ROLE)[2]
    passing = session(sts, ROOMY, RoleArn=LONG_ROLE, Tags=blue)
    assume(sts, passing, RoleArn=ONLY_ASSUME_ROLE)


def test_the_sessions_tags_are_what_a_trust_policy_sees(sts: StrictSts) -> None:
    red = session(sts, ROOMY, RoleArn=LONG_ROLE, Tags=[{"Key": "Team", "Value": "red"}])
    assert refused(sts, red, RoleArn=TAGGED_ROLE)[1] == "AccessDenied"


def test_an_inherited_tag_cannot_be_passed_again(sts: StrictSts) -> None:
    tags = {"Tags": [{"Key": "Team", "Value": "blue"}], "TransitiveTagKeys": ["Team"]}
    long = session(sts, ROOMY, RoleArn=LONG_ROLE, **tags)
    again = [{"Key": "team", "Value": "blue"}]
    assert refused(sts, long, RoleArn=DENYING_ROLE, Tags=again)[:2] == (400, "InvalidParameterValue")


def test_a_session_policy_limits_what_the_session_may_do_next(sts: StrictSts) -> None:
    hop = {"RoleArn": DENYING_ROLE}
    only_there = json.dumps(allow(["sts:AssumeRole"], DENYING_ROLE))
    elsewhere = json.dumps(allow(["*"], DEVELOPER_ROLE))
    assume(sts, session(sts, ROOMY, RoleArn=LONG_ROLE, Policy=only_there), **hop)
    assert refused(sts, session(sts, ROOMY, RoleArn=LONG_ROLE, Policy=elsewhere), **hop)[1] == "AccessDenied"


def test_a_session_limited_by_managed_policies_alone_may_do_nothing_further(sts: StrictSts) -> None:
    managed = [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]
    limited = session(sts, ROOMY, RoleArn=LONG_ROLE, PolicyArns=managed)
    assert refused(sts, limited, RoleArn=DENYING_ROLE)[1] == "AccessDenied"


def test_the_packed_size_counts_inherited_tags_and_has_a_limit_of_its_own(sts: StrictSts) -> None:
    full = [{"Key": "k", "Value": "v" * 240}]
    answer = assume(sts, ROOMY, RoleArn=LONG_ROLE, Tags=full, TransitiveTagKeys=["k"])
    assert answer["PackedPolicySize"] == 53
    given = answer["Credentials"]
    long = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    more = [{"Key": "l", "Value": "v" * 240}]
    message = "Packed size of session tags consumes 106% of allotted space."
    assert refused(sts, long, RoleArn=DENYING_ROLE, Tags=more) == (400, "PackedPolicyTooLarge", message)


# --- the log --------------------------------------------------------------------------------------------------------


def test_every_call_is_logged_once_and_without_secrets(sts: StrictSts) -> None:
    tags = [{"Key": "Team", "Value": "blue"}]
    key = assume(sts, SourceIdentity="alice", Tags=tags, DurationSeconds=900)["Credentials"]["AccessKeyId"]
    refused(sts, ExternalId="wrong-one")
    refused(sts, ExternalId="malformed one")
    first, second, third = sts.calls()
    assert datetime.fromisoformat(first.pop("time")) <= datetime.fromisoformat(second.pop("time"))
    assert first == {
        "action": "AssumeRole",
        "region": "eu-central-1",
        "role_arn": HUB_ROLE,
        "session_name": "alice@EXAMPLE.COM",
        "source_identity": "alice",
        "external_id_present": True,
        "external_id_valid": True,
        "tags": {"Team": "blue"},
        "transitive_tags": [],
        "policy": None,
        "policy_arns": [],
        "duration": 900,
        "caller_arn": BROKER_USER,
        "access_key_id_issued": key,
        "faults": [],
        "outcome": "OK",
        "status": 200,
        "why": None,
    }
    assert (second["outcome"], second["status"], second["access_key_id_issued"]) == ("AccessDenied", 403, None)
    assert (second["external_id_present"], second["external_id_valid"]) == (True, False)
    assert (third["outcome"], "externalId" in third["why"]) == ("ValidationError", True)
    log = json.dumps(sts.calls())
    assert not [
        word for word in (HUB_EXTERNAL_ID, "wrong-one", "malformed one", BROKER_SECRET_ACCESS_KEY) if word in log
    ]


def test_the_log_can_be_narrowed_and_emptied(sts: StrictSts) -> None:
    client(sts).get_caller_identity()
    assume(sts)
    assert [call["role_arn"] for call in sts.calls(action="AssumeRole")] == [HUB_ROLE]
    assert sts.calls(role_arn=DEVELOPER_ROLE) == []
    sts.clear_calls()
    assert sts.calls() == []


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("throttle", (400, "Throttling", "Rate exceeded")),
        ("error500", (500, "InternalFailure", "An internal error has occurred")),
        ("deny", denied("sts:AssumeRole", HUB_ROLE)),
        ("expired_base", (403, "ExpiredToken", "The security token included in the request is expired")),
    ],
)
def test_a_fault_refuses_in_awss_words(sts: StrictSts, kind: str, expected: tuple[int, str, str]) -> None:
    sts.fault(kind)
    assert refused(sts) == expected


def test_the_fault_clock_skew_is_a_signature_that_expired(sts: StrictSts) -> None:
    sts.fault("clock_skew")
    status, code, message = refused(sts)
    assert (status, code, message[:18]) == (403, "SignatureDoesNotMatch", "Signature expired:")


@pytest.mark.parametrize(
    ("kind", "content_type", "begins"), [("html", "text/html", b"<!DOCTYPE html>"), ("empty", "text/xml", b"")]
)
def test_the_faults_html_and_empty_are_no_answer_with_status_200(
    sts: StrictSts, kind: str, content_type: str, begins: bytes
) -> None:
    sts.fault(kind, action="GetCallerIdentity")
    raw = signed(sts)
    request = Request(raw.url, data=raw.body, headers=raw.headers)  # noqa: S310
    with build_opener(ProxyHandler({})).open(request, timeout=5) as response:
        assert (response.status, response.headers.get_content_type()) == (200, content_type)
        body = response.read()
    assert body.startswith(begins)
    assert bool(body) is bool(begins)


@pytest.mark.parametrize(("kind", "missing"), [("missing_token", "SessionToken"), ("missing_expiration", "Expiration")])
def test_a_fault_leaves_a_member_out(sts: StrictSts, kind: str, missing: str) -> None:
    whole = set(assume(sts)["Credentials"])
    sts.fault(kind)
    assert whole - set(assume(sts)["Credentials"]) == {missing}


@pytest.mark.parametrize(("kind", "hours"), [("past", -1), ("far", 12)])
def test_a_fault_moves_the_expiration(sts: StrictSts, kind: str, hours: int) -> None:
    sts.fault(kind)
    expiration = assume(sts)["Credentials"]["Expiration"]
    assert abs(expiration - datetime.now(UTC) - timedelta(hours=hours)) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("kind", "arn"),
    [
        ("other_account", "arn:aws:sts::000000000000:assumed-role/BrokerHub/alice@EXAMPLE.COM"),
        ("other_role", "arn:aws:sts::999900001111:assumed-role/SomebodyElse/alice@EXAMPLE.COM"),
    ],
)
def test_a_fault_answers_for_another_role(sts: StrictSts, kind: str, arn: str) -> None:
    sts.fault(kind)
    assert assume(sts)["AssumedRoleUser"]["Arn"] == arn


def test_a_fault_answers_with_another_source_identity(sts: StrictSts) -> None:
    sts.fault("other_source_identity")
    assert assume(sts, SourceIdentity="alice")["SourceIdentity"] == "somebody-else"


def test_a_spoiling_fault_never_allows_what_is_refused(sts: StrictSts) -> None:
    for kind in ("missing_token", "far", "other_account", "latency"):
        sts.fault(kind, seconds=0)
    assert refused(sts, ExternalId="wrong") == denied("sts:AssumeRole", HUB_ROLE)


def test_the_fault_hang_never_answers_and_holds_nobody_else_up(sts: StrictSts) -> None:
    sts.fault("hang", seconds=0.6, count=1)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(client(sts, read_timeout=0.3).assume_role, RoleArn=HUB_ROLE, RoleSessionName="alice")
        while not sts.calls():
            time.sleep(0.01)
        assume(sts)
        with pytest.raises(ReadTimeoutError):
            hanging.result()
    assert [call["outcome"] for call in sts.calls()] == ["hang", "OK"]


def test_the_fault_latency_delays_the_true_answer(sts: StrictSts) -> None:
    sts.fault("latency", seconds=0.2)
    began = time.monotonic()
    assume(sts)
    assert time.monotonic() - began >= 0.2


def test_a_fault_fires_as_often_as_it_was_asked_to(sts: StrictSts) -> None:
    sts.fault("throttle", count=2)
    assert [refused(sts)[1], refused(sts)[1]] == ["Throttling", "Throttling"]
    assume(sts)
    assert [call["faults"] for call in sts.calls()] == [["throttle"], ["throttle"], []]


def test_a_fault_may_be_limited_to_one_hop(sts: StrictSts) -> None:
    sts.fault("throttle", role_arn=DEVELOPER_ROLE)
    hub = session(sts)
    assert refused(sts, hub, RoleArn=DEVELOPER_ROLE)[1] == "Throttling"
    assume(sts, hub, RoleArn=READ_ONLY_ROLE, ExternalId=READ_ONLY_EXTERNAL_ID)


def test_cleared_faults_fire_no_more(sts: StrictSts) -> None:
    sts.fault("deny")
    sts.clear_faults()
    assume(sts)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"kind": "thunder"}, "thunder"),
        ({"kind": "deny", "count": 0}, "count"),
        ({"kind": "latency"}, "seconds"),
        ({"kind": "hang", "seconds": 1e9}, "seconds"),
        ({"kind": "far", "action": "GetCallerIdentity"}, "GetCallerIdentity"),
        ({"kind": "deny", "action": "GetSessionToken"}, "GetSessionToken"),
    ],
)
def test_a_fault_that_cannot_be_is_an_error(sts: StrictSts, asked: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        sts.fault(**asked)


# --- the process ----------------------------------------------------------------------------------------------------


def test_many_callers_wait_for_a_slow_sts_at_the_same_time() -> None:
    with StrictSts(demo_world(), latency_ms=200) as slow, ThreadPoolExecutor(20) as pool:
        began = time.monotonic()
        raws = [signed(slow) for _ in range(20)]
        assert list(pool.map(Raw.send, raws)) == [(200, "OK")] * 20
        assert 0.2 <= time.monotonic() - began < 20 * 0.2


def test_it_ends_at_once_when_told_to_though_a_call_hangs() -> None:
    with StrictSts(demo_world()) as ending, ThreadPoolExecutor(1) as pool:
        ending.fault("hang", action="GetCallerIdentity")
        hanging = pool.submit(signed(ending).send)
        while not ending.calls():
            time.sleep(0.01)
        began = time.monotonic()
        ending.__exit__(None, None, None)
        assert time.monotonic() - began < 3
        with pytest.raises(OSError, match=r"closed|reset"):
            hanging.result()


def test_a_world_that_cannot_exist_stops_the_program_with_the_reason(tmp_path: Path) -> None:
    world = tmp_path / "world.json"
    world.write_text(demo_world().to_json().replace('"sts:ExternalId"', '"sts:ExternalIdd"'))
    command = [sys.executable, "-m", "tests.fakes.sts", "--world", str(world)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "sts:externalidd" in done.stderr


def test_it_listens_on_loopback_only() -> None:
    command = [sys.executable, "-m", "tests.fakes.sts", "--world", "demo", "--host", "0.0.0.0"]  # noqa: S104 - refused
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--host" in done.stderr


def test_two_sessions_never_share_a_secret(sts: StrictSts) -> None:
    both = [assume(sts)["Credentials"] for _ in range(2)]
    for member in ("AccessKeyId", "SecretAccessKey", "SessionToken"):
        assert len({hashlib.sha256(one[member].encode()).digest() for one in both}) == 2
