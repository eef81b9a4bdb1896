"""Checks record files with public keys alone; needs no broker, no network and no secret.

Records are read one at a time, so a file may be longer than the memory. Files of one instance are read in the order of
their first record, so a segment joins its successor. What is said of a log elsewhere, by its checkpoints beside the files and by
neighbours in their own records, is held against it on the way: it shows where the log must at least reach, and which it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.audit.backing import Backing, require_vouched
from broker.audit.backing import elsewhere as elsewhere_checkpoint
from broker.audit.chain import RECORD_MAX, BrokenRecord, Head, check, follow
from broker.audit.checkpoint import root_text
from broker.audit.claims import VIA_DIRECTORY, Claim, Claims, all_claims, neighbour_in
from broker.audit.cosignature import WitnessKey
from broker.audit.event import Kind
from broker.audit.inspector import WORTH_PROCESSES_BYTES, Inspected, Inspector, NoLineFeed
from broker.audit.logs import TORN, Finding, InstanceLog, Report, logs_of
from broker.audit.reading import lines
from broker.audit.succession import Succession, certified
from broker.audit.tree import Frontier
from broker.keys.signing import KeySet

# A segment that begins while a log is read changes which file is which. That happens once in hours; thrice is no accident.
_TRIES = 3


def verify(
    roots: Sequence[Path],
    *,
    jwks: Mapping[str, Any],
    witnesses: Sequence[WitnessKey] = (),
    elsewhere: Sequence[Path] = (),
    processes: int = 1,
) -> Report:
    """Check every record of every file, every checkpoint that lies beside them, and what instances say of each other.

    Args:
        roots: Record files and audit directories, of one instance or several, in any order.
        jwks: The broker's public keys (RFC 7517), or the first of them: those that its records certify are believed too.
        witnesses: Those whose signatures the checkpoints must have.
        elsewhere: Files with a checkpoint each that was kept elsewhere, such as a witness's: the log must go on from there.
        processes: How many check signatures, which is most of the work; only a program of its own may say more than one. A
            small log is checked by one.

    Raises:
        UnusableKeySet: The JWKS cannot verify anything.
        OSError: A file or directory cannot be read.
    """
    for _ in range(_TRIES - 1):
        before = _identities(roots)
        try:
            report = _verify(roots, jwks=jwks, witnesses=witnesses, elsewhere=elsewhere, processes=processes)
        except FileNotFoundError:
            if _identities(roots) == before:
                raise
            continue
        if not report.findings or _identities(roots) == before:
            return report
    return _verify(roots, jwks=jwks, witnesses=witnesses, elsewhere=elsewhere, processes=processes)


def _identities(roots: Sequence[Path]) -> dict[Path, int]:
    """Which file stands under which name."""
    return {path: path.stat().st_ino for root in roots for path in (root.iterdir() if root.is_dir() else [root])}


def _verify(
    roots: Sequence[Path],
    *,
    jwks: Mapping[str, Any],
    witnesses: Sequence[WitnessKey],
    elsewhere: Sequence[Path],
    processes: int,
) -> Report:
    report = Report()
    chains = logs_of(roots, KeySet(jwks=jwks), report)
    certificates = [certified(chain.paths, jwks=jwks) for chain in chains]
    for chain, found in zip(chains, certificates, strict=True):
        chain.keys = KeySet(jwks={"keys": [*jwks["keys"], *found]})
    _take_elsewhere(elsewhere, chains, witnesses, report)
    mentions: dict[str, _Mention] = {}
    everything = {"keys": [*jwks["keys"], *(key for found in certificates for key in found)]}
    size = sum(path.stat().st_size for chain in chains for path in chain.paths)
    with Inspector(jwks=everything, processes=processes if size > WORTH_PROCESSES_BYTES else 1) as inspector:
        for chain in chains:
            report.instances += 1
            others = [path for other in chains if other is not chain for path in other.paths]
            backing = Backing(chain.instance, keys=chain.keys, witnesses=witnesses)
            turns = Succession(jwks=jwks)
            stated = _walk(chain, others, inspector, turns, backing=backing, report=report, mentions=mentions)
            if not stated:
                _no_checkpoint(chain, report)
            report.checkpoints += stated
    fleet = sum(root.is_dir() for root in roots) > 1
    for instance in sorted(mentions.keys() - {chain.instance for chain in chains}):
        mention = mentions[instance]
        fault = f"{mention.by} says that {instance} had {mention.size} records: its log is missing"
        if fleet or mention.expected:
            report.findings.append(Finding(mention.path, None, fault))
        else:
            report.remarks.append(f"{mention.path}: {fault}")
    return report


@dataclass(frozen=True, slots=True)
class _Mention:
    """Where an instance was spoken of last, and whether its log should lie in a directory that is checked."""

    path: Path
    by: str
    size: int
    expected: bool


def _walk(
    chain: InstanceLog,
    others: Sequence[Path],
    inspector: Inspector,
    turns: Succession,
    *,
    backing: Backing,
    report: Report,
    mentions: dict[str, _Mention],
) -> int:
    """Check one instance's records from the first to the last; how many checkpoints there are of it."""
    said: list[Finding] = []
    claims = Claims(
        all_claims(
            chain.instance,
            statements=sorted(chain.checkpoint_files),
            records=others,
            elsewhere=[
                Claim(f"the checkpoint in {path}", path, each.size, each.head.digest, each.root)
                for path, each in chain.elsewhere
            ],
            keys=chain.keys,
            backing=backing,
            on_fault=lambda path, fault: said.append(Finding(path, None, fault)),
            note=lambda path, fault: report.remarks.append(f"{path}: {fault}; not checked"),
        )
    )
    path, head, tree = chain.last_path, Head(), Frontier()
    try:
        claims.hold(head, tree)
        for path, found in inspector.inspected((each, line) for each in chain.paths for line in lines(each)):
            if isinstance(found, NoLineFeed):
                _require_torn(found.line, after=head, keys=chain.keys)
                report.remarks.append(f"{path}: {TORN}")
                continue
            if isinstance(found, BrokenRecord):
                raise found
            after = _next(found, chain, after=head)
            turns.follow(found.record)
            _hear(found.record, chain, path, tree, report=report, mentions=mentions)
            grown = tree.with_leaf(found.leaf)
            claims.hold(after, grown)
            head, tree = after, grown
            report.records += 1
        claims.require_no_more()
    except BrokenRecord as error:
        report.findings.append(Finding(path, head.seq + 1, str(error)))
        claims.drain()
    report.findings += said + [Finding(chain.last_path, None, fault) for fault in backing.faults()]
    remarks = turns.remarks + backing.remarks(records=tree.size)
    report.remarks += [f"{chain.last_path}: {remark}" for remark in remarks]
    return claims.checkpoints


