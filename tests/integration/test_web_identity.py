"""The broker's tokens before a strict STS that believes the documents which their issuer publishes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import jwt
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec

from broker.core.errors import StsUnavailable
from broker.core.secret import Secret
from broker.keys.es256 import SEED_BYTES, Es256Signer
from broker.keys.pkcs11 import HsmKey, Token
from broker.sts.web_identity import AUDIENCE, DISCOVERY_PATH, JWKS_PATH, TokenIssuer
from tests.fakes.hsm import MODULE, PIN, TOKEN, SoftHsm
from tests.fakes.sts.demo import allow
from tests.fakes.sts.process import StrictSts
from tests.fakes.sts.world import OidcProvider, Role, World

ISSUER = "https://broker.example.com"
PROVIDER = "arn:aws:iam::999900001111:oidc-provider/broker.example.com"
HUB = "arn:aws:iam::999900001111:role/BrokerHub"
ALICE = "alice@EXAMPLE.COM"
ACTIONS = ["sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity", "sts:TagSession"]


@dataclass
class Publisher:
    """Serves documents on loopback, as an issuer does at its URL; a test may change them."""

    documents: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def start(self) -> ThreadingHTTPServer:
        documents = self.documents

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = documents.get(self.path)
                body = json.dumps(found).encode()
                self.send_response(200 if found is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_said: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


class At:
    """A clock that stands."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def boottime(self) -> float:
        return 0.0


def issuer(*, seed: bytes = bytes(SEED_BYTES), url: str = ISSUER, at: datetime | None = None) -> TokenIssuer:
    clock = At(at or datetime.now(UTC))
    return TokenIssuer(issuer=url, signer=Es256Signer(seed=seed), clock=clock, token_id=lambda: "one")


def asked(made: TokenIssuer, *, tags: Mapping[str, str], transitive: Iterable[str]) -> str:
    return asyncio.run(made.token(ALICE, tags=tags, transitive=transitive))


def trust(condition: Mapping[str, str], actions: list[str] = ACTIONS) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": actions,
        "Condition": {"StringEquals": dict(condition)},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    server = made.start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def sts(publisher: Publisher) -> Iterator[StrictSts]:
    world = World(
        users=(),
        roles=(
            Role(
                arn=HUB,
                trust_policy=trust({"broker.example.com:aud": AUDIENCE}),
                policy=allow(["sts:AssumeRole"], "*"),
                max_session_duration=7200,
            ),
            Role(arn=f"{HUB}Alice", trust_policy=trust({"broker.example.com:sub": ALICE})),
            Role(arn=f"{HUB}Bob", trust_policy=trust({"broker.example.com:sub": "bob@EXAMPLE.COM"})),
            Role(arn=f"{HUB}Plain", trust_policy=trust({"broker.example.com:aud": AUDIENCE}, ACTIONS[:1])),
        ),
        providers=(OidcProvider(arn=PROVIDER, url=ISSUER, client_ids=(AUDIENCE,), documents_at=publisher.url),),
    )
    with StrictSts(world) as running:
        yield running


@pytest.fixture(autouse=True)
def _published(publisher: Publisher) -> None:
    publisher.documents.clear()
    publisher.documents.update(issuer().documents())


def assume(sts: StrictSts, token: str, *, role: str = HUB, **parameters: Any) -> dict[str, Any]:
    """Without any key, as the broker has none."""
    client = boto3.client(
        "sts", region_name="eu-central-1", endpoint_url=sts.url, config=Config(signature_version=UNSIGNED)
    )
    answer: dict[str, Any] = client.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName=ALICE, WebIdentityToken=token, **parameters
    )
    return answer


