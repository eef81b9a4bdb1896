"""Mail as a real SMTP server receives it: over TLS or not, with a login or without, put off, refused and hung up on."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.core.principal import Principal
from broker.core.secret import Secret
from broker.watch.channels.email import Email, Server
from broker.watch.channels.port import Message, Refused, Undelivered
from broker.watch.notice import Notice
from broker.watch.wording import Wording, plain
from tests.fakes.audit import SetClock
from tests.fakes.mail import MailServer
from tests.fakes.notices import notice

ANN, BOB, CAROL = "ann@example.com", "bob@example.com", "carol@example.com"

RECEIVED = """\
From: zerotrust-broker@broker.example.com
To: ann@example.com
Subject: [high] Impossible travel: alice@EXAMPLE.COM
Date: Sat, 31 Jan 2026 12:00:00 +0000
Message-ID: <broker-1-7@broker.example.com>
Auto-Submitted: auto-generated
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: quoted-printable
MIME-Version: 1.0

Berlin and Sydney are 16,090 km apart.
No airplane does that in 9 minutes.

About:    alice@EXAMPLE.COM
Role:     developer
From:     203.0.113.9
Recorded: 2026-01-31T12:00:07Z

What to do now:
    zerotrust-admin audit trace 6f1e2d
    zerotrust-admin revoke-credentials --user alice@EXAMPLE.COM

