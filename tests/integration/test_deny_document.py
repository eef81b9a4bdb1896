"""The deny as a second judge reads it, of every person, moment and partition: `@cloud-copilot/iam-simulate`.

ministack (tests/e2e/test_aws_deny.py) holds real calls against it; this one has no part in how its facts come about.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker.core.principal import NameType, Principal
from broker.revocation.deny import document, policy_name
from tests.fakes.broker import PROGRAMS

ALICE = "alice@EXAMPLE.COM"
MOMENT = datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC)
BEFORE, AT, AFTER = "2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z", "2026-01-31T13:00:00Z"
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
_JUDGE = Path(__file__).parents[1] / "fakes" / "iam_simulate.mjs"


def judged(requests: list[dict[str, Any]]) -> list[str]:
    """Of a role that may do everything, with the deny beside it."""
    policies = {"own": ALL, policy_name(ALICE): document(ALICE, stamp=1, before=MOMENT)}
    command = [str(PROGRAMS / "node"), str(_JUDGE), str(PROGRAMS.parent / "javascript")]
    asked = json.dumps({"policies": policies, "requests": requests})
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=60)
    answers: list[str] = json.loads(done.stdout)
    return answers


def request(
    who: str | None, issued: str | None, action: str = "s3:GetObject", partition: str = "aws", **more: str
) -> dict[str, Any]:
    resources = {"s3:GetObject": f"arn:{partition}:s3:::bucket/key"}
    context = {"aws:SourceIdentity": who, "aws:TokenIssueTime": issued}
    return {
        "action": action,
        "resource": resources.get(action, f"arn:{partition}:iam::111122223333:role/Onwards"),
        "principal": f"arn:{partition}:sts::111122223333:assumed-role/Developer/{who or 'somebody'}",
        "context": {key: value for key, value in context.items() if value is not None},
    }


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_theirs_of_before_are_denied_whatever_they_ask_and_all_others_are_not(partition: str) -> None:
    types = [Principal.parse(ALICE, name_type=name_type).session_name() for name_type in NameType]
    others = ["bob@EXAMPLE.COM", "alice@PARTNER.EXAMPLE", "Alice@EXAMPLE.COM", "alice,admin@EXAMPLE.COM", "alice", None]
    denied = [request(who, BEFORE, partition=partition) for who in types]
    denied += [request(ALICE, BEFORE, "sts:AssumeRole", partition), request(ALICE, BEFORE, "iam:GetRole", partition)]
    allowed = [request(who, issued, partition=partition) for who in types for issued in (AT, AFTER)]
    allowed += [request(who, BEFORE, partition=partition) for who in others]
    allowed += [request(ALICE, None, partition=partition)]  # a long-term key has no time of issue
    answers = judged(denied + allowed)
    assert answers[: len(denied)] == ["ExplicitlyDenied"] * len(denied)
    assert answers[len(denied) :] == ["Allowed"] * len(allowed)
