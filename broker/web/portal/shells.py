"""Credentials as people paste them: one block a shell, each quoted as that shell reads it (``broker.quoting``)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from broker import wire
from broker.core.clock import rfc3339
from broker.core.credentials import Credentials
from broker.quoting import LINES, Unwritable


@dataclass(frozen=True, slots=True)
class Block:
    """What to paste: ``name`` for an element's id, ``title`` for people, ``text`` is a secret."""

    name: str
    title: str
    text: str


def blocks(credentials: Credentials) -> list[Block]:
    """The same credentials for every shell that has a way to write them, most used first."""
    pairs = [
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key.reveal()),
        ("AWS_SESSION_TOKEN", credentials.session_token.reveal()),
        ("AWS_CREDENTIAL_EXPIRATION", rfc3339(credentials.expiration)),
    ]
    return [*_written(pairs), Block("json", "JSON", _json(credentials))]


def _written(pairs: list[tuple[str, str]]) -> Iterator[Block]:
    for name, title, line in _SHELLS:
        with contextlib.suppress(Unwritable):
            yield Block(name, title, "\n".join(line(*pair) for pair in pairs))


def _json(credentials: Credentials) -> str:
    body = wire.credentials_body(
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key.reveal(),
        session_token=credentials.session_token.reveal(),
        expiration=rfc3339(credentials.expiration),
        account=credentials.account,
        role_arn=credentials.role_arn,
    )
    return json.dumps(json.loads(body), indent=2)


# Name of the element, title, and the words.
_SHELLS = (
    ("posix", "bash, zsh", LINES["env"]),
    ("powershell", "PowerShell", LINES["powershell"]),
    ("fish", "fish", LINES["fish"]),
    ("dotenv", ".env file", LINES["dotenv"]),
)
