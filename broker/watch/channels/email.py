"""Mail by SMTP, one to each recipient, so that one whose address is wrong costs the others nothing.

Headers are made by the standard library's policy, which encodes what is not ASCII (RFC 2047) and refuses line breaks; there are
none, for a subject is one line. It also *decodes* what looks like an encoded word, wherever it stands: of a subject with a name
in it somebody could make another name, a NUL, or a mail that cannot be written at all. So none of ours looks like one.

The Message-ID is the notice's: whoever gets a mail twice sees one. TLS, where asked for, is demanded, with a certificate that
fits the server's name.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import aiosmtplib

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.watch.channels.port import DEADLINE, Message, Refused, Undelivered, said

_PERMANENT = 500
# How an encoded word begins (RFC 2047, section 2), and what stands in its place; the text below has the name as it is.
_ENCODED_WORD, _AS_TEXT = "=?", "= ?"


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed in. ``tls``: ``none``, ``starttls`` or ``implicit``."""

    host: str
    port: int
    tls: str
    context: ssl.SSLContext
    username: str | None
    password: Secret | None


@dataclass(slots=True)
class _Came:
    """What came of a mail: who has it, and in the server's words who may get it later and who never will."""

    done: set[str]
    later: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def failed(self, address: str, code: int, words: str) -> None:
        """RFC 5321, section 4.2.1: 4yz is transient, 5yz permanent."""
        (self.refused if code >= _PERMANENT else self.later).append(f"{address}: {words}")


class Email:
    """A ``Channel``."""

    def __init__(self, *, server: Server, sender: str, recipients: tuple[str, ...], name: str, clock: Clock) -> None:
        """Take the server and the addresses; ``name`` is this host's, for greetings and Message-IDs."""
        self._server = server
        self._sender = sender
        self._recipients = recipients
        self._name = name
        self._clock = clock

    async def deliver(self, message: Message) -> str:
        """See ``Channel``. Delivered where one recipient at least was taken and none is worth another try."""
        waiting = [address for address in self._recipients if address not in message.done]
        came = _Came(done=set(message.done))
        try:
            async with self._connection() as smtp:
                for address in waiting:
                    await self._hand_in(smtp, self._mail(message, address), address, came)
        except aiosmtplib.SMTPException as error:
            # A refused login too: the password may be mended sooner than this message is old.
            raise Undelivered(self._words(error), done=came.done) from None
        except (OSError, TimeoutError) as error:
            raise Undelivered(f"no answer ({type(error).__name__})", done=came.done) from None
        if came.later:
            raise Undelivered("; ".join(came.later), done=came.done)
        refused = "; ".join(came.refused)
        if not came.done:
            raise Refused(refused)
        return f"taken for {', '.join(sorted(came.done))}" + (f"; refused {refused}" if refused else "")

    async def close(self) -> None:
        """See ``Channel``: each message has a connection of its own."""

    def _connection(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password.reveal() if server.password else None,
            # Not the library's getfqdn(), which asks the resolver and waits for it.
            local_hostname=self._name,
            timeout=DEADLINE / 2,
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "starttls",
            tls_context=None if server.tls == "none" else server.context,
        )

    async def _hand_in(self, smtp: aiosmtplib.SMTP, mail: EmailMessage, address: str, came: _Came) -> None:
        try:
            await smtp.send_message(mail, sender=self._sender, recipients=[address])
            came.done.add(address)
        except aiosmtplib.SMTPRecipientsRefused as error:
            answer = error.recipients[0]
            came.failed(address, answer.code, self._words(answer))
        except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError) as error:
            came.failed(address, error.code, self._words(error))

    def _mail(self, message: Message, address: str) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = address
        mail["Subject"] = message.text.subject.replace(_ENCODED_WORD, _AS_TEXT)
        mail["Date"] = format_datetime(self._now())
        mail["Message-ID"] = f"<{message.notice.id.replace(':', '.')}@{self._name}>"
        # RFC 3834, section 5: nobody's holiday notice is to answer.
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text.body + "\n", cte="quoted-printable")
        return mail

    def _now(self) -> datetime:
        return self._clock.now()

    def _words(self, error: aiosmtplib.SMTPException) -> str:
        secrets = [self._server.password] if self._server.password else []
        code = f"{error.code} " if isinstance(error, aiosmtplib.SMTPResponseException) else ""
        return said(f"{code}{error.message}", *secrets)
