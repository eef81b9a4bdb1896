"""Whatever is done to a log, `verify` finds it and names the first record that is not as it was written."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from broker.audit.chain import RECORD_MAX
from broker.audit.signer import signer_of
from broker.audit.verify import verify
from broker.keys.signing import KeySet, verify_ed25519
from tests.fakes.audit import Directory, Log

COUNT = 12


def a_log() -> Log:
    """Twelve records, a checkpoint after the fourth and after the tenth: the last two lie before no checkpoint."""
    return Log().add(4).checkpoint().add(6, success=False, reason="no_rule").checkpoint().add(2)


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures found good are not computed again: same input, same answer, and tens of thousands of runs in seconds."""
    good = set()
    original = KeySet.verify_detached

    def once(self: KeySet, jws: str, *, kid: str, payload: bytes) -> None:
        if (jws, kid, payload) not in good:
            original(self, jws, kid=kid, payload=payload)
            good.add((jws, kid, payload))

    monkeypatch.setattr(KeySet, "verify_detached", once)
    monkeypatch.setattr("broker.audit.note.verify_ed25519", functools.cache(verify_ed25519))


def flips(content: bytes) -> list[tuple[int, bytes]]:
    return [
        (place, content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        for place in range(len(content))
        for bit in range(8)
    ]


def test_an_untouched_log_is_good(directory: Directory) -> None:
    report = directory.put(a_log()).verify()
    assert (report.findings, report.remarks) == ([], [])
    assert (report.records, report.instances, report.checkpoints) == (COUNT, 1, 2)


@pytest.mark.usefixtures("remembered")
def test_a_flipped_bit_is_found_in_the_file_and_its_record_is_named(directory: Directory) -> None:
    """One bit of every ninth byte, each in its turn, and every bit that makes a line feed or unmakes one."""
    log = a_log()
    directory.put(log)
    content = log.records()
    for number, (place, flipped) in enumerate(flips(content)):
        sampled = place % 9 == 0 and number % 8 == place // 9 % 8
        if sampled or content[place] == 0x0A or flipped[place] == 0x0A:
            directory.records(flipped)
            assert directory.first_bad() == content.count(b"\n", 0, place) + 1, (place, flipped[place])


@pytest.mark.usefixtures("remembered")
def test_every_single_bit_of_every_checkpoint_counts(directory: Directory) -> None:
    log = Log().checkpoint().add().checkpoint()
    directory.put(log)
    assert not directory.verify().findings
    for place, flipped in flips(log.statements()):
        directory.statements(flipped)
        assert directory.verify().findings, place


def tampered(directory: Directory, change: Callable[[list[bytes]], list[bytes]]) -> int | None:
    log = a_log()
    directory.put(log)
    log.lines = change(log.lines)
    directory.records(log.records())
    return directory.first_bad()


@pytest.mark.parametrize("index", range(COUNT - 1))
def test_a_deleted_record_is_missed(directory: Directory, index: int) -> None:
    assert tampered(directory, lambda lines: lines[:index] + lines[index + 1 :]) == index + 1


@pytest.mark.parametrize("index", range(COUNT - 1))
def test_two_records_that_changed_places_are_found(directory: Directory, index: int) -> None:
    assert (
        tampered(directory, lambda lines: [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]])
        == index + 1
    )


@pytest.mark.parametrize("index", range(COUNT))
def test_a_record_that_stands_twice_is_found(directory: Directory, index: int) -> None:
    assert tampered(directory, lambda lines: [*lines[: index + 1], lines[index], *lines[index + 1 :]]) == index + 2


@pytest.mark.parametrize("kept", range(10))
def test_a_cut_behind_a_checkpoint_is_found_at_every_boundary(directory: Directory, kept: int) -> None:
    assert tampered(directory, lambda lines: lines[:kept]) == kept + 1


