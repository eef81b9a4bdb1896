"""A login to Vault or OpenBao that nothing has to be kept for: a token of a service account, made for it alone.

The cluster makes it on demand (TokenRequest), for the vault as its only audience and for ten minutes, which is the least it
gives. The vault asks the cluster whose it is, and gives a token of its own, for as many seconds as its role says; that one
is given back at once when the work is done.
"""

from __future__ import annotations

from broker.remote.failure import Refused
from broker.remote.hashicorp.login import LOGIN_SECONDS, Granted, granted
from broker.remote.hashicorp.wire import Wire
from broker.remote.kubernetes import Cluster

# Seconds. A role that gives its tokens more than this does not keep to "a login that lives seconds".
LOGIN_LASTS_MAX = 60.0


class OnDemand:
    """See ``Login`` of ``hashicorp``. One login, in one role of the vault's, by one service account."""

    is_own = True

    def __init__(self, *, cluster: Cluster, namespace: str, account: str, audience: str, role: str, mount: str) -> None:
        self._cluster = cluster
        self._namespace, self._account, self._audience = namespace, account, audience
        self._role, self._mount = role, mount

    async def log_in(self, wire: Wire) -> Granted:
        """See ``Login``.

        Raises:
            Refused: The role gives tokens that live longer than a minute; this one is given back.
        """
        made = await self._cluster.request_token(self._namespace, self._account, audience=self._audience)
        body = {"role": self._role, "jwt": made.reveal()}
        try:
            answer = await wire.ask("POST", f"auth/{self._mount}/login", body, token=None, seconds=LOGIN_SECONDS)
        except Refused as refusal:
            fix = "check the role, the service accounts and the audience it is bound to"
            raise Refused(f"the login by {self._mount} fails: {refusal}; {fix}", reason="login_refused") from refusal
        given = granted(answer)
        if given.lasts is None or given.lasts > LOGIN_LASTS_MAX:
            await wire.ask("POST", "auth/token/revoke-self", token=given.token, seconds=LOGIN_SECONDS)
            said = f"the role {self._role} gives tokens for more than a minute"
            raise Refused(f"{said} — fix: set its token_ttl to 10s", reason="login_too_long")
        return given
