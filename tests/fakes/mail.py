# ruff: noqa: ARG002  aiosmtpd's hooks have its arguments
"""A real SMTP server (aiosmtpd) on loopback that demands TLS and a login, refuses, puts off and hangs as it is told."""

from __future__ import annotations

import asyncio
import email.policy
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.fakes.certificates import server_certificate


@dataclass
class Mailbox:
    """What the server has taken, and what it says to whom. ``answers``: an address, or ``DATA``, to the server's answer."""

    answers: dict[str, str] = field(default_factory=dict)
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    hangs: bool = False
    password: str | None = None

    @property
    def mails(self) -> list[EmailMessage]:
        parser = BytesParser(EmailMessage, policy=email.policy.default)
        return [parser.parsebytes(raw) for raw in self.raw]

    # aiosmtpd's hooks.

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.hangs:
            await asyncio.sleep(60)
        answer = self.answers.get("DATA", "250 OK")
        if answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            self.raw.append(content)
            self.recipients.append(list(envelope.rcpt_tos))
            self.over_tls.append(session.ssl is not None)
        return answer

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        right = data.password.decode() == self.password
        return AuthResult(success=right, handled=right)


class MailServer:
    """Use as a context manager. ``tls``: ``none``, ``starttls`` (demanded) or ``implicit``."""

    def __init__(self, folder: Path, *, tls: str = "none", password: str | None = None, port: int = 0) -> None:
        self.box = Mailbox(password=password)
        self._tls = tls
        self._port = port
        self.certificate = folder / "server.crt"
        if tls != "none":
            made = server_certificate(folder, "ecdsa-sha256")
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(made.certificate, made.key)
        options: dict[str, Any] = {}
        if tls == "starttls":
            options |= {"tls_context": context, "require_starttls": True}
        if password is not None:
            options |= {"authenticator": self.box.authenticate, "auth_required": True}
        self._controller = Controller(
            self.box,
            hostname="127.0.0.1",
            server_hostname="mail.example.com",  # else it asks the resolver
            port=port or _free_port(),
            ssl_context=context if tls == "implicit" else None,
            **options,
        )

    @property
    def port(self) -> int:
        return int(self._controller.port)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


def _free_port() -> int:
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
