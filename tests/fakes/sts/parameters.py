"""AssumeRole's parameters: form, length, charset and number, refused in AWS's words before anything is looked up.

Source: STS API reference, AssumeRole; IAM user guide, "Rules for tagging in IAM and AWS STS". botocore checks minimum
lengths only, so everything here reaches the real service, too.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fakes.sts.policy import Kind, Policy, UnsupportedPolicy, read_policy
from tests.fakes.sts.wire import StsRefusal

DEFAULT_DURATION = 3600
_DURATION = (900, 43200)
_ROLE_ARN = (20, 2048)
_NAME = (2, 64)
_EXTERNAL_ID = (2, 1224)
_TAG_KEY = (1, 128)
_TAG_VALUE = (0, 256)
_MOST_TAGS = 50
_MOST_POLICY_ARNS = 10
# Inline policy and managed ARNs together, in characters of plain text.
_POLICY_TEXT = 2048

_NAME_PATTERN = r"[\w+=,.@-]*"
_EXTERNAL_ID_PATTERN = r"[\w+=,.@:\/-]*"
# Characters that a session policy may hold: "from the space character to the end of the valid character list".
_POLICY_PATTERN = r"[\u0009\u000A\u000D\u0020-\u00FF]+"
_ROLE_ARN_FORM = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]+")
_POLICY_ARN_FORM = re.compile(r"arn:aws[a-z-]*:iam::(?:[0-9]{12}|aws):policy/[\x21-\x7e]+")
_TAG_PATTERN = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*"
_TAG_PUNCTUATION = set("_.:/=+-@")
# Present in the API and not evaluated here: refused, because ignoring them would be an allow.
_NOT_EVALUATED = ("SerialNumber", "TokenCode", "ProvidedContexts.member.1.ProviderArn")


@dataclass(frozen=True, slots=True)
class AssumeRole:
    """A request whose form is right. Whether it is allowed is another question."""

    role_arn: str
    session_name: str
    duration: int
    external_id: str | None
    source_identity: str | None
    tags: dict[str, str]
    transitive_keys: tuple[str, ...]
    policy_text: str | None
    policy: Policy | None
    policy_arns: tuple[str, ...]


def read_assume_role(form: Mapping[str, str]) -> AssumeRole:
    """Check a request's form.

    Args:
        form: The decoded form body or query.

    Raises:
        StsRefusal: ValidationError (all faults of single values at once, as AWS does) or MalformedPolicyDocument.
    """
    for name in _NOT_EVALUATED:
        if name in form:
            raise StsRefusal("ValidationError", f"{name} is not evaluated by this strict STS")
    checks = _Checks()
    role_arn = checks.text("roleArn", form.get("RoleArn"), _ROLE_ARN, required=True)
    session_name = checks.text("roleSessionName", form.get("RoleSessionName"), _NAME, _NAME_PATTERN, required=True)
    external_id = checks.text("externalId", form.get("ExternalId"), _EXTERNAL_ID, _EXTERNAL_ID_PATTERN)
    # A source identity must not begin with "aws:" either; the charset already keeps the colon out.
    source_identity = checks.text("sourceIdentity", form.get("SourceIdentity"), _NAME, _NAME_PATTERN)
    duration = checks.number("durationSeconds", form.get("DurationSeconds"), _DURATION)
    tags = _read_tags(form, checks)
    transitive_keys = _members(form, "TransitiveTagKeys")
    policy_arns = _members(form, "PolicyArns", ".arn")
    checks.count("policyArns", policy_arns, _MOST_POLICY_ARNS)
    checks.count("tags", tags, _MOST_TAGS)
    checks.count("transitiveTagKeys", transitive_keys, _MOST_TAGS)
    policy_text = checks.text("policy", form.get("Policy"), (1, _POLICY_TEXT), _POLICY_PATTERN)
    checks.finish()
    if not _ROLE_ARN_FORM.fullmatch(role_arn or ""):
        raise StsRefusal("ValidationError", f"{role_arn} is invalid")
    return AssumeRole(
        role_arn=role_arn or "",
        session_name=session_name or "",
        duration=duration or DEFAULT_DURATION,
        external_id=external_id,
        source_identity=source_identity,
        tags=_unique_tags(tags, transitive_keys),
        transitive_keys=transitive_keys,
        policy_text=policy_text,
        policy=_session_policy(policy_text, policy_arns, role_arn or ""),
        policy_arns=policy_arns,
    )


class _Checks:
    """Collects violations: STS reports all of them in one ValidationError."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def add(self, name: str, value: str | None, constraint: str) -> None:
        shown = "null" if value is None else f"'{value}'"
        self.problems.append(f"Value {shown} at '{name}' failed to satisfy constraint: Member must {constraint}")

    def text(
        self, name: str, value: str | None, lengths: tuple[int, int], pattern: str = ".*", *, required: bool = False
    ) -> str | None:
        shortest, longest = lengths
        if value is None:
            if required:
                self.add(name, None, "not be null")
            return None
        # The API models \w and means ASCII by it.
        if not re.fullmatch(pattern, value, re.ASCII | re.DOTALL):
            self.add(name, value, f"satisfy regular expression pattern: {pattern}")
        if len(value) < shortest:
            self.add(name, value, f"have length greater than or equal to {shortest}")
        if len(value) > longest:
            self.add(name, value, f"have length less than or equal to {longest}")
        return value

    def number(self, name: str, value: str | None, bounds: tuple[int, int]) -> int | None:
        least, most = bounds
        if value is None:
            return None
        if not re.fullmatch(r"-?[0-9]{1,10}", value, re.ASCII):
            raise StsRefusal("MalformedInput", f"'{value}' at '{name}' is not an integer")
        if int(value) < least:
            self.add(name, value, f"have value greater than or equal to {least}")
        if int(value) > most:
            self.add(name, value, f"have value less than or equal to {most}")
        return int(value)

    def count(self, name: str, members: tuple[object, ...], most: int) -> None:
        if len(members) > most:
            self.add(name, f"{len(members)} members", f"have length less than or equal to {most}")

    def finish(self) -> None:
        if self.problems:
            plural = "s" if len(self.problems) > 1 else ""
            raise StsRefusal(
                "ValidationError",
                f"{len(self.problems)} validation error{plural} detected: {'; '.join(self.problems)}",
            )


