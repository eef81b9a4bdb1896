"""The ledger: news merge to the same whatever way they come, and nothing old ever wins."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.revocation.ledger import EVERY_ROLE, LINGER, Entry, Kind, Ledger, Subject, decoded, encoded

ALICE, BOB = "alice@R", "bob@R"

subjects = st.one_of(
    st.just(Subject(Kind.EVERYBODY)),
    st.builds(Subject, st.just(Kind.USER), st.sampled_from([ALICE, BOB])),
    st.builds(Subject, st.just(Kind.CREDENTIALS), st.sampled_from([ALICE, BOB]), st.sampled_from([EVERY_ROLE, "dev"])),
    st.builds(Subject, st.just(Kind.SESSION), st.sampled_from([ALICE, BOB]), st.sampled_from(["s1", "s2"])),
    st.builds(Subject, st.just(Kind.AWS_DENY), st.sampled_from([ALICE, BOB]), st.sampled_from(["arn:1", "arn:2"])),
)
# Few stamps, so that they meet.
entries = st.builds(
    Entry,
    subject=subjects,
    stamp=st.integers(1, 4),
    held=st.booleans(),
    by=st.sampled_from(["", "root@R"]),
    until=st.sampled_from([0, 5]),
)
heaps = st.lists(entries, max_size=12)


def known(*heaps: Iterable[Entry]) -> list[Entry]:
    ledger = Ledger()
    for heap in heaps:
        ledger.take(heap)
    return sorted(ledger)


def revoked(kind: Kind, user: str = "", which: str = "", *, stamp: int, held: bool = True, until: int = 0) -> Entry:
    return Entry(subject=Subject(kind, user, which), stamp=stamp, held=held, by="root@R", until=until)


@given(heaps, heaps)
def test_merging_does_not_depend_on_the_order(one: list[Entry], other: list[Entry]) -> None:
    assert known(one, other) == known(other, one)


@given(heaps, heaps, heaps)
def test_merging_does_not_depend_on_who_heard_from_whom_first(a: list[Entry], b: list[Entry], c: list[Entry]) -> None:
    assert known(known(a, b), c) == known(a, known(b, c))


@given(heaps)
def test_hearing_the_same_twice_changes_nothing_and_is_no_news(heap: list[Entry]) -> None:
    ledger = Ledger(heap)
    turn = ledger.turn
    assert ledger.take(heap) == []
    assert ledger.turn == turn


@given(heaps, heaps)
def test_no_news_lower_an_epoch(old: list[Entry], news: list[Entry]) -> None:
    ledger = Ledger(old)
    before = [(ledger.epoch(user), ledger.epoch_of_credentials(user)) for user in (ALICE, BOB)]
    ledger.take(news)
    after = [(ledger.epoch(user), ledger.epoch_of_credentials(user)) for user in (ALICE, BOB)]
    assert all(now >= then for pair in zip(after, before, strict=True) for now, then in zip(*pair, strict=True))


@given(heaps, st.integers(0, 10), st.sampled_from([ALICE, ""]))
def test_whatever_was_known_a_revocation_raises_the_epoch_of_whom_it_concerns(
    heap: list[Entry], now_ms: int, user: str
) -> None:
    ledger = Ledger(heap)
    before = ledger.epoch(ALICE)
    kind = Kind.USER if user else Kind.EVERYBODY
    ledger.take([revoked(kind, user, stamp=ledger.next_stamp(now_ms))])
    assert ledger.epoch(ALICE) > before


@given(heaps, heaps)
def test_a_revocation_of_one_heard_after_that_of_all_still_ends_what_was_made_in_between(
    old: list[Entry], other: list[Entry]
) -> None:
    """An instance whose clock is behind gives a stamp that is lower than another's: the epoch rises all the same."""
    ledger = Ledger([*old, revoked(Kind.USER, ALICE, stamp=1_000)])
    made = ledger.epoch(ALICE)
    news = ledger.take([*other, revoked(Kind.EVERYBODY, stamp=900)])
    assert ledger.epoch(ALICE) > made or not any(entry.subject.kind is Kind.EVERYBODY for entry in news)


@given(heaps)
def test_what_is_written_is_read_again(heap: list[Entry]) -> None:
    assert decoded(encoded(heap)) == heap


@given(heaps)
def test_two_that_know_the_same_have_one_digest_and_two_that_do_not_have_two(heap: list[Entry]) -> None:
    one, other = Ledger(heap), Ledger(reversed(heap))
    assert one.digest == other.digest
    other.take([revoked(Kind.USER, ALICE, stamp=99)])
    assert one.digest != other.digest


def test_a_revocation_concerns_nobody_else() -> None:
    ledger = Ledger([revoked(Kind.USER, ALICE, stamp=7), revoked(Kind.CREDENTIALS, ALICE, EVERY_ROLE, stamp=7)])
    assert (ledger.epoch(BOB), ledger.epoch_of_credentials(BOB), ledger.is_held(BOB)) == (0, 0, False)


def test_a_hold_on_one_role_leaves_the_others_and_the_sessions() -> None:
    ledger = Ledger([revoked(Kind.CREDENTIALS, ALICE, "dev", stamp=7)])
    assert ledger.is_held(ALICE, "dev")
    assert not ledger.is_held(ALICE, "ops")
    assert not ledger.is_held(ALICE)
    assert ledger.epoch(ALICE) == 0
    assert ledger.epoch_of_credentials(ALICE) > 0


