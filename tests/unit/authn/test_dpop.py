"""Proofs as an attacker would bend them, against RFC 9449 section 4.3."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from broker.authn import dpop
from broker.authn.dpop import LEEWAY, Proof, ProofGuard, verified
from broker.core.errors import AuthFailed, ReplayGuardUnavailable
from broker.core.identity import UnverifiedProof
from broker.keys.signing import thumbprint
from tests.fakes.dpop import Prover

URL = "https://broker.example.com/v1/credentials"
TOKEN = "the-access-token"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PROVERS = [Prover.es256(), Prover.ed25519()]


@pytest.fixture(params=PROVERS, ids=lambda prover: prover.algorithm)
def prover(request: pytest.FixtureRequest) -> Prover:
    found: Prover = request.param
    return found


def shown(text: str, *, method: str = "POST", url: str = URL) -> UnverifiedProof:
    return UnverifiedProof(text=text, method=method, url=url)


def made(prover: Prover, *, method: str = "POST", url: str = URL, **rest: Any) -> str:
    return prover.proof(method, url, now=NOW.timestamp(), **rest)


def reason(unverified: UnverifiedProof | None, **expected: Any) -> str:
    """Why a proof is refused."""
    with pytest.raises(AuthFailed) as refused:
        verified(unverified, now=NOW, **expected)
    # What was wrong is for the audit record; the body says the same of every fault.
    assert refused.value.hint == dpop.HINT
    return refused.value.reason


def compact(*parts: bytes) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


# ---- the good ones ----


def test_an_honest_proof_names_its_key(prover: Prover) -> None:
    assert verified(shown(made(prover)), now=NOW).thumbprint == prover.thumbprint


def test_the_thumbprint_is_the_one_of_rfc_8037() -> None:
    # Appendix A.3 there.
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_an_honest_proof_counts_for_its_key_and_token(prover: Prover) -> None:
    proof = shown(made(prover, token=TOKEN))
    assert verified(proof, now=NOW, thumbprint=prover.thumbprint, token=TOKEN).thumbprint == prover.thumbprint


def test_a_key_as_webcrypto_exports_it_is_taken(prover: Prover) -> None:
    jwk = {**prover.jwk, "ext": True, "key_ops": ["verify"]}
    assert verified(shown(made(prover, header={"jwk": jwk})), now=NOW).thumbprint == prover.thumbprint


@pytest.mark.parametrize(
    ("htu", "ours"),
    [
        (URL + "?role=developer", URL),
        (URL + "#there", URL),
        ("HTTPS://Broker.Example.COM/v1/credentials", URL),
        ("https://broker.example.com:443/v1/credentials", URL),
        (URL, "https://broker.example.com:443/v1/credentials"),
        ("http://localhost:80/v1/roles", "http://localhost/v1/roles"),
        # Somebody else ends TLS for us.
        (URL, "http://broker.example.com/v1/credentials"),
    ],
)
def test_an_address_counts_less_what_does_not_matter(htu: str, ours: str) -> None:
    assert verified(shown(made(PROVERS[0], url=htu), url=ours), now=NOW)


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_clock_may_be_a_minute_off(seconds: int) -> None:
    assert verified(shown(made(PROVERS[0], iat=int(NOW.timestamp()) + seconds)), now=NOW)


# ---- the algorithm ----


def test_no_signature_is_no_proof(prover: Prover) -> None:
    header, claims, _ = made(prover, header={"alg": "none"}).split(".")
    assert reason(shown(f"{header}.{claims}.")) == "dpop_malformed"
    assert reason(shown(f"{header}.{claims}.AA")) == "dpop_algorithm"


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES384", "ES256K", "PS256", "es256", "", "EdDSA\x00"])
def test_an_algorithm_that_is_not_listed_is_refused_whatever_signed(prover: Prover, algorithm: str) -> None:
    assert reason(shown(made(prover, header={"alg": algorithm}))) == "dpop_algorithm"


@pytest.mark.parametrize("algorithm", [None, 7, ["ES256"], {"ES256": 1}, True])
def test_an_algorithm_that_is_no_word_is_refused(prover: Prover, algorithm: object) -> None:
    assert (
        reason(shown(prover.signed({"typ": "dpop+jwt", "alg": algorithm, "jwk": prover.jwk}, {}))) == "dpop_algorithm"
    )


@pytest.mark.parametrize("algorithm", ["HS256", "ES256", "EdDSA"])
def test_the_public_key_is_no_secret_to_sign_with(prover: Prover, algorithm: str) -> None:
    text = made(prover, header={"alg": algorithm})
    signing_input = text.rpartition(".")[0]
    for secret in (json.dumps(prover.jwk).encode(), base64.urlsafe_b64decode(prover.jwk["x"] + "=")):
        mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        forged = signing_input + "." + compact(mac)
        assert reason(shown(forged)) in {"dpop_algorithm", "dpop_key", "dpop_unverifiable"}


def test_rsa_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    honest = made(PROVERS[0], header={"alg": "RS256", "jwk": jwk})
    signing_input = honest.rpartition(".")[0]
    signature = key.sign(signing_input.encode(), padding.PKCS1v15(), SHA256())
    assert reason(shown(f"{signing_input}.{compact(signature)}")) == "dpop_algorithm"


def test_an_algorithm_goes_with_its_own_kind_of_key_only() -> None:
    first, second = PROVERS
    assert reason(shown(made(first, header={"jwk": second.jwk}))) == "dpop_key"
    assert reason(shown(made(second, header={"jwk": first.jwk}))) == "dpop_key"


def test_another_curve_is_refused() -> None:
    jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    assert reason(shown(made(PROVERS[0], header={"jwk": jwk}))) == "dpop_key"


# ---- the rest of the header ----


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "DPoP+JWT", "application/dpop+jwt", "", 1, ["dpop+jwt"]])
def test_a_jwt_of_another_type_is_no_proof(prover: Prover, kind: object) -> None:
    assert reason(shown(made(prover, header={"typ": kind}))) == "dpop_header"


@pytest.mark.parametrize("missing", ["typ", "alg", "jwk"])
def test_a_header_without_one_of_its_members_is_refused(prover: Prover, missing: str) -> None:
    assert reason(shown(made(prover, header={missing: None}))) == "dpop_header"


@pytest.mark.parametrize(
    "beside",
    [
        {"kid": "../../../../dev/null"},
        {"kid": "/etc/zerotrust/secrets/encryption_key"},
        {"kid": "' UNION SELECT 'key"},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["MII"]},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"nonce": "x"},
    ],
    ids=str,
)
def test_a_header_says_nothing_beside(prover: Prover, beside: dict[str, Any]) -> None:
    # PyJWT stumbles over some of them first.
    assert reason(shown(made(prover, header=beside))) in {"dpop_header", "dpop_unverifiable"}


def test_a_private_key_is_nothing_to_show(prover: Prover) -> None:
    jwk = {name: value for name, value in prover.private_jwk.items() if name != "key_ops"}
    assert "d" in jwk
    assert reason(shown(made(prover, header={"jwk": jwk}))) == "dpop_key"


@pytest.mark.parametrize("member", ["k", "p", "q", "dp", "dq", "qi", "oth", "x5u", "anything"])
def test_a_key_has_no_member_that_a_public_key_has_not(prover: Prover, member: str) -> None:
    assert reason(shown(made(prover, header={"jwk": {**prover.jwk, member: "AQ"}}))) == "dpop_key"


@pytest.mark.parametrize("value", [None, 1, "", "AQ", "A" * 44, "A" * 42 + "=", "A" * 42 + "é", ["A" * 43], "\n" * 43])
def test_a_coordinate_that_is_none_is_refused(prover: Prover, value: object) -> None:
    assert reason(
        shown(prover.signed({"typ": "dpop+jwt", "alg": prover.algorithm, "jwk": {**prover.jwk, "x": value}}, {}))
    ) == ("dpop_key")


@pytest.mark.parametrize("jwk", ["", [], 1, None, "https://attacker.example/key.json", {}])
def test_a_key_that_is_none_is_refused(prover: Prover, jwk: object) -> None:
    assert reason(shown(prover.signed({"typ": "dpop+jwt", "alg": prover.algorithm, "jwk": jwk}, {}))) == "dpop_key"


def test_a_point_that_is_on_no_curve_is_refused() -> None:
    jwk = {**PROVERS[0].jwk, "y": "A" * 43}
    assert reason(shown(made(PROVERS[0], header={"jwk": jwk}))) == "dpop_unverifiable"


# ---- the signature and the claims ----


def test_any_character_changed_breaks_a_proof(prover: Prover) -> None:
    text = made(prover, token=TOKEN)
    for place in range(0, len(text), 7):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        # The last character of a part carries spare bits, which no reader sees.
        if text[place + 1 : place + 2] not in {"", "."}:
            assert reason(shown(changed), thumbprint=prover.thumbprint, token=TOKEN).startswith("dpop_")


def test_somebody_elses_claims_do_not_fit_under_a_signature(prover: Prover) -> None:
    header, _, signature = made(prover).split(".")
    _, other_claims, _ = made(prover).split(".")
    assert reason(shown(f"{header}.{other_claims}.{signature}")) == "dpop_unverifiable"


@pytest.mark.parametrize(
    ("htm", "method"),
    [("GET", "POST"), ("POST", "GET"), ("post", "POST"), (None, "POST"), (["POST"], "POST"), ("", "")],
)
def test_a_proof_for_another_method_is_refused(htm: object, method: str) -> None:
    if htm == method:
        htm = None
    assert reason(shown(made(PROVERS[0], htm=htm), method=method)) == "dpop_other_method"


@pytest.mark.parametrize(
    "htu",
    [
        "https://other.example.com/v1/credentials",
        "https://broker.example.com.attacker.example/v1/credentials",
        "https://broker.example.com:8443/v1/credentials",
        "https://broker.example.com:80/v1/credentials",
        "http://broker.example.com/v1/credentials",
        "https://broker.example.com@attacker.example/v1/credentials",
        "https://alice@broker.example.com/v1/credentials",
        "https://broker.example.com/v1/roles",
        "https://broker.example.com/v1/Credentials",
        "https://broker.example.com/v1/credentials/",
        "https://broker.example.com//v1/credentials",
        "https://broker.example.com/v1/roles/../credentials",
        "https://broker.example.com/v1/%63redentials",
        "https://broker.example.com",
        "broker.example.com/v1/credentials",
        "/v1/credentials",
        "://broker.example.com/v1/credentials",
        "https:/broker.example.com/v1/credentials",
        " https://broker.example.com/v1/credentials",
        "https://broker.example.com/v1/credentials\n",
        "https://broker.example.com\\/v1/credentials",
        "",
        None,
        1,
        ["https://broker.example.com/v1/credentials"],
    ],
)
def test_a_proof_for_another_address_is_refused(htu: object) -> None:
    assert reason(shown(made(PROVERS[0], htu=htu))) == "dpop_other_address"


@pytest.mark.parametrize("seconds", [-86_400, -61, 61, 86_400])
def test_a_proof_made_too_long_ago_or_in_the_future_is_refused(seconds: int) -> None:
    assert reason(shown(made(PROVERS[0], iat=int(NOW.timestamp()) + seconds))) == "dpop_time"


@pytest.mark.parametrize("iat", [None, "now", True, [], {}, float("nan"), float("inf"), -float("inf"), 10**400, 1e308])
def test_a_proof_without_a_usable_time_is_refused(iat: object) -> None:
    assert reason(shown(made(PROVERS[0], iat=iat))) == "dpop_time"


@pytest.mark.parametrize("claim", [{"exp": 0}, {"exp": "later"}, {"nbf": 10**12}, {"nbf": False}])
def test_a_proof_that_says_itself_when_it_counts_is_believed(claim: dict[str, Any]) -> None:
    assert reason(shown(made(PROVERS[0], **claim))) == "dpop_time"


@pytest.mark.parametrize("ath", [None, "", TOKEN, 1, hashlib.sha256(TOKEN.encode()).hexdigest()])
def test_a_proof_for_no_or_an_unreadable_token_is_refused(ath: object) -> None:
    assert reason(shown(made(PROVERS[0], ath=ath)), token=TOKEN) == "dpop_other_token"


def test_a_proof_for_another_token_is_refused(prover: Prover) -> None:
    proof = shown(made(prover, token="another-token"))
    assert reason(proof, thumbprint=prover.thumbprint, token=TOKEN) == "dpop_other_token"


def test_a_proof_of_another_key_is_refused(prover: Prover) -> None:
    thief = Prover.es256()
    assert reason(shown(made(thief, token=TOKEN)), thumbprint=prover.thumbprint, token=TOKEN) == "dpop_other_key"


def test_no_thumbprint_is_nobodys_key(prover: Prover) -> None:
    assert reason(shown(made(prover, token=TOKEN)), thumbprint="", token=TOKEN) == "dpop_other_key"


@pytest.mark.parametrize("jti", [None, "", 7, ["x"], {"x": 1}, "x" * 257])
def test_a_proof_without_a_usable_identifier_is_refused(jti: object) -> None:
    assert reason(shown(made(PROVERS[0], jti=jti))) == "dpop_jti"


def test_an_identifier_that_no_encoding_holds_is_still_one() -> None:
    assert (
        verified(shown(made(PROVERS[0], jti="\ud800")), now=NOW).use != verified(shown(made(PROVERS[0])), now=NOW).use
    )


def test_no_proof_is_no_proof() -> None:
    assert reason(None) == "dpop_missing"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "a.b.c",
        "é.b.c",
        "\udcff.b.c",
        "a.b.c\n",
        "a b.c.d",
        compact(b"[]", b"{}", b"x"),
        compact(b"{", b"{}", b"x"),
        compact(b"[" * 2900, b"{}", b"x"),
        compact(b'{"a":' * 500, b"{}", b"x"),
        compact(b"\xff\xfe", b"{}", b"x"),
        compact(b"1" * 3000, b"{}", b"x"),
    ],
    ids=range(16),
)
def test_what_is_no_jwt_is_refused_without_another_error(text: str) -> None:
    assert reason(shown(text)) in {"dpop_malformed", "dpop_unverifiable"}


@pytest.mark.parametrize("claims", [[], "x", 1, None])
def test_claims_that_are_no_object_are_refused(prover: Prover, claims: object) -> None:
    text = prover.signed({"typ": "dpop+jwt", "alg": prover.algorithm, "jwk": prover.jwk}, claims)
    assert reason(shown(text)) == "dpop_malformed"


@pytest.mark.parametrize("claims", [b"", b"{", b"\xff", b"[" * 1500, b'{"jti":' * 400, b"1" * 2500])
def test_claims_that_are_no_json_are_refused_without_another_error(prover: Prover, claims: bytes) -> None:
    text = prover.signed({"typ": "dpop+jwt", "alg": prover.algorithm, "jwk": prover.jwk}, claims)
    assert reason(shown(text)) in {"dpop_unverifiable", "dpop_malformed"}


def test_a_proof_is_read_up_to_a_size_only(prover: Prover) -> None:
    assert reason(shown(made(prover, padding="x" * 4096))) == "dpop_malformed"


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,80}"))
def test_nothing_but_a_refusal_comes_of_what_nobody_signed(text: str) -> None:
    assert reason(shown(text)) in {"dpop_malformed", "dpop_unverifiable", "dpop_header"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["jti", "htm", "htu", "iat", "ath", "exp", "nbf"]), json_values))
def test_nothing_but_a_refusal_comes_of_claims_of_any_shape(claims: dict[str, Any]) -> None:
    prover = PROVERS[0]
    text = prover.signed({"typ": "dpop+jwt", "alg": prover.algorithm, "jwk": prover.jwk}, claims)
    assert reason(shown(text), token=TOKEN).startswith("dpop_")


# ---- once ----


class HandClock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds - 1000)

    def boottime(self) -> float:
        return self.seconds


class Shared:
    """The guard of all instances: remembers, or does not answer."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.answers = True

    async def spend(self, authenticator: bytes) -> None:
        if not self.answers:
            raise ReplayGuardUnavailable
        if authenticator in self.seen:
            raise AuthFailed(reason="ticket_replayed")
        self.seen.add(authenticator)

    async def ping(self) -> str | None:
        return None


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(dpop, "_MEMORY_MAX", 3)
    return iter((3,))


