"""How directories keep people and groups: by distinguished names (OpenLDAP, FreeIPA, 389) or by SIDs (Active Directory).

Every comparison that counts is exact. A directory that folds case may find an entry all the same: then it is not the one. And
it must be the only one: which of two is meant, nobody can say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from broker.authn import ldap, pac
from broker.authn.ldap import Connection, Entry
from broker.core.errors import DirectoryUnavailable
from broker.core.principal import Principal

# Groups in groups in groups: beyond these somebody has to look at the directory. Windows gives up at 1,015 (KB 328889).
_DEPTH_MAX = 10
_GROUPS_MAX = 1_000
# So many names in one filter.
_ASKED_AT_ONCE = 50

_GROUP_CLASSES = ("groupOfNames", "groupOfUniqueNames", "groupOfMembers", "posixGroup")
# Attributes that hold a principal as Kerberos prints it; the others hold its only component.
_WHOLE_PRINCIPAL = frozenset({"krbPrincipalName", "userPrincipalName"})


class Layout(Protocol):
    """How one kind of directory keeps people and groups. What it knows a group by is an opaque text."""

    @property
    def base(self) -> str:
        """The entry that everything is below."""

    async def memberships(self, connection: Connection, principal: Principal) -> frozenset[str]:
        """What somebody is in, groups of groups included; nothing for somebody it does not know."""

    async def groups(self, connection: Connection, names: frozenset[str]) -> dict[str, str]:
        """Those of the names that exist, each with what the directory knows it by."""


@dataclass(frozen=True, slots=True)
class ByDistinguishedName:
    """OpenLDAP, FreeIPA, 389: ``groupOfNames`` and its kin (RFC 4519), and ``posixGroup`` (RFC 2307)."""

    base: str
    user_attribute: str = "krbPrincipalName"

    async def memberships(self, connection: Connection, principal: Principal) -> frozenset[str]:
        """See ``Layout``. Upwards from the person, a search a level."""
        user = await _user(connection, self.base, self.user_attribute, principal, "uid")
        if user is None:
            return frozenset()
        asked = [ldap.equal("memberUid", uid) for uid in _texts(user, "uid")]
        found: set[str] = set()
        level = {user.dn}
        for _ in range(_DEPTH_MAX):
            asked += [ldap.equal(attribute, dn) for dn in sorted(level) for attribute in ("member", "uniqueMember")]
            level = await self._named(connection, asked) - found
            if not level:
                return frozenset(found)
            found |= level
            asked = []
            if len(found) > _GROUPS_MAX:
                break
        raise DirectoryUnavailable("groups too many or too deep", reason="directory_limit")

    async def groups(self, connection: Connection, names: frozenset[str]) -> dict[str, str]:
        """See ``Layout``."""
        is_group = ldap.any_of(ldap.equal("objectClass", name) for name in _GROUP_CLASSES)
        entries = await _called(connection, self.base, is_group, "cn", names, "cn")
        return {name: entry.dn for name, entry in entries.items()}

    async def _named(self, connection: Connection, asked: list[bytes]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(asked), _ASKED_AT_ONCE):
            criterion = ldap.any_of(asked[start : start + _ASKED_AT_ONCE])
            entries = await connection.search(self.base, ldap.SUBTREE, criterion, ldap.NO_ATTRIBUTES)
            found |= {entry.dn for entry in entries}
        return found


@dataclass(frozen=True, slots=True)
class BySid:
    """Active Directory. Only groups of the domain itself count (SID filtering, MS-PAC section 4.1.2.2)."""

    base: str
    domain_sid: str
    user_attribute: str = "sAMAccountName"

    async def memberships(self, connection: Connection, principal: Principal) -> frozenset[str]:
        """See ``Layout``. The domain resolves groups in groups itself (``tokenGroups``, MS-ADTS section 3.1.1.4.5.19)."""
        user = await _user(connection, self.base, self.user_attribute, principal)
        if user is None:
            return frozenset()
        entries = await connection.search(user.dn, ldap.BASE, ldap.ANYTHING, ["tokenGroups"])
        return frozenset(sid for entry in entries for sid in self._own(entry.values("tokenGroups")))

    async def groups(self, connection: Connection, names: frozenset[str]) -> dict[str, str]:
        """See ``Layout``."""
        is_group = ldap.equal("objectClass", "group")
        entries = await _called(connection, self.base, is_group, "sAMAccountName", names, "objectSid")
        return {name: sid for name, entry in entries.items() for sid in self._own(entry.values("objectSid"))}

    def _own(self, values: Iterable[bytes]) -> list[str]:
        return [sid for sid in map(_sid, values) if sid is not None and pac.within(self.domain_sid, sid)]


async def _user(connection: Connection, base: str, attribute: str, principal: Principal, *wanted: str) -> Entry | None:
    """The one entry of somebody.

    Raises:
        DirectoryUnavailable: There are several: which one is meant, nobody can say.
    """
    if attribute in _WHOLE_PRINCIPAL:
        value = str(principal)
    elif len(principal.components) == 1:
        value = principal.components[0]
    else:
        return None  # alice/admin is not alice.
    entries = await connection.search(base, ldap.SUBTREE, ldap.equal(attribute, value), [attribute, *wanted])
    if len(entries) > 1:
        raise DirectoryUnavailable(f"several entries with one {attribute}", reason="directory_ambiguous")
    return next((entry for entry in entries if value in _texts(entry, attribute)), None)


async def _called(
    connection: Connection, base: str, criterion: bytes, attribute: str, names: frozenset[str], *wanted: str
) -> dict[str, Entry]:
    """The entries of these names, each exactly so called and the only one that might be meant.

    Raises:
        DirectoryUnavailable: Two share a name, be it in another case.
    """
    is_called = ldap.any_of(ldap.equal(attribute, name) for name in sorted(names))
    entries = await connection.search(base, ldap.SUBTREE, ldap.all_of(criterion, is_called), {attribute, *wanted})
    found = {}
    for name in names:
        alike = [entry for entry in entries if name.lower() in {text.lower() for text in _texts(entry, attribute)}]
        if len(alike) > 1:
            raise DirectoryUnavailable(f"several groups are called {name}", reason="directory_ambiguous")
        if alike and name in _texts(alike[0], attribute):
            found[name] = alike[0]
    return found


def _texts(entry: Entry, attribute: str) -> tuple[str, ...]:
    # What is not UTF-8 equals no name; the replacement character is in none.
    return tuple(value.decode(errors="replace") for value in entry.values(attribute))


def _sid(value: bytes) -> str | None:
    """A SID as text (MS-DTYP section 2.4.2.2): revision, count, six octets of authority, sub-authorities."""
    if len(value) < 8 or len(value) != 8 + 4 * value[1]:  # noqa: PLR2004
        return None
    parts = struct.unpack_from(f"<{value[1]}I", value, 8)
    return "-".join(["S", str(value[0]), str(int.from_bytes(value[2:8])), *map(str, parts)])
