"""Reads what Active Directory says of a user in his ticket: his groups, and which services came in his name.

They are KERB_VALIDATION_INFO (MS-PAC section 2.5) and S4U_DELEGATION_INFO (section 2.9). MIT's acceptor has verified the KDC's
signature before it hands these bytes out (name attributes ``urn:mspac:logon-info`` and ``urn:mspac:delegation-info``,
authenticated), so what stands here is the directory's word. The reader trusts it with nothing else: every length is checked
against the bytes that are there, every count has a limit, and the only exception that leaves is ``MalformedPac``.

The bytes are NDR (DCE 1.1 RPC, chapter 14) behind the headers of type serialisation version 1 (MS-RPCE section 2.2.6): first
the members of the structure; then, in the same order and each aligned, what their pointers point to. The pointers are unique
ones: of a referent id only zero or not zero means anything.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NoReturn

# The KDC made this ticket for a service that asked for it in the user's name; the user showed no key (S4U2Self,
# MS-SFU section 3.2.5.1.2).
SERVICE_ASSERTED_IDENTITY = "S-1-18-2"

# The header that carries the ticket is at most 131,072 bytes of base64, so no PAC that arrives is larger.
_BYTES_MAX = 131_072
# Windows logs nobody on who is in more than 1,015 groups (Microsoft KB 328889); other KDCs have no such limit.
_GROUPS_MAX = 4_096
# One service that appears as a user is the rule, and each has a name that fits into a record.
_TRANSITED_MAX = 16
_SERVICE_NAME_MAX = 256
# MS-DTYP section 2.4.2.2.
_SID_REVISION = 1
_SUB_AUTHORITIES_MAX = 15
_DECIMAL_AUTHORITY_END = 1 << 32

# Version 1, little-endian, 8 bytes, filler (MS-RPCE section 2.2.6.1); then the object's length and another filler.
_HEADERS = struct.Struct("<8sII")
_COMMON_HEADER = b"\x01\x10\x08\x00\xcc\xcc\xcc\xcc"
# MS-RPCE section 2.2.6.2: the object's length is a multiple of it.
_PADDING = 8

# Pointer to the structure; 6 times; 6 strings (length, maximum, pointer); 2 counters; user, primary group, group count,
# groups; flags, session key; 2 strings; domain; 40 bytes of times, counters and reserved members; the five on other domains.
_MEMBERS = struct.Struct("<I 48x 6I6I 4x 4I 20x 2I2I I 40x 5I")
# Pointer to the structure; target (lengths, pointer); services: count and pointer.
_DELEGATION = struct.Struct("<I 2I 2I")
_NUMBER = struct.Struct("<I")
_PAIR = struct.Struct("<II")  # RID or pointer to a SID, and attributes; or the lengths of a string and a pointer to it
_STRING = struct.Struct("<III")
_SID = struct.Struct("<IBB6s")

# MS-PAC section 2.2.1 and MS-DTYP SE_GROUP_ attributes: what is there only to deny must never allow.
_ENABLED = 0x0000_0004
_DENY_ONLY = 0x0000_0010


class MalformedPac(ValueError):
    """Not the structure that was asked for, or one that contradicts itself or is beyond the limits."""


@dataclass(frozen=True, slots=True)
class Logon:
    """Who logged on and what they are in, as SIDs in the string form of MS-DTYP section 2.4.2.1.

    ``account`` is the account's own name (sAMAccountName), whatever name it logged on by: a KDC of Active Directory takes names
    in any case, user principal names, and those of machines without their ``$``, and writes them into the ticket as they came.
    ``groups`` are all that count: of the user's domain, of other domains (trusts, SID history), and well-known ones,
    ``SERVICE_ASSERTED_IDENTITY`` among them. A SID may be matched only if it is ``within`` the realm's domain.
    """

    account: str
    domain_sid: str
    user_sid: str
    groups: frozenset[str]


def within(domain_sid: str, sid: str) -> bool:
    """Whether a SID is one of this domain: its SID and one RID more (SID filtering, MS-PAC section 4.1.2.2)."""
    return sid.rpartition("-")[0] == domain_sid


def groups(logon_info: bytes) -> Logon:
    """Read the logon information of a PAC. Nested groups are in it like direct ones: the KDC has resolved them.

    Args:
        logon_info: The value of the authenticated name attribute ``urn:mspac:logon-info``.

    Raises:
        MalformedPac: Not a whole, consistent KERB_VALIDATION_INFO within the limits.
    """
    ndr = _Ndr(logon_info)
    pointer, *members = ndr.take(_MEMBERS)
    user, primary, count, at = members[12:16]
    domain_at, sid_count, sids_at, resource_domain_at, resource_count, resources_at = members[20:]
    if not pointer or count + sid_count + resource_count > _GROUPS_MAX:
        _malformed("no structure, or too many groups")

    account = _text(ndr.string(*members[:2]))
    ndr.skip_strings(members[2:12])
    own = ndr.memberships(at, count)
    ndr.skip_strings(members[16:20])
    domain = ndr.sid(domain_at)
    extra = ndr.sids(sids_at, sid_count)
    resource_domain = ndr.sid(resource_domain_at) if resource_domain_at or resource_count else ""
    resource = ndr.memberships(resources_at, resource_count)
    ndr.end()

    # MS-PAC section 2.5, UserId: zero says that the account is the first of the extra SIDs.
    user_sid = f"{domain}-{user}" if user else (extra[0][0] if extra else _malformed("no user"))
    found = {f"{domain}-{primary}"}
    found.update([f"{domain}-{rid}" for rid, attributes in own if _counts(attributes)])
    # No attribute, nor UserFlags, which only repeats that there are such SIDs, may hide the mark of impersonation.
    found.update([sid for sid, attributes in extra if _counts(attributes) or sid == SERVICE_ASSERTED_IDENTITY])
    found.update([f"{resource_domain}-{rid}" for rid, attributes in resource if _counts(attributes)])
    return Logon(account=account, domain_sid=domain, user_sid=user_sid, groups=frozenset(found))


def transited(delegation_info: bytes) -> tuple[str, ...]:
    """The services that obtained a ticket in a user's name (S4U2Proxy), each after the one that it had the ticket from.

    Args:
        delegation_info: The value of the authenticated name attribute ``urn:mspac:delegation-info``.

    Raises:
        MalformedPac: Not a whole, consistent S4U_DELEGATION_INFO within the limits.
    """
    ndr = _Ndr(delegation_info)
    pointer, lengths, target_at, count, services_at = ndr.take(_DELEGATION)
    if not pointer or count > _TRANSITED_MAX:
        _malformed("no structure, or too many services")
    ndr.skip_strings([lengths, target_at])
    services = tuple(_service_name(ndr.string(*entry)) for entry in ndr.memberships(services_at, count))
    ndr.end()
    return services


def _text(encoded: bytes) -> str:
    try:
        return encoded.decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise MalformedPac("a name that is no text") from error


def _service_name(encoded: bytes) -> str:
    name = _text(encoded)
    if not 0 < len(name) <= _SERVICE_NAME_MAX or not name.isprintable():
        _malformed("an impossible name of a service")
    return name


def _counts(attributes: int) -> bool:
    return attributes & (_ENABLED | _DENY_ONLY) == _ENABLED


def _malformed(what: str) -> NoReturn:
    raise MalformedPac(what)


class _Ndr:
    """A cursor over one serialised object; alignments count from where the object begins."""

    def __init__(self, data: bytes) -> None:
        if not _HEADERS.size <= len(data) <= _BYTES_MAX:
            _malformed(f"{len(data)} bytes")
        common_header, length, _ = _HEADERS.unpack_from(data)
        if common_header != _COMMON_HEADER or length != len(data) - _HEADERS.size:
            _malformed("headers of something else")
        self._object = data[_HEADERS.size :]
        self._offset = 0

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        """The next numbers."""
        return layout.unpack(self._bytes(layout.size))

    def skip_strings(self, members: tuple[int, ...] | list[int]) -> None:
        """Pass over what RPC_UNICODE_STRINGs point to: nothing in them decides anything."""
        for lengths, pointer in zip(members[::2], members[1::2], strict=True):
            self.string(lengths, pointer)

    def string(self, lengths: int, pointer: int) -> bytes:
        """What one RPC_UNICODE_STRING points to: UTF-16, little-endian."""
        length, maximum = lengths & 0xFFFF, lengths >> 16
        if pointer and self.take(_STRING) != (maximum // 2, 0, length // 2):
            _malformed("a string with two lengths")
        if length % 2 or length > maximum or (length and not pointer):
            _malformed("an impossible string")
        text = self._bytes(length)
        self._align()
        return text

    def memberships(self, pointer: int, count: int) -> list[tuple[int, int]]:
        """An array of RIDs, or of pointers, with their attributes; or of strings with their lengths before."""
        if not pointer:
            return [] if not count else _malformed("a count without an array")
        if self.take(_NUMBER) != (count,):
            _malformed("an array with two counts")
        return list(_PAIR.iter_unpack(self._bytes(count * _PAIR.size)))

    def sids(self, pointer: int, count: int) -> list[tuple[str, int]]:
        """An array of SIDs with their attributes."""
        return [(self.sid(sid_at), attributes) for sid_at, attributes in self.memberships(pointer, count)]

    def sid(self, pointer: int) -> str:
        """A SID; whoever asks needs one."""
        if not pointer:
            _malformed("no SID")
        bound, revision, count, authority = _SID.unpack(self._bytes(_SID.size))
        if revision != _SID_REVISION or count != bound or count > _SUB_AUTHORITIES_MAX:
            _malformed("an impossible SID")
        number = int.from_bytes(authority, "big")
        printed = str(number) if number < _DECIMAL_AUTHORITY_END else f"0x{number:012X}"
        parts = struct.unpack(f"<{count}I", self._bytes(count * _NUMBER.size))
        return "-".join(("S", str(revision), printed, *map(str, parts)))

    def end(self) -> None:
        """Nothing but padding may follow."""
        if len(self._object) - self._offset >= _PADDING:
            _malformed("bytes behind the end")

    def _bytes(self, size: int) -> bytes:
        start, self._offset = self._offset, self._offset + size
        if self._offset > len(self._object):
            _malformed("cut short")
        return self._object[start : self._offset]

    def _align(self) -> None:
        self._offset += -self._offset % _NUMBER.size
