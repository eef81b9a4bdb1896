"""The key that signs this broker's records, and its public half."""

from __future__ import annotations

from broker.keys.hierarchy import KeyHierarchy, Use
from broker.keys.signing import Ed25519Signer

JWKS_PATH = "/.well-known/jwks.json"


def signer_of(master: bytes) -> Ed25519Signer:
    """The signer that belongs to a master key: the same at every start and on every instance."""
    return Ed25519Signer(seed=KeyHierarchy(master=master).derive(Use.AUDIT_SIGNATURE))


def jwks_of(signer: Ed25519Signer) -> dict[str, object]:
    """The JWKS (RFC 7517) that verifies what the signer signs."""
    return {"keys": [signer.jwk()]}
