"""What is in an Authorization header, read as its enemy writes it."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authn import der, spnego
from broker.core.errors import AuthFailed, AuthRequired, BrokerError

TOKENS = Path(__file__).parents[2] / "vectors" / "tokens"


def token(name: str) -> bytes:
    return base64.decodebytes((TOKENS / f"{name}.b64").read_bytes())


SPNEGO, AP_REQ = token("spnego"), token("ap-req")
SPNEGO_ERROR, KRB_ERROR = token("spnego-error"), token("krb-error")
ALL = (SPNEGO, AP_REQ, SPNEGO_ERROR, KRB_ERROR)

NTLM = b"NTLMSSP\x00" + bytes(32)
_NTLM_OID = bytes.fromhex("060a2b06010401823702020a")
_KERBEROS_OID = bytes.fromhex("06092a864886f712010202")
_SPNEGO_OID = bytes.fromhex("06062b0601050502")


def element(tag: int, content: bytes) -> bytes:
    """DER with a two-byte length, as long as a test needs."""
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content


def neg_token_init(*mechanisms: bytes, token: bytes = NTLM) -> bytes:
    """RFC 4178 section 4.2.1."""
    kinds = element(0xA0, element(0x30, b"".join(mechanisms)))
    inner = element(0xA2, element(0x04, token))
    return element(0x60, _SPNEGO_OID + element(0xA0, element(0x30, kinds + inner)))


def negotiate(data: bytes, scheme: str = "Negotiate") -> str:
    return f"{scheme} {base64.b64encode(data).decode()}"


def refusal(authorization: str) -> AuthFailed:
    with pytest.raises(AuthFailed) as caught:
        spnego.unverified_token(authorization)
    return caught.value


@pytest.mark.parametrize("scheme", ["Negotiate", "negotiate", "NEGOTIATE"])
def test_the_token_comes_out_as_it_was_sent(scheme: str) -> None:
    assert spnego.unverified_token(negotiate(SPNEGO, scheme)) == SPNEGO
    assert spnego.unverified_token(negotiate(AP_REQ, scheme)) == AP_REQ


def test_no_header_asks_for_a_ticket() -> None:
    with pytest.raises(AuthRequired):
        spnego.unverified_token(None)


@pytest.mark.parametrize(
    "authorization",
    ["", " ", "Basic YWxpY2U6eA==", "Bearer abc", "Negotiat YQ==", "NegotiateYQ==", " Negotiate YQ==", "Kerberos YQ=="],
)
def test_another_scheme_is_refused(authorization: str) -> None:
    assert refusal(authorization).reason == "other_scheme"


@pytest.mark.parametrize(
    "encoded",
    ["!", "YQ", "YQ=", "YQ==YQ==", "Y Q==", "YQ==\n.", "-_-_", "YWxpY2U=\x00", "é===", "=YQ=", "A", "\udcff\udcff"],
)
def test_what_is_not_base64_is_refused(encoded: str) -> None:
    assert refusal(f"Negotiate {encoded}").reason == "not_base64"


@pytest.mark.parametrize("authorization", ["Negotiate", "Negotiate ", "Negotiate    "])
def test_an_empty_token_is_refused(authorization: str) -> None:
    assert refusal(authorization).reason == "empty_token"


@pytest.mark.parametrize("offer", [NTLM, neg_token_init(_NTLM_OID), neg_token_init(_NTLM_OID, token=b"")])
def test_ntlm_is_refused_by_name_with_what_to_do(offer: bytes) -> None:
    error = refusal(negotiate(offer))
    assert error.reason == "ntlm_offered"
    assert "NTLM" in (error.hint or "")
    assert "kinit" in (error.hint or "")


def test_a_client_that_can_do_both_is_not_taken_for_ntlm() -> None:
    assert not spnego.offers_only_ntlm(neg_token_init(_KERBEROS_OID, _NTLM_OID))
    assert not spnego.offers_only_ntlm(SPNEGO)
    assert not spnego.offers_only_ntlm(AP_REQ)


@given(st.text() | st.binary().map(lambda data: "Negotiate " + data.decode("latin-1")))
def test_any_header_ends_in_a_token_or_in_an_error_of_ours(authorization: str) -> None:
    with contextlib.suppress(BrokerError):
        assert spnego.unverified_token(authorization)


def test_the_acceptor_s_own_answers_say_why() -> None:
    assert spnego.error_code(SPNEGO_ERROR) == 34
    assert spnego.error_code(KRB_ERROR) == 34
    assert spnego.error_code(SPNEGO) is None
    assert spnego.error_code(AP_REQ) is None
    assert spnego.error_code(None) is None
    assert spnego.error_code(b"") is None


# ---- DER ----


def read_all(data: bytes) -> None:
    """Everything this house does with the bytes of a token."""
    spnego.offers_only_ntlm(data)
    spnego.error_code(data)
    try:
        for _, content in der.children(data):
            list(der.children(content))
    except der.Malformed:
        pass


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_raise_nothing_but_malformed(data: bytes) -> None:
    read_all(data)


@given(st.sampled_from(ALL), st.data())
def test_a_real_token_with_bytes_changed_raises_nothing_but_malformed(original: bytes, data: st.DataObject) -> None:
    changed = bytearray(original)
    for place in data.draw(st.lists(st.integers(0, min(len(original), 120) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    read_all(bytes(changed))


def test_a_real_token_cut_anywhere_raises_nothing_but_malformed() -> None:
    for original in ALL:
        for end in range(len(original)):
            read_all(original[:end])
            with pytest.raises(der.Malformed):
                der.read(original[:end])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",  # indefinite length, BER only
        b"\x30\x84\x00\x00\x00\x00",  # four length bytes
        b"\x30\x82\x01",  # the length itself is cut
        b"\x30\x03\x02\x01",  # the content is cut
        b"\x1f\x81\x01\x00",  # a tag of several bytes
        b"\x30\xff",
    ],
)
def test_an_element_that_is_not_plain_der_is_malformed(data: bytes) -> None:
    with pytest.raises(der.Malformed):
        der.read(data)


@given(st.integers(0, 0xFF).filter(lambda tag: tag & 0x1F != 0x1F), st.binary(max_size=300), st.binary(max_size=10))
def test_an_element_is_read_back_with_what_follows_it_untouched(tag: int, content: bytes, rest: bytes) -> None:
    data = element(tag, content) + rest
    assert der.read(data) == (tag, content, len(data) - len(rest))
    if not rest:
        assert der.child(data, tag) == content


def test_a_child_that_is_not_there_is_malformed() -> None:
    with pytest.raises(der.Malformed):
        der.child(element(0x30, b""), 0x31)
