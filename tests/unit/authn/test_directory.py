"""What a directory's answers do, and what bytes that are no answers do; without a directory."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authn import directory as module
from broker.authn import ldap
from broker.authn.directory import Directories, Directory, names_in
from broker.authn.ldap import Connection
from broker.authz.policy import Policy, decide
from broker.core.errors import AccessDenied, DirectoryUnavailable, StepUpRequired
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Requirements, Rule

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALICE, BOB = Principal.parse("alice@EXAMPLE.COM"), Principal.parse("bob@EXAMPLE.COM")
DEVELOPER = RoleName("developer")


class HandClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return NOW

    def boottime(self) -> float:
        return self.seconds


class Book:
    """A directory as a table, which may fail or take its time; what it knows a group by is ``#NAME``."""

    base = "dc=example"

    def __init__(self, **members: set[str]) -> None:
        self.members = members
        self.prefix = "#"
        self.asked: list[str] = []
        self.connections = 0
        self.failure: DirectoryUnavailable | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def connect(self) -> Connection:
        self.connections += 1
        if self.failure is not None:
            raise self.failure
        return cast("Connection", SimpleNamespace(close=lambda: None))

    async def memberships(self, _: Connection, principal: Principal) -> frozenset[str]:
        self.asked.append(str(principal))
        await self.gate.wait()
        who = principal.components[0]
        return frozenset(f"{self.prefix}{name}" for name, members in self.members.items() if who in members)

    async def groups(self, _: Connection, names: frozenset[str]) -> dict[str, str]:
        self.asked.append("names")
        return {name: f"{self.prefix}{name}" for name in names if name in self.members}

    def open(self, *wanted: str, clock: HandClock | None = None) -> Directory:
        return Directory(
            realm="EXAMPLE.COM",
            layout=self,
            wanted=frozenset(wanted),
            connect=self.connect,
            clock=clock or HandClock(),
        )


def somebody(principal: Principal = ALICE, **other: Any) -> Identity:
    facts = {
        "ticket_end": NOW + timedelta(hours=8),
        "authenticated_at": NOW,
        "channel_bound": False,
        "indicators": frozenset(),
        "groups": frozenset(),
        "mutual_token": None,
    }
    return Identity(principal=principal, **(facts | other))


def names(groups: frozenset[str]) -> set[str]:
    return {group for group in groups if group.startswith("EXAMPLE.COM\\")}


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_only_names_that_rules_use_and_groups_somebody_is_in_come_back():
    book = Book(dev={"alice"}, ops={"bob"}, secret={"alice"})
    directory = book.open("dev", "ops", "gone")
    assert names(await directory.groups(ALICE, frozenset())) == {"EXAMPLE.COM\\dev"}
    assert names(await directory.groups(BOB, frozenset())) == {"EXAMPLE.COM\\ops"}


async def test_what_the_ticket_says_is_not_asked_again():
    book = Book(**{"S-1-dev": set()})
    book.prefix = ""
    assert await book.open("S-1-dev").groups(ALICE, frozenset({"S-1-dev"})) == {"S-1-dev", "EXAMPLE.COM\\S-1-dev"}
    assert book.asked == ["names"]


async def test_what_was_asked_for_a_session_is_asked_anew_and_forgotten_with_it():
    book, clock = Book(dev={"alice"}), HandClock()
    directories = Directories({"EXAMPLE.COM": book.open("dev", clock=clock)})
    kept = await directories.complete(somebody())
    assert names(kept.groups) == {"EXAMPLE.COM\\dev"}
    book.members["dev"].clear()
    clock.seconds += 6
    assert (await directories.complete(kept)).groups == frozenset()
    unsure = await unknown()
    assert (await directories.complete(unsure)).groups_unknown is None


async def test_who_goes_away_takes_no_others_answer_along():
    book = Book(dev={"alice"})
    book.gate.clear()
    directory = book.open("dev")
    hasty, patient = (asyncio.ensure_future(directory.groups(ALICE, frozenset())) for _ in range(2))
    await asyncio.sleep(0)
    hasty.cancel()
    book.gate.set()
    assert names(await patient) == {"EXAMPLE.COM\\dev"}
    assert book.asked == [str(ALICE), "names"]


