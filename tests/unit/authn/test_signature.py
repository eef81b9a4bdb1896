"""Signed requests as an attacker would bend them, against RFC 9421; the signatures are made by an implementation of their own."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from broker import wire_operators
from broker.authn.dpop import ProofGuard
from broker.authn.identity import principal_from
from broker.authn.replay import SharedGuard
from broker.authn.signature import Registered, Signatures
from broker.core.errors import AuthFailed, SignatureRefused
from broker.core.identity import UnverifiedRequest
from broker.core.pattern import PrincipalPattern
from broker.keys.request_key import public_request_key
from tests.fakes.request_signer import COVERED, RequestSigner, content_digest, signature_base

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
URL = "http://broker.example.com:8443/v1/admin/passes/cancel?why=not"
BODY = b'{"user":"alice@EXAMPLE.COM"}'
HEADERS = [
    ("Host", "broker.example.com:8443"),
    ("Authorization", "Negotiate YIIC"),
    ("X-Zerotrust-Request", "1"),
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(BODY))),
]
ROOT = principal_from(b"root/admin@EXAMPLE.COM", anonymous=False)
CAROL = principal_from(b"carol/admin@EXAMPLE.COM", anonymous=False)
SIGNERS = [RequestSigner.ed25519(), RequestSigner.p256()]
OF_CAROL = RequestSigner.ed25519()


class StoppedClock:
    def now(self) -> datetime:
        return NOW

    def boottime(self) -> float:
        return 1000.0


def registered(signer: RequestSigner, owner: str = "root/admin@EXAMPLE.COM") -> Registered:
    return Registered(key=public_request_key(signer.public_pem.encode()), owner=PrincipalPattern.parse(owner))


def signatures(*, required: bool = True, shared: Any = None) -> Signatures:
    keys = [registered(signer) for signer in SIGNERS]
    return Signatures(
        keys=[*keys, registered(OF_CAROL, "carol/admin@EXAMPLE.COM")],
        required=required,
        proofs=ProofGuard(shared=shared, clock=StoppedClock()),
        clock=StoppedClock(),
    )


def request(
    headers: Sequence[tuple[str, str]], *, method: str = "POST", url: str = URL, body: bytes = BODY
) -> UnverifiedRequest:
    return UnverifiedRequest(method=method, url=url, headers=tuple(headers), body=body)


def signed(signer: RequestSigner, body: bytes = BODY, headers: Any = HEADERS, **rest: Any) -> list[tuple[str, str]]:
    return signer.signed("POST", URL, headers, body, **{"created": SECONDS, **rest})


async def reason(made: UnverifiedRequest, *, sender: Any = ROOT, by: Signatures | None = None) -> str:
    """Why a request is refused; its hint says nothing of that."""
    with pytest.raises(SignatureRefused) as refused:
        await (by or signatures()).check(made, sender=sender)
    assert refused.value.hint is None
    return refused.value.reason


def without(headers: Sequence[tuple[str, str]], *names: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in names]


def with_one(headers: Sequence[tuple[str, str]], name: str, value: str) -> list[tuple[str, str]]:
    return [(found, value if found.lower() == name else old) for found, old in headers]


def one_of(headers: Sequence[tuple[str, str]], name: str) -> str:
    return next(value for found, value in headers if found.lower() == name)


@pytest.fixture(params=SIGNERS, ids=lambda signer: signer.algorithm)
def signer(request: pytest.FixtureRequest) -> RequestSigner:
    found: RequestSigner = request.param
    return found


# ---- the good ones ----


def test_our_own_signer_makes_the_signature_of_the_rfc() -> None:
    # RFC 9421 appendix B.2.6 with test-key-ed25519 of B.1.4: Ed25519 is deterministic.
    seed = base64.b64decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=")
    key = RequestSigner(ed25519.Ed25519PrivateKey.from_private_bytes(seed))
    assert "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=" in key.public_pem
    names = ("date", "@method", "@path", "@authority", "content-type", "content-length")
    parameters = (
        '("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"'
    )
    headers = [
        ("Date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("Content-Type", "application/json"),
        ("Content-Length", "18"),
    ]
    base = signature_base("POST", "https://example.com/foo?param=Value&Pet=dog", headers, names, parameters)
    expected = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    assert base64.b64encode(key.sign(base)).decode() == expected


async def test_an_honest_request_names_its_key(signer: RequestSigner) -> None:
    assert await signatures().check(request(signed(signer)), sender=ROOT) == signer.keyid


async def test_a_request_without_a_body_needs_no_digest(signer: RequestSigner) -> None:
    headers = signed(signer, b"", HEADERS[:3])
    assert await signatures().check(request(headers, body=b""), sender=ROOT) == signer.keyid


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
async def test_both_digests_of_rfc_9530_count(algorithm: str) -> None:
    assert await signatures().check(request(signed(SIGNERS[0], digest=algorithm)), sender=ROOT)


async def test_the_order_of_components_more_of_them_and_the_algorithm_by_name_change_nothing(
    signer: RequestSigner,
) -> None:
    names = ["content-type", *reversed(COVERED), "content-digest", "content-length"]
    headers = signed(signer, covered=names, alg=signer.algorithm, tag="x", expires=SECONDS + 1)
    assert await signatures().check(request(headers), sender=ROOT) == signer.keyid


async def test_without_a_signature_nobody_is_asked_for_one_where_none_is_required() -> None:
    assert await signatures(required=False).check(request(HEADERS), sender=ROOT) is None


# ---- what is not covered, or not what it was ----


async def test_an_unsigned_request_is_refused_where_signing_is_required() -> None:
    assert await reason(request(HEADERS)) == "signature_missing"


@pytest.mark.parametrize("half", ["signature", "signature-input"])
async def test_half_a_signature_is_none_also_where_none_is_required(half: str) -> None:
    made = request(without(signed(SIGNERS[0]), half))
    assert await reason(made) == await reason(made, by=signatures(required=False)) == "signature_missing"


async def test_what_is_signed_is_checked_also_where_it_need_not_be() -> None:
    made = request(signed(SIGNERS[0]), method="PUT")
    assert await reason(made, by=signatures(required=False)) == "signature_wrong"


TAMPERED: dict[str, dict[str, Any]] = {
    "@method": {"method": "DELETE"},
    "@authority": {"url": URL.replace("8443", "8444")},
    "@authority's name": {"url": URL.replace("broker", "other")},
    "@path": {"url": URL.replace("/passes", "/users")},
    "@path's escapes": {"url": URL.replace("/passes", "/%70asses")},
    "@query": {"url": URL.replace("not", "yes")},
    "no @query": {"url": URL.partition("?")[0]},
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_no_part_of_the_target_can_be_changed(signer: RequestSigner, what: str) -> None:
    assert await reason(request(signed(signer), **TAMPERED[what])) == "signature_wrong"


@pytest.mark.parametrize(
    ("name", "value"), [("authorization", "Negotiate YIID"), ("x-zerotrust-request", "2"), ("content-digest", "")]
)
async def test_no_covered_header_can_be_changed(signer: RequestSigner, name: str, value: str) -> None:
    value = value or content_digest(BODY, "sha-512")
    assert await reason(request(with_one(signed(signer), name, value))) == "signature_wrong"


async def test_a_body_is_held_to_its_digest_and_the_digest_to_the_signature(signer: RequestSigner) -> None:
    other = b'{"user":"mallory@EXAMPLE.COM"}'
    assert await reason(request(signed(signer), body=other)) == "signature_digest"
    changed = with_one(signed(signer), "content-digest", content_digest(other))
    assert await reason(request(changed, body=other)) == "signature_wrong"
    assert await reason(request(signed(signer), body=b"")) == "signature_digest"


async def test_a_body_without_a_digest_is_not_signed(signer: RequestSigner) -> None:
    assert await reason(request(signed(signer, digest=None))) == "signature_coverage"
    assert await reason(request(signed(signer, covered=COVERED))) == "signature_coverage"


async def test_a_digest_of_nothing_must_be_true_too() -> None:
    headers = [*HEADERS[:3], ("Content-Digest", content_digest(BODY))]
    made = signed(SIGNERS[0], b"", headers, covered=[*COVERED, "content-digest"])
    assert await reason(request(made, body=b"")) == "signature_digest"
    uncovered = signed(SIGNERS[0], b"", headers)
    assert await reason(request(uncovered, body=b"")) == "signature_coverage"


@pytest.mark.parametrize(
    "digest",
    ["md5=:rL0Y20zC+Fzt72VPzMSk2A==:", "sha-256=:AAAA:", "sha-256", "nothing", "sha-256=:AA==:, sha-256=:AA==:"],
)
async def test_a_digest_of_another_kind_is_none(digest: str) -> None:
    headers = [*HEADERS, ("Content-Digest", digest)]
    made = signed(SIGNERS[0], headers=headers, digest=None, covered=[*COVERED, "content-digest"])
    assert await reason(request(made)) == "signature_digest"


@pytest.mark.parametrize("missing", [*COVERED, "content-digest"])
async def test_each_component_must_be_covered(signer: RequestSigner, missing: str) -> None:
    covered = [name for name in (*COVERED, "content-digest") if name != missing]
    assert await reason(request(signed(signer, covered=covered))) == "signature_coverage"


@pytest.mark.parametrize("parameter", [";sf", ";bs", ';key="x"', ";tr", ";req", ";x=1"])
async def test_a_component_with_parameters_is_another_one(parameter: str) -> None:
    covered = [name for name in COVERED if name != "authorization"]
    made = signed(SIGNERS[0], covered=[*covered, "content-digest", f'"authorization"{parameter}'])
    assert await reason(request(made)) == "signature_coverage"


async def test_a_covered_header_that_is_not_there_is_refused() -> None:
    made = signed(SIGNERS[0], covered=[*COVERED, "content-digest", "x-other"])
    assert await reason(request(made)) == "signature_wrong"


async def test_a_fragment_would_be_covered_by_nothing() -> None:
    assert await reason(request(signed(SIGNERS[0]), url=f"{URL}#x")) == "signature_coverage"


# ---- whose key, which algorithm ----


async def test_a_key_that_nobody_registered_signs_nothing() -> None:
    assert await reason(request(signed(RequestSigner.ed25519()))) == "signature_key_unknown"


async def test_another_key_under_a_registered_name_is_wrong(signer: RequestSigner) -> None:
    made = signed(RequestSigner(type(signer).ed25519().key), keyid=signer.keyid)
    assert await reason(request(made)) == "signature_wrong"


async def test_a_key_signs_for_its_owner_alone() -> None:
    assert await reason(request(signed(OF_CAROL)), sender=ROOT) == "signature_key_of_another"
    assert await reason(request(signed(SIGNERS[0])), sender=CAROL) == "signature_key_of_another"
    assert await signatures().check(request(signed(OF_CAROL)), sender=CAROL) == OF_CAROL.keyid


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "rsa-v1_5-sha256", "none", "ED25519", ""])
async def test_the_message_chooses_no_algorithm(signer: RequestSigner, algorithm: str) -> None:
    assert await reason(request(signed(signer, alg=algorithm))) == "signature_algorithm"


async def test_one_kind_of_key_is_not_used_as_the_other() -> None:
    for signer, other in (SIGNERS, reversed(SIGNERS)):
        assert await reason(request(signed(signer, alg=other.algorithm))) == "signature_algorithm"
        assert await reason(request(signed(signer, keyid=other.keyid))) == "signature_wrong"


async def test_the_public_key_is_no_secret_to_sign_with() -> None:
    import hmac  # noqa: PLC0415  the classic confusion: a public key as the secret of a MAC

    signer = SIGNERS[0]
    made = signed(signer, alg="hmac-sha256")
    text = one_of(made, "signature-input").removeprefix("sig1=")
    base = signature_base("POST", URL, made, [*COVERED, "content-digest"], text)
    mac = hmac.digest(signer.public_pem.encode(), base.encode(), "sha256")
    forged = with_one(made, "signature", f"sig1=:{base64.b64encode(mac).decode()}:")
    assert await reason(request(forged)) == "signature_algorithm"


# ---- when, and once ----


@pytest.mark.parametrize(
    "parameters",
    [
        {"created": SECONDS - 61},
        {"created": SECONDS + 61},
        {"created": None},
        {"created": str(SECONDS)},
        {"created": float(SECONDS)},
        {"created": -1},
        {"created": 999_999_999_999_999},
        {"expires": SECONDS},
        {"expires": "never"},
    ],
    ids=str,
)
async def test_a_signature_is_of_this_minute(parameters: dict[str, Any]) -> None:
    assert await reason(request(signed(SIGNERS[0], **parameters))) == "signature_time"


@pytest.mark.parametrize("seconds", [-60, 60])
async def test_clocks_may_differ_by_a_minute(seconds: int) -> None:
    assert await signatures().check(request(signed(SIGNERS[0], created=SECONDS + seconds)), sender=ROOT)


@pytest.mark.parametrize("nonce", [None, "", "short", "x" * 257, 7, "with a blank in it"])
async def test_a_nonce_is_long_enough_to_be_one(nonce: Any) -> None:
    assert await reason(request(signed(SIGNERS[0], nonce=nonce))) == "signature_nonce"


async def test_a_signature_counts_once(signer: RequestSigner) -> None:
    judge, made = signatures(), request(signed(signer))
    assert await judge.check(made, sender=ROOT)
    assert await reason(made, by=judge) == "signature_replayed"
    # Nor does its nonce under another ticket.
    nonce = "a-nonce-of-its-own-length"
    assert await judge.check(request(signed(signer, nonce=nonce)), sender=ROOT)
    again = with_one(HEADERS, "authorization", "Negotiate YIIE")
    assert await reason(request(signed(signer, headers=again, nonce=nonce)), by=judge) == "signature_replayed"


async def test_nobody_spends_anothers_nonce() -> None:
    judge, nonce = signatures(), "a-nonce-of-its-own-length"
    assert await judge.check(request(signed(SIGNERS[0], nonce=nonce)), sender=ROOT)
    assert await judge.check(request(signed(OF_CAROL, nonce=nonce)), sender=CAROL)


async def test_a_request_that_is_refused_spends_no_nonce() -> None:
    judge, nonce = signatures(), "a-nonce-of-its-own-length"
    assert await reason(request(signed(SIGNERS[0], nonce=nonce), method="PUT"), by=judge) == "signature_wrong"
    assert await judge.check(request(signed(SIGNERS[0], nonce=nonce)), sender=ROOT)


class Elsewhere(SharedGuard):
    """A guard that another instance has told already."""

    def __init__(self) -> None:
        pass

    async def spend(self, authenticator: bytes) -> None:  # noqa: ARG002
        raise AuthFailed(reason="ticket_replayed")


async def test_a_signature_that_another_instance_saw_does_not_count() -> None:
    assert await reason(request(signed(SIGNERS[0])), by=signatures(shared=Elsewhere())) == "signature_replayed"


# ---- what two readers could read differently ----


@pytest.mark.parametrize(
    "name", ["signature", "signature-input", "content-digest", "x-zerotrust-request", "content-type", "content-length"]
)
async def test_a_header_that_is_there_twice_is_refused(name: str) -> None:
    made = signed(SIGNERS[0])
    assert await reason(request([*made, (name.title(), one_of(made, name))])) == "signature_ambiguous"


async def test_two_signatures_are_one_too_many() -> None:
    first, second = signed(SIGNERS[0], label="a"), signed(SIGNERS[1], label="b")
    both = without(first, "signature", "signature-input")
    both += [(name, f"{one_of(first, name)}, {one_of(second, name)}") for name in ("signature-input", "signature")]
    assert await reason(request(both)) == "signature_ambiguous"


async def test_a_label_that_comes_twice_and_one_without_its_other_half_are_refused() -> None:
    made = signed(SIGNERS[0])
    text = one_of(made, "signature-input")
    assert await reason(request(with_one(made, "signature-input", f"{text}, {text}"))) == "signature_ambiguous"
    assert await reason(request(with_one(made, "signature", "other=:AAAA:"))) == "signature_ambiguous"


async def test_a_component_or_parameter_that_comes_twice_is_refused() -> None:
    made = signed(SIGNERS[0], covered=[*COVERED, "content-digest", "@method"])
    assert await reason(request(made)) == "signature_ambiguous"
    made = signed(SIGNERS[0])
    text = one_of(made, "signature-input") + f";created={SECONDS}"
    assert await reason(request(with_one(made, "signature-input", text))) == "signature_ambiguous"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sig1",
        "sig1=1",
        "sig1=(",
        'sig1=("@method"',
        "sig1=()",
        "sig1=:AAAA:",
        "(",
        "\0",
        "sig1=\u20ac",
        "sig1=(1 2)",
        "x" * 5000,
    ],
)
async def test_a_header_that_is_no_signature_input_is_refused_without_an_error(text: str) -> None:
    made = with_one(signed(SIGNERS[0]), "signature-input", text)
    found = await reason(request(made))
    assert found.removeprefix("signature_") in {"malformed", "ambiguous", "coverage", "keyid"}


@pytest.mark.parametrize("text", ["sig1", "sig1=1", "sig1=(1)", "sig1=::", "sig1=:AAAA:", 'sig1="x"', "sig1=:A:"])
async def test_a_signature_that_is_no_bytes_is_refused_without_an_error(text: str) -> None:
    found = await reason(request(with_one(signed(SIGNERS[0]), "signature", text)))
    assert found in {"signature_wrong", "signature_malformed"}


async def test_nobody_reads_headers_without_end() -> None:
    assert await signatures().check(request(signed(SIGNERS[0], tag="x" * 1000)), sender=ROOT)
    assert await reason(request(signed(SIGNERS[0], tag="x" * 2000))) == "signature_malformed"


async def test_an_unknown_parameter_is_nothing_to_be_ignored() -> None:
    assert await reason(request(signed(SIGNERS[0], context="x"))) == "signature_parameters"


async def test_half_a_character_in_a_header_is_refused_without_an_error() -> None:
    # What aiohttp makes of bytes that are no UTF-8.
    headers = with_one(HEADERS, "authorization", "Negotiate \udcff")
    made = [(name, value) for name, value in signed(SIGNERS[0])]
    assert await reason(request(with_one(made, "authorization", headers[1][1]))) == "signature_wrong"
    assert await reason(request(with_one(made, "signature-input", "sig1=\udcff"))) == "signature_malformed"


def test_both_sides_cover_what_is_written_once() -> None:
    assert wire_operators.SIGNED_COMPONENTS == COVERED