Record 7 of instance broker-1, request 6f1e2d.
"""


def email(server: MailServer, *recipients: str, tls: str = "none", password: str | None = None) -> Email:
    return Email(
        server=Server(
            host="localhost",
            port=server.port,
            tls=tls,
            context=ssl.create_default_context(cafile=str(server.certificate) if tls != "none" else None),
            username="broker" if password else None,
            password=Secret(password) if password else None,
        ),
        sender="zerotrust-broker@broker.example.com",
        recipients=recipients or (ANN,),
        name="broker.example.com",
        clock=SetClock(),
    )


def message(told: Notice | None = None, *, done: frozenset[str] = frozenset()) -> Message:
    told = told or notice()
    return Message(notice=told, text=Wording(template=None, escape=plain).of(told), done=done)


@pytest.fixture
def plainly(tmp_path: Path) -> Iterator[MailServer]:
    with MailServer(tmp_path) as server:
        yield server


async def test_a_mail_arrives_as_the_page_shows_it(plainly: MailServer) -> None:
    assert await email(plainly).deliver(message()) == "taken for ann@example.com"
    [raw] = plainly.box.raw
    # aiosmtpd adds who it came from.
    received = re.sub(r"^X-Peer: .*\n", "", raw.decode().replace("\r\n", "\n"))
    assert received == RECEIVED
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
    assert RECEIVED in page


async def test_each_recipient_has_a_mail_of_their_own(plainly: MailServer) -> None:
    assert await email(plainly, ANN, BOB).deliver(message()) == "taken for ann@example.com, bob@example.com"
    assert plainly.box.recipients == [[ANN], [BOB]]
    assert [mail["To"] for mail in plainly.box.mails] == [ANN, BOB]


async def test_no_name_makes_a_header_or_a_recipient_and_what_is_not_ascii_is_encoded(plainly: MailServer) -> None:
    hostile = Principal(("x\r\nBcc: victim@example.com\r\n\r\nAll is well", "Zoë"), "EXAMPLE.COM")
    await email(plainly).deliver(message(notice(about=hostile, why=(".", "grüße\r\n.\r\nMAIL FROM:<x@y>"))))
    [raw], [mail] = plainly.box.raw, plainly.box.mails
    assert plainly.box.recipients == [[ANN]]
    assert mail["Bcc"] is None
    assert "Bcc: victim" in mail["Subject"]
    assert "Zoë" in mail["Subject"]
    assert b"=?utf-8?" in raw
    assert raw.isascii()
    lines = mail.get_content().splitlines()
    assert lines[:2] == [".", "grüße??.??MAIL FROM:<x@y>"]


@pytest.mark.parametrize(
    "name", ["=?utf-8?q?bob?=", "=?utf-16?b?AAA?=", "=?utf-7?q?+2AA-?=", "=?utf-8?b?DQpCY2M6IGE=?="]
)
async def test_no_name_is_decoded_into_another_or_keeps_a_mail_from_being_written(
    plainly: MailServer, name: str
) -> None:
    assert await email(plainly).deliver(message(notice(about=Principal((name,), "R")))) == f"taken for {ANN}"
    [raw], [mail] = plainly.box.raw, plainly.box.mails
    assert b"\0" not in raw
    assert mail["Subject"] == f"[high] Impossible travel: {name.replace('=?', '= ?')}@R"
    assert f"About:    {name}@R" in mail.get_content().splitlines()


async def test_mail_goes_over_starttls_with_a_login(tmp_path: Path) -> None:
    with MailServer(tmp_path, tls="starttls", password="canary-password") as server:
        await email(server, tls="starttls", password="canary-password").deliver(message())
        assert server.box.logins[-1] == ("broker", "canary-password")
        assert server.box.over_tls == [True]


async def test_mail_goes_over_implicit_tls(tmp_path: Path) -> None:
    with MailServer(tmp_path, tls="implicit") as server:
        await email(server, tls="implicit").deliver(message())
        assert len(server.box.raw) == 1


async def test_starttls_is_demanded_and_not_tried_only(plainly: MailServer) -> None:
    channel = email(plainly)
    channel._server = Server("localhost", plainly.port, "starttls", ssl.create_default_context(), None, None)
    with pytest.raises(Undelivered, match="STARTTLS"):
        await channel.deliver(message())
    assert plainly.box.raw == []


async def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    with MailServer(tmp_path, tls="starttls", password="canary-password") as server:
        channel = email(server, tls="starttls", password="canary-password")
        channel._server = Server(
            "localhost", server.port, "starttls", ssl.create_default_context(), "b", Secret("canary-password")
        )
        with pytest.raises(Undelivered) as failed:
            await channel.deliver(message())
        assert (server.box.raw, server.box.logins) == ([], [])
        assert "canary" not in str(failed.value)


async def test_a_wrong_password_may_be_mended_and_is_in_no_error(tmp_path: Path) -> None:
    with MailServer(tmp_path, tls="starttls", password="right") as server:
        with pytest.raises(Undelivered, match="535") as failed:
            await email(server, tls="starttls", password="canary-password").deliver(message())
        assert "canary" not in str(failed.value)


async def test_who_is_put_off_is_tried_again_and_who_has_it_is_not(plainly: MailServer) -> None:
    plainly.box.answers = {BOB: "451 4.7.1 Greylisted", CAROL: "550 5.1.1 No such user"}
    channel = email(plainly, ANN, BOB, CAROL)
    with pytest.raises(Undelivered, match=r"bob@example.com: 451 4.7.1 Greylisted") as failed:
        await channel.deliver(message())
    assert failed.value.done == {ANN}
    plainly.box.answers = {CAROL: "550 5.1.1 No such user"}
    said = await channel.deliver(message(done=failed.value.done))
    assert said == "taken for ann@example.com, bob@example.com; refused carol@example.com: 550 5.1.1 No such user"
    assert plainly.box.recipients == [[ANN], [BOB]]


async def test_where_nobody_is_known_the_mail_is_refused_for_good(plainly: MailServer) -> None:
    plainly.box.answers = {ANN: "550 5.1.1 No such user"}
    with pytest.raises(Refused, match=r"550 5\.1\.1 No such user"):
        await email(plainly).deliver(message())


@pytest.mark.parametrize(("answer", "kind"), [("452 4.3.1 Full", Undelivered), ("554 5.7.1 Spam", Refused)])
async def test_what_is_said_of_the_text_counts_like_what_is_said_of_the_address(
    plainly: MailServer, answer: str, kind: type[Exception]
) -> None:
    plainly.box.answers = {"DATA": answer}
    with pytest.raises(kind, match=answer):
        await email(plainly).deliver(message())


async def test_a_server_that_is_gone_or_hangs_is_tried_again(
    plainly: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.watch.channels.email.DEADLINE", 1.0)
    plainly.box.hangs = True
    async with asyncio.timeout(5):
        with pytest.raises(Undelivered):
            await email(plainly).deliver(message())
    gone = email(plainly)
    gone._server = Server("localhost", 1, "none", ssl.create_default_context(), None, None)
    with pytest.raises(Undelivered):
        await gone.deliver(message())
