"""Signed requests (RFC 9421): what an operator asks is what the broker does, also past whoever ends TLS in between.

The signature base and the cryptography are the library's. What the library leaves to its caller is here, and decided before it
is asked: one signature, on single headers; a key that is registered for the very principal whose ticket came with the request;
the algorithm of that key, whatever the message says; all that must be covered; the time, by our clock; and that a nonce counts
once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import http_sf
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    MappingKeyResolver,
)
from http_message_signatures.algorithms import ECDSA_P256_SHA256, ED25519

from broker import wire, wire_operators
from broker.authn.dpop import LEEWAY, Proof, ProofGuard
from broker.core.clock import Clock
from broker.core.errors import AuthFailed, SignatureRefused
from broker.core.identity import UnverifiedRequest
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.keys.request_key import RequestKey

_INPUT, _SIGNATURE = "signature-input", "signature"
# Characters of each of the two headers. What our client writes has 400.
_HEADER_MAX = 2048
# What a message says a second time, somebody else may read instead of the first.
_SINGLE = (
    "authorization",
    wire.REQUEST_HEADER.lower(),
    wire_operators.SIGNED_DIGEST,
    "content-length",
    "content-type",
    "host",
)
_NONCE = re.compile(r"[\x21-\x7e]{16,256}")
_PARAMETERS = {"alg", "created", "expires", "keyid", "nonce", "tag"}


@dataclass(frozen=True, slots=True)
class Registered:
    """A key, and the one principal whose requests it signs."""

    key: RequestKey
    owner: PrincipalPattern


@dataclass(frozen=True, slots=True)
class _Claimed:
    """What a Signature-Input says before anybody has checked it. No component has parameters."""

    components: frozenset[str]
    parameters: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A parameter that must be there and be text."""
        value = self.parameters.get(name)
        if type(value) is not str:
            raise _refused(name)
        return value

    def moment(self, name: str) -> int:
        """A parameter that must be there and be whole seconds."""
        value = self.parameters.get(name)
        if type(value) is not int:
            raise _refused("time")
        return value


class Signatures:
    """Says who signed a request."""

    def __init__(self, *, keys: Sequence[Registered], required: bool, proofs: ProofGuard, clock: Clock) -> None:
        """Take the registered keys; where signing is not ``required``, what is signed is checked all the same."""
        self._keys = {registered.key.id: registered for registered in keys}
        self.required = required
        self._proofs = proofs
        self._clock = clock

    async def check(self, request: UnverifiedRequest | None, *, sender: Principal) -> str | None:
        """The id of the sender's key that this request is signed with; None where it is not and need not be.

        Raises:
            SignatureRefused: Not signed, or in any point not as it must be.
            ReplayGuardUnavailable: Nobody can say whether the signature was used before.
        """
        if request is None:
            if self.required:
                raise _refused("missing")
            return None
        if not self.required and not {name.lower() for name, _ in request.headers} & {_INPUT, _SIGNATURE}:
            return None
        claimed = _claimed(request)
        registered = self._keys.get(claimed.text("keyid"))
        if registered is None:
            raise _refused("key_unknown")
        if not registered.owner.matches(sender):
            raise _refused("key_of_another")
        _check_time(claimed, self._clock.now())
        nonce = claimed.text("nonce")
        if not _NONCE.fullmatch(nonce):
            raise _refused("nonce")
        _check_coverage(claimed, request)
        _verify(request, claimed, registered.key)
        await self._spend(registered.key.id, nonce)
        return registered.key.id

    async def _spend(self, key: str, nonce: str) -> None:
        # Under its key's name, so that nobody spends somebody else's; and no use of a proof of another kind.
        use = b"signature/v1\0%b\0%b" % (key.encode(), nonce.encode())
        try:
            await self._proofs.spend(Proof(thumbprint=key, use=use))
        except AuthFailed as error:
            raise _refused("replayed") from error


