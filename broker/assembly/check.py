"""What can be wrong about a configuration beyond its form: keytabs, certificates, patterns."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from broker.assembly.aws import base_credentials
from broker.authn.acceptor import Binding
from broker.authn.keytab import AcceptorKeys
from broker.authz.policy import Policy
from broker.config.model import Settings, Tls
from broker.core.errors import ConfigurationError
from broker.keys.certificate import end_point_binding
from broker.sts.base import BaseCredentials
from broker.web.tls import ServerTls, TlsFiles


@dataclass(slots=True)
class Checked:
    """Everything that can be wrong about a configuration, made without side effects beyond reading files."""

    policy: Policy
    keys: AcceptorKeys
    tls: ServerTls | None
    base: BaseCredentials


def check(settings: Settings) -> Checked:
    """Go beyond the model: open keytabs and certificates, understand patterns.

    Raises:
        ConfigurationError: With every problem found.
    """
    problems: list[str] = []
    keys = tls = base = None
    realms = frozenset(settings.kerberos.realms)
    hosts = frozenset(settings.server.hostnames) if settings.server.hostnames else None
    try:
        keys = AcceptorKeys(settings.kerberos.keytabs, realms=realms, hosts=hosts)
    except ConfigurationError as error:
        problems += error.problems
    try:
        tls = _tls(settings.tls, Binding(settings.kerberos.channel_binding)) if settings.tls else None
    except ConfigurationError as error:
        problems += error.problems
    try:
        base = base_credentials(settings.aws)
    except ConfigurationError as error:
        problems += error.problems
    if problems or keys is None or base is None:
        raise ConfigurationError(problems)
    policy = Policy(roles=settings.roles, rules=settings.grants)
    return Checked(policy=policy, keys=keys, tls=tls, base=base)


def _tls(tls: Tls, binding: Binding) -> ServerTls:
    files = TlsFiles(
        certificate=tls.certificate,
        private_key=tls.private_key,
        minimum_version=ssl.TLSVersion.TLSv1_3 if tls.min_version == "TLSv1.3" else ssl.TLSVersion.TLSv1_2,
        ciphers=tls.openssl_ciphers,
        client_ca=tls.client_ca,
        must_bind=binding is Binding.REQUIRE,
    )
    return ServerTls(files=files, binding=end_point_binding)