def _members(form: Mapping[str, str], name: str, suffix: str = "") -> tuple[str, ...]:
    """The list ``NAME.member.1``, ``NAME.member.2``, ... of the Query protocol."""
    found: list[str] = []
    while (value := form.get(f"{name}.member.{len(found) + 1}{suffix}")) is not None:
        found.append(value)
    return tuple(found)


def _read_tags(form: Mapping[str, str], checks: _Checks) -> tuple[tuple[str, str], ...]:
    keys = _members(form, "Tags", ".Key")
    tags = tuple((key, form.get(f"Tags.member.{i}.Value")) for i, key in enumerate(keys, start=1))
    for i, (key, value) in enumerate(tags, start=1):
        checks.text(f"tags.{i}.member.key", key, _TAG_KEY)
        checks.text(f"tags.{i}.member.value", value, _TAG_VALUE, required=True)
        for part, text in (("key", key), ("value", value or "")):
            if not all(map(_may_be_in_tag, text)):
                checks.add(f"tags.{i}.member.{part}", text, f"satisfy regular expression pattern: {_TAG_PATTERN}")
    return tuple((key, value or "") for key, value in tags)


def _may_be_in_tag(char: str) -> bool:
    """One character of ``_TAG_PATTERN``, whose ``\\p`` Python's ``re`` does not know."""
    return char in _TAG_PUNCTUATION or unicodedata.category(char)[0] in "LZN"


def _unique_tags(tags: tuple[tuple[str, str], ...], transitive_keys: tuple[str, ...]) -> dict[str, str]:
    folded = [key.casefold() for key, _ in tags]
    if len(set(folded)) < len(folded):
        raise StsRefusal(
            "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        )
    if any(key.lower().startswith("aws:") for key, _ in tags):
        raise StsRefusal("ValidationError", "Tag keys must not begin with the reserved prefix aws:")
    if not {key.casefold() for key in transitive_keys} <= set(folded):
        raise StsRefusal(
            "InvalidParameterValue", "The specified transitive tag key must be included in the requested tags."
        )
    return dict(tags)


def _session_policy(text: str | None, arns: tuple[str, ...], role_arn: str) -> Policy | None:
    if len(text or "") + sum(map(len, arns)) > _POLICY_TEXT:
        raise StsRefusal(
            "ValidationError", f"The inline policy and the policy ARNs together exceed {_POLICY_TEXT} characters"
        )
    for arn in arns:
        if not _POLICY_ARN_FORM.fullmatch(arn):
            raise StsRefusal("ValidationError", f"{arn} is invalid")
        # "The policies must exist in the same account as the role", or be AWS's own.
        if (arn.split(":")[1], arn.split(":")[4]) not in {
            (role_arn.split(":")[1], a) for a in (role_arn.split(":")[4], "aws")
        }:
            raise StsRefusal("ValidationError", f"{arn} is not in the account of the role")
    if text is None:
        return None
    try:
        return read_policy(json.loads(text), Kind.SESSION)
    except json.JSONDecodeError as error:
        raise StsRefusal("MalformedPolicyDocument", "Syntax errors in policy.", why=str(error)) from error
    except UnsupportedPolicy as error:
        raise StsRefusal("MalformedPolicyDocument", str(error)) from error