def refusal(sts: StrictSts, token: str, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        assume(sts, token, **parameters)
    code: str = caught.value.response["Error"]["Code"]
    return code


def test_a_token_gives_a_session_under_its_subject_s_name(sts: StrictSts) -> None:
    answer = assume(sts, asked(issuer(), tags={}, transitive=()))
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::999900001111:assumed-role/BrokerHub/{ALICE}"
    assert (answer["SourceIdentity"], answer["SubjectFromWebIdentityToken"]) == (ALICE, ALICE)
    assert (answer["Provider"], answer["Audience"]) == (PROVIDER, AUDIENCE)


def test_tags_travel_in_the_token(sts: StrictSts) -> None:
    assume(sts, asked(issuer(), tags={"Team": "aws-dev", "Realm": "EXAMPLE.COM"}, transitive=["Realm"]))
    assert sts.calls()[-1]["tags"] == {"Team": "aws-dev", "Realm": "EXAMPLE.COM"}


def test_it_is_no_chained_call_so_more_than_an_hour_is_the_role_s_affair(sts: StrictSts) -> None:
    token = asked(issuer(), tags={}, transitive=())
    ends = assume(sts, token, DurationSeconds=7200)["Credentials"]["Expiration"]
    assert ends - datetime.now(UTC) > timedelta(minutes=119)
    assert refusal(sts, token, DurationSeconds=7201) == "ValidationError"


def test_a_trust_policy_can_name_single_people(sts: StrictSts) -> None:
    token = asked(issuer(), tags={}, transitive=())
    assert assume(sts, token, role=f"{HUB}Alice")["SourceIdentity"] == ALICE
    assert refusal(sts, token, role=f"{HUB}Bob") == "AccessDenied"


def test_a_source_identity_and_tags_need_their_permissions(sts: StrictSts) -> None:
    assert refusal(sts, asked(issuer(), tags={}, transitive=()), role=f"{HUB}Plain") == "AccessDenied"


def altered(change: Mapping[str, Any], *, algorithm: str = "ES256", key: Any = None) -> str:
    """A token with other claims; signed by the true key unless given another."""
    signer = Es256Signer(seed=bytes(SEED_BYTES))
    claims = jwt.decode(asked(issuer(), tags={}, transitive=()), options={"verify_signature": False})
    return jwt.encode({**claims, **change}, key or signer._key, algorithm=algorithm, headers={"kid": signer.kid})


def forgeries() -> dict[str, tuple[str, str]]:
    """Tokens made now, for they end in five minutes, and what AWS says of each."""
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    others_key = ec.generate_private_key(ec.SECP256R1())
    return {
        "another key": (asked(issuer(seed=b"x" * SEED_BYTES), tags={}, transitive=()), "InvalidIdentityToken"),
        "ended": (asked(issuer(at=hour_ago), tags={}, transitive=()), "ExpiredTokenException"),
        "another issuer": (
            asked(issuer(url="https://elsewhere.example.com"), tags={}, transitive=()),
            "InvalidIdentityToken",
        ),
        "another audience": (altered({"aud": "sts.example.com"}), "InvalidIdentityToken"),
        "forged": (altered({}, key=others_key), "InvalidIdentityToken"),
        "symmetric": (altered({}, algorithm="HS256", key="k" * 64), "InvalidIdentityToken"),
        "no token": ("not.a.token", "InvalidIdentityToken"),
    }


@pytest.mark.parametrize("forgery", list(forgeries()))
def test_a_token_that_is_not_ours_for_aws_gives_nothing(sts: StrictSts, forgery: str) -> None:
    token, code = forgeries()[forgery]
    assert refusal(sts, token) == code


def test_a_key_that_is_no_longer_published_counts_no_longer(sts: StrictSts, publisher: Publisher) -> None:
    token = asked(issuer(), tags={}, transitive=())
    publisher.documents[JWKS_PATH] = issuer(seed=b"y" * SEED_BYTES).documents()[JWKS_PATH]
    assert refusal(sts, token) == "InvalidIdentityToken"
    del publisher.documents[DISCOVERY_PATH]
    assert refusal(sts, token) == "IDPCommunicationError"


def test_a_token_that_an_hsm_signs_is_believed_and_without_the_hsm_there_is_none(
    sts: StrictSts, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm = SoftHsm.make(tmp_path / "hsm").make_key("zerotrust-oidc")
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.configuration))
    key = HsmKey(token=Token(module=MODULE, label=TOKEN, pin=Secret(PIN)), label="zerotrust-oidc")
    made = TokenIssuer(issuer=ISSUER, signer=key, clock=At(datetime.now(UTC)), token_id=lambda: "one")
    assert made.documents()[JWKS_PATH] == {"keys": []}, "nobody knows it yet"
    assert asyncio.run(made.ping()) is None
    publisher.documents.update(made.documents())
    token = asked(made, tags={"Team": "aws-dev"}, transitive=())
    assert assume(sts, token)["SourceIdentity"] == ALICE
    assert jwt.get_unverified_header(token)["kid"] == made.documents()[JWKS_PATH]["keys"][0]["kid"]
    hsm.take_away()
    with pytest.raises(StsUnavailable) as away:
        asked(made, tags={}, transitive=())
    assert away.value.reason == "hsm_unavailable"
    hsm.put_back()
    assert assume(sts, asked(made, tags={}, transitive=()))["SourceIdentity"] == ALICE
