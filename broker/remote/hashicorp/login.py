"""The ways to log in: each makes a token of what the broker was given, and reads again whatever may have changed since."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from broker.core.secret import Secret
from broker.remote.failure import DENIED, Malformed, Refused
from broker.remote.hashicorp.wire import Json, Wire

# Seconds that a login may take there: a Kubernetes API or a directory is asked meanwhile.
LOGIN_SECONDS = 2.0
# Octets. A projected service account token has about 1 KiB.
_JWT_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Granted:
    """A token, and how long it lasts: seconds from when it was asked for; None: for ever."""

    token: Secret
    lasts: float | None
    is_renewable: bool


class Login(Protocol):
    """A way to log in. ``is_own``: the token was made for this broker alone, which revokes it at its end."""

    @property
    def is_own(self) -> bool:
        """Whether the broker lives and dies with its tokens."""

    async def log_in(self, wire: Wire) -> Granted:
        """A token. Raises ``RemoteFailure``."""


@dataclass(frozen=True, slots=True)
class AppRole:
    """``approle``: a role's id and its secret id."""

    role_id: str
    secret_id: Secret
    mount: str = "approle"
    is_own: bool = True

    async def log_in(self, wire: Wire) -> Granted:
        """See ``Login``."""
        body = {"role_id": self.role_id, "secret_id": self.secret_id.reveal()}
        return await _logged_in(wire, self.mount, body, fix="check role_id and secret_id")


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """``kubernetes``: the token of the pod's service account, which Kubernetes replaces within the hour."""

    role: str
    jwt_file: Path
    mount: str = "kubernetes"
    is_own: bool = True

    async def log_in(self, wire: Wire) -> Granted:
        """See ``Login``."""
        jwt = await wire.do(self._jwt)
        return await _logged_in(
            wire, self.mount, {"role": self.role, "jwt": jwt}, fix="check the role and its bound service accounts"
        )

    def _jwt(self) -> str:
        try:
            with self.jwt_file.open(encoding="ascii") as file:
                return file.read(_JWT_MAX).strip()
        except (OSError, ValueError) as error:
            said = f"the service account's token {self.jwt_file} cannot be read"
            raise Refused(f"{said} ({type(error).__name__})", reason="no_service_account") from error


@dataclass(frozen=True, slots=True)
class Kerberos:
    """``kerberos``: a ticket of the broker's own principal for the vault's (SPNEGO, RFC 4559).

    ``negotiate`` makes the token for one request; who can, is given at assembly.
    """

    negotiate: Callable[[], Awaitable[bytes]]
    mount: str = "kerberos"
    is_own: bool = True

    async def log_in(self, wire: Wire) -> Granted:
        """See ``Login``."""
        spnego = base64.b64encode(await self.negotiate()).decode()
        headers = {"Authorization": f"Negotiate {spnego}"}
        return await _logged_in(wire, self.mount, {}, headers=headers, fix="check the vault's keytab and groups")


@dataclass(frozen=True, slots=True)
class Given:
    """``token``: one that somebody made; nothing can replace it when it ends."""

    token: Secret
    is_own: bool = False

    async def log_in(self, wire: Wire) -> Granted:
        """See ``Login``. Asks the vault what the token is worth, which the policy ``default`` allows to every token."""
        try:
            answer = await wire.ask("GET", "auth/token/lookup-self", token=self.token, seconds=LOGIN_SECONDS)
        except Refused as refusal:
            said = (
                "the token has ended, was revoked, or may not look itself up; put a new one into secrets.config.token"
            )
            raise Refused(said, reason="token_refused") from refusal
        found = answer.get("data")
        if not isinstance(found, dict):
            raise Malformed("the vault does not say what the token is worth", reason="malformed")
        lasts, is_renewable = _life(found, "ttl")
        return Granted(self.token, lasts, is_renewable)


def granted(answer: Json) -> Granted:
    """What the answer to a login or to a renewal gives.

    Raises:
        Malformed: It is none.
    """
    auth = answer.get("auth")
    token = auth.get("client_token") if isinstance(auth, dict) else None
    if not isinstance(auth, dict) or not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise Malformed("the vault answers a login without a token", reason="malformed")
    lasts, is_renewable = _life(auth, "lease_duration")
    return Granted(Secret(token), lasts, is_renewable)


def _life(found: Mapping[str, Any], member: str) -> tuple[float | None, bool]:
    lasts, is_renewable = found.get(member), found.get("renewable", False)
    if type(lasts) is not int or lasts < 0 or not isinstance(is_renewable, bool):
        raise Malformed("the vault does not say how long a token lasts", reason="malformed")
    # 0 is a root token's: it has no end.
    return (float(lasts) if lasts else None), is_renewable


async def _logged_in(
    wire: Wire, mount: str, body: Json, *, fix: str, headers: Mapping[str, str] | None = None
) -> Granted:
    try:
        answer = await wire.ask("POST", f"auth/{mount}/login", body, token=None, headers=headers, seconds=LOGIN_SECONDS)
    except Refused as refusal:
        said = str(refusal).partition(";")[0] if refusal.reason == DENIED else str(refusal)
        raise Refused(f"the login by {mount} fails: {said}; {fix}", reason="login_refused") from refusal
    return granted(answer)
