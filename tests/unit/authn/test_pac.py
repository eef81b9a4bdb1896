"""The PAC reader against frozen logon information: real tickets of a Samba domain, and one in the shape that Windows sends.

What each vector says is beside it in JSON, by the word of Samba's own reader (tests/vectors/pac/build.py).
"""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.authn import pac
from broker.authn.pac import SERVICE_ASSERTED_IDENTITY, Logon, MalformedPac, within

VECTORS = Path(__file__).parents[2] / "vectors" / "pac"
NAMES = ("one", "threehundred", "nested", "impersonated", "foreign")

DOMAIN = "S-1-5-21-397955417-626881126-188441444"
FOREIGN_DOMAIN = "S-1-5-21-1004336348-1177238915-682003330"

# Where members of KERB_VALIDATION_INFO stand in the bytes: 16 of headers, 4 of a pointer, then the structure.
LENGTH = 8
POINTER = 16
NAME_LENGTH, NAME_MAXIMUM, NAME = 68, 70, 72
USER_ID, GROUP_COUNT, GROUP_IDS, USER_FLAGS = 120, 128, 132, 136
DOMAIN_ID = 172
SID_COUNT, EXTRA_SIDS, RESOURCE_DOMAIN, RESOURCE_COUNT, RESOURCE_IDS = 216, 220, 224, 228, 232
BODY = 236

S_1_18_1 = bytes.fromhex("01000000 0101 000000000012 01000000")


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.ndr").read_bytes()


def patched(logon_info: bytes, offset: int, value: int, layout: str = "<I") -> bytes:
    changed = bytearray(logon_info)
    struct.pack_into(layout, changed, offset, value)
    return bytes(changed)


def cut(logon_info: bytes, size: int) -> bytes:
    """The first bytes only, behind a header that admits it."""
    return patched(logon_info[:size], LENGTH, size - POINTER)


def without(logon_info: bytes, start: int, end: int) -> bytes:
    """Without these bytes, behind a header that admits it."""
    shorter = logon_info[:start] + logon_info[end:]
    return cut(shorter, len(shorter))


def with_resource_groups(count: int) -> bytes:
    """`foreign` with so many resource groups: their array is the last thing in it."""
    memberships = b"".join(struct.pack("<II", 2_000 + number, 7) for number in range(count))
    longer = patched(FOREIGN[:RESOURCES], RESOURCE_COUNT, count) + struct.pack("<I", count) + memberships
    return cut(longer, len(longer))


FOREIGN = vector("foreign")
# Where the array of its resource groups begins; the SID of their domain, four parts, is right before it.
RESOURCES = FOREIGN.rindex(struct.pack("<III", 3, 1_401, 0x2000_0007))
SID_OF_FOUR = 28


def assert_malformed_or(expected: Logon, logon_info: bytes) -> None:
    try:
        found = pac.groups(logon_info)
    except MalformedPac:
        return
    assert found == expected


@pytest.mark.parametrize("name", NAMES)
def test_every_vector_reads_as_samba_reads_it(name: str) -> None:
    expected = json.loads((VECTORS / f"{name}.json").read_text())
    found = pac.groups(vector(name))
    assert (found.account, found.domain_sid, found.user_sid) == (
        expected["account"],
        expected["domain_sid"],
        expected["user_sid"],
    )
    assert found.groups == frozenset(expected["groups"])


def test_a_user_of_three_hundred_groups_has_them_all() -> None:
    own = {sid for sid in pac.groups(vector("threehundred")).groups if within(DOMAIN, sid)}
    assert len(own) == 301  # and Domain Users


def test_a_group_that_is_disabled_or_only_denies_is_no_group() -> None:
    found = pac.groups(vector("foreign")).groups
    assert {f"{DOMAIN}-1201", f"{FOREIGN_DOMAIN}-519", f"{FOREIGN_DOMAIN}-1401"} <= found
    denied = {f"{DOMAIN}-1202", f"{DOMAIN}-1203", f"{FOREIGN_DOMAIN}-520", f"{FOREIGN_DOMAIN}-1402"}
    assert not denied & found


def test_a_ticket_that_a_service_made_in_a_users_name_shows_it() -> None:
    impersonated, own = pac.groups(vector("impersonated")), pac.groups(vector("nested"))
    assert impersonated.user_sid == own.user_sid
    assert SERVICE_ASSERTED_IDENTITY in impersonated.groups
    assert SERVICE_ASSERTED_IDENTITY not in own.groups


