"""A real rsyslogd that takes syslog over TLS on 127.0.0.1 and writes down every message as it came, a line each."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.fakes.certificates import ServerCertificate

if TYPE_CHECKING:
    from types import TracebackType

_START_SECONDS = 10.0
_CONFIGURATION = """
global(
  workDirectory="{folder}"
  maxMessageSize="64k"
  defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{authority}"
  defaultNetstreamDriverCertFile="{certificate}"
  defaultNetstreamDriverKeyFile="{key}"
)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="{mode}")
template(name="raw" type="string" string="%rawmsg%\\n")
template(name="parts" type="string" string="%pri%|%protocol-version%|%hostname%|%app-name%|%msgid%|%structured-data%\\n")
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="keep")
ruleset(name="keep") {{
  action(type="omfile" file="{folder}/messages" template="raw" flushOnTXEnd="on")
  action(type="omfile" file="{folder}/parts" template="parts" flushOnTXEnd="on")
}}
"""


class Rsyslog:
    """Use as a context manager; ``client``: whose certificate a client must show, or None."""

    def __init__(self, folder: Path, server: ServerCertificate, *, client: ServerCertificate | None = None) -> None:
        folder.mkdir()
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        text = _CONFIGURATION.format(
            folder=folder,
            authority=(client or server).certificate,
            certificate=server.certificate,
            key=server.key,
            mode="x509/certvalid" if client else "anon",
            port=self.port,
        )
        (folder / "rsyslog.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        command = [
            "/usr/sbin/rsyslogd",
            "-n",
            "-f",
            str(self._folder / "rsyslog.conf"),
            "-i",
            str(self._folder / "pid"),
        ]
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert self._process.poll() is None, self.output
                assert time.monotonic() < deadline, self.output
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """As an out-of-memory killer does: what it has not read is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        (self._folder / "pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def output(self) -> str:
        return (self._folder / "output").read_text()

    @property
    def messages(self) -> list[str]:
        return self._lines("messages")

    @property
    def parts(self) -> list[list[str]]:
        """Of each message: PRI, version, host, application, MSGID, structured data, as rsyslog understood them."""
        return [line.split("|") for line in self._lines("parts")]

    def _lines(self, name: str) -> list[str]:
        path = self._folder / name
        return path.read_text().splitlines() if path.exists() else []
