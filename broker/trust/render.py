"""The documents as something that can be applied: plain JSON, Terraform, CloudFormation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from broker.trust.documents import Needed

_POLICY_NAME = "zerotrust-next-hop"
_FOR_THE_BROKER = "To be attached to the user or role whose credentials the broker has"


def as_json(way: Sequence[Needed]) -> str:
    """A list of hops in order, each with the role's trust policy and what its caller must be allowed."""
    hops = [
        {
            "role_arn": role.principal.text,
            "callers": [step.caller.text for step in role.comes],
            "trust_policy": role.trust_policy(),
            "max_session_duration": int(role.max_session_duration.total_seconds()),
            "caller_policies": [
                {"principal": one.principal.text, "policy": one.permissions()} for one in way if _calls(one, role)
            ],
        }
        | ({"own_policy": role.permissions()} if role.denies else {})
        for role in _roles(way)
    ]
    return json.dumps(hops, indent=2)


def as_cloudformation(way: Sequence[Needed]) -> str:
    """One template for all accounts: each stack makes only what belongs to its own account (a StackSet does them all)."""
    accounts = {one.principal.account for one in way}
    names = _unique(way, lambda one: re.sub(r"[^A-Za-z0-9]", "", one.principal.name) + one.principal.account)
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Roles for ZeroTrustKerberosLink. Deploy it in each account; it makes only that account's own.",
        "Conditions": {
            f"In{account}": {"Fn::Equals": [{"Ref": "AWS::AccountId"}, account]} for account in sorted(accounts)
        },
        "Resources": {names[one.principal.text]: _resource(one) for one in way if one.comes or one.goes},
    }
    return json.dumps(template, indent=2)


def as_terraform(way: Sequence[Needed]) -> str:
    """HCL, with a provider alias for each account."""
    names = _unique(
        way, lambda one: re.sub(r"[^A-Za-z0-9_-]", "_", f"zerotrust_{one.principal.name}_{one.principal.account}")
    )
    accounts = sorted({one.principal.account for one in way})
    head = "# One provider for each account, which you configure:\n" + "".join(
        f'#   provider "aws" {{ alias = "account_{account}" }}\n' for account in accounts
    )
    return head + "".join(_blocks(one, names[one.principal.text]) for one in way)


FORMATS: Mapping[str, Callable[[Sequence[Needed]], str]] = {
    "json": as_json,
    "terraform": as_terraform,
    "cloudformation": as_cloudformation,
}


def _roles(way: Iterable[Needed]) -> list[Needed]:
    return [one for one in way if one.comes]


def _calls(caller: Needed, role: Needed) -> bool:
    return any(step.caller == caller.principal for step in role.comes)


def _path(one: Needed) -> str:
    return "/" + one.principal.text.partition("/")[2].removesuffix(one.principal.name)


def _unique(way: Iterable[Needed], name: Callable[[Needed], str]) -> dict[str, str]:
    """A name for each that no other has: two role names may differ in a character that a name cannot hold."""
    found: dict[str, str] = {}
    for one in way:
        wanted, number = name(one), 1
        while (candidate := wanted if number == 1 else f"{wanted}x{number}") in found.values():
            number += 1
        found[one.principal.text] = candidate
    return found


def _resource(one: Needed) -> dict[str, Any]:
    properties: dict[str, Any]
    permissions = one.permissions()
    condition = f"In{one.principal.account}"
    if one.principal.is_account:
        properties = {"Description": _FOR_THE_BROKER, "PolicyDocument": permissions}
        return {"Type": "AWS::IAM::ManagedPolicy", "Condition": condition, "Properties": properties}
    if not one.comes:
        holders = {"Users" if one.principal.kind == "user" else "Roles": [one.principal.name]}
        named = {"PolicyName": _POLICY_NAME, "PolicyDocument": permissions}
        return {"Type": "AWS::IAM::Policy", "Condition": condition, "Properties": {**named, **holders}}
    properties = {
        "RoleName": one.principal.name,
        "Path": _path(one),
        "MaxSessionDuration": int(one.max_session_duration.total_seconds()),
        "AssumeRolePolicyDocument": one.trust_policy(),
    }
    if permissions:
        properties["Policies"] = [{"PolicyName": _POLICY_NAME, "PolicyDocument": permissions}]
    return {"Type": "AWS::IAM::Role", "Condition": condition, "Properties": properties}


def _blocks(one: Needed, name: str) -> str:
    provider = f"  provider = aws.account_{one.principal.account}\n"
    text = ""
    if one.comes:
        text += (
            f'\nresource "aws_iam_role" "{name}" {{\n'
            f"{provider}"
            f"  name = {_hcl(one.principal.name)}\n"
            f"  path = {_hcl(_path(one))}\n"
            f"  max_session_duration = {int(one.max_session_duration.total_seconds())}\n"
            f"  assume_role_policy = jsonencode({_hcl(one.trust_policy())})\n"
            "}\n"
        )
    permissions = one.permissions()
    if permissions and one.principal.is_account:
        text += (
            f'\nresource "aws_iam_policy" "{name}" {{\n'
            f"{provider}"
            f"  description = {_hcl(_FOR_THE_BROKER)}\n"
            f"  policy = jsonencode({_hcl(permissions)})\n"
            "}\n"
        )
    elif permissions:
        kind = one.principal.kind
        holder = f"aws_iam_role.{name}.name" if one.comes else _hcl(one.principal.name)
        text += (
            f'\nresource "aws_iam_{kind}_policy" "{name}" {{\n'
            f"{provider}"
            f"  name = {_hcl(_POLICY_NAME)}\n"
            f"  {kind} = {holder}\n"
            f"  policy = jsonencode({_hcl(permissions)})\n"
            "}\n"
        )
    return text


def _hcl(value: object) -> str:
    """JSON is an HCL expression but for the two template openings, which HCL doubles to mean themselves."""
    text = json.dumps(value, indent=2).replace("${", "$${").replace("%{", "%%{")
    return text.replace("\n", "\n  ")
