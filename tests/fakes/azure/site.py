"""For a program of ours in another process: Azure's hosts are where the fake listens, and nowhere else.

Put as ``sitecustomize.py`` into a folder that is the program's ``PYTHONPATH``; ``FAKE_AZURE`` holds the hosts and ports.
It stands where a resolver would: names, certificates and every byte of what is sent are as they would be.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from aiohttp import resolver

_PORTS: dict[str, int] = json.loads(os.environ["FAKE_AZURE"])
_real = resolver.ThreadedResolver.resolve


async def _resolve(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
    if host not in _PORTS:
        return await _real(self, host, port, family)
    found = {
        "hostname": host,
        "host": "127.0.0.1",
        "port": _PORTS[host],
        "family": socket.AF_INET,
        "proto": 0,
        "flags": 0,
    }
    return [found]


resolver.ThreadedResolver.resolve = _resolve  # type: ignore[method-assign]
