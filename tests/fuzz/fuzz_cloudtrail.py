"""A file that calls itself CloudTrail's: its events, or `NoCloudTrail`; and nothing of it is believed of another type."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from broker.audit.cloudtrail import NoCloudTrail, events_in

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = {
    "eventID": "1",
    "eventTime": "2026-01-31T12:00:00Z",
    "eventName": "AssumeRole",
    "eventSource": "sts.amazonaws.com",
    "userIdentity": {
        "type": "AssumedRole",
        "arn": "arn:aws:sts::111122223333:assumed-role/Hub/alice@EXAMPLE.COM",
        "accessKeyId": "ASIAEXAMPLE",
        "sessionContext": {"sourceIdentity": "alice@EXAMPLE.COM", "sessionIssuer": {"arn": "arn:aws:iam::1:role/Hub"}},
    },
    "requestParameters": {
        "roleArn": "arn:aws:iam::111122223333:role/Developer",
        "roleSessionName": "alice@EXAMPLE.COM",
        "tags": [{"key": "Event", "value": "0123456789abcdef01234567"}],
    },
    "responseElements": {"credentials": {"accessKeyId": "ASIAOTHER"}},
}


def seeds() -> Iterator[bytes]:
    line = json.dumps(EVENT).encode()
    yield line
    yield line + b"\n" + line
    yield b'{"Records": []}'
    yield json.dumps({"Records": [EVENT, {}]}).encode()
    yield json.dumps({"Events": [{"CloudTrailEvent": json.dumps(EVENT)}]}).encode()
    yield json.dumps({"detail-type": "AWS API Call via CloudTrail", "detail": EVENT}).encode()
    yield json.dumps(EVENT | {"requestParameters": {"principalTags": {"Event": "x"}, "tags": None}}).encode()
    yield json.dumps(EVENT | {"userIdentity": [], "eventTime": "2026-01-31"}).encode()
    yield gzip.compress(line, mtime=0)
    yield gzip.compress(line, mtime=0)[:-9]
    yield b"[" * 2000


def one_input(data: bytes) -> None:
    try:
        events = events_in(data)
    except NoCloudTrail:
        return
    for event in events:
        assert all(isinstance(tag, str) for tag in event.tags)
        assert all(len(name) == 24 for name in event.requests)
        assert event.time is None or event.time.tzinfo is not None
        for text in (event.key, event.issuer, event.source_identity, event.session_name, event.role, event.made):
            assert text is None or isinstance(text, str)
