"""``zerotrust serve`` as a process, and raw questions to what it serves."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
# The system's, because users other than root cannot run one that lies in root's home.
PYTHON = "/usr/bin/python3"
PATIENCE = 60.0
# Users that no machine has; the tests run as root, who can become anybody.
OTHER_UID = 54_321


@dataclass
class Answer:
    status: int
    head: str
    body: bytes


def raw(port: int, request: bytes) -> Answer | None:
    """One connection with exactly these bytes; None where it was closed without a word."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(request)
            said = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return None
    head, _, body = said.partition(b"\r\n\r\n")
    return Answer(int(head.split(b" ")[1]), head.decode(), body) if said else None


class Served:
    """A running one: its environment for programs, its port and its token."""

    def __init__(self, process: subprocess.Popen[str], environment: Mapping[str, str]) -> None:
        self.process = process
        self.environment = dict(environment)
        url = urlsplit(environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
        self.port = url.port or 0
        self.path = url.path

    @property
    def token(self) -> str:
        if "AWS_CONTAINER_AUTHORIZATION_TOKEN" in self.environment:
            return self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        return Path(self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text()

    def ask(self, method: str = "GET", path: str | None = None, **headers: str | None) -> Answer | None:
        """A request as an SDK makes it; ``headers`` by names with ``_``, None leaves one out that would be there."""
        sent = {"Host": f"127.0.0.1:{self.port}", "Authorization": self.token}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in sent.items() if value is not None]
        return raw(self.port, "\r\n".join([f"{method} {path or self.path} HTTP/1.1", *lines, "", ""]).encode())


@contextmanager
def serving(
    environment: Mapping[str, str], *words: str, program: Sequence[str] = ("-m", "zerotrust_kerberos")
) -> Iterator[Served]:
    """``zerotrust serve`` until the block ends; ``program`` is how Python is told to be ``zerotrust``."""
    command = [sys.executable, *program, "serve", *words]
    with subprocess.Popen(
        command, env=dict(environment), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wanted = 3 if "--imds" in words else 2
            lines = [process.stdout.readline() for _ in range(wanted)] if process.stdout else []
            if not lines[0]:
                raise AssertionError(process.stderr.read() if process.stderr else "")
            variables = (shlex.split(line.removeprefix("export "))[0].partition("=") for line in lines)
            yield Served(process, {name: value for name, _, value in variables})
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def as_another(script: str, *words: str, uid: int = OTHER_UID) -> subprocess.CompletedProcess[str]:
    """A Python script by another user of this machine."""
    return subprocess.run(
        [PYTHON, "-I", "-c", script, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd="/",
        user=uid,
        group=uid,
        extra_groups=[],
        env={"PATH": os.defpath},
    )
