"""The form of a record: what is signed, what is hashed, and that anybody's tools can follow it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable

import joserfc.errors
import joserfc.jwk
import joserfc.jws
import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.api_jws import PyJWS

from broker.audit.chain import BrokenRecord, Head, canonical, check, position_of, require_recordable
from broker.audit.checkpoint import open_checkpoint
from broker.audit.signer import jwks_of, signer_of
from broker.core.principal import Principal
from broker.keys.signing import KeySet
from tests.fakes.audit import MASTER, Log, an_event

KEYS = KeySet(jwks=jwks_of(signer_of(MASTER)))

# Everything that has a UTF-8 form; half surrogate pairs have none.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), inner, max_size=4),
    max_leaves=8,
)


def rfc8785(value: object) -> bytes:
    """Written after the RFC and independently of ours; `json` escapes exactly what ECMAScript does (section 3.2.2.2)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), VALUES))
def test_the_canonical_form_is_rfc_8785(value: dict[str, object]) -> None:
    assert canonical(value) == rfc8785(value)


def test_the_canonical_form_escapes_what_rfc_8785_escapes_and_nothing_else() -> None:
    """The string of RFC 8785, section 3.2.2, DEL, and the line separators that JavaScript once stumbled over."""
    text = '€$\x0f\nA\'B"\\\\"/\x7f\u2028\u2029\U0001f600\b\f\r\t'
    expected = '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f\u2028\u2029\U0001f600\\b\\f\\r\\t"'
    assert canonical({"string": text}).decode() == '{"string":' + expected + "}"


def test_half_a_surrogate_pair_has_no_canonical_form() -> None:
    with pytest.raises(BrokenRecord, match="not expressible"):
        require_recordable({"role": "\ud800"})


def test_a_record_longer_than_any_reader_accepts_is_not_begun() -> None:
    with pytest.raises(BrokenRecord, match="longer than"):
        require_recordable({"role": "x" * (1 << 20)})


@given(components=st.lists(TEXT, min_size=1, max_size=3), realm=TEXT, resource=TEXT, reason=TEXT)
def test_whatever_a_principal_or_a_resource_is_called_the_record_stands(
    components: list[str], realm: str, resource: str, reason: str
) -> None:
    principal = Principal(tuple(components), realm)
    log = Log().add(principal=principal, resource=resource, reason=reason).add()
    head = Head()
    for line in log.lines:
        assert not re.search(rb"[\x00-\x1f]", line)
        record, head = check(line, after=head, keys=KEYS)
        if record["seq"] == 1:
            assert (record["resource"], record["reason"], record["user"]) == (resource, reason, str(principal))


def test_a_record_has_all_members_of_the_interface() -> None:
    record = json.loads(Log().add().lines[0])
    assert record.keys() >= {
        *("timestamp", "level", "event", "user", "action", "resource", "source_ip", "success"),
        *("seq", "prev", "request_id", "instance", "reason", "principal", "role", "account", "access_key_id"),
        *("expiration", "source_identity", "session_name", "kid", "sig"),
    }
    assert record["principal"] == {"name": "alice", "realm": "EXAMPLE.COM", "type": 1}


def test_details_cannot_overwrite_what_a_record_says() -> None:
    event = an_event(details={"success": True, "event": "issued", "torn_bytes": 7})
    event.refused("no_rule")
    members = event.members()
    assert (members["success"], members["event"], members["torn_bytes"]) == (False, "refused", 7)


def recipe(record: dict[str, object], signature: str) -> str:
    """That of docs/audit.md: `sig` taken out, serialised after RFC 8785, the payload put back (RFC 7515, appendix F)."""
    header, _, value = signature.split(".")
    return f"{header}.{base64.urlsafe_b64encode(rfc8785(record)).rstrip(b'=').decode()}.{value}"


def by_pyjwt(token: str, kid: str) -> bytes:
    published = jwt.PyJWKSet.from_dict(jwks_of(signer_of(MASTER)))
    verified: bytes = PyJWS().decode(token, key=published[kid], algorithms=["EdDSA"])
    return verified


def by_joserfc(token: str, kid: str) -> bytes:
    published = joserfc.jwk.KeySet.import_key_set(jwks_of(signer_of(MASTER)))  # type: ignore[arg-type]
    assert [key.kid for key in published.keys] == [kid]
    return joserfc.jws.deserialize_compact(token, published, algorithms=["EdDSA"]).payload


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864's name for it is Ed25519; the key is the same
@pytest.mark.parametrize(
    ("library", "bad"), [(by_pyjwt, jwt.InvalidSignatureError), (by_joserfc, joserfc.errors.BadSignatureError)]
)
def test_another_jose_library_checks_a_record_with_the_published_keys_alone(
    library: Callable[[str, str], bytes], bad: type[Exception]
) -> None:
    record = json.loads(Log().add(3).lines[2])
    signature = record.pop("sig")
    assert json.loads(library(recipe(record, signature), record["kid"])) == record
    with pytest.raises(bad):
        library(recipe(record | {"role": "administrator"}, signature), record["kid"])


def test_a_checkpoint_is_no_record_and_a_record_no_checkpoint() -> None:
    log = Log().add().checkpoint()
    with pytest.raises(BrokenRecord):
        check(log.checkpoints[0].encode(), after=Head(), keys=KEYS)
    with pytest.raises(BrokenRecord, match="damaged"):
        open_checkpoint(log.lines[0].decode(), keys=KEYS)


@given(st.binary() | VALUES.map(orjson.dumps))
def test_any_bytes_are_either_a_record_or_broken(line: bytes) -> None:
    for read in (position_of, lambda data: check(data, after=Head(), keys=KEYS)):
        try:
            read(line)
        except BrokenRecord:
            continue
        assert read is position_of
