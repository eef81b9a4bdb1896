"""A named scope of a role: a session policy, which can only take away (the effect is the intersection with the role's own).

Sources: STS API Reference, AssumeRole (``Policy``, ``PolicyArns``: one inline policy, ten managed ones, 2,048 characters of plain
text together); IAM User Guide, "Session policies", and "IAM JSON policy elements reference".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NewType

ScopeName = NewType("ScopeName", str)

SCOPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
POLICY_ARNS_MAX = 10
TEXT_MAX = 2048

# The account of the policies that AWS itself maintains.
AWS_OWNED = "aws"

_POLICY_ARN = re.compile(
    r"arn:(?P<partition>aws|aws-cn|aws-us-gov):iam::(?P<account>aws|[0-9]{12}):policy/"
    r"(?:[\x21-\x2e\x30-\x7e]+/)*[A-Za-z0-9_+=,.@-]{1,128}"
)
_VERSIONS = ("2012-10-17", "2008-10-17")
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_RESOURCE = re.compile(r"\*|arn:[\x20-\xff]+")
_SID = re.compile(r"[A-Za-z0-9]*")
_ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}


class MalformedPolicy(ValueError):
    """AWS would refuse it: ``what`` is wrong with it, and the ``fix``."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} — fix: {fix}")
        self.what = what
        self.fix = fix


@dataclass(frozen=True, slots=True)
class PolicyArn:
    """``arn:PARTITION:iam::ACCOUNT:policy/PATH/NAME``; the account of AWS's own is ``aws``."""

    text: str
    partition: str
    account: str

    @classmethod
    def parse(cls, text: str) -> PolicyArn:
        """Take an ARN apart.

        Raises:
            MalformedPolicy: Anything but a managed policy of one of the three partitions.
        """
        match = _POLICY_ARN.fullmatch(text) if len(text) <= TEXT_MAX else None
        if match is None:
            fix = "write arn:aws:iam::aws:policy/NAME, or the role's own account in the place of the second aws"
            raise MalformedPolicy("is not the ARN of a managed policy", fix)
        return cls(text=text, partition=match["partition"], account=match["account"])


@dataclass(frozen=True, slots=True)
class Scope:
    """What a scope's name stands for. ``policy`` is JSON as it is sent."""

    name: ScopeName
    policy: str | None
    policy_arns: tuple[PolicyArn, ...]

    @property
    def size(self) -> int:
        """Characters that count against ``TEXT_MAX``."""
        return len(self.policy or "") + sum(len(arn.text) for arn in self.policy_arns)


def read_policy(text: str) -> str:
    """A session policy as text, checked and without superfluous white space. Raises ``MalformedPolicy``."""
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except MalformedPolicy:
        raise
    except (ValueError, RecursionError):
        raise MalformedPolicy("is not JSON", 'write {"Version": "2012-10-17", "Statement": [...]}') from None
    return compact_policy(document)


def compact_policy(document: Any) -> str:
    """A session policy as parsed JSON, checked, as it is sent. Raises ``MalformedPolicy``."""
    if not isinstance(document, dict) or set(document) - {"Version", "Id", "Statement"}:
        raise MalformedPolicy("is no policy document", "write Version and Statement, and nothing beside them")
    if not isinstance(document.get("Id", ""), str):
        raise MalformedPolicy("has an Id that is no text", "put it in quotes, or remove it")
    if document.get("Version") not in _VERSIONS:
        raise MalformedPolicy("has no Version that AWS knows", 'write "Version": "2012-10-17"')
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list | tuple) or not statements:
        raise MalformedPolicy("has no Statement", "write a list of statements")
    for place, statement in enumerate(statements):
        _check_statement(statement, f"has a Statement[{place}]")
    # In ASCII: STS takes no character beyond U+00FF, and JSON has escapes for all of them.
    return json.dumps(document, separators=(",", ":"))


def _check_statement(statement: Any, which: str) -> None:
    if not isinstance(statement, dict):
        raise MalformedPolicy(f"{which} that is no object", "write Effect, Action and Resource")
    if "Principal" in statement or "NotPrincipal" in statement:
        raise MalformedPolicy(f"{which} with a Principal", "remove it: the session is the principal")
    unknown = sorted(set(statement) - _ELEMENTS)
    if unknown:
        raise MalformedPolicy(f"{which} with {unknown[0][:32]!r}, which is no element of one", "remove it")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicy(f"{which} without Effect", "write Allow or Deny")
    sid = statement.get("Sid", "")
    if not isinstance(sid, str) or not _SID.fullmatch(sid):
        raise MalformedPolicy(f"{which} whose Sid is none", "use letters and digits")
    for names, form, fix in (
        (("Action", "NotAction"), _ACTION, "write service:Action, such as s3:GetObject, or a list of these"),
        (("Resource", "NotResource"), _RESOURCE, 'write "*", an ARN, or a list of these'),
    ):
        given = [name for name in names if name in statement]
        if len(given) != 1 or not _are(statement[given[0]], form):
            raise MalformedPolicy(f"{which} without a usable {names[0]}", fix)
    _check_condition(statement.get("Condition", {}), which)


def _check_condition(condition: Any, which: str) -> None:
    blocks = list(condition.values()) if isinstance(condition, dict) else [None]
    if not all(isinstance(block, dict) and block and all(map(_is_compared, block.values())) for block in blocks):
        fix = 'write {"StringEquals": {"KEY": "VALUE"}}, numbers in quotes as well'
        raise MalformedPolicy(f"{which} whose Condition is none", fix)


def _is_compared(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(isinstance(one, str | bool) for one in values)


def _are(value: Any, form: re.Pattern[str]) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(isinstance(one, str) and form.fullmatch(one) for one in values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise MalformedPolicy("has a key twice in one object", "keep one of the two")
    return found


def _no_number(_: str) -> Any:
    raise MalformedPolicy("has a number that JSON does not know", "write it in quotes")
