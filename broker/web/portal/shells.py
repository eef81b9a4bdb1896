"""Credentials as people paste them: one block a shell, each quoted as that shell reads it.

AWS's keys need no quoting; they are quoted all the same, because whoever answers in AWS's place must not get a command into
somebody's terminal.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from broker import wire
from broker.core.clock import rfc3339
from broker.core.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Block:
    """What to paste: ``name`` for an element's id, ``title`` for people, ``text`` is a secret."""

    name: str
    title: str
    text: str


def blocks(credentials: Credentials) -> list[Block]:
    """The same credentials for every shell, most used first."""
    pairs = [
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key.reveal()),
        ("AWS_SESSION_TOKEN", credentials.session_token.reveal()),
        ("AWS_CREDENTIAL_EXPIRATION", rfc3339(credentials.expiration)),
    ]
    written = [Block(name, title, "\n".join(line(*pair) for pair in pairs)) for name, title, line in _SHELLS]
    return [*written, Block("json", "JSON", _json(credentials))]


def _posix(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _powershell(name: str, value: str) -> str:
    # about_Quoting_Rules: within single quotes a quote is doubled, and PowerShell takes the typographic ones for quotes too.
    return f"$Env:{name} = '{''.join(sign * 2 if sign in _QUOTES else sign for sign in value)}'"


def _fish(name: str, value: str) -> str:
    # Within single quotes fish reads \\ and \' and nothing else.
    return f"set -gx {name} '" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dotenv(name: str, value: str) -> str:
    # Single quotes are literal in every reader of such files, and none agrees with the next on a quote within them.
    return f"{name}='{value}'" if "'" not in value else f"{name}={json.dumps(value)}"


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


_QUOTES = "'\u2018\u2019\u201a\u201b"
_SHELLS: tuple[tuple[str, str, Callable[[str, str], str]], ...] = (
    ("posix", "bash, zsh", _posix),
    ("powershell", "PowerShell", _powershell),
    ("fish", "fish", _fish),
    ("dotenv", ".env file", _dotenv),
)