def _take_elsewhere(
    paths: Sequence[Path], chains: Sequence[InstanceLog], witnesses: Sequence[WitnessKey], report: Report
) -> None:
    """Give each checkpoint that was kept elsewhere to the log that it speaks of."""
    of = {chain.instance: chain for chain in chains}
    for path in paths:
        try:
            checkpoint = elsewhere_checkpoint(path)
            chain = of.get(checkpoint.instance)
            if chain is not None:
                require_vouched(path, checkpoint, keys=chain.keys, witnesses=witnesses)
        except BrokenRecord as error:
            report.findings.append(Finding(path, None, str(error)))
            continue
        if chain is not None:
            chain.elsewhere.append((path, checkpoint))
        else:
            fault = f"speaks of {checkpoint.size} records of {checkpoint.instance}: its log is missing"
            report.findings.append(Finding(path, None, fault))


def _next(found: Inspected, chain: InstanceLog, *, after: Head) -> Head:
    if found.record.get("instance") != chain.instance:
        raise BrokenRecord("a record of another instance")
    return follow(found.record, after=after, digest=found.digest)


def _hear(
    record: Mapping[str, Any],
    chain: InstanceLog,
    path: Path,
    before: Frontier,
    *,
    report: Report,
    mentions: dict[str, _Mention],
) -> None:
    """What a record says of other files: of the segment before it, and of a neighbour's log."""
    if record.get("event") == Kind.SEGMENT:
        segment = record.get("segment")
        if not isinstance(segment, dict) or (segment.get("records"), segment.get("root")) != (
            before.size,
            root_text(before),
        ):
            raise BrokenRecord("names another tree than the one before it")
        for closed in chain.paths:
            if closed.name == segment.get("file") and closed.stat().st_size != segment.get("bytes"):
                fault = f"had {segment.get('bytes')} bytes when it was closed, and has {closed.stat().st_size}"
                report.findings.append(Finding(closed, None, fault))
    elif said := neighbour_in(record):
        instance, size, _, via = said
        by = f"record {record.get('seq')} of {chain.instance}"
        mentions[instance] = _Mention(path, by, size, expected=chain.whole and via == VIA_DIRECTORY)


def _no_checkpoint(chain: InstanceLog, report: Report) -> None:
    missing = f"no checkpoint beside it: records cut off its end would not be missed ({chain.instance})"
    if chain.whole:
        report.findings.append(Finding(chain.last_path, None, missing))
    else:
        report.remarks.append(f"{chain.last_path}: {missing}")


def _require_torn(line: bytes, *, after: Head, keys: KeySet) -> None:
    """Tell half a record from a whole one whose line feed was changed, and from what no broker writes."""
    if len(line) >= RECORD_MAX:
        raise BrokenRecord("longer than any record")
    try:
        check(line[:-1], after=after, keys=keys)
    except BrokenRecord:
        return
    raise BrokenRecord("does not end in a line feed")
