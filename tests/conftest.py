"""What every test gets: a process that knows no real account, no real ticket and no network, and the real servers on loopback.

The environment is set when this file is imported, before any test module is: libraries read it at their own import. With
pytest-xdist each worker is a process of its own and gets servers of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.fakes import loopback, machine
from tests.fakes.bao import BaoServer
from tests.fakes.realm import Realm, linked_realms
from tests.fakes.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long an example takes is the machine's affair; what is too slow is found by `make bench`, not by a test.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

HOME = Path(tempfile.mkdtemp(prefix="zerotrust-tests-"))

# Whatever the machine sets for its own network would make TLS and proxy tests pass or fail for the wrong reason.
_FORGOTTEN = {
    "AWS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
}
_FORGOTTEN_BEGINNINGS = ("AWS_", "BAO_", "KRB5", "VAULT_", "ZEROTRUST_")

# Port 1 is closed and privileged: a request that forgot its endpoint fails at once, on loopback.
_CLOSED_PORT = "http://127.0.0.1:1"

_NO_REALM = """\
[libdefaults]
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
"""


def _isolate() -> None:
    for key in list(os.environ):
        if key in _FORGOTTEN or key.startswith(_FORGOTTEN_BEGINNINGS) or key.lower().endswith("_proxy"):
            del os.environ[key]
    # Who starts the tests in a shell's background has them ignore it, and all that they start: it would never be interrupted.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    krb5 = HOME / "no-realm.conf"
    krb5.write_text(_NO_REALM)
    os.environ |= {
        # ~/.aws, ~/.curlrc, ~/.k5identity and ~/.config/zerotrust of the person who runs the tests stay out of them.
        "HOME": str(HOME),
        "XDG_CONFIG_HOME": str(HOME / ".config"),
        "XDG_CACHE_HOME": str(HOME / ".cache"),
        "XDG_RUNTIME_DIR": str(HOME),
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": "not-a-key-of-any-account",
        "AWS_CONFIG_FILE": str(HOME / "no-aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(HOME / "no-aws-credentials"),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": _CLOSED_PORT,
        "AWS_ENDPOINT_URL_STS": _CLOSED_PORT,
        "KRB5_CONFIG": str(krb5),
        "KRB5CCNAME": f"FILE:{HOME}/no-ccache",
        "KRB5_KTNAME": f"FILE:{HOME}/no-keytab",
        "KRB5_CLIENT_KTNAME": f"FILE:{HOME}/no-keytab",
    }


_isolate()
loopback.raise_fence()


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _nothing_left_loopback() -> Iterator[None]:
    """Fails the test that crossed the fence even where the code under test swallowed the exception."""
    yield
    crossed = loopback.crossings.copy()
    loopback.crossings.clear()
    assert not crossed, f"this test tried to leave loopback: {crossed}"


@pytest.fixture(scope="session")
def realms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Realm, Realm]]:
    """EXAMPLE.COM, which serves localhost, and PARTNER.EXAMPLE, which it trusts; this process is in EXAMPLE.COM from then on.

    The realms are shared by all tests of a worker: a test that rotates keys or stops the KDC starts a realm of its own.
    """
    with (
        linked_realms(
            tmp_path_factory.mktemp("realms"),
            principals={
                "EXAMPLE.COM": {"alice": "wonderland", "mallory": "mischief", "root/admin": "operator"},
                "PARTNER.EXAMPLE": {"paula": "partner", "alice": "another alice"},
            },
            services=("HTTP/localhost", "HTTP/broker.localhost", "host/localhost"),
        ) as pair,
        pair[0].entered(),
    ):
        yield pair


@pytest.fixture(scope="session")
def realm(realms: tuple[Realm, Realm]) -> Realm:
    """EXAMPLE.COM with alice, mallory and root/admin, and the services HTTP and host on localhost."""
    return realms[0]


@pytest.fixture(scope="session")
def partner_realm(realms: tuple[Realm, Realm]) -> Realm:
    """PARTNER.EXAMPLE with paula and an alice of its own; the two realms trust each other."""
    return realms[1]


@pytest.fixture(scope="session")
def _session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(_session_redis: RedisServer) -> Iterator[RedisServer]:
    """A running, empty Redis; a test may freeze, stop or restart it, but starts one of its own to change its settings."""
    yield _session_redis
    _session_redis.renew()


@pytest.fixture(scope="session")
def _session_bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaoServer]:
    with BaoServer.start(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def bao(_session_bao: BaoServer) -> Iterator[BaoServer]:
    """A serving OpenBao, shared by the tests of a worker: names that a test makes there are its own; it may seal or stop it."""
    yield _session_bao
    _session_bao.renew()


@pytest.fixture(scope="session")
def debian() -> Path:
    """The unpacked tree that machines are laid over (tests/fakes/machine.py); nobody writes to it."""
    return machine.unpacked()
