"""The broker as an OpenID Connect issuer that AWS believes: no AWS key lies anywhere.

For the first hop of a chain AWS is shown a token about the person instead of a signature with an access key. It believes the
token because it can fetch the issuer's public key. The first hop has no external ID, for that call has none: its trust policy
says which issuer, audience and subjects it takes. What the other hops demand is as with keys.

Sources: STS API Reference, AssumeRoleWithWebIdentity; OpenID Connect Discovery 1.0, section 3; IAM User Guide, "Pass session
tags in AWS STS" and "Monitor and control actions taken with assumed roles" for the two claims of AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from broker.core.clock import Clock
from broker.core.errors import StsRejected, StsUnavailable
from broker.keys.es256 import JwtSigner
from broker.keys.pkcs11 import HsmUnavailable
from broker.sts.refusals import HSM_AWAY

AUDIENCE = "sts.amazonaws.com"
DISCOVERY_PATH = "/.well-known/openid-configuration"
# Beside the key set of the audit records, whose Ed25519 keys AWS does not know.
JWKS_PATH = "/.well-known/web-identity-jwks.json"

# A token is made for one call, which is over within seconds; AWS's clock and ours may differ.
_LIVES = timedelta(minutes=5)
_TAGS = "https://aws.amazon.com/tags"
_SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"


class TokenIssuer:
    """Makes tokens, and the documents by which they are believed."""

    def __init__(self, *, issuer: str, signer: JwtSigner, clock: Clock, token_id: Callable[[], str]) -> None:
        """Take the issuer's URL, ``https://HOST[/PATH]`` without a slash at its end, as AWS knows it."""
        self.issuer = issuer
        self._signer = signer
        self._clock = clock
        self._token_id = token_id

    async def token(self, subject: str, *, tags: Mapping[str, str], transitive: Iterable[str]) -> str:
        """A token about somebody for one call of AssumeRoleWithWebIdentity.

        Args:
            subject: The session name: the subject, and the source identity.
            tags: Session tags by key.
            transitive: The keys of those that later hops inherit.

        Raises:
            StsUnavailable: The HSM that signs them is away.
        """
        now = int(self._clock.now().timestamp())
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": subject,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + int(_LIVES.total_seconds()),
            "jti": self._token_id(),
            _SOURCE_IDENTITY: subject,
        }
        if tags:
            claims[_TAGS] = {
                "principal_tags": {key: [value] for key, value in tags.items()},
                "transitive_tag_keys": sorted(transitive),
            }
        try:
            return await self._signer.sign_jwt(claims)
        except HsmUnavailable as error:
            raise StsUnavailable(f"no token for STS: {error}", reason=HSM_AWAY) from error

    async def ping(self) -> str | None:
        """None while tokens are signed, else why not."""
        return await self._signer.ping()

    def require_ours(self, answer: Mapping[str, Any], *, subject: str) -> None:
        """Check what STS says of the token it took.

        Raises:
            StsRejected: It speaks of another subject or audience.
        """
        if (answer.get("SubjectFromWebIdentityToken"), answer.get("Audience")) != (subject, AUDIENCE):
            raise StsRejected("STS answered about another token", reason="other_subject")

    def documents(self) -> dict[str, dict[str, object]]:
        """What the issuer publishes, by path behind its URL; without a key while the HSM was never there."""
        jwk = self._signer.jwk()
        return {
            DISCOVERY_PATH: {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}{JWKS_PATH}",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "claims_supported": ["iss", "sub", "aud", "iat", "exp", "jti", _SOURCE_IDENTITY, _TAGS],
            },
            JWKS_PATH: {"keys": [jwk] if jwk else []},
        }
