"""Proof that whoever shows a session token holds its key (RFC 9449): a token that was copied is worth nothing.

A proof is a JWT signed with a key that it carries itself, made for one request and good once. What a header may say is
exactly what section 4.2 asks for, so that no algorithm is negotiated and no key is fetched: there is no ``kid``, no ``crit``, no
``jku`` to be led astray by.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from broker.authn.replay import ReplayGuard
from broker.core.clock import Clock
from broker.core.errors import AuthFailed, ReplayGuardUnavailable
from broker.core.identity import UnverifiedProof
from broker.keys.signing import thumbprint as thumbprint_of

# How far a client's clock may be from ours, either way. RFC 9449 section 11.1 asks for "seconds or minutes"; each proof is
# remembered for twice as long.
LEEWAY = timedelta(seconds=60)

# Characters. An ES256 proof for the longest of our addresses has about 700.
_PROOF_MAX = 4096
_JTI_MAX = 256
# Proofs that one instance remembers by itself, about 20 MB when full: 800 a second for as long as each must be remembered.
_MEMORY_MAX = 100_000

_TYPE = "dpop+jwt"
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_HEADER = {"typ", "alg", "jwk"}
# A coordinate or key of 32 bytes, RFC 7518 section 6.2.1 and RFC 8037 section 2.
_32_BYTES = re.compile(r"[A-Za-z0-9_-]{43}")
# Asymmetric ones only, each with the one kind of key it goes with; RFC 7518 section 3.4, RFC 8037.
_KEYS: dict[str, dict[str, str | re.Pattern[str]]] = {
    "ES256": {"kty": "EC", "crv": "P-256", "x": _32_BYTES, "y": _32_BYTES},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519", "x": _32_BYTES},
}
# What a public key may carry beside itself (RFC 7517 section 4; WebCrypto adds ext). A private member is in no list.
_BESIDE = {"alg", "use", "kid", "key_ops", "ext"}
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

_JWS = jwt.PyJWS(algorithms=list(_KEYS))

HINT = "the session was not accepted: ask for a new one with a ticket"


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified one. ``thumbprint`` names its key (RFC 7638), ``use`` is what must be new."""

    thumbprint: str
    use: bytes


def verified(
    unverified: UnverifiedProof | None, *, now: datetime, thumbprint: str | None = None, token: str | None = None
) -> Proof:
    """The steps of RFC 9449 section 4.3; that the proof is new is the caller's to ask (``ProofGuard``).

    Args:
        unverified: From the request; None where it had none.
        now: The time.
        thumbprint: The key it must be made with; None where any will do, because it is about to be bound.
        token: The access token it must be made for; None where there is none yet.

    Raises:
        AuthFailed: In any point not such a proof.
    """
    if unverified is None:
        raise _refused("missing")
    found, claims = _signed(unverified.text, thumbprint=thumbprint)
    _check_time(claims, now)
    if claims.get("htm") != unverified.method:
        raise _refused("other_method")
    if not _same_address(claims.get("htu"), unverified.url):
        raise _refused("other_address")
    if token is not None and claims.get("ath") != _hash_of(token):
        raise _refused("other_token")
    identifier = claims.get("jti")
    if not isinstance(identifier, str) or not 0 < len(identifier) <= _JTI_MAX:
        raise _refused("jti")
    # Under its key's name, so that nobody spends somebody else's.
    use = b"dpop/v1\0%b\0%b" % (found.encode(), identifier.encode("utf-8", "backslashreplace"))
    return Proof(thumbprint=found, use=use)


