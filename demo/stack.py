"""The parts of the demo, started in one folder: a realm, Redis, the strict STS, the broker, and the user's settings.

Everything listens on free ports of 127.0.0.1 and has its files under the folder, so any number of demos run side by side.
What is left of a killed run in the folder is ended and removed first.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import yaml

from demo import processes
from tests.fakes.broker import BrokerProcess
from tests.fakes.realm import Realm, RealmError
from tests.fakes.redis import RedisError, RedisServer
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.sts import demo as world

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
PASSWORDS = {"alice": "wonderland", "mallory": "mischief"}

_CONFIG = Template((Path(__file__).parent / "config.yaml.template").read_text())
# What an administrator puts into /etc/zerotrust/client.toml of every machine.
_CLIENT = Template("""\
broker_url = "$broker"
""")
# Chromium fails the first Negotiate challenge of a new profile on Linux; a profile that has seen one does not.
_CHROMIUM_STATE = {"net": {"received_http_auth_negotiate_headers": True}}

_INHERITED = {"HOME", "LOGNAME", "PATH", "TERM", "TMPDIR", "USER"}
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


# What the parts raise when they cannot start; each message says why.
START_ERRORS = (RealmError, RedisError, RuntimeError)


class InUseError(Exception):
    """A demo runs in the folder already."""


@dataclass
class Stack:
    """A running demo.

    Attributes:
        folder: Everything that was made.
        took: What was started, and the seconds that it took.
    """

    folder: Path
    realm: Realm
    redis: RedisServer
    sts: StrictSts
    broker: BrokerProcess
    took: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The broker's, which is the page's too."""
        return self.broker.url

    def exports(self, user: str) -> dict[str, str]:
        """The variables that a user's shell needs, ready for ``export NAME="VALUE"``."""
        return {
            "PATH": f"{absolute(PROGRAMS)}:$PATH",
            "KRB5_CONFIG": absolute(self.folder / "realm" / "krb5.conf"),
            "KRB5CCNAME": f"FILE:{absolute(self.folder / f'{user}.ccache')}",
            "XDG_CONFIG_HOME": absolute(self.folder / "settings"),
            "AWS_CONFIG_FILE": absolute(self.folder / "aws_config"),
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL_STS": self.sts.url,
        }

    def assume_role_calls(self) -> int:
        """How many AssumeRole calls the STS has seen since it started."""
        return len(self.sts.calls(action="AssumeRole"))


def typed(path: Path) -> str:
    """A path as somebody in the repository's folder would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def absolute(path: Path) -> str:
    """The same for ``export``, where it has to hold in any folder that the shell goes to."""
    return f"$PWD/{typed(path)}" if path.is_relative_to(ROOT) else str(path)


def forget_the_callers_settings() -> None:
    """Reduces this process's environment, and so that of all children, to what the demo is shown with.

    A proxy, an AWS profile, a ticket cache or a CA bundle of the person who runs the demo would change what it shows.
    """
    kept = {name: value for name, value in os.environ.items() if name in _INHERITED}
    os.environ.clear()
    os.environ.update(kept | {"PATH": f"{kept.get('PATH', '')}:{_SYSTEM_PATH}".lstrip(":"), "LC_ALL": "C.UTF-8"})
    os.umask(0o077)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Stack]:
    """A demo in the folder for the length of a block; after it, whatever happened, none of its processes is left.

    Raises:
        InUseError: A demo runs there.
    """
    if processes.owner_lives(folder):
        raise InUseError(f"a demo runs in {folder} already — run: make demo-down, or wait for its end")
    processes.end(folder)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    try:
        with contextlib.ExitStack() as parts:
            try:
                yield _start(folder, parts)
            finally:
                _ignore_further_signals()
    finally:
        processes.end_children()


def _start(folder: Path, parts: contextlib.ExitStack) -> Stack:
    took: dict[str, float] = {}

    @contextlib.contextmanager
    def part(name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        processes.record(folder)
        took[name] = time.monotonic() - begun

    with part("realm (krb5kdc)"):
        realm = parts.enter_context(Realm.start(folder / "realm", principals=PASSWORDS))
        realm.keytab(folder / "http.keytab", "HTTP/localhost")
    with part("Redis"):
        redis = parts.enter_context(RedisServer.start(folder / "redis"))
    with part("strict STS"):
        sts = parts.enter_context(StrictSts(demo_world()))
    with part("broker"):
        broker = parts.enter_context(_broker(folder, realm=realm, redis=redis, sts=sts))
    _write(folder / "settings" / "zerotrust" / "config.toml", _CLIENT.substitute(broker=broker.url))
    _write(folder / "chromium" / "Local State", json.dumps(_CHROMIUM_STATE))
    return Stack(folder=folder, realm=realm, redis=redis, sts=sts, broker=broker, took=took)


def _broker(folder: Path, *, realm: Realm, redis: RedisServer, sts: StrictSts) -> BrokerProcess:
    for name, value in {
        "encryption_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        "redis_password": redis.password,
        "aws_secret_key": world.BROKER_SECRET_ACCESS_KEY,
        "developer_external_id": world.DEVELOPER_EXTERNAL_ID,
    }.items():
        _write(folder / "secrets" / name, f"{value}\n")
    text = _CONFIG.substitute(
        folder=folder,
        sts_endpoint=sts.url,
        access_key_id=world.BROKER_ACCESS_KEY_ID,
        hub_role=world.HUB_ROLE,
        hub_external_id=world.HUB_EXTERNAL_ID,
        developer_role=world.DEVELOPER_ROLE,
        redis_url=redis.url,
    )
    broker = BrokerProcess(folder, yaml.safe_load(text), env=realm.env)
    broker.config.write_text(text)  # The same settings, with the comments that a reader wants.
    return broker


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _ignore_further_signals() -> None:
    """From here on everything is being ended; an impatient second Ctrl-C must not stop that half-way."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
