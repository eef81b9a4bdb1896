"""Signed requests (RFC 9421): what an attacker writes is refused, and what a registered key signed is what it must be.

The first byte says which: a Signature-Input as text, beside a signature of something else; or the part of one behind the label,
signed properly over whatever components it seems to name. So claims that no honest client makes get past the signature.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker import wire
from broker.authn.dpop import LEEWAY, ProofGuard
from broker.authn.identity import principal_from
from broker.authn.signature import Registered, Signatures
from broker.core.errors import SignatureRefused
from broker.core.identity import UnverifiedRequest
from broker.core.pattern import PrincipalPattern
from broker.keys.request_key import public_request_key
from tests.fakes.request_signer import COVERED, RequestSigner, content_digest, signature_base, signature_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOON.timestamp())
# RFC 9421 appendix B.1.4: anybody's.
SIGNER = RequestSigner(
    Ed25519PrivateKey.from_private_bytes(base64.b64decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU="))
)
URL, BODY = "http://broker.example.com/v1/admin/passes/cancel?x=1", b'{"user":"alice@EXAMPLE.COM"}'
HEADERS = [
    ("Host", "broker.example.com"),
    ("Authorization", "Negotiate YIIC"),
    ("X-Zerotrust-Request", "1"),
    ("Content-Type", wire.JSON),
    ("Content-Digest", content_digest(BODY)),
]
NAMES = (*COVERED, "content-digest")
PARAMETERS = {"created": SECONDS, "keyid": SIGNER.keyid, "nonce": "0123456789abcdef"}
ROOT = principal_from(b"root/admin@EXAMPLE.COM", anonymous=False)
REGISTERED = Registered(
    key=public_request_key(SIGNER.public_pem.encode()), owner=PrincipalPattern.parse("root/admin@EXAMPLE.COM")
)

_SIGNED = 1
_QUOTED = re.compile(r'"([^"]*)"')


class StoppedClock:
    def now(self) -> datetime:
        return NOON

    def boottime(self) -> float:
        return 0.0


def seeds() -> Iterator[bytes]:
    good = signature_parameters(NAMES, PARAMETERS)
    yield b"\0sig1=" + good.encode()
    yield bytes([_SIGNED]) + good.encode()
    for parameters in (
        {"alg": "ed25519"},
        {"expires": SECONDS + 1},
        {"tag": "x"},
        {"alg": "hmac-sha256"},
        {"nonce": None},
    ):
        yield bytes([_SIGNED]) + signature_parameters(NAMES, {**PARAMETERS, **parameters}).encode()
    for names in (
        COVERED,
        [*NAMES, "@method"],
        [*NAMES, "host"],
        [*NAMES[1:], '"@method";req'],
        ["@target-uri", *NAMES],
    ):
        yield bytes([_SIGNED]) + signature_parameters(names, PARAMETERS).encode()
    yield b"\0" + f"sig1={good}, sig2={good}".encode()
    yield b'\0sig1=("' + b"(" * 1000
    yield b"\0" + b",".join(b"a%d=1" % number for number in range(300))


def one_input(data: bytes) -> None:
    rest = data[1:].decode("utf-8", "surrogateescape")
    signature = bytes(64)
    if data[:1] == bytes([_SIGNED]):
        names = _QUOTED.findall(rest.partition("(")[2].partition(")")[0])
        base = signature_base("POST", URL, HEADERS, names, rest)
        signature = SIGNER.key.sign(base.encode("utf-8", "surrogateescape"))
        rest = f"sig1={rest}"
    judge(rest, f"sig1=:{base64.b64encode(signature).decode()}:")


def judge(text: str, signature: str) -> None:
    judged = Signatures(
        keys=[REGISTERED],
        required=True,
        proofs=ProofGuard(shared=None, clock=StoppedClock()),
        clock=StoppedClock(),
    )
    headers = (*HEADERS, ("Signature-Input", text), ("Signature", signature))
    request = UnverifiedRequest(method="POST", url=URL, headers=headers, body=BODY)
    try:
        # Nothing in it waits for anything: it ends at its first step.
        judged.check(request, sender=ROOT).send(None)
    except StopIteration as done:
        assert done.value == SIGNER.keyid
    except SignatureRefused as error:
        assert error.reason.startswith("signature_"), error.reason
        return
    # Read once more, by hand.
    covered = _QUOTED.findall(text.partition("(")[2].partition(")")[0])
    assert set(NAMES) <= set(covered)
    assert len(set(covered)) == len(covered)
    found = re.findall(r";\s*created=([0-9]+)", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text))
    assert len(found) == 1
    assert abs(int(found[0]) - SECONDS) <= LEEWAY.total_seconds()
    assert SIGNER.keyid in text