class ProofGuard:
    """Lets each proof pass once: at this instance always, at all of them while the shared guard answers.

    While it does not, sessions go on, and for that time a proof could be used once at each instance, within ``LEEWAY``, by
    somebody who copied it together with its token out of a TLS connection.
    """

    def __init__(self, *, shared: ReplayGuard | None, clock: Clock) -> None:
        """Take the shared guard; None where there is one instance, or where the operator chose to have none."""
        self._shared = shared
        self._clock = clock
        # In the order in which they may be forgotten: all are remembered for the same time.
        self._forget_at: dict[bytes, float] = {}

    async def spend(self, proof: Proof) -> None:
        """Return the first time, raise ever after.

        Raises:
            AuthFailed: It was used before.
            ReplayGuardUnavailable: The shared guard does not answer and the memory is full.
        """
        remembered = self._remember(hashlib.sha256(proof.use).digest())
        if self._shared is not None:
            try:
                await self._shared.spend(proof.use)
            except AuthFailed as error:
                raise _refused("replayed") from error
            except ReplayGuardUnavailable:
                if not remembered:
                    raise
        elif not remembered:
            raise ReplayGuardUnavailable("more proofs than can be remembered")

    def _remember(self, use: bytes) -> bool:
        now = self._clock.boottime()
        while self._forget_at:
            oldest = next(iter(self._forget_at))
            if self._forget_at[oldest] > now:
                break
            del self._forget_at[oldest]
        if use in self._forget_at:
            raise _refused("replayed")
        if len(self._forget_at) >= _MEMORY_MAX:
            return False
        # Made for LEEWAY from now at the latest, a proof is good for LEEWAY after that; a second for rounding.
        self._forget_at[use] = now + 2 * LEEWAY.total_seconds() + 1
        return True


def _refused(what: str) -> AuthFailed:
    return AuthFailed(reason=f"dpop_{what}", hint=HINT)


def _signed(text: str, *, thumbprint: str | None) -> tuple[str, dict[str, Any]]:
    """The thumbprint of the key that signed a proof, and what it signed; a key that is not expected is not tried."""
    if len(text) > _PROOF_MAX or not _COMPACT.fullmatch(text):
        raise _refused("malformed")
    try:
        algorithm, jwk = _algorithm_and_key(_JWS.get_unverified_header(text))
        found = thumbprint_of(jwk)
        if thumbprint not in (None, found):
            raise _refused("other_key")
        claims = json.loads(_JWS.decode(text, jwt.PyJWK(jwk, algorithm=algorithm), algorithms=[algorithm]))
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        # Not a JWT, a point that is on no curve, a signature that does not match, arrays in arrays in arrays.
        raise _refused("unverifiable") from error
    if not isinstance(claims, dict):
        raise _refused("malformed")
    return found, claims


def _algorithm_and_key(header: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The algorithm and the public key in a header, of the key no more than its own members."""
    if header.keys() != _HEADER or header["typ"] != _TYPE:
        raise _refused("header")
    algorithm, jwk = header["alg"], header["jwk"]
    expected = _KEYS.get(algorithm) if isinstance(algorithm, str) else None
    if expected is None:
        raise _refused("algorithm")
    if not isinstance(jwk, dict) or not expected.keys() <= jwk.keys() <= expected.keys() | _BESIDE:
        raise _refused("key")
    for name, value in expected.items():
        given = jwk[name]
        fits = value == given if isinstance(value, str) else isinstance(given, str) and value.fullmatch(given)
        if not fits:
            raise _refused("key")
    return algorithm, {name: jwk[name] for name in expected}


def _check_time(claims: Mapping[str, Any], now: datetime) -> None:
    """``iat`` near now. ``exp`` and ``nbf`` are not asked for, and obeyed where they are given (RFC 7519 section 4.1)."""
    seconds, leeway = int(now.timestamp()), int(LEEWAY.total_seconds())
    times = {name: claims[name] for name in ("iat", "nbf", "exp") if name in claims}
    if "iat" not in times or any(type(value) not in (int, float) for value in times.values()):
        raise _refused("time")
    if not (
        -leeway <= times["iat"] - seconds <= leeway
        and times.get("nbf", seconds) <= seconds + leeway
        and times.get("exp", seconds + 1) > seconds
    ):
        raise _refused("time")


def _same_address(claimed: object, ours: str) -> bool:
    """Compare ``htu`` with our address, less query and fragment, case of scheme and host, and default port.

    Where somebody else ends TLS for us, the client says https and we see http: the address is still ours alone.
    """
    if not isinstance(claimed, str):
        return False
    scheme, rest = _normal(claimed.partition("#")[0].partition("?")[0])
    our_scheme, our_rest = _normal(ours)
    return rest == our_rest and scheme in ("https", our_scheme)


def _normal(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    scheme = scheme.lower()
    return scheme, authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "://")) + slash + path


def _hash_of(token: str) -> str:
    return _base64url(hashlib.sha256(token.encode("ascii")).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