@pytest.mark.parametrize("kept", range(10))
def test_a_cut_in_the_middle_of_a_record_behind_a_checkpoint_is_found(directory: Directory, kept: int) -> None:
    log = a_log()
    directory.put(log)
    directory.records(b"".join(line + b"\n" for line in log.lines[:kept]) + log.lines[kept][:200])
    assert directory.first_bad() == kept + 1


def test_half_a_record_before_no_checkpoint_is_a_crash_and_only_a_note(directory: Directory) -> None:
    log = a_log()
    directory.put(log)
    directory.records(log.records()[:-1])
    report = directory.verify()
    assert (report.findings, report.records) == ([], COUNT - 1)
    assert "half a record" in report.remarks[0]


def test_half_of_the_first_record_is_a_crash_and_only_a_note(directory: Directory) -> None:
    directory.records(Log().add().records()[:100])
    report = directory.verify()
    assert (report.findings, report.records) == ([], 0)
    assert "half a record" in report.remarks[0]


def test_half_a_checkpoint_is_a_crash_and_no_finding(directory: Directory) -> None:
    log = a_log()
    directory.put(log)
    whole = log.statements()
    for end in range(len(log.checkpoints[0]) + 2, len(whole), 7):
        directory.statements(whole[:end])
        assert not directory.verify().findings, end


def test_a_file_that_lost_all_its_records_is_missed(directory: Directory) -> None:
    directory.put(a_log())
    directory.records(b"")
    assert directory.first_bad() == 1
    (directory.path / "audit-host-1.jsonl").unlink()
    assert directory.first_bad() == 1


def test_a_record_of_another_instance_does_not_fit(directory: Directory) -> None:
    other = Log(instance="host-2").add(COUNT)
    assert tampered(directory, lambda lines: [*lines[:5], other.lines[5], *lines[6:]]) == 6


def test_a_whole_file_of_another_instance_in_the_place_of_ours_is_found(directory: Directory) -> None:
    other = Log(instance="host-2").add(COUNT)
    directory.put(a_log())
    directory.records(other.records())
    assert directory.verify().findings


def test_a_chain_made_with_another_key_is_no_chain_of_ours(directory: Directory) -> None:
    forged = Log(signer=signer_of(bytes(32))).add(5).checkpoint()
    assert directory.put(forged).first_bad() == 1
    forged.checkpoints = a_log().checkpoints
    assert directory.put(forged).first_bad() == 1


def test_a_tail_made_anew_with_another_key_is_found_at_its_beginning(directory: Directory) -> None:
    log = Log().add(7)
    log.signer = signer_of(bytes(32))
    log.add(5)
    assert tampered(directory, lambda _: log.lines) == 8


def test_a_tail_made_anew_with_the_right_key_contradicts_the_checkpoint(directory: Directory) -> None:
    """Whoever has the key can sign anything, but not what a checkpoint outside their reach has seen."""
    other = Log().add(3).add(9, role="administrator")
    assert tampered(directory, lambda _: other.lines) == 4


def test_a_missing_checkpoint_file_is_a_finding_in_a_directory_and_a_note_for_a_single_file(
    directory: Directory,
) -> None:
    directory.put(a_log())
    (directory.path / "checkpoints-host-1.notes").unlink()
    assert "no checkpoint" in directory.verify().findings[0].fault
    single = verify([directory.path / "audit-host-1.jsonl"], jwks=directory.jwks)
    assert single.findings == []
    assert "no checkpoint" in single.remarks[0]


def test_a_checkpoint_beside_a_single_file_is_used(directory: Directory) -> None:
    log = a_log()
    directory.put(log)
    path = directory.records(b"".join(line + b"\n" for line in log.lines[:3]))
    assert verify([path], jwks=directory.jwks).findings[0].seq == 4


def test_checkpoints_of_another_instance_are_none_of_ours(directory: Directory) -> None:
    directory.put(a_log())
    directory.statements(Log(instance="host-2").add(3).checkpoint().statements())
    assert "another instance" in directory.verify().findings[0].fault