def proof(name: str) -> Proof:
    return Proof(thumbprint="t", use=name.encode())


async def refused_as_replayed(guard: ProofGuard, name: str) -> None:
    with pytest.raises(AuthFailed) as refused:
        await guard.spend(proof(name))
    assert refused.value.reason == "dpop_replayed"


async def test_a_proof_passes_once_without_a_shared_guard(clock: HandClock) -> None:
    guard = ProofGuard(shared=None, clock=clock)
    await guard.spend(proof("one"))
    await refused_as_replayed(guard, "one")
    await guard.spend(proof("two"))


async def test_a_proof_passes_once_at_two_instances_with_a_shared_guard(clock: HandClock) -> None:
    shared = Shared()
    here, there = ProofGuard(shared=shared, clock=clock), ProofGuard(shared=shared, clock=clock)
    await here.spend(proof("one"))
    await refused_as_replayed(there, "one")


async def test_a_proof_is_remembered_for_as_long_as_it_could_be_shown(clock: HandClock) -> None:
    guard = ProofGuard(shared=None, clock=clock)
    early = shown(made(PROVERS[0], iat=int(NOW.timestamp() + LEEWAY.total_seconds())))
    first = verified(early, now=clock.now())
    await guard.spend(first)
    clock.seconds += 2 * LEEWAY.total_seconds()
    again = verified(early, now=clock.now())
    with pytest.raises(AuthFailed, match="dpop_replayed"):
        await guard.spend(again)
    clock.seconds += 1
    with pytest.raises(AuthFailed, match="dpop_time"):
        verified(early, now=clock.now())


