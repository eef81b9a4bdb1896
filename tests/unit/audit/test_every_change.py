"""Twenty records, and everything that can be done to them: each time `verify` fails and names the first that is bad."""

from __future__ import annotations

from itertools import combinations

import pytest

from broker.audit.chain import BrokenRecord, Head, check
from broker.audit.signer import signer_of
from broker.keys.signing import KeySet
from tests.fakes.audit import Directory, Log

COUNT = 20
OTHER_KEY = signer_of(bytes(32))


@pytest.fixture(autouse=True)
def _remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures found good are not computed again: same input, same answer, and hundreds of runs in a moment."""
    good = set()
    original = KeySet.verify_detached

    def once(self: KeySet, jws: str, *, kid: str, payload: bytes) -> None:
        if (jws, kid, payload) not in good:
            original(self, jws, kid=kid, payload=payload)
            good.add((jws, kid, payload))

    monkeypatch.setattr(KeySet, "verify_detached", once)


def a_log() -> Log:
    """Stated at the fourth, the tenth and the last."""
    return Log().add(4).checkpoint().add(6).checkpoint().add(COUNT - 10).checkpoint()


@pytest.fixture
def lines(directory: Directory) -> list[bytes]:
    directory.put(a_log())
    report = directory.verify()
    assert (report.findings, report.remarks, report.records, report.checkpoints) == ([], [], COUNT, 3)
    return a_log().lines


def first_bad(directory: Directory, lines: list[bytes]) -> int | None:
    directory.records(b"".join(line + b"\n" for line in lines))
    return directory.first_bad()


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_every_bit_of_every_record(directory: Directory, number: int) -> None:
    """7,000 flips a record. The records before it are as they were, so whether it is bad is a question to it alone.

    What a line feed does, made or unmade in the middle of a file, is the next test and `test_verify`.
    """
    keys, head = KeySet(jwks=directory.jwks), Head()
    *before, line = a_log().lines[:number]
    for each in before:
        _, head = check(each, after=head, keys=keys)
    for place in range(len(line)):
        for bit in range(8):
            with pytest.raises(BrokenRecord):
                check(line[:place] + bytes([line[place] ^ 1 << bit]) + line[place + 1 :], after=head, keys=keys)
    check(line, after=head, keys=keys)


def test_every_bit_of_every_line_feed(directory: Directory, lines: list[bytes]) -> None:
    for number in range(1, COUNT + 1):
        before = b"".join(line + b"\n" for line in lines[: number - 1])
        after = b"".join(line + b"\n" for line in lines[number:])
        for bit in range(8):
            directory.records(before + lines[number - 1] + bytes([0x0A ^ 1 << bit]) + after)
            assert directory.first_bad() == number


def test_each_record_deleted(directory: Directory, lines: list[bytes]) -> None:
    for index in range(COUNT):
        assert first_bad(directory, lines[:index] + lines[index + 1 :]) == index + 1


def test_each_record_swapped_with_each_other(directory: Directory, lines: list[bytes]) -> None:
    for one, other in combinations(range(COUNT), 2):
        swapped = lines.copy()
        swapped[one], swapped[other] = swapped[other], swapped[one]
        assert first_bad(directory, swapped) == one + 1


def test_each_record_doubled_at_each_place(directory: Directory, lines: list[bytes]) -> None:
    for index in range(COUNT):
        for place in range(COUNT + 1):
            # Before itself and behind itself is the same file: there the second is the wrong one.
            expected = place + 1 if place != index else index + 2
            assert first_bad(directory, [*lines[:place], lines[index], *lines[place:]]) == expected


def test_cut_at_each_line_and_in_the_middle_of_each(directory: Directory, lines: list[bytes]) -> None:
    for kept in range(COUNT):
        assert first_bad(directory, lines[:kept]) == kept + 1
        whole = b"".join(line + b"\n" for line in lines[:kept])
        for end in range(1, len(lines[kept]) + 1, 29):
            directory.records(whole + lines[kept][:end])
            assert directory.first_bad() == kept + 1
        directory.records(b"".join(line + b"\n" for line in lines[kept + 1 :]))
        assert directory.first_bad() == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Log().add(COUNT, role="administrator"), id="another log of the same instance"),
        pytest.param(Log(instance="host-2").add(COUNT), id="another instance"),
        pytest.param(Log(signer=OTHER_KEY).add(COUNT), id="another key"),
    ],
)
def test_spliced_from_elsewhere(directory: Directory, lines: list[bytes], other: Log) -> None:
    for place in range(COUNT):
        alone = [*lines[:place], other.lines[place], *lines[place + 1 :]]
        tail = [*lines[:place], *other.lines[place:]]
        inserted = [*lines[:place], other.lines[place], *lines[place:]]
        found = [first_bad(directory, bent) for bent in (alone, inserted, tail)]
        if place or other.signer is OTHER_KEY:
            assert found == [place + 1] * 3
        elif other.instance == "host-1":
            # Any first record of this instance could stand there: the next does not follow it, or a checkpoint saw another.
            assert found == [2, 2, 4]
        else:
            # The file is taken for that of the instance that it begins with; of ours the checkpoints miss the first.
            assert 1 in {finding.seq for finding in directory.verify().findings}
