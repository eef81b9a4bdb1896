"""What AWS is told of somebody who is revoked: a deny at a role, of their sessions made before that, and of nobody else's. Pure.

    Deny * on * where aws:SourceIdentity is theirs and aws:TokenIssueTime is before the revocation

One inline policy for each person at each role, because IAM replaces a policy as a whole and knows no compare-and-swap: with one
policy for all, two instances that each add somebody would undo one of the two. Its name is a hash of the person's; its Sid
names the revocation, so whoever finds it knows which one it is of, and what does not look like ours is somebody else's.

Source: IAM User Guide, "Revoke IAM role temporary security credentials"; "AWS global condition context keys" (the source identity
stays through role chaining, the time of issue is of this session, in whole seconds; neither key is there for long-term keys).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from broker.core.clock import rfc3339
from broker.core.principal import session_names

# In the trust and permission policies of whoever may put it there.
POLICY_PREFIX = "ZeroTrustRevocation-"
_DIGEST_CHARS = 32  # 128 bits
_SID = re.compile(r"ZeroTrustRevocation([0-9]{1,16})")


def policy_name(user: str) -> str:
    """What the policy against this printed principal is called, at every role."""
    return POLICY_PREFIX + hashlib.sha256(user.encode()).hexdigest()[:_DIGEST_CHARS]


def boundary(now: datetime) -> datetime:
    """What all sessions that were issued up to now were issued before.

    The next whole second: AWS tells the time of issue, and the time it is, in whole seconds, rounded down.
    """
    return datetime.fromtimestamp(int(now.timestamp()) + 1, UTC)


def document(user: str, *, stamp: int, before: datetime) -> dict[str, Any]:
    """The policy of the revocation with this stamp: it denies the sessions that were issued before a moment (``boundary``)."""
    statement = {
        "Sid": f"ZeroTrustRevocation{stamp}",
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": {
            "StringEquals": {"aws:SourceIdentity": list(session_names(user))},
            "DateLessThan": {"aws:TokenIssueTime": rfc3339(before)},
        },
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def stamp_of(found: Mapping[str, Any], user: str) -> int | None:
    """The stamp of the revocation that a policy of this name is of; None where it is not one of ours."""
    statements = found.get("Statement")
    if not isinstance(statements, list) or len(statements) != 1 or not isinstance(statements[0], Mapping):
        return None
    sid = _SID.fullmatch(str(statements[0].get("Sid", "")))
    if sid is None:
        return None
    stamp = int(sid[1])
    times = _mapping(_mapping(statements[0].get("Condition")).get("DateLessThan"))
    try:
        before = datetime.fromisoformat(str(times.get("aws:TokenIssueTime")))
    except ValueError:
        return None
    return stamp if before.tzinfo is not None and found == document(user, stamp=stamp, before=before) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
