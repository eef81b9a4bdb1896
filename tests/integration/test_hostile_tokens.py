"""Twenty thousand tokens that somebody tampered with, through the real acceptor: nobody but their owner is ever let in.

The seed is fixed, so a finding can be repeated; the acceptor is the one of the broker, over MIT's library, in this process.
"""

from __future__ import annotations

import base64
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from broker.authn import spnego
from broker.authn.acceptor import Binding, KerberosAcceptor
from broker.authn.keytab import AcceptorKeys
from broker.authn.spnego import UnverifiedToken
from broker.authn.ticket import RealmRules
from broker.core.clock import SystemClock
from broker.core.errors import AccessDenied, AuthFailed
from tests.fakes.tokens import authenticator_span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.realm import Realm

TOKENS = 20_000
SEED = 4120
POOL = 25  # real tokens for each of two people, in each of the two wrappings
WRAPPINGS = ("1.3.6.1.5.5.2", "1.2.840.113554.1.2.2")


@pytest.fixture
def acceptor(realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KerberosAcceptor:
    monkeypatch.setenv("KRB5RCACHENAME", f"file2:{tmp_path}/replay")
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    return KerberosAcceptor(
        keys=AcceptorKeys([keytab], realms=frozenset({"EXAMPLE.COM"}), hosts=None),
        realms={"EXAMPLE.COM": RealmRules()},
        channel_binding=Binding.ALLOW,
        clock=SystemClock(),
    )


@pytest.fixture
def owners(realm: Realm, tmp_path: Path) -> dict[bytes, str]:
    """Real tokens, and whose they are."""
    people = {user: realm.kinit(user, tmp_path / user) for user in ("alice", "mallory")}
    return {
        realm.client_token(login, mechanism=wrapping): f"{user}@EXAMPLE.COM"
        for user, login in people.items()
        for wrapping in WRAPPINGS
        for _ in range(POOL)
    }


def tampered(pool: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """Bit flips, other bytes, cuts, insertions, doublings, and splices of two people's tokens; one or several of them."""
    while True:
        token = bytearray(chance.choice(pool))
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            place = chance.randrange(len(token) + 1)
            match chance.randrange(6):
                case 0:
                    token[min(place, len(token) - 1)] ^= 1 << chance.randrange(8)
                case 1:
                    token[min(place, len(token) - 1)] = chance.randrange(256)
                case 2:
                    del token[place : place + chance.choice((1, 2, 16, 400))]
                case 3:
                    token[place:place] = chance.randbytes(chance.choice((1, 2, 16, 400)))
                case 4:
                    token[place:place] = token[place : place + chance.choice((2, 16, 400))]
                case _:
                    other = chance.choice(pool)
                    token[place:] = other[min(place, len(other)) :]
            if not token:
                token += b"\x60"
        yield bytes(token)


def test_twenty_thousand_tampered_tokens_let_nobody_in_as_somebody_else(
    acceptor: KerberosAcceptor, owners: dict[bytes, str]
) -> None:
    chance = random.Random(SEED)  # noqa: S311  repeatable, not secret
    belongs = {_authenticator(token): owner for token, owner in owners.items()}
    outcomes: Counter[str] = Counter()
    spent: set[bytes] = set()
    source = tampered(list(owners), chance)
    for _ in range(TOKENS):
        token = UnverifiedToken(next(source))
        try:
            identity = acceptor.accept(token, binding=None)
        except (AuthFailed, AccessDenied) as error:
            outcomes[error.reason] += 1
            continue
        outcomes["accepted"] += 1
        # An altered wrapper passed: then it holds an authenticator of whom it was taken for.
        assert str(identity.principal) in {owner for held, owner in belongs.items() if held in token}, token.hex()
        try:
            remembered = spnego.authenticator(token)
        except AuthFailed:
            continue  # The broker refuses where two readers could differ, before Kerberos is asked.
        # What we would remember is what Kerberos looked at: its owner's, and never used before.
        assert belongs[remembered] == str(identity.principal), token.hex()
        assert remembered not in spent, token.hex()
        spent.add(remembered)
    # The tampering went deep, and not just into the first byte.
    assert {"ticket_altered", "ticket_replayed", "token_unusable"} <= outcomes.keys(), outcomes
    assert len(spent) > POOL, outcomes


def test_what_the_header_carries_may_be_tampered_with_too(owners: dict[bytes, str]) -> None:
    chance = random.Random(SEED)  # noqa: S311  repeatable, not secret
    source = tampered([base64.b64encode(token) for token in owners], chance)
    for _ in range(TOKENS // 4):
        header = "Negotiate " + next(source).decode("latin-1")
        try:
            spnego.authenticator(spnego.unverified_token(header))
        except AuthFailed:
            continue


def test_the_untampered_tokens_are_good(acceptor: KerberosAcceptor, owners: dict[bytes, str]) -> None:
    for token, owner in owners.items():
        assert str(acceptor.accept(UnverifiedToken(token), binding=None).principal) == owner


def _authenticator(token: bytes) -> bytes:
    span = authenticator_span(token)
    return token[span.start : span.stop]
