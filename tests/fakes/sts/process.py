"""The strict STS as a process of its own, held by a test."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.fakes.sts.world import World

_REPOSITORY = Path(__file__).parents[3]
_PATIENCE = 10.0  # seconds; a control call on loopback that takes longer is a failure

# No proxy of the environment may come between: everything is on loopback.
_OPENER = build_opener(ProxyHandler({}))


class StrictSts:
    """``with StrictSts(demo_world()) as sts: ... sts.url``: a running STS, gone at the end of the block."""

    url: str

    def __init__(self, world: World, *, latency_ms: float = 0, also: Sequence[socket.socket] = ()) -> None:
        """``also`` are listening sockets of other networks, on which it is reached as well."""
        self._world = world
        self._latency_ms = latency_ms
        self._also = also
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.fakes.sts", "--world", "/dev/stdin"]
        inherited = [listening.fileno() for listening in self._also]
        command += [f"--fd={number}" for number in inherited]
        self._process = subprocess.Popen(
            [*command, "--latency-ms", str(self._latency_ms)],
            cwd=_REPOSITORY,
            pass_fds=inherited,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both were asked for")
        with self._process.stdin as stdin:
            stdin.write(self._world.to_json())
        line = self._process.stdout.readline()
        if not line:
            self.__exit__(None, None, None)
            raise RuntimeError("the strict STS did not start; its stderr says why")
        self.url = json.loads(line)["url"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def calls(self, *, role_arn: str | None = None, action: str | None = None) -> list[dict[str, Any]]:
        """The call log, oldest first; see ``Server._begin`` for the members. Arguments narrow it."""
        return [
            call
            for call in json.loads(self._control("GET", "calls"))
            if role_arn in {None, call["role_arn"]} and action in {None, call["action"]}
        ]

    def secrets(self) -> list[str]:
        """Every secret key and session token that it ever made, those of the hops between included."""
        found: list[str] = json.loads(self._control("GET", "secrets"))
        return found

    def fault(
        self,
        kind: str,
        *,
        count: int | None = None,
        role_arn: str | None = None,
        seconds: float | None = None,
        action: str = "AssumeRole",
        region: str | None = None,
    ) -> None:
        """Set a fault (``faults.py`` names them) on calls of ``action``, until it fired ``count`` times or is cleared.

        Raises:
            ValueError: No such fault.
        """
        asked = {"kind": kind, "count": count, "role_arn": role_arn, "seconds": seconds} | {
            "action": action,
            "region": region,
        }
        self._control("POST", "faults", {name: value for name, value in asked.items() if value is not None})

    def clear(self) -> None:
        """Forget all faults and all calls. Sessions stay."""
        self.clear_faults()
        self.clear_calls()

    def clear_faults(self) -> None:
        """No faults any more."""
        self._control("DELETE", "faults")

    def clear_calls(self) -> None:
        """Empty the call log."""
        self._control("DELETE", "calls")

    def _control(self, method: str, what: str, body: dict[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/_control/{what}", data=data, method=method)  # noqa: S310 - our own http URL
        try:
            with _OPENER.open(request, timeout=_PATIENCE) as response:
                answer: bytes = response.read()
                return answer
        except HTTPError as error:
            with error:
                raise ValueError(error.read().decode().strip()) from error
