"""The witness as a process: the installed program, with a key and a memory of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fakes.broker import PROGRAMS

NAME = "witness.example.com/audit"


@dataclass
class WitnessProcess:
    """Use as a context manager; ``kill()`` and ``start()`` again as often as a test needs: the port stays."""

    folder: Path
    jwks: Mapping[str, Any]
    key: str = ""
    url: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def command(self, *, listen: str = "127.0.0.1:0") -> list[str]:
        self.folder.mkdir(exist_ok=True)
        pem, jwks = self.folder / "witness.pem", self.folder / "jwks.json"
        jwks.write_text(json.dumps(self.jwks))
        if not pem.exists():
            pem.touch(mode=0o600)
            subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(pem)], check=True)
        options = ["--state", str(self.state), "--key", str(pem), "--name", NAME, "--jwks", str(jwks)]
        return [str(PROGRAMS / "zerotrust-admin"), "audit", "witness", "--listen", listen, *options]

    def start(self) -> Self:
        command = self.command(listen=self.url.removeprefix("http://") or "127.0.0.1:0")
        with (self.folder / "witness.log").open("a") as log:
            self.process = subprocess.Popen(
                command, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        self.key = self.process.stdout.readline().removeprefix("public key: ").strip()
        self.url = self.process.stdout.readline().removeprefix("listening on ").strip()
        assert self.url, (self.folder / "witness.log").read_text()
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def notes(self) -> list[Path]:
        return sorted(self.state.glob("*.note"))

    def size(self) -> int:
        """Of the one log that it follows."""
        (path,) = self.notes()
        return int(path.read_text().split("\n")[1])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