async def test_a_proof_is_forgotten_when_it_could_not_be_shown_any_more(clock: HandClock) -> None:
    guard = ProofGuard(shared=None, clock=clock)
    for number in range(50):
        await guard.spend(proof(str(number)))
    clock.seconds += 2 * LEEWAY.total_seconds() + 2
    await guard.spend(proof("new"))
    assert len(guard._forget_at) == 1


async def test_sessions_go_on_without_the_shared_guard_and_a_proof_still_passes_once_here(clock: HandClock) -> None:
    shared = Shared()
    guard = ProofGuard(shared=shared, clock=clock)
    await guard.spend(proof("before"))
    shared.answers = False
    await guard.spend(proof("during"))
    await refused_as_replayed(guard, "during")
    await refused_as_replayed(guard, "before")


@pytest.mark.usefixtures("small_memory")
async def test_a_full_memory_is_no_allow(clock: HandClock) -> None:
    guard = ProofGuard(shared=None, clock=clock)
    for number in range(3):
        await guard.spend(proof(str(number)))
    with pytest.raises(ReplayGuardUnavailable):
        await guard.spend(proof("one more"))
    await refused_as_replayed(guard, "0")


@pytest.mark.usefixtures("small_memory")
async def test_a_full_memory_matters_only_while_the_shared_guard_is_silent(clock: HandClock) -> None:
    shared = Shared()
    guard = ProofGuard(shared=shared, clock=clock)
    for number in range(4):
        await guard.spend(proof(str(number)))
    await refused_as_replayed(guard, "3")
    shared.answers = False
    with pytest.raises(ReplayGuardUnavailable):
        await guard.spend(proof("one more"))


async def test_two_keys_may_use_the_same_identifier(clock: HandClock) -> None:
    guard = ProofGuard(shared=None, clock=clock)
    for prover in PROVERS:
        await guard.spend(verified(shown(made(prover, jti="the same")), now=NOW))