async def test_a_failure_is_shared_for_a_second_and_then_tried_again():
    book, clock = Book(dev={"alice"}), HandClock()
    directory = book.open("dev", clock=clock)
    book.failure = DirectoryUnavailable(reason="directory_unreachable")
    for principal in (ALICE, BOB):
        with pytest.raises(DirectoryUnavailable) as refused:
            await directory.groups(principal, frozenset())
        assert refused.value.reason == "directory_unreachable"
    assert book.connections == 1
    book.failure = None
    clock.seconds += 1.1
    assert names(await directory.groups(ALICE, frozenset())) == {"EXAMPLE.COM\\dev"}


async def test_a_probe_does_not_repeat_that_all_was_well_after_a_failure(monkeypatch):
    book = Book(dev={"alice"})
    directory = book.open("dev")

    async def no_base(_: Connection) -> None:
        return None

    monkeypatch.setattr(directory, "_base", no_base)
    assert await directory.ping() is None
    book.failure = DirectoryUnavailable(reason="directory_tls")
    directory.close()
    with pytest.raises(DirectoryUnavailable):
        await directory.groups(ALICE, frozenset())
    assert await directory.ping() == "directory_tls"


async def test_only_so_many_answers_are_kept_and_the_oldest_go_first(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED_MAX", 3)
    book = Book(dev={"alice"})
    directory = book.open("dev")
    for number in range(10):
        await directory.groups(Principal((f"user{number}",), "EXAMPLE.COM"), frozenset())
    assert len(directory._answers) == 3
    book.asked.clear()
    await directory.groups(Principal(("user9",), "EXAMPLE.COM"), frozenset())
    assert str(Principal(("user9",), "EXAMPLE.COM")) not in book.asked


async def test_a_realm_is_never_folded_and_a_realm_without_a_directory_is_left_as_it_is():
    book = Book(dev={"alice"})
    directories = Directories({"EXAMPLE.COM": book.open("dev")})
    assert names((await directories.complete(somebody())).groups) == {"EXAMPLE.COM\\dev"}
    for realm in ("example.com", "EXAMPLE.COM.", "OTHER.EXAMPLE"):
        stranger = somebody(Principal(("alice",), realm))
        assert await directories.complete(stranger) == stranger


@pytest.mark.parametrize("name", ["dev", "a b", "x" * 256])
def test_a_rules_group_is_of_the_realm_before_its_backslash_and_of_no_other(name):
    groups = {f"EXAMPLE.COM\\{name}", f"XEXAMPLE.COM\\{name}", f"example.com\\{name}", "S-1-5-21-1-2-3-4"}
    assert names_in("EXAMPLE.COM", groups) == {name}


# --- decisions without an answer -------------------------------------------------------------------------------------


def policy(**rule: Any) -> Policy:
    facts: dict[str, Any] = {"principals": (), "groups": frozenset(), "networks": (), "require": Requirements()}
    role = Role(
        name=DEVELOPER,
        chain=(Hop(arn=RoleArn.parse("arn:aws:iam::111122223333:role/Developer"), external_id=None),),
        duration=timedelta(hours=1),
    )
    rules = [
        Rule(name="group", **(facts | {"groups": frozenset({"EXAMPLE.COM\\dev"})}), roles=frozenset({DEVELOPER})),
        Rule(name="person", **(facts | rule), roles=frozenset({DEVELOPER})),
    ]
    return Policy(roles={DEVELOPER: role}, rules=rules)


def decided(rules: Policy, identity: Identity, role: str = "developer") -> str:
    return decide(rules, identity=identity, role=RoleName(role), address=None, now=NOW).rule


async def unknown(principal: Principal = ALICE) -> Identity:
    book = Book()
    book.failure = DirectoryUnavailable(reason="directory_unreachable")
    return await Directories({"EXAMPLE.COM": book.open("dev")}).complete(somebody(principal))


async def test_unknown_groups_are_no_denial_and_no_permission_and_tell_nothing_of_roles():
    rules = policy(principals=(PrincipalPattern.parse("bob@EXAMPLE.COM"),))
    for role in ("developer", "no-such-role"):
        with pytest.raises(DirectoryUnavailable) as refused:
            decided(rules, await unknown(), role)
        assert refused.value.reason == "directory_unreachable"
    assert decided(rules, await unknown(BOB)) == "person"
    with pytest.raises(AccessDenied):
        decided(rules, somebody())


async def test_a_rule_by_name_that_wants_a_better_ticket_says_so_whatever_the_directory_does():
    patterns = (PrincipalPattern.parse("alice@EXAMPLE.COM"),)
    rules = policy(principals=patterns, require=Requirements(channel_binding=True))
    with pytest.raises(StepUpRequired):
        decided(rules, await unknown())


# --- bytes that are no answers ---------------------------------------------------------------------------------------


class Deaf:
    """A writer that nobody reads from."""

    transport = SimpleNamespace(abort=lambda: None)

    def write(self, data: bytes) -> None:
        self.written = data

    async def drain(self) -> None:
        pass


async def heard(answer: bytes) -> list[ldap.Entry]:
    """The outcome of a search that this is the answer to."""
    reader = asyncio.StreamReader()
    reader.feed_data(answer)
    reader.feed_eof()
    connection = Connection(reader, cast("asyncio.StreamWriter", Deaf()))
    return await connection.search("dc=example", ldap.SUBTREE, ldap.equal("uid", "alice"), ["uid"])


def message(operation: bytes, *, number: int = 1) -> bytes:
    return ldap._tlv(0x30, ldap._number(0x02, number), operation)


ENTRY = message(
    ldap._tlv(
        0x64,
        ldap._octets("cn=alice"),
        ldap._tlv(0x30, ldap._tlv(0x30, ldap._octets("UID"), ldap._tlv(0x31, ldap._octets("alice")))),
    )
)


def done(code: int, *, number: int = 1) -> bytes:
    return message(ldap._tlv(0x65, ldap._number(0x0A, code), ldap._octets(""), ldap._octets("why")), number=number)


async def test_entries_are_read_and_their_attributes_known_in_whatever_case():
    (entry,) = await heard(ENTRY + done(0))
    assert (entry.dn, entry.values("uid"), entry.values("Uid"), entry.values("cn")) == (
        "cn=alice",
        (b"alice",) * 1,
        (b"alice",),
        (),
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ENTRY, "directory_unreachable"),
        (ENTRY + done(4), "directory_limit"),
        (ENTRY + done(32), "directory_base_unknown"),
        (ENTRY + done(50), "directory_refused_us"),
        (ENTRY + done(80), "directory_result_80"),
        (done(0, number=2), "directory_unreachable"),
        (done(52, number=0), "directory_unreachable"),
        (b"", "directory_unreachable"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(80), "directory_malformed"),
        (b"\x30\x84\x7f\xff\xff\xff" + bytes(9), "directory_malformed"),
        (b"\x30\x80" + bytes(9), "directory_malformed"),
        (b"\x30\x85" + bytes(9), "directory_malformed"),
        (b"\x30\x00", "directory_malformed"),
        (message(ldap._tlv(0x64, b"\x04")), "directory_malformed"),
        (message(ldap._tlv(0x64, ldap._octets("cn=x"))), "directory_malformed"),
        (message(ldap._tlv(0x64, b"\x04\x01\xff", ldap._tlv(0x30))), "directory_malformed"),
        (message(ldap._tlv(0x65)), "directory_malformed"),
        (message(ldap._tlv(0x61, ldap._number(0x0A, 0))), "directory_malformed"),
    ],
)
async def test_whatever_is_no_complete_answer_is_an_error_with_its_reason(answer, reason):
    with pytest.raises(DirectoryUnavailable) as refused:
        await heard(answer)
    assert refused.value.reason == reason


@given(st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 255)), min_size=1, max_size=4))
def test_altered_answers_raise_nothing_but_the_one_error(changes):
    answer = bytearray(ENTRY + done(0))
    for place, value in changes:
        answer[place % len(answer)] = value

    async def hear() -> None:
        with contextlib.suppress(DirectoryUnavailable):
            await heard(bytes(answer))

    asyncio.run(hear())


@given(st.text(max_size=300), st.integers(-(2**40), 2**40))
def test_what_is_written_is_read_back_as_it_was(text, number):
    (first, second) = ldap._parts(ldap._octets(text) + ldap._number(0x02, number))
    assert first == (0x04, text.encode())
    assert int.from_bytes(second[1], signed=True) == number
