"""Every secret of a whole run is searched for in whatever the run leaves or shows: logs, records, metrics, Redis, /proc, core.

The run touches each way by which a secret comes in or goes out. Each is looked for as it is and in the spellings that programs
give to secrets: base64 of both alphabets, hex, percent-encoded, escaped for JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from broker import wire, wire_operators, wire_secrets
from tests.fakes import proc
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.cloudhsm import CloudHsm
from tests.fakes.dpop import Prover
from tests.fakes.operator import MARK, Answer, Headers, Operator, send
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.request_signer import RequestSigner
from tests.fakes.sts import demo
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

ALICE, ROOT = "alice@EXAMPLE.COM", "root/admin@EXAMPLE.COM"
RULE = {"name": "engineers", "principals": [ALICE], "roles": ["developer"], "job_passes": "1d"}
OF_SECRETS = {"name": "db", "paths": ["db/*"], "principals": [ALICE], "actions": ["read", "write", "delete", "destroy"]}
# Closed and privileged.
NOBODY = "http://127.0.0.1:1/"
HSM_PASSWORD = "canary-3b8e61f2-hsm"
# What is shorter turns up by chance.
SHORTEST = 12


@dataclass
class Run:
    """What went on: the secrets by name, and whatever answers were public."""

    broker: BrokerProcess
    redis: RedisServer
    folder: Path
    secrets: dict[str, bytes] = field(default_factory=dict)
    shown: dict[str, bytes] = field(default_factory=dict)

    def secret(self, name: str, value: str | bytes) -> str:
        data = value.encode() if isinstance(value, str) else value
        assert len(data) >= SHORTEST, name
        self.secrets[name] = data
        return data.decode("latin-1")

    def found_in(self, text: bytes) -> set[str]:
        return {name for name, value in self.secrets.items() if any(form in text for form in spellings(value))}


def spellings(value: bytes) -> set[bytes]:
    escaped = json.dumps(value.decode("latin-1"))[1:-1].encode()
    # Of base64 the middle alone: the ends depend on what stands beside it.
    encoded = [base64.b64encode(value[skip:])[4:-4] for skip in range(3)]
    forms = {
        value,
        value.hex().encode(),
        value.hex().upper().encode(),
        quote(value, safe="").encode(),
        escaped,
        *encoded,
    }
    return {form for form in forms | {form.translate(bytes.maketrans(b"+/", b"-_")) for form in encoded} if form}


@pytest.fixture(scope="module")
def run(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("canaries")
    state = folder / "state"
    state.mkdir(mode=0o700)
    key = RequestSigner.ed25519()
    with RedisServer.start(folder / "redis") as redis, StrictSts(demo_world()) as sts:
        settings = settings_of(folder, realm, redis, sts, key)
        # Two ways into the process: the environment here, files for what else there is.
        del settings["redis"]["password"]
        settings["redis"] |= {"password": "${CANARY_REFERENCE}"}
        environ = {"CANARY_REFERENCE": redis.password, "ZEROTRUST_ENCRYPTION_KEY": encryption_key(settings)}
        hsm = CloudHsm.make(folder / "cloudhsm", password=HSM_PASSWORD)
        hsm.soft.make_key()
        settings["encryption"] = {"hsm": hsm.section}
        # As the guide prints it.
        settings["encryption"]["hsm"]["config"]["hsm_password"] = "${HSM_PASSWORD}"
        environ |= {"HSM_PASSWORD": HSM_PASSWORD, **hsm.environment}
        broker = BrokerProcess(folder, settings, env={**realm.env, **environ})
        with broker:
            made = Run(broker, redis, folder)
            made.secret("encryption key", environ["ZEROTRUST_ENCRYPTION_KEY"])
            made.secret("encryption key, raw", base64.b64decode(environ["ZEROTRUST_ENCRYPTION_KEY"]))
            made.secret("password of Redis", redis.password)
            made.secret("password of the HSM", HSM_PASSWORD)
            made.secret("secret key of the broker", demo.BROKER_SECRET_ACCESS_KEY)
            made.secret("key of the certificate", key_bytes(folder / "tls"))
            for name, text in told().items():
                made.secret(name, text)
            live(made, realm, key)
            for number, text in enumerate(sts.secrets()):
                made.secret(f"from AWS {number}", text)
            yield made


def settings_of(folder: Path, realm: Realm, redis: RedisServer, sts: StrictSts, key: RequestSigner) -> dict[str, Any]:
    shown = server_certificate(folder / "tls", "ecdsa-sha256")
    settings = configuration(
        folder,
        keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
        sts_endpoint=sts.url,
        rules=[RULE],
        secrets={"rules": [OF_SECRETS]},
        redis={"url": redis.url, "password": redis.password},
        state={"directory": str(folder / "state")},
        tls={"certificate": str(shown.certificate), "private_key": str(shown.key)},
        admin={"principals": [ROOT], "signing_keys": [{"principal": ROOT, "public_key": key.public_pem}]},
    )
    secrets = told()
    settings["security"] = {
        "breach_notification": {
            "channels": [
                {"email": {"recipients": ["s@example.com"], "smtp": mail(secrets["password of the mail server"])}},
                {"slack": {"webhook_url": NOBODY + secrets["path of Slack"]}},
                {"pagerduty": {"url": NOBODY, "integration_key": secrets["key of PagerDuty"]}},
                {"webhook": {"url": NOBODY, "secret": secrets["key of the webhook"]}},
            ]
        }
    }
    settings["audit"]["sinks"] = [
        {"name": "splunk", "splunk": {"url": NOBODY.rstrip("/"), "token": secrets["token of Splunk"]}},
        {"name": "hook", "webhook": {"url": NOBODY + secrets["path of a sink"], "hmac_key": secrets["key of a sink"]}},
    ]
    settings["server"]["listen"] = ["https://127.0.0.1:0"]
    settings["aws"]["signin_endpoint"] = f"{sts.url}/federation"
    return settings


def told() -> dict[str, str]:
    """What the broker shows to receivers of news. None is there: an error is likelier to tell than a success."""
    return {
        "password of the mail server": "canary-4f9d0a7e-mail",
        "path of Slack": "services/T0CANARY/B0CANARY/3c1e7a52d9b84f60",
        "key of PagerDuty": "9b1d7c3e5f0a42e8b6d4c2a09f7e1d35",
        "key of the webhook": "whsec_Q2FuYXJ5IG9mIHRoZSB3ZWJob29rLCAzMiBieXRlcyE=",
        "token of Splunk": "b7e5d1c0-2f4a-4c6e-9a8b-canary000001",
        "path of a sink": "canary/sink/77a0c5e1f3",
        "key of a sink": "canary-hmac-5d2e8f1b9c",
    }


def mail(password: str) -> dict[str, Any]:
    return {"host": "localhost", "port": 1, "tls": "implicit", "username": "broker", "password": password}


def encryption_key(settings: dict[str, Any]) -> str:
    return Path(settings.pop("encryption")["key_file"]).read_text().strip()


def key_bytes(folder: Path) -> bytes:
    """A line from the middle of the PEM file."""
    (path,) = (path for path in folder.iterdir() if b"PRIVATE KEY" in path.read_bytes())
    return path.read_bytes().splitlines()[1]


def live(run: Run, realm: Realm, key: RequestSigner) -> None:
    """Everything that somebody does with a broker, once."""
    alice = Operator(realm, "alice", run.folder / "alice")
    root = Operator(realm, "root/admin", run.folder / "root")
    mallory = Operator(realm, "mallory", run.folder / "mallory")
    for number in range(2):
        ask(run, f"ticket {number}", alice.ticket(), "POST", wire.CREDENTIALS_PATH, body={"role": "developer"})
    ask(run, "refused ticket", mallory.ticket(), "POST", wire.CREDENTIALS_PATH, body={"role": "developer"}, status=403)
    ask(run, "broken ticket", ("Authorization", "Negotiate " + "QUFB" * 30), "GET", wire.WHOAMI_PATH, status=401)
    console = ask(run, "console's ticket", alice.ticket(), "POST", wire.CONSOLE_PATH, body={"role": "developer"}).json[
        "url"
    ]
    run.secret("sign-in token", parse_qs(urlsplit(console).query)["SigninToken"][0])
    cookie = (
        ask(run, "browser's ticket", alice.ticket(), "POST", wire.SESSIONS_PATH).headers["Set-Cookie"].split(";")[0]
    )
    run.secret("cookie", cookie.partition("=")[2])
    ask(run, None, ("Cookie", cookie), "GET", wire.WHOAMI_PATH)
    use_dpop(run, alice)
    job = ask(run, "job's ticket", alice.ticket(), "POST", wire.PASSES_PATH, body={"role": "developer"}).json["pass"]
    run.secret("job pass", job)
    ask(run, None, ("Authorization", job), "GET", f"{wire.CONTAINER_PATH}/developer")
    keep_secrets(run, alice, mallory)
    signed = root.ask(
        run.broker.url,
        "POST",
        wire_operators.REVOCATIONS_PATH,
        b'{"what":"sessions","user":"alice@EXAMPLE.COM"}',
        signer=key,
    )
    assert signed.status == 200, signed.body
    ask(run, None, ("Cookie", cookie), "GET", wire.WHOAMI_PATH, status=401)
    for path in ("/metrics", "/readyz", "/healthz", "/.well-known/jwks.json", "/"):
        run.shown[path] = send(run.broker.url, "GET", path, [host(run)]).body
    assert b'"ES256"' in run.shown["/.well-known/jwks.json"], "the HSM was logged in to"


def use_dpop(run: Run, alice: Operator) -> None:
    prover, url = Prover.es256(), f"{run.broker.url}{wire.SESSIONS_PATH}"
    headers = [alice.ticket(), ("DPoP", prover.proof("POST", url))]
    token = asked(run, "POST", wire.SESSIONS_PATH, headers).json["access_token"]
    run.secret("access token", token)
    proof = prover.proof("GET", f"{run.broker.url}{wire.WHOAMI_PATH}", token=token)
    asked(run, "GET", wire.WHOAMI_PATH, [("Authorization", f"DPoP {token}"), ("DPoP", proof)])


def keep_secrets(run: Run, alice: Operator, mallory: Operator) -> None:
    """In the vault: written, read, made by the broker, in conflict, refused, in a body that cannot be read, destroyed."""
    path, value = f"{wire_secrets.PREFIX}db/root", run.secret("secret in the vault", "canary-vault-2b9e77f0c1")
    field = run.secret("name of a field", "canary-field-51d07a")
    body = {"fields": {field: value}}
    ask(run, "writer's ticket", alice.ticket(), "PUT", path, body=body)
    assert ask(run, "reader's ticket", alice.ticket(), "GET", path).json["fields"] == {field: value}
    ask(run, "late writer's ticket", alice.ticket(), "PUT", path, body={**body, "cas": 7}, status=409)
    ask(run, "odd writer's ticket", alice.ticket(), "PUT", path, body={**body, "odd": value}, status=400)
    ask(run, "stranger's ticket", mallory.ticket(), "PUT", path, body=body, status=403)
    ask(run, "maker's ticket", alice.ticket(), "PUT", f"{path}-made", body={"generate": {"made": {"kind": "hex"}}})
    made = ask(run, "made reader's ticket", alice.ticket(), "GET", f"{path}-made").json["fields"]["made"]
    run.secret("made by the broker", made)
    ask(run, "destroyer's ticket", alice.ticket(), "POST", f"{path}:destroy", body={"versions": [1]})


def ask(
    run: Run, name: str | None, proof: tuple[str, str], *where: str, body: object = None, status: int = 200
) -> Answer:
    """With a ticket, whose token becomes a secret of this name, or with what another answer gave."""
    if name is not None:
        run.secret(name, proof[1].partition(" ")[2])
    method, path = where
    return asked(run, method, path, [proof], body, status=status)


def asked(run: Run, method: str, path: str, headers: Headers, body: object = None, *, status: int = 200) -> Answer:
    content = b"" if body is None else json.dumps(body).encode()
    kind = [("Content-Type", wire.JSON), ("Content-Length", str(len(content)))] if content else []
    answer = send(run.broker.url, method, path, [host(run), MARK, *kind, *headers], content)
    assert answer.status in {status, 204 if status == 200 else status}, answer.body
    if status >= 400:
        run.shown[f"problem of {path} {len(run.shown)}"] = answer.body
    return answer


def host(run: Run) -> tuple[str, str]:
    return ("Host", urlsplit(run.broker.url).netloc)


def test_a_search_finds_a_secret_in_every_spelling(run: Run) -> None:
    secret = run.secrets["sign-in token"]
    for skip in range(3):
        around = b"x" * skip + secret + b"yz"
        assert "sign-in token" in run.found_in(base64.b64encode(around))
        assert "sign-in token" in run.found_in(base64.urlsafe_b64encode(around))
    assert run.found_in(json.dumps({"a": secret.hex()}).encode()) == {"sign-in token"}
    assert len(run.secrets) >= 27, "most ways were not gone"


def test_no_secret_is_in_what_the_broker_writes(run: Run) -> None:
    places = {path: path.read_bytes() for path in run.folder.rglob("*") if is_written_by_the_broker(run, path)}
    assert any(path.name.startswith("audit-") for path in places)
    assert any(path.name == "revocations" for path in places)
    assert any(path.name == "vault.sqlite" for path in places)
    for path, content in {**places, run.broker.output: run.broker.output.read_bytes()}.items():
        assert run.found_in(content) == set(), path


def test_no_secret_is_in_what_the_broker_tells_everybody(run: Run) -> None:
    assert {"/metrics", "/readyz"} <= set(run.shown)
    for what, content in run.shown.items():
        assert run.found_in(content) == set(), what


def test_no_secret_is_in_redis(run: Run) -> None:
    run.redis.cli("SAVE")
    (dump,) = (run.folder / "redis").rglob("*.rdb")
    assert b"zerotrust:" in dump.read_bytes()
    assert run.found_in(dump.read_bytes()) == set()


def test_no_secret_is_in_proc_nor_in_a_core_file(run: Run) -> None:
    assert run.broker.process is not None
    pid = run.broker.process.pid
    environ = proc.shown(pid, "environ")
    assert b"KRB5_CONFIG=/" in environ, "what the libraries of C read stays"
    assert b"ZEROTRUST_ENCRYPTION_KEY=" in environ
    assert run.found_in(environ) == set()
    assert run.found_in(proc.shown(pid, "cmdline")) == set()
    assert run.found_in(proc.core(pid, run.folder)) == set()
    assert b"Max core file size        0                    0 " in proc.shown(pid, "limits")
    assert asked(run, "GET", "/healthz", []).status == 200, "and it serves on"


def is_written_by_the_broker(run: Run, path: Path) -> bool:
    inside = any(path.is_relative_to(run.folder / name) for name in ("audit", "state"))
    return inside and path.is_file()
