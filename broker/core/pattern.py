"""How a rule names principals: literally, or with ``*`` for one whole component."""

from __future__ import annotations

from dataclasses import dataclass

from broker.core.principal import MalformedPrincipal, Principal

WILDCARD = "*"

# First components that name a machine's or the realm's own services. A wildcard never stands beside one: `host/*` would
# hand a person's role to every machine, and `*/admin` must not reach `krbtgt/admin`.
SERVICE_NAMES = frozenset(
    {"HTTP", "afs", "cifs", "dns", "ftp", "host", "imap", "kadmin", "kiprop", "krbtgt", "ldap", "nfs", "pop", "postgres",
     "smtp", "WELLKNOWN"}
)  # fmt: skip

_FOLDED_SERVICE_NAMES = frozenset(map(str.lower, SERVICE_NAMES))


class UnsafePattern(ValueError):
    """Not a pattern, or one that would match more than anybody means: ``what`` is wrong with it, and the ``fix``."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} — fix: {fix}")
        self.what = what
        self.fix = fix


@dataclass(frozen=True, slots=True)
class PrincipalPattern:
    """``alice@REALM``, ``*@REALM``, ``*/admin@REALM``. The realm is always literal."""

    components: tuple[str, ...]
    realm: str

    @classmethod
    def parse(cls, text: str) -> PrincipalPattern:
        """Take a rule's text apart.

        Raises:
            UnsafePattern: No name@REALM, a ``*`` inside a component, in the realm, everywhere, or beside a service's name.
        """
        try:
            principal = Principal.parse(text)
        except MalformedPrincipal as error:
            raise UnsafePattern("is not a principal", "write name@REALM or name/instance@REALM") from error
        if "" in principal.components:
            raise UnsafePattern("has an empty component", "write name@REALM or name/instance@REALM")
        if WILDCARD in principal.realm or not principal.realm:
            raise UnsafePattern("names no realm", "write the realm out: rules never span realms")
        if any(WILDCARD in part and part != WILDCARD for part in principal.components):
            raise UnsafePattern("has a * inside a component", "let * stand for one whole component: *@R, */admin@R")
        if principal.components.count(WILDCARD) > 1:
            raise UnsafePattern("would match every service (host/..., krbtgt/...)", "name one component: */admin@R")
        if WILDCARD in principal.components and principal.components[0].lower() in _FOLDED_SERVICE_NAMES:
            raise UnsafePattern(f"would match every {principal.components[0]} service", "name each one")
        return cls(components=principal.components, realm=principal.realm)

    def __str__(self) -> str:
        """As it is written in a rule."""
        return str(Principal(self.components, self.realm))

    @property
    def is_literal(self) -> bool:
        """Whether it names one principal only."""
        return WILDCARD not in self.components

    def matches(self, principal: Principal) -> bool:
        """Whether the rule means this principal. A wildcard means people: never a service, never a machine account."""
        if principal.realm != self.realm or len(principal.components) != len(self.components):
            return False
        if not self.is_literal and _is_service(principal):
            return False
        pairs = zip(self.components, principal.components, strict=True)
        return all(wanted in (WILDCARD, component) for wanted, component in pairs)

    def names(self, literal: PrincipalPattern) -> bool:
        """Whether it means the one principal that a literal pattern names."""
        return literal.is_literal and self.matches(Principal(components=literal.components, realm=literal.realm))


def _is_service(principal: Principal) -> bool:
    """Whether a name is a service's or a machine's, told generously: who is one of these by mistake can be named in a rule."""
    first, *others = principal.components
    # Active Directory writes HOST where MIT writes host, and its machine accounts end in a dollar sign. Any service may run
    # on a host (RFC 4120 section 6.2.1), and what a person has behind the slash, such as admin, is no full host name.
    return first.lower() in _FOLDED_SERVICE_NAMES or first.endswith("$") or any("." in part for part in others)
