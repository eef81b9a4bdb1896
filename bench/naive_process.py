"""The naive broker as a process, in a throw-away folder on loopback."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.naive import Settings
from tests.fakes.realm import free_port
from tests.fakes.redis import RedisServer
from tests.fakes.server_process import ServerProcess
from tests.fakes.sts import demo

_PROGRAM = Path(__file__).with_name("naive.py")
_START_SECONDS = 60.0  # Half a second on a quiet core, most of it for importing boto3.


class NaiveBroker(ServerProcess):
    """A running one. Use as a context manager.

    Attributes:
        port: Where it listens on 127.0.0.1.
        pid: Its process.
    """

    def __init__(
        self, folder: Path, *, keytab: Path, realm: Mapping[str, str], redis: RedisServer, settings: Mapping[str, Any]
    ) -> None:
        """Start it, and return when it listens.

        Args:
            folder: A missing folder.
            keytab: The service's keys.
            realm: The variables of the realm.
            redis: Where it keeps credentials.
            settings: The broker's own, of which it takes roles, rules and AWS.

        Raises:
            RuntimeError: It did not come up; the message holds what it said.
        """
        folder.mkdir(mode=0o700)
        self.port = free_port()
        self.audit = folder / "audit.log"
        told = Settings(
            port=self.port,
            keytab=str(keytab),
            redis=redis.url_with_password,
            sts=settings["aws"]["sts_endpoint"],
            region=settings["aws"]["region"],
            audit=str(self.audit),
            roles={name: role["chain"] for name, role in settings["roles"].items()},
            rules={name: rule["roles"] for rule in settings["rules"] for name in rule["principals"]},
        )
        config, output = folder / "settings.json", folder / "output"
        config.touch(mode=0o600)
        config.write_text(json.dumps(dataclasses.asdict(told)))
        env = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": demo.BROKER_ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": demo.BROKER_SECRET_ACCESS_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            **realm,
            "KRB5RCACHENAME": f"file2:{folder}/replay",
        }
        with output.open("wb") as said:
            self._server = subprocess.Popen([sys.executable, str(_PROGRAM), str(config)], env=env, stderr=said)
        self.pid = self._server.pid
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.is_running:
            try:
                socket.create_connection(("127.0.0.1", self.port), _START_SECONDS).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                return
        self.stop()
        raise RuntimeError(f"the naive broker does not listen: {output.read_text()}")

    def events(self) -> list[dict[str, Any]]:
        """Every event it has recorded, in order."""
        return [json.loads(line.partition("\t")[0]) for line in self.audit.read_text().splitlines()]
