"""What an operator acts on, by the number that journald knows it by: each has its entry in ``systemd/zerotrust.catalog``.

A line of the log carries one with ``extra=Happening.NAME.said()``: under systemd it then has the fields MESSAGE_ID and
ZEROTRUST_CODE, and ZEROTRUST_REQUEST_ID where somebody's request was on the way (``daemon.journal``). A number stays what it is
for ever: others filter by it. New ones: ``systemd-id128 new``.
"""

from __future__ import annotations

from enum import Enum


class Happening(Enum):
    """By MESSAGE_ID; the code is the name in small letters."""

    SERVING = "51de157861254612a8a378aee89d0f2a"
    STOPPED = "b58e9ce8d4834a458159e6e743e5442d"
    CONFIG_RELOADED = "8e5a4b3b825b436c928d9fa010063343"
    CONFIG_REFUSED = "9f58930579874b2cb1efbb6cf19d597f"
    NEEDS_RESTART = "c62f0b90fcd342b598ca4d03a0e8d05c"
    FILES_IN_FORCE = "eb73e16a244d44b3a01cc1ba6df1d7b0"
    FILES_REFUSED = "b6d7a83e687e4e81be82ca281bbef8b1"
    AUDIT_REFUSES = "1ac19bcdc0dc41448b5705e02200ddb0"
    AUDIT_FILE_MOVED = "88d58f6b3ffb4a67a6316362add3403e"
    AUDIT_CUT = "d25d4c204cee4f5abf4c4841559b1bfe"
    SINK_DOWN = "ab630c8371734bf093b499d08d2abb9c"
    SINK_BACK = "0ed9ab8abccd40519e2e55a65eb4df10"
    DIRECTORY_DOWN = "4f1dc1ab9170457881c8f2079ed5940c"
    REDIS_DOWN = "360b9bc577534f27aa8ec1b004ac113c"
    REDIS_BACK = "9c3ac60362244d28ac5e706503bd82e3"
    STS_DOWN = "102e2e7f519747c8be629441eb0b59de"
    STS_BACK = "bdfc3b0edeef40f5bf9c24b8d776358f"
    BASE_CREDENTIALS_FAIL = "3d455d638c094390827d426994d04e59"
    MASTER_KEY_DOWN = "0d97f1b3a2c54aa89b9ba290bfcb9b22"
    KEYS_WITHHELD = "5d721d2245464a609099e62aea51429f"
    REVOCATIONS_UNWRITTEN = "0c13710f1f3348469d1a3c91d4ed9916"
    GLASS_BROKEN = "6de6221062974ec68eaf71da33ac5b8f"
    UNTOLD = "fe2eefdfc11e46d7886a10a4944539e8"
    DOOR_FULL = "d87b06bc1e1d4ecf9854878966360a4e"
    MEMORY_MAY_BE_SWAPPED = "36e8d95135e843da8a617611d74ce79e"
    CLOCK_JUMP = "21521a0da6af4535afad473caa0ffef2"
    DEFECT = "1a5ea2c323aa47d3b7d73d225ab02c59"

    @property
    def code(self) -> str:
        """How people call it."""
        return self.name.lower()

    def said(self, *, request_id: str | None = None) -> dict[str, object]:
        """What goes into a log record as ``extra``."""
        return {"happening": self, "request_id": request_id}
