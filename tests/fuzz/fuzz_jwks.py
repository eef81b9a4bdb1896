"""Public keys from a file: a set that is usable, or `UnusableKeySet`; and a signature counts only under the key that made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from broker.keys.signing import BadSignature, Ed25519Signer, KeySet, UnusableKeySet

if TYPE_CHECKING:
    from collections.abc import Iterator

JWKS = (Path(__file__).parents[1] / "vectors" / "audit" / "v1" / "jwks.json").read_bytes()
SIGNER = Ed25519Signer(seed=bytes(32))
PAYLOAD = b'{"signed":"here"}'
DETACHED, COMPACT = SIGNER.sign_detached(PAYLOAD), SIGNER.sign_compact(PAYLOAD)
OURS = KeySet(jwks={"keys": [SIGNER.jwk()]})


def seeds() -> Iterator[bytes]:
    yield JWKS
    yield json.dumps({"keys": [SIGNER.jwk()]}).encode()
    yield json.dumps({"keys": [SIGNER.jwk(), {"kty": "RSA"}, "no key"]}).encode()
    yield json.dumps({"keys": [SIGNER.jwk() | {"x": "+/=="}]}).encode()
    yield json.dumps({"keys": [SIGNER.jwk() | {"x": None, "kid": 1}]}).encode()
    yield DETACHED.encode()
    yield COMPACT.encode()


def one_input(data: bytes) -> None:
    judge_signature(data.decode("utf-8", "replace"))
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        judge_set(document)


def judge_set(document: dict[str, object]) -> None:
    try:
        keys = KeySet(jwks=document)
    except UnusableKeySet:
        return
    try:
        assert keys.verify_compact(COMPACT) == PAYLOAD
    except BadSignature:
        return
    assert SIGNER.jwk()["x"] in json.dumps(document)


def judge_signature(text: str) -> None:
    try:
        OURS.verify_detached(text, kid=SIGNER.kid, payload=PAYLOAD)
    except BadSignature:
        pass
    else:
        assert text == DETACHED
    try:
        payload = OURS.verify_compact(text)
    except BadSignature:
        return
    assert (text, payload) == (COMPACT, PAYLOAD)
