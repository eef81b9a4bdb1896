"""What is in a token, what is published, and what is believed of the answer to one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from broker.core.errors import StsRejected
from broker.keys.es256 import SEED_BYTES, Es256Signer
from broker.sts.web_identity import AUDIENCE, DISCOVERY_PATH, JWKS_PATH, TokenIssuer

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
ALICE = "alice@EXAMPLE.COM"
SIGNER = Es256Signer(seed=bytes(SEED_BYTES))


class Clock:
    def now(self) -> datetime:
        return NOW

    def boottime(self) -> float:
        return 0.0


ISSUER = TokenIssuer(
    issuer="https://example.com/broker", signer=SIGNER, clock=Clock(), token_id=iter("abcdef").__next__
)


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(
        token, jwt.PyJWK.from_dict(SIGNER.jwk()), algorithms=["ES256"], audience=AUDIENCE, options={"verify_exp": False}
    )
    return found


async def test_a_token_says_who_for_whom_and_for_five_minutes() -> None:
    said = claims(await ISSUER.token(ALICE, tags={}, transitive=()))
    now = int(NOW.timestamp())
    assert said.pop("jti")
    assert said == {
        "iss": "https://example.com/broker",
        "sub": ALICE,
        "aud": "sts.amazonaws.com",
        "iat": now,
        "exp": now + 300,
        "https://aws.amazon.com/source_identity": ALICE,
    }


async def test_tags_are_claims_in_the_form_of_aws() -> None:
    said = claims(await ISSUER.token(ALICE, tags={"Team": "dev", "Realm": "R"}, transitive=["Realm"]))
    assert said["https://aws.amazon.com/tags"] == {
        "principal_tags": {"Team": ["dev"], "Realm": ["R"]},
        "transitive_tag_keys": ["Realm"],
    }


async def test_no_two_tokens_are_the_same() -> None:
    assert (
        claims(await ISSUER.token(ALICE, tags={}, transitive=()))["jti"]
        != claims(await ISSUER.token(ALICE, tags={}, transitive=()))["jti"]
    )


def test_the_documents_lead_from_the_issuer_to_the_key() -> None:
    documents = ISSUER.documents()
    assert documents[DISCOVERY_PATH]["issuer"] == "https://example.com/broker"
    assert documents[DISCOVERY_PATH]["jwks_uri"] == f"https://example.com/broker{JWKS_PATH}"
    assert documents[JWKS_PATH] == {"keys": [SIGNER.jwk()]}
    assert "d" not in SIGNER.jwk()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"SubjectFromWebIdentityToken": ALICE},
        {"SubjectFromWebIdentityToken": "bob@EXAMPLE.COM", "Audience": AUDIENCE},
        {"SubjectFromWebIdentityToken": ALICE, "Audience": "another"},
    ],
)
def test_an_answer_about_another_token_is_not_believed(answer: dict[str, Any]) -> None:
    with pytest.raises(StsRejected) as caught:
        ISSUER.require_ours(answer, subject=ALICE)
    assert caught.value.reason == "other_subject"


def test_an_answer_about_this_token_is_believed() -> None:
    ISSUER.require_ours({"SubjectFromWebIdentityToken": ALICE, "Audience": AUDIENCE}, subject=ALICE)
