"""The broker as a process: the installed program, its configuration in a file, its output kept for the test to read."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fakes.sts import demo

PROGRAMS = Path(sys.executable).parent
# A home for programs that shall find none and leave nothing there: in /proc even root makes no folder, for whatever program.
NO_HOME = "/proc/no-home"
START_SECONDS = 60.0  # A second on a quiet core; a loaded build machine has needed more than fifteen.
STOP_SECONDS = 15.0
_LISTENING = re.compile(r"listening on (\S+)")


class BrokerError(RuntimeError):
    """The broker did not start or did not stop; the message holds its output."""


def configuration(folder: Path, *, keytab: Path, sts_endpoint: str, **sections: Any) -> dict[str, Any]:
    """A working configuration over ``demo_world()`` in which alice may be developer; ``sections`` replace top-level keys."""
    key_file = folder / "encryption_key"
    if not key_file.exists():
        key_file.touch(mode=0o600)
        key_file.write_bytes(base64.b64encode(secrets.token_bytes(32)) + b"\n")
    settings = {
        "server": {"listen": ["http://127.0.0.1:0"], "hostnames": ["localhost"]},
        "kerberos": {"keytabs": [str(keytab)], "realms": {"EXAMPLE.COM": {}}},
        "aws": {"region": "eu-central-1", "sts_endpoint": sts_endpoint},
        "roles": {
            "developer": {
                "chain": [
                    {"arn": demo.HUB_ROLE, "external_id": demo.HUB_EXTERNAL_ID},
                    {"arn": demo.DEVELOPER_ROLE, "external_id": demo.DEVELOPER_EXTERNAL_ID},
                ]
            },
            "readonly": {
                "chain": [
                    {"arn": demo.HUB_ROLE, "external_id": demo.HUB_EXTERNAL_ID},
                    {"arn": demo.READ_ONLY_ROLE, "external_id": demo.READ_ONLY_EXTERNAL_ID},
                ]
            },
        },
        "rules": [{"name": "engineers", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer"]}],
        "encryption": {"key_file": str(key_file)},
        "audit": {"directory": str(folder / "audit")},
    }
    return settings | sections


class BrokerProcess:
    """``zerotrust-broker serve``. Use as a context manager; ``kill()`` and ``start()`` again as often as a test needs."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        env: Mapping[str, str],
        inside: Callable[..., list[str]] = lambda *command: list(command),
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Write the configuration; nothing runs yet.

        Args:
            folder: For the configuration and the output.
            settings: The configuration, as ``configuration()`` makes it.
            env: The realm's variables; the broker gets nothing else but PATH and its own AWS keys.
            inside: Makes of a command line one that runs on another host (``Host.inside``).
            pass_fds: Descriptors that it is given.
        """
        self.folder = folder
        # What each instance of a fleet has of its own.
        self.settings = dict(settings)
        self.config = folder / "config.yaml"
        self.output = folder / "broker.log"
        self.url = ""
        self._env = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": demo.BROKER_ACCESS_KEY_ID,
            "ZEROTRUST_AWS_SECRET_KEY": demo.BROKER_SECRET_ACCESS_KEY,
            **env,
        }
        self._inside = inside
        self._pass_fds = pass_fds
        self.process: subprocess.Popen[str] | None = None
        self.write_configuration()

    @property
    def audit_directory(self) -> Path:
        return Path(self.settings["audit"]["directory"])

    def write_configuration(self) -> None:
        """Bring ``settings`` into the file. JSON is YAML."""
        self.config.touch(mode=0o600)
        self.config.write_text(json.dumps(self.settings, indent=2))

    def start(self) -> Self:
        """Return when the broker listens.

        Raises:
            BrokerError: It ended, or did not listen in time.
        """
        command = self._inside(str(PROGRAMS / "zerotrust-broker"), "serve", "--config", str(self.config))
        with self.output.open("a") as output:
            before = output.tell()
            self.process = subprocess.Popen(
                command, env=self._env, stdout=output, stderr=output, text=True, pass_fds=self._pass_fds
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            written = self.output.read_text()[before:]
            if found := _LISTENING.search(written):
                # A ticket is for a host name, never for an address.
                self.url = found[1].replace("127.0.0.1", "localhost")
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.kill()
        raise BrokerError(f"the broker does not listen:\n{self.output.read_text()}")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise BrokerError(f"no end after SIGTERM:\n{self.output.read_text()}") from error
        self.process = None
        return code

    def reload(self) -> None:
        """SIGHUP. What comes of it is in the log and in the records."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def check_config(self) -> subprocess.CompletedProcess[str]:
        """``zerotrust-broker check-config``."""
        command = [str(PROGRAMS / "zerotrust-broker"), "check-config", "--config", str(self.config)]
        return subprocess.run(command, env=self._env, capture_output=True, text=True, check=False, timeout=60)

    def serve(self) -> subprocess.CompletedProcess[str]:
        """A start that is expected to fail, with what it said."""
        command = [str(PROGRAMS / "zerotrust-broker"), "serve", "--config", str(self.config)]
        return subprocess.run(
            command, env=self._env, capture_output=True, text=True, check=False, timeout=START_SECONDS
        )

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def records(self) -> list[dict[str, Any]]:
        """Every audit record there is, in order."""
        found = []
        for path in sorted(self.audit_directory.glob("audit-*.jsonl")):
            # What stands behind the last line feed is being written just now.
            *lines, _ = path.read_bytes().split(b"\n")
            found += [json.loads(line) for line in lines]
        return found

    def last_record(self) -> dict[str, Any]:
        """The last of what was asked for, or of what the process says of itself: alarms come when they come."""
        return next(record for record in reversed(self.records()) if record["event"] != "alert")

    def admin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``zerotrust-admin`` with this configuration."""
        env = {**self._env, "ZEROTRUST_CONFIG": str(self.config)}
        command = [str(PROGRAMS / "zerotrust-admin"), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
