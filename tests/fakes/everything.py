"""A broker with all that a configuration can hang on it, so that each metric there is stands at its ``/metrics``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from broker.audit.cosignature import Cosigner
from broker.keys.signing import Ed25519Signer
from tests.fakes.asker import Asker, get
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.hsm import SoftHsm
from tests.fakes.places import BERLIN, database
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts.demo import BROKER_ACCESS_KEY_ID, BROKER_SECRET_ACCESS_KEY, demo_world
from tests.fakes.sts.process import StrictSts

ADDRESS = "127.0.0.1"
# Port 1 is closed and privileged: whoever sends there fails at once.
_NOBODY = "http://127.0.0.1:1/nobody"
_COSIGNER = Cosigner(name="witness.example.com/w1", signer=Ed25519Signer(seed=b"w" * 32))


@dataclass
class Everything:
    """The broker, what it depends on, and somebody who asks it."""

    broker: BrokerProcess
    redis: RedisServer
    sts: StrictSts
    alice: Asker

    def page(self) -> str:
        """What Prometheus reads."""
        return get(self.plain, "/metrics").text

    @property
    def plain(self) -> str:
        """Its listener without TLS."""
        return self.broker.url

    def families(self) -> dict[str, Any]:
        """The same by name; a count's without ``_total``, as the format has it."""
        return {family.name: family for family in text_string_to_metric_families(self.page())}

    def value(self, name: str, **labels: str) -> float | None:
        """One sample; None where there is none."""
        for family in self.families().values():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def readiness(self) -> dict[str, Any]:
        """What /readyz says of each dependency."""
        found: dict[str, Any] = json.loads(get(self.plain, "/readyz").text)["dependencies"]
        return found


@contextmanager
def everything(folder: Path, realm: Realm) -> Iterator[Everything]:
    """Runs until the block ends."""
    keytab = realm.keytab(folder / "broker.keytab", "HTTP/localhost")
    tls = server_certificate(folder / "tls", "ecdsa-sha256")
    hsm = SoftHsm.make(folder / "hsm").make_key()
    keys = folder / "aws-keys"
    keys.touch(mode=0o600)
    keys.write_text(
        f"[default]\naws_access_key_id = {BROKER_ACCESS_KEY_ID}\naws_secret_access_key = {BROKER_SECRET_ACCESS_KEY}\n"
    )
    with StrictSts(demo_world()) as sts, RedisServer.start(folder / "redis") as redis:
        settings = configuration(
            folder,
            keytab=keytab,
            sts_endpoint=sts.url,
            tls={"certificate": str(tls.certificate), "private_key": str(tls.key)},
            redis={"url": redis.url, "password": redis.password},
            telemetry={"otlp_endpoint": _NOBODY},
            admin={"principals": ["root/admin@EXAMPLE.COM"]},
            watch={"geoip_database": str(database(folder / "places.mmdb", {"10.0.0.0/8": BERLIN}))},
            security={"breach_notification": {"enabled": True, "channels": [{"slack": {"webhook_url": _NOBODY}}]}},
        )
        settings["server"]["listen"] = [f"http://{ADDRESS}:0", f"https://{ADDRESS}:0"]
        settings["server"]["rate_limit"] = {"per_principal": "6000/minute"}
        settings["aws"] |= {"credentials_provider": "file", "credentials_file": str(keys)}
        settings["encryption"]["hsm"] = hsm.section
        settings["audit"]["sinks"] = [{"name": "siem", "webhook": {"url": _NOBODY}}]
        settings["audit"]["witnesses"] = [{"url": _NOBODY, "public_key": str(_COSIGNER.key)}]
        settings["secrets"] = {
            "rules": [{"name": "all", "principals": ["alice@EXAMPLE.COM"], "paths": ["*"], "actions": ["read"]}]
        }
        process = BrokerProcess(folder, settings, env={**realm.env, **hsm.environment})
        # Its keys are in a file, and it refuses two sources.
        del process._env["AWS_ACCESS_KEY_ID"], process._env["ZEROTRUST_AWS_SECRET_KEY"]
        with process as broker:
            yield Everything(broker, redis, sts, Asker(realm, realm.kinit("alice", folder / "alice")))