def test_neither_flags_nor_attributes_hide_the_mark_of_impersonation() -> None:
    whole = vector("impersonated")
    attributes = (
        len(whole) - len(S_1_18_1) - 4
    )  # Its SID is the last thing, of the same length; its array is before it.
    assert whole[attributes] == 7
    hidden = patched(patched(whole, USER_FLAGS, 0), attributes, 0)
    assert SERVICE_ASSERTED_IDENTITY in pac.groups(hidden).groups


@pytest.mark.parametrize(
    ("sid", "inside"),
    [
        (f"{DOMAIN}-513", True),
        (f"{FOREIGN_DOMAIN}-513", False),
        (DOMAIN, False),
        (f"{DOMAIN}-513-1", False),
        (f"{DOMAIN}4-513", False),
        ("S-1-18-1", False),
        ("S-1-5-32-544", False),
    ],
)
def test_only_a_sid_of_the_domain_itself_is_within_it(sid: str, inside: bool) -> None:  # noqa: FBT001
    assert within(DOMAIN, sid) is inside


def test_an_account_without_a_rid_is_the_first_extra_sid() -> None:
    found = pac.groups(patched(vector("foreign"), USER_ID, 0))
    assert found.user_sid == "S-1-18-1"
    assert found.groups == pac.groups(vector("foreign")).groups


def test_an_account_without_any_sid_is_refused() -> None:
    nobody = patched(with_sids_removed(vector("one")), USER_ID, 0)
    with pytest.raises(MalformedPac, match="no user"):
        pac.groups(nobody)


def with_sids_removed(logon_info: bytes) -> bytes:
    """Without extra SIDs: in `one` they are the last thing, an array of one pair and one SID."""
    without = logon_info[: logon_info.rindex(S_1_18_1) - 12]
    return cut(patched(patched(without, SID_COUNT, 0), EXTRA_SIDS, 0), len(without))


def test_a_user_without_extra_sids_is_read() -> None:
    assert pac.groups(with_sids_removed(vector("one"))).groups == pac.groups(vector("one")).groups - {"S-1-18-1"}


def test_an_authority_beyond_32_bits_is_printed_in_hexadecimal() -> None:
    # MS-DTYP section 2.4.2.1
    long = S_1_18_1.replace(b"\0\0\0\0\0\x12", bytes.fromhex("0123456789ab"))
    assert "S-1-0x0123456789AB-1" in pac.groups(vector("foreign").replace(S_1_18_1, long)).groups


def with_longer_sid(parts: int) -> bytes:
    """`foreign` with a SID of 1, 2, 3 ... in the place of S-1-18-1."""
    sid = struct.pack("<IBB6s", parts, 1, parts, b"\0\0\0\0\0\5") + struct.pack(f"<{parts}I", *range(1, parts + 1))
    longer = vector("foreign").replace(S_1_18_1, sid)
    return cut(longer, len(longer))


def test_a_sid_of_fifteen_parts_is_read() -> None:
    assert "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15" in pac.groups(with_longer_sid(15)).groups


@pytest.mark.parametrize("offset", [POINTER, NAME, GROUP_IDS, DOMAIN_ID, EXTRA_SIDS, RESOURCE_DOMAIN, RESOURCE_IDS])
def test_which_referent_ids_were_chosen_means_nothing(offset: int) -> None:
    assert pac.groups(patched(vector("foreign"), offset, 0xFFFF_FFFF)) == pac.groups(vector("foreign"))


def test_as_many_groups_as_the_limit_are_read_and_one_more_is_not() -> None:
    others = 4 + 4  # memberships and extra SIDs of the vector
    assert len(pac.groups(with_resource_groups(4_096 - others)).groups) > 4_000
    with pytest.raises(MalformedPac, match="too many groups"):
        pac.groups(with_resource_groups(4_096 - others + 1))


def test_more_bytes_than_fit_into_a_header_are_not_looked_at() -> None:
    with pytest.raises(MalformedPac, match="131073 bytes"):
        pac.groups(bytes(131_073))


