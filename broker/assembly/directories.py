"""The directories that are asked for groups."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import partial

from broker.authn.directory import Directories, Directory, names_in
from broker.authn.initiator import Initiator
from broker.authn.keytab import AcceptorKeys
from broker.authn.layout import ByDistinguishedName, BySid, Layout
from broker.authn.ldap import Connection
from broker.authn.pac import within
from broker.config.model import Settings
from broker.config.realms import Ldap
from broker.core.clock import Clock


def directories_of(settings: Settings, *, keys: AcceptorKeys, clock: Clock) -> Directories:
    """Of the realms whose groups some rule names; the others have nothing to be asked."""
    groups = {group for rule in settings.rules for group in rule.groups}
    found = {}
    for realm, options in settings.kerberos.realms.items():
        wanted = names_in(realm, groups)
        has_sids = options.domain_sid is not None and any(within(options.domain_sid, group) for group in groups)
        if options.ldap is not None and (wanted or has_sids):
            found[realm] = Directory(
                realm=realm,
                layout=_layout(options.ldap, options.domain_sid),
                wanted=wanted,
                connect=_connect(options.ldap, Initiator(keys=keys, realm=realm)),
                clock=clock,
            )
    return Directories(found)


def _layout(section: Ldap, domain_sid: str | None) -> Layout:
    if domain_sid is None:
        return ByDistinguishedName(section.base, section.user_attribute or "krbPrincipalName")
    return BySid(section.base, domain_sid, section.user_attribute or "sAMAccountName")


def _connect(section: Ldap, initiator: Initiator) -> Callable[[], Awaitable[Connection]]:
    is_tls = section.url.startswith("ldaps:")
    tls = ssl.create_default_context(cafile=str(section.ca) if section.ca else None) if is_tls else None
    return partial(Connection.open, section.url, tls=tls, initiator=initiator)
