"""The key changes and the log goes on: each key names the next, and whoever keeps the first verifies all of it."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from broker.audit.log import AuditLog
from broker.audit.signer import jwks_of, signer_of, signers_of
from broker.audit.succession import changed_uncertified, succeeded
from broker.audit.verify import Report, verify
from broker.keys.signing import Ed25519Signer
from tests.fakes.audit import MASTER, NOON, Directory, Log, SetClock, an_event

FIRST, SECOND, THIRD = (signer_of(bytes([number]) * 32) for number in (1, 2, 3))


async def ran(directory: Directory, signer: Ed25519Signer, *former: Ed25519Signer) -> None:
    log = AuditLog(directory=directory.path, signer=signer, former=former, clock=SetClock(), observers=[])
    await log.open()
    await log.record(an_event())
    await log.close()


def records(directory: Directory) -> list[dict[str, object]]:
    (path,) = directory.path.glob("audit-*.jsonl")
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def verified(directory: Directory, *keys: Ed25519Signer) -> Report:
    return verify([directory.path], jwks=jwks_of(*keys))


async def test_the_old_key_names_the_new_one_and_the_first_key_alone_verifies_everything(directory: Directory) -> None:
    await ran(directory, FIRST)
    await ran(directory, SECOND, FIRST)
    await ran(directory, SECOND, FIRST)
    await ran(directory, THIRD, SECOND, FIRST)
    certificates = [record for record in records(directory) if record["event"] == "key_succeeded"]
    assert [record["kid"] for record in certificates] == [FIRST.kid, SECOND.kid]
    assert [record["successor"] for record in certificates] == [SECOND.jwk(), THIRD.jwk()]
    report = verified(directory, FIRST)
    assert (report.findings, report.remarks) == ([], [])
    assert (report.records, report.checkpoints) == (len(records(directory)), report.checkpoints)
    assert verified(directory, FIRST, SECOND, THIRD).findings == []


async def test_a_key_from_the_middle_does_not_vouch_for_what_came_before_it(directory: Directory) -> None:
    await ran(directory, FIRST)
    await ran(directory, SECOND, FIRST)
    findings = verified(directory, SECOND).findings
    assert findings[0].seq == 1
    assert "no key" in findings[0].fault


async def test_a_start_that_skips_a_key_is_certified_by_the_one_that_signed_last(directory: Directory) -> None:
    await ran(directory, FIRST)
    await ran(directory, THIRD, SECOND, FIRST)
    assert verified(directory, FIRST).findings == []


async def test_an_operator_may_go_back_to_a_former_key_if_the_one_in_between_says_so(directory: Directory) -> None:
    await ran(directory, FIRST)
    await ran(directory, SECOND, FIRST)
    await ran(directory, FIRST, SECOND)
    assert verified(directory, FIRST).findings == []


async def test_a_change_without_the_old_key_is_recorded_and_found_unless_the_reader_believes_the_new_one(
    directory: Directory,
) -> None:
    await ran(directory, FIRST)
    stopped_at = len(records(directory))
    await ran(directory, SECOND)
    change = records(directory)[stopped_at]
    assert (change["event"], change["kid"], change["key_before"]) == ("key_changed_uncertified", SECOND.kid, FIRST.kid)
    assert verified(directory, FIRST).findings[0].seq == stopped_at + 1
    believed = verified(directory, FIRST, SECOND)
    assert believed.findings == []
    assert (
        f"at sequence number {stopped_at + 1} the key {SECOND.kid} follows {FIRST.kid} without" in believed.remarks[0]
    )


async def test_half_a_certificate_is_written_anew_and_a_whole_one_is_not_doubled(directory: Directory) -> None:
    """A kill leaves any number of the bytes of the first append that the new key makes."""
    await ran(directory, FIRST)
    (path,) = directory.path.glob("audit-*.jsonl")
    notes = next(directory.path.glob("checkpoints-*.notes"))
    before, stated = path.read_bytes(), notes.read_bytes()
    await ran(directory, SECOND, FIRST)
    after = path.read_bytes()
    certificate = after.index(b"\n", len(before)) + 1
    for kept in (len(before), len(before) + 100, certificate - 1, certificate, certificate + 100):
        path.write_bytes(after[:kept])
        notes.write_bytes(stated)
        await ran(directory, SECOND, FIRST)
        assert verified(directory, FIRST).findings == [], kept
        assert [record["event"] for record in records(directory)].count("key_succeeded") == 1, kept


async def test_where_the_records_were_moved_away_the_last_checkpoint_says_whose_turn_it_was(
    directory: Directory,
) -> None:
    await ran(directory, FIRST)
    (path,) = directory.path.glob("audit-*.jsonl")
    away = path.rename(directory.path.parent / "archived.jsonl")
    await ran(directory, SECOND, FIRST)
    assert records(directory)[0]["event"] == "key_succeeded"
    assert verify([directory.path, away], jwks=jwks_of(FIRST)).findings == []


def forged(*turns: Callable[[Log], object]) -> Log:
    log = Log(signer=FIRST)
    for turn in turns:
        turn(log)
    return log.checkpoint()


def hand_over(log: Log, successor: Ed25519Signer, *, signer: Ed25519Signer | None = None) -> Log:
    log.signer = signer or log.signer
    event = succeeded(successor.jwk(), timestamp=NOON)
    log.append(event)
    log.signer = successor
    return log


def by(signer: Ed25519Signer) -> Callable[[Log], object]:
    def turn(log: Log) -> None:
        log.signer = signer
        log.add(2)

    return turn


@pytest.mark.parametrize(
    ("log", "pinned", "bad", "why"),
    [
        # No certificate, though the reader knows both keys: old keys are published, and one may have been found.
        (forged(by(FIRST), by(SECOND)), (FIRST, SECOND), 3, "did not name it"),
        # A key that was succeeded goes on.
        (forged(by(FIRST), lambda log: hand_over(log, SECOND).add(2), by(FIRST)), (FIRST, SECOND), 6, "did not name"),
        # It goes on behind a record that says that the change is not certified.
        (
            forged(
                by(FIRST),
                lambda log: hand_over(log, SECOND).add(2),
                lambda log: setattr(log, "signer", FIRST) or log.append(changed_uncertified("x", timestamp=NOON)),
            ),
            (FIRST, SECOND),
            6,
            "was succeeded before",
        ),
        # A stranger certifies itself, and a stranger says that it follows.
        (forged(by(FIRST), lambda log: hand_over(log, THIRD, signer=THIRD)), (FIRST,), 3, "no key"),
        (
            forged(
                by(FIRST),
                lambda log: setattr(log, "signer", THIRD) or log.append(changed_uncertified("x", timestamp=NOON)),
            ),
            (FIRST,),
            3,
            "no key",
        ),
        # The key that was named is not the one that goes on.
        (forged(by(FIRST), lambda log: hand_over(log, SECOND), by(THIRD)), (FIRST, THIRD), 4, "did not name it"),
    ],
)
def test_a_key_whose_turn_it_is_not_is_found_and_its_first_record_named(
    directory: Directory, log: Log, pinned: tuple[Ed25519Signer, ...], bad: int, why: str
) -> None:
    directory.put(log)
    finding = verified(directory, *pinned).findings[0]
    assert finding.seq == bad
    assert why in finding.fault


def test_a_certificate_in_one_instance_s_log_counts_in_no_other_s(directory: Directory) -> None:
    directory.put(forged(by(FIRST), lambda log: hand_over(log, SECOND).add()))
    other = Log(signer=SECOND, instance="host-2").add(2).checkpoint()
    directory.put(other)
    (finding, *_) = verified(directory, FIRST).findings
    assert (finding.path.name, finding.seq) == ("audit-host-2.jsonl", 1)
    assert "nothing here certifies" in finding.fault


@pytest.mark.parametrize("successor", [None, "text", {}, {"kty": "OKP"}, {**SECOND.jwk(), "kid": THIRD.kid}])
def test_a_successor_that_is_no_key_certifies_nobody(directory: Directory, successor: object) -> None:
    log = Log(signer=FIRST).add()
    event = succeeded(SECOND.jwk(), timestamp=NOON)
    event.details["successor"] = successor
    log.append(event)
    log.signer = SECOND
    directory.put(log.add().checkpoint())
    assert verified(directory, FIRST).findings[0].seq == 3


def test_signers_come_in_the_order_of_their_master_keys() -> None:
    assert [signer.kid for signer in signers_of([MASTER, bytes(32)])] == [
        signer_of(MASTER).kid,
        signer_of(bytes(32)).kid,
    ]
