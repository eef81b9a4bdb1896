"""What the guide to secrets management says of the configuration, as it prints it."""

from __future__ import annotations

import base64

from broker.core.secret import Secret
from tests.fakes import guide
from tests.unit.config.conftest import Host

REST = """\
server: {listen: ["http://127.0.0.1:0"]}
kerberos: {keytabs: "${KEYTAB}", realms: {EXAMPLE.COM: {}}}
audit: {directory: /var/log/zerotrust/audit}
"""


def test_the_variables_that_it_exports_are_those_of_their_keys(host: Host) -> None:
    values = {
        "ZEROTRUST_AWS_SECRET_KEY": "canary-aws",
        "ZEROTRUST_REDIS_PASSWORD": "canary-redis",
        "ZEROTRUST_ENCRYPTION_KEY": base64.b64encode(bytes(32)).decode(),
    }
    assert guide.exports() == list(values)
    settings = host.load(REST + 'aws: {region: eu-central-1}\nredis: {url: "redis://localhost"}\n', **values)
    assert settings.aws.secret_key == Secret("canary-aws")
    assert settings.redis is not None
    assert settings.redis.password == Secret("canary-redis")
    assert settings.encryption.key_bytes() == bytes(32)


def test_its_file_is_a_part_of_a_configuration(host: Host) -> None:
    password, key = host.file("redis_password", "canary\n"), host.environ["KEY_FILE"]
    text = guide.config_yaml()
    for printed, here in (
        ("/etc/zerotrust/secrets/redis_password", str(password)),
        ("/etc/zerotrust/secrets/encryption_key", key),
        ("redis:\n", 'redis:\n  url: "redis://localhost"\n'),
        ("aws:\n", "aws:\n  region: eu-central-1\n"),
    ):
        assert printed in text
        text = text.replace(printed, here)
    settings = host.load(REST + text)
    assert settings.redis is not None
    assert settings.redis.password == Secret("canary")
    assert settings.aws.credentials_provider == "environment"
