"""The whole `Authorization` header, as text that may hold any byte: a token, a session, a challenge, or a precise refusal."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from broker.authn import session, spnego
from broker.core.errors import AuthFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parents[1] / "vectors" / "tokens"
_LAST_BLOCK = 4
REASONS = {
    "other_scheme",
    "not_base64",
    "empty_token",
    "ntlm_offered",
    "token_malformed",
    "mechanism_unknown",
}


def seeds() -> Iterator[bytes]:
    for path in sorted(VECTORS.glob("*.b64")):
        yield b"Negotiate " + path.read_bytes().replace(b"\n", b"")
    yield b"Negotiate " + base64.b64encode(b"NTLMSSP\x00\x01\x00\x00\x00")
    yield b"negotiate  TlRM"
    yield b"DPoP AZaz09-_="
    yield b"Basic YWxpY2U6d29uZGVybGFuZA=="


def one_input(data: bytes) -> None:
    # As aiohttp makes text of header bytes.
    header = data.decode("utf-8", "surrogateescape")
    shown = session.shown(authorization=header, cookie="a cookie")
    is_session = header.partition(" ")[0].lower() == "dpop"
    # A cookie never makes good for a header.
    assert (shown is not None) == is_session
    assert shown is None or shown.kind is session.Kind.DPOP
    try:
        token = spnego.unverified_token(header)
        assert not is_session
        spnego.authenticator(token)
    except AuthFailed as error:
        assert error.reason in REASONS, error.reason
        return
    given, again = header.partition(" ")[2].strip(), base64.b64encode(token).decode()
    # The last character that is no padding has bits to spare, and Python does not look at them.
    assert len(given) == len(again)
    assert given[:-_LAST_BLOCK] == again[:-_LAST_BLOCK]
