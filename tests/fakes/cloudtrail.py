"""CloudTrail's events of what a strict STS was asked, in the shape of AWS's examples, and of what a session then did.

Shapes: IAM User Guide, "Logging IAM and AWS STS API calls with CloudTrail" (AssumeRole with session tags, chained, across
accounts); CloudTrail User Guide, "userIdentity element". Members that lead to no record are there all the same.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from tests.fakes.sts.demo import BROKER_ACCESS_KEY_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAMES = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
_ADDRESS = "192.0.2.7"


def of_calls(calls: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The AssumeRole events of a strict STS's call log, as the caller's account gets them."""
    keys: dict[str, str] = {}
    inherited: dict[str, dict[str, str]] = {}
    found = []
    for number, call in enumerate(calls):
        caller, role = str(call["caller_arn"]), str(call["role_arn"])
        found.append(_assume_role(call, number, key=keys.get(caller), inherited=inherited.get(caller, {})))
        if call["access_key_id_issued"]:
            arn = session_arn(role, call["session_name"])
            keys[arn] = call["access_key_id_issued"]
            inherited[arn] = {
                **inherited.get(caller, {}),
                **{key: call["tags"][key] for key in call["transitive_tags"]},
            }
    return found


def session_arn(role_arn: str, session_name: str) -> str:
    """The ARN of a session of a role."""
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    return f"arn:aws:sts::{account}:assumed-role/{name}/{session_name}"


def session_identity(role_arn: str, session_name: str, key: str, *, source_identity: str | None) -> dict[str, Any]:
    """``userIdentity`` of a session."""
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    identity: dict[str, Any] = {
        "type": "AssumedRole",
        "principalId": f"AROAEXAMPLEROLEID234:{session_name}",
        "arn": session_arn(role_arn, session_name),
        "accountId": account,
        "accessKeyId": key,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": "AROAEXAMPLEROLEID234",
                "arn": role_arn,
                "accountId": account,
                "userName": name,
            },
            "webIdFederationData": {},
            "attributes": {"mfaAuthenticated": "false", "creationDate": "2026-01-31T12:00:00Z"},
        },
    }
    if source_identity is not None:
        identity["sessionContext"]["sourceIdentity"] = source_identity
    return identity


def action(name: str, identity: Mapping[str, Any], *, time: str, source: str = "s3.amazonaws.com") -> dict[str, Any]:
    """Something that somebody did."""
    return _event(name, identity, time=time, source=source, asked={"bucketName": "example"}, answered=None)


def across(event: Mapping[str, Any]) -> dict[str, Any]:
    """The same AssumeRole as the account of the role gets it: of the caller it sees the account and an id."""
    caller = event["userIdentity"]
    seen = {"type": "AWSAccount", "principalId": caller["principalId"], "accountId": caller["accountId"]}
    return {
        **event,
        "userIdentity": seen,
        "recipientAccountId": str(event["requestParameters"]["roleArn"]).split(":")[4],
    }


def _assume_role(
    call: Mapping[str, Any], number: int, *, key: str | None, inherited: Mapping[str, str]
) -> dict[str, Any]:
    role, name, caller = str(call["role_arn"]), str(call["session_name"]), str(call["caller_arn"])
    asked: dict[str, Any] = {"roleArn": role, "roleSessionName": name, "durationSeconds": call["duration"]}
    if inherited:
        asked["incomingTransitiveTags"] = dict(inherited)
    if call["tags"]:
        asked["tags"] = [{"value": value, "key": key} for key, value in call["tags"].items()]
    if call["transitive_tags"]:
        asked["transitiveTagKeys"] = list(call["transitive_tags"])
    if call["source_identity"]:
        asked["sourceIdentity"] = call["source_identity"]
    answered = None
    if call["access_key_id_issued"]:
        answered = {
            "credentials": {
                "accessKeyId": call["access_key_id_issued"],
                "expiration": "Jan 31, 2026, 1:00:00 PM",
                "sessionToken": "AwEXAMPLEsessionTOKEN",
            },
            "assumedRoleUser": {"assumedRoleId": f"AROAEXAMPLEROLEID234:{name}", "arn": session_arn(role, name)},
            "packedPolicySize": 6,
        }
    time = str(call["time"])[:19] + "Z"
    event = _event("AssumeRole", _caller(caller, key), time=time, asked=asked, answered=answered, number=number)
    if call["outcome"] != "OK":
        event |= {
            "errorCode": call["outcome"],
            "errorMessage": "User: ... is not authorized to perform: sts:AssumeRole",
        }
    return event


def _caller(arn: str, key: str | None) -> dict[str, Any]:
    if ":assumed-role/" in arn:
        _, role, name = arn.split(":")[5].split("/")
        role_arn = f"arn:aws:iam::{arn.split(':')[4]}:role/{role}"
        return session_identity(role_arn, name, key or "ASIAEXAMPLEUNKNOWN23", source_identity=name)
    return {
        "type": "IAMUser",
        "principalId": "AIDAEXAMPLEUSERID234",
        "arn": arn,
        "accountId": arn.split(":")[4],
        "accessKeyId": BROKER_ACCESS_KEY_ID,
        "userName": arn.rpartition("/")[2],
    }


def _event(
    name: str,
    identity: Mapping[str, Any],
    *,
    time: str,
    asked: Mapping[str, Any],
    answered: Mapping[str, Any] | None,
    source: str = "sts.amazonaws.com",
    number: int = 0,
) -> dict[str, Any]:
    return {
        "eventVersion": "1.11",
        "userIdentity": dict(identity),
        "eventTime": time,
        "eventSource": source,
        "eventName": name,
        "awsRegion": "eu-central-1",
        "sourceIPAddress": _ADDRESS,
        "userAgent": "Botocore/1.44.5",
        "requestParameters": dict(asked),
        "responseElements": answered,
        "requestID": str(uuid.uuid5(_NAMES, f"request {time} {number}")),
        "eventID": str(uuid.uuid5(_NAMES, f"event {name} {time} {number}")),
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": identity.get("accountId"),
        "eventCategory": "Management",
        "tlsDetails": {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256"},
    }
