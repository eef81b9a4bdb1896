"""What the fakes that are real servers have in common: a process that can be frozen, thawed and ended."""

from __future__ import annotations

import signal
import subprocess
from types import TracebackType
from typing import Self

STOP_SECONDS = 10.0


class ServerProcess:
    """``_server`` is the process while there is one; who starts it says how."""

    _server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def freeze(self) -> None:
        """Stops the process without closing anything: connections open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen server go on; it then answers what waited."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server; harmless when it has ended."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGCONT)  # A frozen process would sleep through SIGTERM.
        self._server.terminate()
        try:
            self._server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def close(self) -> None:
        """Ends the server for good."""
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._server is None:
            raise ProcessLookupError("the server is not running; restart() it first")
        self._server.send_signal(number)
