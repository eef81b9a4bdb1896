"""Made the files in this folder, once. They are frozen: every later version must verify and open them as they are.

This script makes the newest folder. A new format gets a new folder and this script its name; a file that exists is never written
again, because `python -m tests.vectors.audit.build` stops where the folder stands. Nothing here is random but the nonce of the
sealed blob.

`v1`: the first. `v2`: records say how somebody was authenticated (channel_bound, indicators, via), and there are reloads.
`v3`: checkpoints are signed notes that state a tree; records speak of segments and of neighbours.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from broker.audit.chain import Head, link
from broker.audit.checkpoint import Checkpoint, origin_of, root_text, seal_checkpoint
from broker.audit.event import Kind
from broker.audit.note import Ed25519NoteSigner
from broker.audit.signer import jwks_of, signer_of
from broker.audit.tree import Frontier, leaf_hash
from broker.core.clock import rfc3339
from broker.core.principal import NameType, Principal
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import KeyHierarchy, Use
from tests.fakes.audit import NOON, an_event

ALL = Path(__file__).parent
FOLDER = ALL / "v3"
RECORDS = FOLDER / "records"
MASTER = b"the master key of these vectors "
INSTANCE = "broker.example.com-1"
PLAINTEXT = b"what was sealed in the first version"  # and in each since: the seal is what may change
NEIGHBOUR = {"neighbour": {"instance": "broker.example.com-2", "size": 0, "root": "", "via": "redis"}}
CONTEXT = b"the context it was sealed in"


def records() -> tuple[bytes, bytes]:
    """The record file, every kind of event in it, and its checkpoints."""
    signer, head = signer_of(MASTER), Head()
    nobody = {"principal": None, "source_identity": None, "role": None, "account": None, "access_key_id": None}
    nobody |= {"expiration": None, "origin": None, "request_id": None, "source_ip": None}
    session = {"channel_bound": False, "indicators": frozenset({"otp"})}
    events = [
        an_event(1, **nobody, action="run", resource="broker", kind=Kind.START),
        an_event(2, kind=Kind.INTENT, access_key_id=None, expiration=None, origin=None, details={"rule": "engineers"}),
        an_event(3, channel_bound=True, indicators=frozenset({"pkinit", "otp"}), details={"via": "ticket"}),
        an_event(4, origin="cache", channel_bound=False, details={"via": "dpop"}),
        an_event(
            5, principal=Principal(("HTTP", "wéb"), "EXAMPLE.COM", NameType.SRV_INST), resource='\u2028\x7f"\\\t?'
        ),
        an_event(6, **nobody, kind=Kind.REFUSED, success=False, reason="ticket_expired"),
        an_event(7, **nobody, action="recover", resource="audit", kind=Kind.RECOVERY, reason="torn_tail"),
        an_event(
            8, **session, action="whoami", resource="self", kind=Kind.SHOWN, details={"via": "cookie", "peer_uid": 0}
        ),
        an_event(9, **nobody, action="reload", resource="keytabs", kind=Kind.RELOAD),
        an_event(10, **nobody, action="reload", resource="tls", kind=Kind.RELOAD, success=False, reason="unusable"),
        an_event(11, **nobody, action="run", resource="broker", kind=Kind.RECOVERED, details={"failure": "ENOSPC"}),
        an_event(12, **nobody, action="record_neighbour", resource="audit", kind=Kind.NEIGHBOUR, details=NEIGHBOUR),
        an_event(13, **nobody, action="begin_segment", resource="audit", kind=Kind.SEGMENT),
        an_event(14, **nobody, action="run", resource="broker", kind=Kind.STOP),
    ]
    lines, statements, tree = b"", b"", Frontier()
    for event in events:
        if event.kind is Kind.SEGMENT:
            root = root_text(tree)
            event.details = {"segment": {"file": "elsewhere", "bytes": 1, "records": tree.size, "root": root}}
        line, head = link(head, {**event.members(), "instance": INSTANCE}, signer=signer)
        tree = tree.with_leaf(leaf_hash(line))
        lines += line + b"\n"
        if head.seq in {1, 5, 12, 14}:
            moment = rfc3339(NOON + timedelta(seconds=head.seq))
            stated = Checkpoint(instance=INSTANCE, head=head, tree=tree, timestamp=moment, quiet=head.seq == 12)
            signers = [Ed25519NoteSigner(name=origin_of(INSTANCE), signer=signer)]
            statements += seal_checkpoint(stated, signers=signers).encode() + b"\n"
    return lines, statements


def main() -> None:
    RECORDS.mkdir(parents=True)
    lines, statements = records()
    (RECORDS / f"audit-{INSTANCE}.jsonl").write_bytes(lines)
    (RECORDS / f"checkpoints-{INSTANCE}.notes").write_bytes(statements)
    (FOLDER / "jwks.json").write_text(json.dumps(jwks_of(signer_of(MASTER)), indent=2) + "\n")
    envelope = Envelope(keys=[KeyHierarchy(master=MASTER).derive(Use.CACHE_SEAL)])
    (FOLDER / "sealed.hex").write_text(envelope.seal(PLAINTEXT, context=CONTEXT).hex() + "\n")


if __name__ == "__main__":
    main()
