"""The directories that are asked for groups."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import partial

from broker.authn.directory import Directories, Directory
from broker.authn.initiator import Initiator
from broker.authn.keytab import AcceptorKeys
from broker.authn.layout import ByDistinguishedName, BySid, Layout
from broker.authn.ldap import Connection
from broker.config.model import Settings
from broker.config.realms import Ldap
from broker.core.clock import Clock


def directories_of(settings: Settings, *, keys: AcceptorKeys, clock: Clock) -> Directories:
    """Of all realms that have one; those whose groups no rule names are asked nothing."""
    found = {
        realm: Directory(
            realm=realm,
            layout=_layout(options.ldap, options.domain_sid),
            wanted=frozenset(),
            connect=_connect(options.ldap, Initiator(keys=keys, realm=realm)),
            clock=clock,
            domain_sid=options.domain_sid,
        )
        for realm, options in settings.kerberos.realms.items()
        if options.ldap is not None
    }
    directories = Directories(found)
    directories.want(settings.groups_that_count)
    return directories


def _layout(section: Ldap, domain_sid: str | None) -> Layout:
    if domain_sid is None:
        return ByDistinguishedName(section.base, section.user_attribute or "krbPrincipalName")
    return BySid(section.base, domain_sid, section.user_attribute or "sAMAccountName")


def _connect(section: Ldap, initiator: Initiator) -> Callable[[], Awaitable[Connection]]:
    is_tls = section.url.startswith("ldaps:")
    tls = ssl.create_default_context(cafile=str(section.ca) if section.ca else None) if is_tls else None
    return partial(Connection.open, section.url, tls=tls, initiator=initiator)
