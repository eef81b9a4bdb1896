"""Rows of requests and approvals: what opens as what, and what a set of them comes to, in whatever order they are found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authz.elevation import REQUEST, Approval, Request, Rows, State, standing
from broker.core.birth import Birth
from broker.core.elevation import person_named
from broker.core.roles import RoleName
from broker.core.scope import ScopeName
from broker.keys.envelope import Envelope

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROWS = Rows(envelope=Envelope(keys=[b"k" * 32]), name_key=b"n" * 32)
ALICE = person_named(("alice",), "R")
ASKED = Request(
    id="0" * 32,
    user="alice@R",
    person=ALICE,
    role=RoleName("admin"),
    scope=ScopeName("small"),
    rule="prod",
    terms="t" * 64,
    reason="INC-1: ünd",
    asked=NOW,
    duration=30 * MINUTE,
    needed=2,
    epoch=7,
    birth=Birth("b" * 16, 1000.5),
)


def approval(name: str = "bob", *, after: timedelta = MINUTE, epoch: int = 7) -> Approval:
    return Approval(user=f"{name}@R", person=person_named((name,), "R"), at=NOW + after, epoch=epoch, birth=None)


def stands(*approvals: Approval, request: Request = ASKED, now: timedelta = 5 * MINUTE, ended: bool = False) -> State:
    found = standing(request, approvals, now=NOW + now, epoch=lambda _: 7, is_ended=lambda *_: ended)
    return found.state


def kept(request: Request, *approvals: Approval) -> dict[bytes, bytes]:
    rows = {REQUEST: ROWS.seal_request(request)}
    return rows | {ROWS.approval_name(one.person): ROWS.seal_approval(request, one) for one in approvals}


def test_rows_open_as_what_was_sealed() -> None:
    assert ROWS.opened(ASKED.id, kept(ASKED, approval(), approval("carol"))) == (
        ASKED,
        [approval(), approval("carol")],
    )


def test_an_approval_opens_for_no_other_request_and_under_no_other_name() -> None:
    other = replace(ASKED, id="1" * 32)
    stolen = kept(ASKED, approval())
    moved = kept(other) | {name: row for name, row in stolen.items() if name != REQUEST}
    assert ROWS.opened(other.id, moved) == (other, [])
    (name,) = (name for name in stolen if name != REQUEST)
    doubled = {**stolen, ROWS.approval_name(approval("carol").person): stolen[name], b"by-x": stolen[REQUEST]}
    assert ROWS.opened(ASKED.id, doubled) == (ASKED, [approval()])


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(1, 255))
def test_no_altered_row_opens(junk: bytes, place: int, bits: int) -> None:
    row = bytearray(ROWS.seal_request(ASKED))
    row[place % len(row)] ^= bits
    assert ROWS.opened(ASKED.id, {REQUEST: bytes(row)}) is None
    assert ROWS.opened(ASKED.id, {REQUEST: junk}) is None
    assert ROWS.opened("1" * 32, kept(ASKED)) is None
    assert ROWS.opened(ASKED.id, {}) is None


@pytest.mark.parametrize(
    ("approvals", "state"),
    [
        ([], State.PENDING),
        ([approval()], State.PENDING),
        ([approval(), approval(after=2 * MINUTE)], State.PENDING),
        ([approval(), approval("alice")], State.PENDING),
        ([approval(), approval("carol")], State.OPEN),
        ([approval(), approval("carol", epoch=6)], State.PENDING),
        ([approval(), approval("carol", after=timedelta(hours=1))], State.PENDING),
        ([approval(), approval("carol", after=-6 * MINUTE)], State.PENDING),
        ([approval(), approval("carol", after=11 * MINUTE)], State.PENDING),
    ],
    ids=["none", "one", "one twice", "oneself", "two", "revoked since", "too late", "before", "from the future"],
)
def test_so_many_others_in_time_open_it(approvals: list[Approval], state: State) -> None:
    assert stands(*approvals) == stands(*reversed(approvals)) == state


@given(st.lists(st.sampled_from(["bob", "carol", "dave", "alice"]), max_size=6), st.integers(1, 4))
def test_approvals_are_counted_by_people_and_losing_one_never_opens_anything(names: list[str], needed: int) -> None:
    request = replace(ASKED, needed=needed)
    given_ = [approval(name, after=place * timedelta(seconds=1)) for place, name in enumerate(names)]
    is_open = stands(*given_, request=request) is State.OPEN
    assert is_open == (len({*names} - {"alice"}) >= needed)
    assert is_open or all(stands(*given_[:n], *given_[n + 1 :], request=request) is State.PENDING for n in range(6))


def test_it_ends_so_long_after_the_approval_that_opened_it() -> None:
    both = approval(), approval("carol", after=10 * MINUTE)
    assert stands(*both, now=40 * MINUTE - timedelta(seconds=1)) is State.OPEN
    assert stands(*both, now=40 * MINUTE) is State.ENDED
    assert stands(*both, approval("dave", after=20 * MINUTE), now=40 * MINUTE) is State.ENDED


def test_a_denial_beats_everything_and_a_clock_that_was_put_back_opens_nothing() -> None:
    both = approval(), approval("carol")
    assert stands(*both, ended=True) is State.DENIED
    assert stands(*both, now=-6 * MINUTE) is State.VOID
    assert stands(*both, request=replace(ASKED, epoch=6)) is State.VOID
