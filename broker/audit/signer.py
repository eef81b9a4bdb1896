"""The key that signs this broker's records, and its public half."""

from __future__ import annotations

from collections.abc import Sequence

from broker.keys.es256 import Es256PublicKey
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.keys.signing import Ed25519Signer

JWKS_PATH = "/.well-known/jwks.json"


def signer_of(master: bytes) -> Ed25519Signer:
    """The signer that belongs to a master key: the same at every start and on every instance."""
    return Ed25519Signer(seed=KeyHierarchy(master=master).derive(Use.AUDIT_SIGNATURE))


def signers_of(masters: Sequence[bytes]) -> list[Ed25519Signer]:
    """Those of several master keys, in their order: the one in force first."""
    return [signer_of(master) for master in masters]


def signers_by(hierarchy: KeyHierarchy) -> list[Ed25519Signer]:
    """Those of the versions of the kind that signs, the one in force first."""
    return [Ed25519Signer(seed=seed) for seed in hierarchy.derive_all(Use.AUDIT_SIGNATURE)]


def jwks_of(*signers: Ed25519Signer, hsm: Es256PublicKey | None = None) -> dict[str, object]:
    """The JWKS (RFC 7517) that verifies what the signers sign, and what an HSM does."""
    return {"keys": [*(signer.jwk() for signer in signers), *([hsm.jwk()] if hsm else [])]}
