"""The GSS-API acceptor: one token in, one identity out, or a refusal with its precise reason.

The raw interface of python-gssapi is used throughout: it costs half as much as the high-level one, and it raises at once,
where the high-level one returns a token for a replayed or expired ticket and lets the error show later. Accepting takes
less time than handing it to a thread, so it happens on the event loop.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol, cast

import gssapi
from gssapi import raw

from broker.authn import spnego
from broker.authn.identity import principal_from
from broker.authn.keytab import AcceptorKeys
from broker.authn.spnego import UnverifiedToken
from broker.authn.ticket import RealmRules, Ticket
from broker.core.clock import Clock
from broker.core.errors import AuthFailed, Bearer, BrokerError
from broker.core.identity import Identity

# MIT's acceptor reports lifetimes with its clock skew added (kdc.conf and krb5.conf: clockskew, default 300 s) and
# takes tickets that ended that long ago. We count by the ticket's real end.
_CLOCK_SKEW = timedelta(seconds=300)

# RFC 4120 section 7.5.9, as the acceptor puts them into its answer.
_REASONS = {
    31: "ticket_altered",
    32: "ticket_expired",
    33: "ticket_not_yet_valid",
    34: "ticket_replayed",
    35: "ticket_for_another_service",
    37: "clock_skew",
    43: "transit_not_allowed",  # KRB_AP_ERR_ILL_CR_TKT, a number of MIT's own.
    44: "ticket_kvno_unknown",
    45: "keytab_unusable",
    60: "replay_cache_unusable",
}


class Authenticator(Protocol):
    """Turns a token into an identity. The KDC's way, or a table in unit tests."""

    def accept(self, token: UnverifiedToken, *, binding: bytes | None) -> Identity:
        """Who sent this token.

        Args:
            token: From the client.
            binding: What the connection's TLS endpoint is known by (RFC 5929); None where there is nothing to bind to.

        Raises:
            AuthFailed: Nobody who counts.
            AccessDenied: Somebody of a realm that is not served.
        """


class Binding(enum.Enum):
    """What ``kerberos.channel_binding`` says."""

    OFF = "off"
    ALLOW = "allow"
    REQUIRE = "require"


class KerberosAcceptor:
    """Accepts tickets for the keys it was given. One acceptor credential, made anew when the keys change."""

    def __init__(
        self, *, keys: AcceptorKeys, realms: Mapping[str, RealmRules], channel_binding: Binding, clock: Clock
    ) -> None:
        """Acquire the acceptor credential.

        No mechanism is named, so that bare Kerberos tokens are taken beside SPNEGO ones.
        """
        self._keys = keys
        self._realms = realms
        self._channel_binding = channel_binding
        self._clock = clock
        self._keytab, self._acquired = keys.name, _acquired(keys.name)

    def accept(self, token: UnverifiedToken, *, binding: bytes | None) -> Identity:
        """See ``Authenticator``."""
        expected = self._expected(binding)
        try:
            result = raw.accept_sec_context(token, acceptor_creds=self._credentials(), channel_bindings=expected)
            if result.more_steps or result.initiator_name is None:
                raise AuthFailed(reason="token_incomplete")
            name = raw.display_name(result.initiator_name, name_type=True)
            ticket = Ticket.of(result)
        except raw.GSSError as error:
            raise AuthFailed(str(error), reason=reason_of(error)) from error
        # python-gssapi declares an int and returns a set of flags.
        channel_bound = gssapi.RequirementFlag.channel_bound in cast("set[gssapi.RequirementFlag]", result.flags)
        if expected is not None and self._channel_binding is Binding.REQUIRE and not channel_bound:
            raise AuthFailed(reason="channel_binding_missing", hint="use a client that binds to TLS, such as zerotrust")
        principal = principal_from(name.name, anonymous=name.name_type == gssapi.NameType.anonymous)
        now = self._clock.now()
        ticket_end = now + timedelta(seconds=result.lifetime or 0) - _CLOCK_SKEW
        try:
            groups = ticket.admit(principal, realms=self._realms)
            if ticket_end <= now:
                raise AuthFailed(reason="ticket_expired")
        except BrokerError as error:
            error.bearer = Bearer(principal, impersonated_by=ticket.impersonated_by)
            raise
        return Identity(
            principal=principal,
            ticket_end=ticket_end,
            authenticated_at=ticket.authenticated_at,
            channel_bound=channel_bound,
            indicators=ticket.indicators,
            groups=groups,
            impersonated_by=ticket.impersonated_by,
            mutual_token=result.token,
        )

    def _credentials(self) -> raw.Creds:
        if self._keytab != self._keys.name:
            self._keytab, self._acquired = self._keys.name, _acquired(self._keys.name)
        return self._acquired

    def _expected(self, binding: bytes | None) -> raw.ChannelBindings | None:
        if binding is None or self._channel_binding is Binding.OFF:
            return None
        return raw.ChannelBindings(application_data=binding)


def _acquired(keytab: str) -> raw.Creds:
    return raw.acquire_cred_from({b"keytab": keytab.encode()}, usage="accept").creds


def reason_of(error: raw.GSSError) -> str:
    """The KRB-ERROR says it; the minor code is only an alias of this process once SPNEGO is involved."""
    if isinstance(error, raw.BadChannelBindingsError):
        return "channel_binding_wrong"  # Its KRB-ERROR is 60, "generic", as for all that has no number of its own.
    code = spnego.error_code(error.token)
    if code is not None:
        return _REASONS.get(code, f"krb_error_{code}")
    if isinstance(error, raw.BadMechanismError):
        return "mechanism_unknown"
    return "token_unusable"