@pytest.mark.parametrize(
    "logon_info",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(FOREIGN[:16], id="headers only"),
        pytest.param(patched(FOREIGN, 0, 2, "B"), id="another version of the serialisation"),
        pytest.param(patched(FOREIGN, 1, 0, "B"), id="big-endian"),
        pytest.param(patched(FOREIGN, LENGTH, len(FOREIGN) - 24), id="a length that is too short"),
        pytest.param(patched(FOREIGN, LENGTH, 0xFFFF_FFF0), id="a length that is too long"),
        pytest.param(patched(FOREIGN, POINTER, 0), id="no structure"),
        pytest.param(patched(FOREIGN, NAME, 0), id="a name that no pointer leads to"),
        pytest.param(without(patched(FOREIGN, NAME, 0), BODY, BODY + 12), id="a name that is nowhere"),
        pytest.param(patched(patched(FOREIGN, NAME_LENGTH, 9, "<H"), BODY + 8, 4), id="a name of half characters"),
        pytest.param(patched(patched(FOREIGN, NAME_MAXIMUM, 8, "<H"), BODY, 4), id="a name beyond its maximum"),
        pytest.param(patched(FOREIGN, NAME_LENGTH, 8, "<H"), id="a name with two lengths"),
        pytest.param(patched(FOREIGN, NAME_MAXIMUM, 12, "<H"), id="a name with two maximum lengths"),
        pytest.param(patched(FOREIGN, BODY + 4, 1), id="a name that begins elsewhere"),
        pytest.param(patched(FOREIGN, GROUP_COUNT, 3), id="fewer groups than in the array"),
        pytest.param(patched(FOREIGN, GROUP_COUNT, 0xFFFF_FFFF), id="four thousand million groups"),
        pytest.param(patched(FOREIGN, GROUP_IDS, 0), id="groups that are nowhere"),
        pytest.param(patched(FOREIGN, DOMAIN_ID, 0), id="no domain"),
        pytest.param(patched(FOREIGN, SID_COUNT, 5), id="more SIDs than in the array"),
        pytest.param(patched(FOREIGN, EXTRA_SIDS, 0), id="SIDs that are nowhere"),
        pytest.param(
            without(patched(FOREIGN, RESOURCE_DOMAIN, 0), RESOURCES - SID_OF_FOUR, RESOURCES),
            id="resource groups of no domain",
        ),
        pytest.param(
            without(patched(FOREIGN, RESOURCE_IDS, 0), RESOURCES, len(FOREIGN)), id="resource groups that are nowhere"
        ),
        pytest.param(patched(FOREIGN, RESOURCE_COUNT, 0), id="resource groups that are not counted"),
        pytest.param(FOREIGN.replace(S_1_18_1, b"\2" + S_1_18_1[1:]), id="a SID with two lengths"),
        pytest.param(FOREIGN.replace(S_1_18_1, S_1_18_1[:4] + b"\2" + S_1_18_1[5:]), id="a SID of another revision"),
        pytest.param(with_longer_sid(16), id="a SID of 16 parts"),
        pytest.param(cut(FOREIGN + bytes(8), len(FOREIGN) + 8), id="bytes behind the end"),
    ],
)
def test_what_contradicts_itself_is_malformed(logon_info: bytes) -> None:
    with pytest.raises(MalformedPac):
        pac.groups(logon_info)


@pytest.mark.parametrize("name", NAMES)
def test_cut_off_anywhere_it_is_malformed(name: str) -> None:
    whole = vector(name)
    for size in range(len(whole)):
        with pytest.raises(MalformedPac):
            pac.groups(whole[:size])


@pytest.mark.parametrize("name", NAMES)
def test_cut_off_anywhere_with_a_header_that_fits_it_is_malformed_or_lacks_padding_only(name: str) -> None:
    whole = vector(name)
    for size in range(POINTER, len(whole)):
        assert_malformed_or(pac.groups(whole), cut(whole, size))


EDGES = (0, 1, 2, 7, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFC)


def test_ten_thousand_mutations_raise_nothing_else_than_malformed() -> None:
    chance = random.Random(20_260_722)  # noqa: S311 - repeatable on purpose
    originals = [vector(name) for name in NAMES]
    read = 0
    for _ in range(10_000):
        mutant = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 4)):
            # Most of what can go wrong is in the counts and pointers of the structure.
            at = chance.randrange(POINTER, BODY if chance.random() < 0.5 else len(mutant))
            if chance.random() < 0.5:
                mutant[at] ^= 1 << chance.randrange(8)
            else:
                mutant[at & ~3 : (at & ~3) + 4] = struct.pack("<I", chance.choice(EDGES))
        try:
            pac.groups(bytes(mutant))
        except MalformedPac:
            continue
        read += 1
    # Times, names and the session key may be anything: neither everything nor nothing is refused.
    assert 1_000 < read < 9_000


