"""What can be wrong about a configuration beyond its form: keytabs, certificates, patterns."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from secrets import token_bytes

from broker.assembly.admission import admission_of
from broker.assembly.audit import problems_of as problems_of_audit
from broker.assembly.aws import base_credentials
from broker.assembly.clouds import problems_of as cloud_problems
from broker.assembly.master import master_problems
from broker.assembly.notification import problems_of as notification_problems
from broker.assembly.operators import registered_keys, secret_signing_keys
from broker.assembly.revocation import ledger_file
from broker.assembly.sinks import sink_problems
from broker.assembly.telemetry import telemetry_problems
from broker.authn.acceptor import Binding
from broker.authn.keytab import AcceptorKeys
from broker.authn.signature import Registered
from broker.authz.policies import Policies
from broker.authz.policy import Policy
from broker.config.model import Settings, Tls
from broker.config.values import UnixListener
from broker.core.errors import ConfigurationError
from broker.keys.certificate import end_point_binding, expiry
from broker.keys.envelope import KEY_BYTES
from broker.keys.hierarchy import KeyHierarchy
from broker.revocation.file import problems_of
from broker.sts.base import BaseCredentials
from broker.watch.places import Places
from broker.web.tls import ServerTls, TlsFiles


@dataclass(slots=True)
class Checked:
    """Everything that can be wrong about a configuration, made without side effects beyond reading files."""

    policies: Policies
    keys: AcceptorKeys
    tls: ServerTls | None
    base: BaseCredentials
    signing_keys: list[Registered]
    secret_keys: list[Registered]
    places: Places


def check(settings: Settings, *, hierarchy: KeyHierarchy | None) -> Checked:
    """Go beyond the model: open keytabs and certificates, understand patterns.

    Without a ``hierarchy`` what is sealed is not looked at, and what is checked serves nobody.

    Raises:
        ConfigurationError: With every problem found.
    """
    problems: list[str] = []
    keys = tls = base = places = None
    signing_keys: list[Registered] = []
    secret_keys: list[Registered] = []
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
        base = base_credentials(settings, hierarchy=hierarchy or KeyHierarchy(master=token_bytes(KEY_BYTES)))
    except ConfigurationError as error:
        problems += error.problems
    try:
        signing_keys = registered_keys(settings.admin.signing_keys if settings.admin else (), section="admin")
        secret_keys = secret_signing_keys(settings, of_operators=signing_keys)
    except ConfigurationError as error:
        problems += error.problems
    try:
        places = Places(settings.watch.geoip_database)
    except ConfigurationError as error:
        problems += error.problems
    problems += _socket_problems(settings)
    problems += _ledger_problems(settings, hierarchy) if hierarchy else []
    problems += problems_of_audit(settings) + notification_problems(settings) + master_problems(settings)
    problems += sink_problems(settings.audit) + cloud_problems(settings) + telemetry_problems(settings)
    if problems or keys is None or base is None or places is None:
        raise ConfigurationError(problems)
    policies = Policies(
        Policy(roles=settings.roles, rules=settings.grants, secret_rules=settings.secret_rules),
        admission=admission_of(settings),
    )
    return Checked(
        policies=policies,
        keys=keys,
        tls=tls,
        base=base,
        signing_keys=signing_keys,
        secret_keys=secret_keys,
        places=places,
    )


def _socket_problems(settings: Settings) -> list[str]:
    sockets = {listener.path for listener in settings.server.listen if isinstance(listener, UnixListener)}
    if settings.admin is None or settings.admin.socket not in sockets:
        return []
    return ["admin.socket: is in server.listen too — fix: give the operators a socket of their own"]


def _ledger_problems(settings: Settings, hierarchy: KeyHierarchy) -> list[str]:
    """A folder of records that cannot be written may be mended while we run; nothing is handed out before that."""
    return problems_of(
        ledger_file(settings, hierarchy=hierarchy), must_be_writable=settings.state.directory is not None
    )


def _tls(tls: Tls, binding: Binding) -> ServerTls:
    files = TlsFiles(
        certificate=tls.certificate,
        private_key=tls.private_key,
        minimum_version=ssl.TLSVersion.TLSv1_3 if tls.min_version == "TLSv1.3" else ssl.TLSVersion.TLSv1_2,
        ciphers=tls.openssl_ciphers,
        client_ca=tls.client_ca,
        must_bind=binding is Binding.REQUIRE,
    )
    return ServerTls(files=files, binding=end_point_binding, expiry=expiry)