def test_a_hold_on_every_role_holds_each() -> None:
    ledger = Ledger([revoked(Kind.CREDENTIALS, ALICE, EVERY_ROLE, stamp=7)])
    assert ledger.is_held(ALICE)
    assert ledger.is_held(ALICE, "dev")


def test_what_is_restored_is_free_and_what_was_cached_before_stays_dead() -> None:
    ledger = Ledger([revoked(Kind.CREDENTIALS, ALICE, EVERY_ROLE, stamp=7)])
    held = ledger.epoch_of_credentials(ALICE)
    ledger.take([revoked(Kind.CREDENTIALS, ALICE, EVERY_ROLE, stamp=8, held=False)])
    assert not ledger.is_held(ALICE)
    assert ledger.epoch_of_credentials(ALICE) > held


def test_of_a_revocation_and_a_restore_of_one_moment_the_revocation_counts() -> None:
    both = [revoked(Kind.CREDENTIALS, ALICE, EVERY_ROLE, stamp=7, held=held) for held in (True, False)]
    assert Ledger(both).is_held(ALICE)
    assert Ledger(reversed(both)).is_held(ALICE)


def test_a_clock_that_was_put_back_makes_no_stamp_twice_and_none_below() -> None:
    ledger = Ledger([revoked(Kind.USER, ALICE, stamp=5_000)])
    assert [ledger.next_stamp(100), ledger.next_stamp(100), ledger.next_stamp(9_000)] == [5_001, 5_002, 9_000]


@pytest.mark.parametrize(
    "entry",
    [
        revoked(Kind.USER, ALICE, stamp=9),
        revoked(Kind.EVERYBODY, stamp=9),
        revoked(Kind.CREDENTIALS, ALICE, "dev", stamp=9),
    ],
    ids=lambda entry: entry.subject.kind,
)
def test_who_looks_again_sees_what_changed_meanwhile_for_them_and_only_that(entry: Entry) -> None:
    ledger = Ledger([revoked(Kind.USER, BOB, stamp=1)])
    since = ledger.turn
    assert not ledger.changed_since(since, ALICE)
    ledger.take([revoked(Kind.USER, BOB, stamp=2), revoked(Kind.SESSION, ALICE, "s1", stamp=3)])
    assert not ledger.changed_since(since, ALICE)
    ledger.take([entry])
    assert ledger.changed_since(since, ALICE)
    assert not ledger.changed_since(ledger.turn, ALICE)


OVER = int(LINGER.total_seconds())


def test_an_ended_session_is_remembered_for_some_hours_longer_than_it_would_have_lived() -> None:
    """The wall clock may be set ahead and back again in between."""
    ledger = Ledger([revoked(Kind.SESSION, ALICE, "s1", stamp=1, until=100), revoked(Kind.USER, ALICE, stamp=2)])
    ledger.forget(99 + OVER)
    assert ledger.is_ended(ALICE, "s1")
    assert not ledger.is_ended(BOB, "s1")
    assert ledger.ended_sessions(ALICE) == 1
    ledger.forget(100 + OVER)
    assert not ledger.is_ended(ALICE, "s1")
    assert ledger.ended_sessions(ALICE) == 0
    assert ledger.epoch(ALICE) == 2


# ---- denies at AWS ----

WANTED = revoked(Kind.AWS_DENY, ALICE, "arn:1", stamp=7, until=100)
GONE = revoked(Kind.AWS_DENY, ALICE, "arn:1", stamp=8, held=False, until=200)


def test_a_deny_is_owed_until_it_was_taken_away_however_late_that_is() -> None:
    ledger = Ledger([WANTED])
    ledger.forget(10**9)
    assert ledger.denies == list(ledger) == [WANTED]
    ledger.take([GONE])
    assert ledger.denies == []
    ledger.take([WANTED])
    assert ledger.denies == [], "an old dump brings back nothing"
    ledger.forget(199 + OVER)
    assert list(ledger) == [GONE]
    ledger.forget(200 + OVER)
    assert list(ledger) == []


def test_what_lies_at_aws_ends_nothing_of_anybodys_here() -> None:
    """Above all not when it is taken away, hours later, in the middle of somebody's request."""
    ledger = Ledger([revoked(Kind.USER, ALICE, stamp=1)])
    before = ledger.epoch(ALICE), ledger.epoch_of_credentials(ALICE), ledger.turn
    for entry in (WANTED, GONE):
        ledger.take([entry])
        assert (ledger.epoch(ALICE), ledger.epoch_of_credentials(ALICE), ledger.turn) == before
        assert not ledger.changed_since(before[2], ALICE)
        assert not ledger.is_held(ALICE, "arn:1")


def test_instances_are_in_step_when_they_know_the_same_denies_and_whoever_forgot_sooner_is_too() -> None:
    none, wanted, gone = Ledger(), Ledger([WANTED]), Ledger([WANTED, GONE])
    assert wanted.digest != none.digest
    assert gone.digest == none.digest
    wanted.take([GONE])
    assert wanted.digest == none.digest