def test_two_checkpoints_that_contradict_each_other_are_found(directory: Directory) -> None:
    log = a_log()
    other = Log().add(4, role="administrator").checkpoint()
    directory.put(log).statements(other.statements() + log.statements())
    assert directory.first_bad() == 4
    directory.statements(log.statements() + other.statements())
    assert "goes back from 10 records to 4" in directory.verify().findings[0].fault


def test_files_that_were_rotated_away_join_their_successors(directory: Directory) -> None:
    log = a_log()
    directory.put(log)
    (directory.path / "audit-host-1.jsonl-20260131").write_bytes(b"".join(line + b"\n" for line in log.lines[:7]))
    directory.records(b"".join(line + b"\n" for line in log.lines[7:]))
    report = directory.verify()
    assert (report.findings, report.records) == ([], COUNT)
    (directory.path / "audit-host-1.jsonl-20260131").unlink()
    assert directory.first_bad() == 1


def test_the_first_bad_record_of_a_successor_is_named_by_its_own_number(directory: Directory) -> None:
    log = a_log()
    directory.put(log)
    (directory.path / "audit-host-1.jsonl-20260131").write_bytes(b"".join(line + b"\n" for line in log.lines[:7]))
    directory.records(b"x" + b"".join(line + b"\n" for line in log.lines[7:]))
    assert directory.first_bad() == 8


def test_two_instances_in_one_directory_are_two_chains(directory: Directory) -> None:
    directory.put(a_log()).put(Log(instance="host-2").add(3).checkpoint())
    report = directory.verify()
    assert (report.findings, report.instances, report.records) == ([], 2, COUNT + 3)


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"{}\n", id="an empty object"),
        pytest.param(b"[" * 100_000 + b"\n", id="deep"),
        pytest.param(b'{"seq":1e999,"instance":"host-1"}\n', id="infinity"),
        pytest.param(b'{"seq":"\\ud800"}\n', id="half a surrogate pair"),
        pytest.param(b"\xff\xfe\x00\n", id="no UTF-8"),
        pytest.param(b'{"a":1,"a":2}\n', id="a member twice"),
        pytest.param(b"x" * (RECORD_MAX + 5) + b"\n", id="longer than any record"),
        pytest.param(b"x" * (RECORD_MAX + 5), id="longer than any record, without an end"),
    ],
)
def test_foreign_bytes_are_a_finding_wherever_they_stand(directory: Directory, foreign: bytes) -> None:
    log = a_log()
    directory.put(log)
    directory.records(foreign + log.records())
    assert directory.first_bad() == 1
    directory.records(b"".join([line + b"\n" for line in log.lines[:6]] + [foreign] + [log.lines[6]]))
    assert directory.first_bad() == 7


def test_a_record_of_another_life_of_the_same_instance_does_not_fit(directory: Directory) -> None:
    """The same key, the same name, the same number: only the hash of the record before it differs."""
    other = Log().add(COUNT, role="administrator")
    assert tampered(directory, lambda lines: [*lines[:5], other.lines[5], *lines[6:]]) == 6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b'":"', b'": "', id="a space"),
        pytest.param(b"developer", b"\\u0064eveloper", id="an escape"),
        pytest.param(b'{"access', b'{"seq":0,"access', id="a member twice"),
        pytest.param(b'"seq":11', b'"seq":11.0', id="another number"),
        pytest.param(b"}", b"}\r", id="a carriage return"),
    ],
)
def test_a_record_that_says_the_same_in_other_bytes_is_not_as_it_was_written(
    directory: Directory, old: bytes, new: bytes
) -> None:
    """The eleventh and twelfth stand before no checkpoint, so nothing but their own form tells."""
    respelt = [line.replace(old, new, 1) for line in a_log().lines[10:]]
    assert tampered(directory, lambda lines: lines[:10] + respelt) == 11
    assert tampered(directory, lambda lines: [*lines[:11], a_log().lines[11].replace(b":", b": ", 1)]) == 12
