"""What passes between Azure and a client, and how Azure refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` as it is sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"


class Refusal(Exception):
    """Answered with this status and Azure's code."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.inner = status, code, message, inner
        self.headers = headers or {}

    def answer(self) -> Answer:
        """In the form of Key Vault's errors."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.inner is not None:
            error["innererror"] = {"code": self.inner}
        return Answer(self.status, json.dumps({"error": error}).encode(), self.headers)


def found(members: object, status: int = 200) -> Answer:
    """A success."""
    return Answer(status, json.dumps(members).encode())


def bad(message: str) -> Refusal:
    """Key Vault's word for a request that is not one."""
    return Refusal(400, "BadParameter", message)


def members(body: bytes, *, known: set[str], needed: set[str]) -> dict[str, Any]:
    """A JSON object with known members only.

    Raises:
        Refusal: It is something else.
    """
    try:
        read = json.loads(body)
    except ValueError:
        raise bad("The request body is no JSON") from None
    if not isinstance(read, dict) or set(read) - known or needed - set(read):
        raise bad("The request body has other members than these: " + ", ".join(sorted(known)))
    return read
