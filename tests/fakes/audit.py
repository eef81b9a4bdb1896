"""A chain made in memory with a fixed key and clock, and what a test needs to bend it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.audit.chain import Head, link
from broker.audit.checkpoint import Checkpoint, origin_of, seal_checkpoint
from broker.audit.event import Event, Kind
from broker.audit.logs import Report
from broker.audit.note import Ed25519NoteSigner
from broker.audit.signer import signer_of
from broker.audit.tree import Frontier, leaf_hash
from broker.audit.verify import verify
from broker.core.principal import Principal
from broker.keys.signing import Ed25519Signer

MASTER = bytes(range(32))
NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass
class SetClock:
    """Stands still until told otherwise."""

    time: datetime = NOON

    def now(self) -> datetime:
        return self.time

    def boottime(self) -> float:
        return (self.time - NOON).total_seconds()


def an_event(number: int = 1, **members: object) -> Event:
    """An issued record of alice's, as the broker makes it."""
    event = Event(
        action="get_credentials",
        resource="developer",
        request_id=f"request-{number}",
        source_ip="127.0.0.1",
        kind=Kind.ISSUED,
        success=True,
        reason=None,
        timestamp=NOON + timedelta(seconds=number),
        principal=Principal(("alice",), "EXAMPLE.COM"),
        role="developer",
        account="111122223333",
        access_key_id=f"ASIAEXAMPLE{number:09}",
        expiration=NOON + timedelta(hours=1),
        source_identity="alice@EXAMPLE.COM",
        origin="sts",
    )
    for name, value in members.items():
        setattr(event, name, value)
    return event


@dataclass
class Log:
    """Lines and checkpoints of one instance, kept apart from any file so that a test can bend them before they are written."""

    signer: Ed25519Signer = field(default_factory=lambda: signer_of(MASTER))
    instance: str = "host-1"
    head: Head = field(default_factory=Head)
    tree: Frontier = field(default_factory=Frontier)
    lines: list[bytes] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)

    def add(self, number: int = 1, **members: object) -> Log:
        for _ in range(number):
            self.append(an_event(self.head.seq + 1, **members))
        return self

    def append(self, event: Event) -> Log:
        line, self.head = link(self.head, {**event.members(), "instance": self.instance}, signer=self.signer)
        self.tree = self.tree.with_leaf(leaf_hash(line))
        self.lines.append(line)
        return self

    def checkpoint(self) -> Log:
        stated = Checkpoint(instance=self.instance, head=self.head, tree=self.tree, timestamp="2026-01-31T12:00:00Z")
        signer = Ed25519NoteSigner(name=origin_of(self.instance), signer=self.signer)
        self.checkpoints.append(seal_checkpoint(stated, signers=[signer]))
        return self

    def records(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)

    def statements(self) -> bytes:
        return b"".join(note.encode() + b"\n" for note in self.checkpoints)


@dataclass
class Directory:
    """An audit directory; what is written into it is whatever the test wants."""

    path: Path
    jwks: dict[str, object]

    def put(self, log: Log) -> Directory:
        self.records(log.records(), instance=log.instance)
        self.statements(log.statements(), instance=log.instance)
        return self

    def records(self, content: bytes, *, instance: str = "host-1") -> Path:
        path = self.path / f"audit-{instance}.jsonl"
        path.write_bytes(content)
        return path

    def statements(self, content: bytes, *, instance: str = "host-1") -> Path:
        path = self.path / f"checkpoints-{instance}.notes"
        path.write_bytes(content)
        return path

    def verify(self) -> Report:
        return verify([self.path], jwks=self.jwks)

    def first_bad(self) -> int | None:
        """The sequence number that the first finding names; fails where there is no finding."""
        findings = self.verify().findings
        assert findings, "nothing was found"
        return findings[0].seq