@settings(max_examples=500, deadline=None)
@given(name=st.sampled_from(NAMES), inserted=st.binary(max_size=64), data=st.data())
def test_bytes_put_in_or_over_raise_nothing_else_than_malformed(
    name: str, inserted: bytes, data: st.DataObject
) -> None:
    whole = vector(name)
    start = data.draw(st.integers(POINTER, len(whole)))
    end = data.draw(st.integers(start, min(start + 64, len(whole))))
    mutant = whole[:start] + inserted + whole[end:]
    try:
        found = pac.groups(cut(mutant, len(mutant)))
    except MalformedPac:
        return
    assert found.user_sid.startswith("S-1-")
    assert len(found.groups) <= 4_097


@given(st.binary(max_size=512))
def test_any_bytes_raise_nothing_else_than_malformed(anything: bytes) -> None:
    with pytest.raises(MalformedPac):
        pac.groups(anything)


DELEGATED = vector("delegated")
SERVICES = tuple(json.loads((VECTORS / "delegated.json").read_text()))
# Target (lengths, pointer), count and pointer of the services; the target's text; the array of services.
TARGET, SERVICE_COUNT, SERVICES_AT, ARRAY = 20, 28, 32, 76


def test_the_services_that_came_in_a_users_name_are_read_in_their_order() -> None:
    assert pac.transited(DELEGATED) == SERVICES


@pytest.mark.parametrize(
    "delegation_info",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(vector("one"), id="logon information"),
        pytest.param(patched(DELEGATED, POINTER, 0), id="no structure"),
        pytest.param(patched(DELEGATED, TARGET + 4, 0), id="a target that no pointer leads to"),
        pytest.param(patched(DELEGATED, SERVICE_COUNT, 1), id="fewer services than in the array"),
        pytest.param(patched(DELEGATED, SERVICE_COUNT, 0xFFFF_FFFF), id="four thousand million services"),
        pytest.param(patched(DELEGATED, SERVICES_AT, 0), id="services that are nowhere"),
        pytest.param(patched(DELEGATED, ARRAY, 0), id="a name that is empty"),
        pytest.param(DELEGATED.replace("ö".encode("utf-16-le"), b"\x00\xd8"), id="half a character"),
        pytest.param(DELEGATED.replace("ö".encode("utf-16-le"), b"\n\0"), id="a line feed"),
        pytest.param(DELEGATED.replace("ö".encode("utf-16-le"), b"\x2e\x20"), id="a turn of the writing"),
        pytest.param(cut(DELEGATED + bytes(8), len(DELEGATED) + 8), id="bytes behind the end"),
    ],
)
def test_a_delegation_that_contradicts_itself_is_malformed(delegation_info: bytes) -> None:
    with pytest.raises(MalformedPac):
        pac.transited(delegation_info)


def test_a_delegation_cut_off_anywhere_is_malformed_or_lacks_padding_only() -> None:
    for size in range(POINTER, len(DELEGATED)):
        try:
            assert pac.transited(cut(DELEGATED, size)) == SERVICES
        except MalformedPac:
            continue


def delegated(*services: str) -> bytes:
    """Written by hand: as many services as wished, each name of an even number of characters."""
    array = b"".join(struct.pack("<HHI", 2 * len(name), 2 * len(name), 1) for name in services)
    texts = b"".join(
        struct.pack("<III", len(name), 0, len(name)) + name.encode("utf-16-le") + bytes(-2 * len(name) % 4)
        for name in services
    )
    body = struct.pack("<IHHIII", 1, 0, 0, 0, len(services), 1) + struct.pack("<I", len(services)) + array + texts
    return DELEGATED[:LENGTH] + struct.pack("<II", len(body), 0) + body


@pytest.mark.parametrize("services", [("a" * 256,), ("HTTP/a",) * 16])
def test_as_many_services_and_as_long_names_as_the_limit_are_read_and_no_more(services: tuple[str, ...]) -> None:
    assert pac.transited(delegated(*services)) == services
    longer = (f"{services[0]}a",) if len(services) == 1 else (*services, services[0])
    with pytest.raises(MalformedPac):
        pac.transited(delegated(*longer))
