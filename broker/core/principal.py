"""A Kerberos identity, exact: components, realm and name type, never a folded or re-split string."""

from __future__ import annotations

import enum
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache


class NameType(enum.IntEnum):
    """RFC 4120 section 6.2, RFC 6111."""

    PRINCIPAL = 1
    SRV_INST = 2
    WELLKNOWN = 11


class MalformedPrincipal(ValueError):
    """The text is not the printed form of a principal."""


# krb5_unparse_name() quotes these, and only these, with a backslash.
_QUOTED = {"\\": "\\", "/": "/", "@": "@", "\n": "n", "\t": "t", "\b": "b", "\0": "0"}
_QUOTING = str.maketrans({char: "\\" + escape for char, escape in _QUOTED.items()})
_UNQUOTED = {escape: char for char, escape in _QUOTED.items()}

# STS: RoleSessionName and SourceIdentity are [\w+=,.@-]{2,64}.
SESSION_NAME_MAX = 64
_PLAIN_IN_SESSION_NAME = re.compile(r"[A-Za-z0-9_+.\-]")
_DIGEST_CHARS = 32  # 128 bits in hex
# Names are printed several times for each request, and mostly the same.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Two principals are the same only if every component, the realm and the name type are."""

    components: tuple[str, ...]
    realm: str
    name_type: NameType = NameType.PRINCIPAL

    def __str__(self) -> str:
        """The form that ``klist`` prints, quoting included, so that printing loses nothing."""
        return _printed(self.components, self.realm)

    @classmethod
    def parse(cls, text: str, *, name_type: NameType = NameType.PRINCIPAL) -> Principal:
        """The exact inverse of ``str()``.

        Args:
            text: As printed by krb5_unparse_name(), realm included.
            name_type: The printed form does not carry it.

        Raises:
            MalformedPrincipal: No realm, a dangling backslash, or more than one unquoted ``@``.
        """
        if "\\" not in text and text.count("@") == 1:
            # Nothing is quoted, as in nearly all: no need to go through it sign by sign.
            name, _, realm = text.partition("@")
            return cls(components=tuple(name.split("/")), realm=realm, name_type=name_type)
        parts = [""]
        separators = []
        chars = iter(text)
        for char in chars:
            if char == "\\":
                escape = next(chars, None)
                if escape is None or escape not in _UNQUOTED:
                    raise MalformedPrincipal(f"{text!r}: a backslash quotes nothing")
                parts[-1] += _UNQUOTED[escape]
            elif char in "/@":
                separators.append(char)
                parts.append("")
            else:
                parts[-1] += char
        # A slash behind the realm's @ is part of the realm (X.500 style names, RFC 4120 section 6.1).
        at = separators.index("@") if "@" in separators else -1
        if at < 0 or separators.count("@") > 1:
            raise MalformedPrincipal(f"{text!r}: expected name@REALM")
        realm = "/".join(parts[at + 1 :])
        return cls(components=tuple(parts[: at + 1]), realm=realm, name_type=name_type)

    @lru_cache(maxsize=_REMEMBERED)  # noqa: B019  # principals are values; so many at the most
    def session_name(self) -> str:
        """This principal as RoleSessionName and SourceIdentity; no two principals share one.

        ``/`` becomes ``,``; what STS does not allow becomes ``=`` and two hex digits a UTF-8 byte. What would be too long
        keeps its beginning and ends in ``==`` and 128 bits of SHA-256 over the whole: ``==`` occurs in no other name.
        """
        encoded = ",".join(map(_session_chars, self.components)) + "@" + _session_chars(self.realm)
        if self.name_type is not NameType.PRINCIPAL:
            encoded = f"=t{int(self.name_type)}-" + encoded
        if len(encoded) <= SESSION_NAME_MAX:
            return encoded
        digest = hashlib.sha256(encoded.encode()).hexdigest()[:_DIGEST_CHARS]
        return encoded[: SESSION_NAME_MAX - _DIGEST_CHARS - 2] + "==" + digest


def session_names(text: str) -> tuple[str, ...]:
    """Every ``session_name()`` that whoever is printed so may have had: one for each name type, the plain one first.

    Raises:
        MalformedPrincipal: The text is no principal.
    """
    return tuple(Principal.parse(text, name_type=name_type).session_name() for name_type in NameType)


def canonical(text: str) -> str:
    """A principal's printed form, exactly as ``str()`` gives it for whoever comes with a ticket.

    Raises:
        MalformedPrincipal: The text is no principal, or one with an empty part.
    """
    principal = Principal.parse(text)
    if "" in (*principal.components, principal.realm):
        raise MalformedPrincipal(f"{text!r}: a part is empty")
    return str(principal)


def is_printed_name(text: str) -> bool:
    """Whether ``Principal.parse`` takes it."""
    try:
        Principal.parse(text)
    except MalformedPrincipal:
        return False
    return True


@lru_cache(maxsize=_REMEMBERED)
def _printed(components: tuple[str, ...], realm: str) -> str:
    return "/".join(map(_quote, components)) + "@" + _quote(realm)


def _quote(part: str) -> str:
    return part.translate(_QUOTING)


def _session_chars(part: str) -> str:
    return "".join(
        char if _PLAIN_IN_SESSION_NAME.fullmatch(char) else "".join(f"={byte:02X}" for byte in char.encode())
        for char in part
    )
