"""ES256: keys from seeds, tokens that another library believes."""

from __future__ import annotations

import asyncio

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.keys.es256 import SEED_BYTES, Es256Signer

SEED = bytes(range(SEED_BYTES))


@given(st.binary(min_size=SEED_BYTES, max_size=SEED_BYTES))
def test_every_seed_makes_a_key_whose_tokens_another_library_believes(seed: bytes) -> None:
    signer = Es256Signer(seed=seed)
    token = asyncio.run(signer.sign_jwt({"sub": "alice@EXAMPLE.COM", "n": 1}))
    key = jwt.PyJWK.from_dict(signer.jwk())
    assert jwt.decode(token, key, algorithms=["ES256"]) == {"sub": "alice@EXAMPLE.COM", "n": 1}
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "JWT", "kid": signer.kid}


def test_the_same_seed_makes_the_same_key_and_another_seed_another() -> None:
    assert Es256Signer(seed=SEED).jwk() == Es256Signer(seed=SEED).jwk()
    assert Es256Signer(seed=SEED).kid != Es256Signer(seed=SEED[::-1]).kid


@pytest.mark.parametrize("seed", [b"\0" * SEED_BYTES, b"\xff" * SEED_BYTES])
def test_the_ends_of_the_range_of_seeds_are_keys_too(seed: bytes) -> None:
    assert asyncio.run(Es256Signer(seed=seed).sign_jwt({})).count(".") == 2


@pytest.mark.parametrize("length", [0, 32, SEED_BYTES - 1, SEED_BYTES + 1])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="a seed has 40 bytes"):
        Es256Signer(seed=bytes(length))


def test_the_kid_is_the_thumbprint_of_rfc_7638() -> None:
    """Computed by another library's reading of the JWK, not by ours."""
    import hashlib  # noqa: PLC0415
    import json  # noqa: PLC0415

    jwk = Es256Signer(seed=SEED).jwk()
    canonical = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).digest()
    assert jwt.utils.base64url_encode(digest).decode() == jwk["kid"]