def _claimed(request: UnverifiedRequest) -> _Claimed:
    """What the one signature of a message claims."""
    lines = [(name.lower(), value) for name, value in request.headers]
    found = {name: [value for other, value in lines if other == name] for name in (_INPUT, _SIGNATURE, *_SINGLE)}
    if not found[_INPUT] or not found[_SIGNATURE]:
        raise _refused("missing")
    if any(len(values) > 1 for values in found.values()):
        raise _refused("ambiguous")
    if any(len(found[name][0]) > _HEADER_MAX for name in (_INPUT, _SIGNATURE)):
        raise _refused("malformed")
    inputs, signatures = _dictionary(found[_INPUT][0]), _dictionary(found[_SIGNATURE][0])
    if len(inputs) != 1 or inputs.keys() != signatures.keys():
        raise _refused("ambiguous")
    return _claims_of(*inputs.values())


def _dictionary(text: str) -> Mapping[str, Any]:
    try:
        parsed = http_sf.parse(text.encode("ascii"), tltype="dictionary", on_duplicate_key=_no_duplicate)
    except ValueError as error:
        raise _refused("malformed") from error
    if not isinstance(parsed, Mapping):
        raise _refused("malformed")
    return parsed


def _no_duplicate(_key: str, _context: str) -> None:
    # RFC 9651 lets the last one win; two readers may see that differently.
    raise _refused("ambiguous")


def _claims_of(member: Any) -> _Claimed:
    if not isinstance(member, tuple) or not isinstance(member[0], list):
        raise _refused("malformed")
    items, parameters = member
    if parameters.keys() - _PARAMETERS:
        raise _refused("parameters")
    # Parameters (;sf, ;bs, ;key, ;tr, ;req) make another component of a name, and cover less than all of it.
    if any(type(name) is not str or given for name, given in items):
        raise _refused("coverage")
    names = [name for name, _ in items]
    if len(set(names)) != len(names):
        raise _refused("ambiguous")
    return _Claimed(components=frozenset(names), parameters=parameters)


def _check_time(claimed: _Claimed, now: datetime) -> None:
    seconds, leeway = int(now.timestamp()), int(LEEWAY.total_seconds())
    if abs(claimed.moment("created") - seconds) > leeway:
        raise _refused("time")
    if "expires" in claimed.parameters and claimed.moment("expires") <= seconds:
        raise _refused("time")


def _check_coverage(claimed: _Claimed, request: UnverifiedRequest) -> None:
    if "#" in request.url:
        # No target has a fragment (RFC 9112 section 3.2), and no component covers one.
        raise _refused("coverage")
    needed = set(wire_operators.SIGNED_COMPONENTS)
    # Also where there is nothing to digest: what says that there was must be true.
    if request.body or any(name.lower() == wire_operators.SIGNED_DIGEST for name, _ in request.headers):
        needed.add(wire_operators.SIGNED_DIGEST)
    if not needed <= claimed.components:
        raise _refused("coverage")


class _Message:
    """A request as the library wants to see one."""

    def __init__(self, request: UnverifiedRequest) -> None:
        self.method = request.method
        self.url = request.url
        self.headers = _Lines(request.headers)


class _Lines:
    """All field lines in order; the library joins those of one name."""

    def __init__(self, lines: Sequence[tuple[str, str]]) -> None:
        self._lines = lines

    def items(self) -> Sequence[tuple[str, str]]:
        return self._lines


class _Verifier(HTTPMessageVerifier):
    """The library's, without its own clock."""

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Nothing: `_check_time` has asked ours."""


def _verify(request: UnverifiedRequest, claimed: _Claimed, key: RequestKey) -> None:
    algorithm = ED25519 if key.is_ed25519 else ECDSA_P256_SHA256
    if claimed.parameters.get("alg", algorithm.algorithm_id) != algorithm.algorithm_id:
        raise _refused("algorithm")
    keys = MappingKeyResolver(public_keys={key.id: key.public}, private_keys={})
    verifier = _Verifier(signature_algorithm=algorithm, key_resolver=keys)
    message = _Message(request)
    try:
        found = verifier.verify(message, max_age=None, require_components=wire_operators.SIGNED_COMPONENTS)
    except (HTTPMessageSignaturesException, ValueError) as error:
        raise _refused("wrong") from error
    try:
        verifier.verify_body(message, found, request.body)
    except (HTTPMessageSignaturesException, ValueError) as error:
        raise _refused("digest") from error


def _refused(what: str) -> SignatureRefused:
    return SignatureRefused(reason=f"signature_{what}")
