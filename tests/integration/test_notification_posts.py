"""Posts to Slack, PagerDuty and a webhook, as servers receive them that refuse what the real ones refuse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from broker.audit.alert import Severity
from broker.core.clock import SystemClock
from broker.core.principal import Principal
from broker.core.secret import Secret
from broker.watch.channels import slack
from broker.watch.channels.http import Poster
from broker.watch.channels.pagerduty import PagerDuty
from broker.watch.channels.port import Channel, Message, Refused, Undelivered
from broker.watch.channels.slack import Slack
from broker.watch.channels.webhook import Webhook
from broker.watch.notice import Notice, a_test
from broker.watch.wording import Wording, plain
from tests.fakes.audit import NOON
from tests.fakes.certificates import server_certificate
from tests.fakes.hooks import KEY, SIGNING_SECRET, SLACK_PATH, Hooks
from tests.fakes.notices import notice

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()


def message(told: Notice | None = None, *, template: str | None = None, escape: Any = plain) -> Message:
    told = told or notice()
    return Message(notice=told, text=Wording(template=template, escape=escape).of(told))


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as server:
        yield server


def to_slack(hooks: Hooks, path: str = SLACK_PATH) -> Slack:
    return Slack(webhook_url=Secret(hooks.url + path), clock=SystemClock())


def to_pagerduty(hooks: Hooks, key: str = KEY) -> PagerDuty:
    url = Secret(f"{hooks.url}/v2/enqueue")
    return PagerDuty(integration_key=Secret(key), url=url, source="broker.example.com", clock=SystemClock())


def to_webhook(hooks: Hooks, secret: str = SIGNING_SECRET, path: str = "/hook") -> Webhook:
    return Webhook(url=Secret(f"{hooks.url}{path}"), secret=Secret(secret), clock=SystemClock(), ca_file=None)


async def delivered(channel: Channel, sent: Message) -> str:
    try:
        return await channel.deliver(sent)
    finally:
        await channel.close()


async def test_slack_receives_what_the_page_shows(hooks: Hooks) -> None:
    assert await delivered(to_slack(hooks), message(escape=slack.escape)) == "ok"
    [taken] = hooks.taken
    assert taken.headers["Content-Type"] == "application/json; charset=utf-8"
    assert taken.body == json.loads(block("slack"))
    assert taken.body["mrkdwn"] is False


async def test_no_name_becomes_a_mention_or_a_link_in_slack(hooks: Hooks) -> None:
    hostile = notice(about=Principal(("<!channel> *now*",), "R"), why=("<https://evil.example|sign in> & go",))
    await delivered(to_slack(hooks), message(hostile, escape=slack.escape))
    text = hooks.taken[0].body["text"]
    assert "<" not in text
    assert ">" not in text
    assert "&lt;!channel&gt; *now*" in text
    assert "&lt;https://evil.example|sign in&gt; &amp; go" in text


async def test_an_operators_own_words_may_be_marked_up_in_slack(hooks: Hooks) -> None:
    own = message(template="*{{ happened }}*", escape=slack.escape)
    await delivered(to_slack(hooks), own)
    assert hooks.taken[0].body["text"].startswith("*Impossible travel: alice@EXAMPLE.COM*")
    assert hooks.taken[0].body["mrkdwn"] is True


async def test_pagerduty_receives_what_the_page_shows(hooks: Hooks) -> None:
    assert await delivered(to_pagerduty(hooks), message()) == "accepted"
    [taken] = hooks.taken
    assert taken.body == json.loads(block("pagerduty").replace("YOUR_INTEGRATION_KEY", KEY))


@pytest.mark.parametrize(
    ("severity", "called"), [(Severity.LOW, "warning"), (Severity.MEDIUM, "error"), (Severity.HIGH, "critical")]
)
async def test_a_severity_has_pagerdutys_word(hooks: Hooks, severity: Severity, called: str) -> None:
    await delivered(to_pagerduty(hooks), message(notice(severity=severity)))
    assert hooks.taken[0].body["payload"]["severity"] == called


async def test_one_matter_is_one_alert_whoever_tells_it_and_a_test_is_one_of_its_own(hooks: Hooks) -> None:
    channel = to_pagerduty(hooks)
    try:
        for told in (notice(1), notice(2), notice(3, name="new_role"), a_test(by="root@R", now=NOON, id_="test-1")):
            await channel.deliver(message(told))
    finally:
        await channel.close()
    keys = [taken.body["dedup_key"] for taken in hooks.taken]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert hooks.taken[3].body["payload"]["severity"] == "info"


async def test_the_longest_names_fit_into_what_pagerduty_takes(hooks: Hooks) -> None:
    long = notice(about=Principal(("a" * 5000,), "R" * 900), why=("b" * 5000,) * 30)
    assert await delivered(to_pagerduty(hooks), message(long)) == "accepted"


async def test_a_webhook_receives_what_the_page_shows_signed_in_the_standard_way(hooks: Hooks) -> None:
    assert await delivered(to_webhook(hooks), message()) == "HTTP 204"
    [taken] = hooks.taken
    assert taken.body == json.loads(block("webhook"))
    assert taken.headers["webhook-id"] == "broker-1-7"


async def test_a_webhook_with_another_secret_is_refused_by_its_receiver(hooks: Hooks) -> None:
    with pytest.raises(Refused, match="HTTP 401 signature"):
        await delivered(to_webhook(hooks, "whsec_" + "A" * 44), message())


async def test_what_slack_and_pagerduty_refuse_is_refused_for_good_and_no_secret_is_in_it(hooks: Hooks) -> None:
    with pytest.raises(Refused, match="HTTP 404 no_service"):
        await delivered(to_slack(hooks, "/services/canary"), message())
    hooks.next_answers = [(410, "channel_is_archived", {})]
    with pytest.raises(Refused, match="HTTP 410 channel_is_archived"):
        await delivered(to_slack(hooks), message())
    with pytest.raises(Refused, match="32 characters"):
        await delivered(to_pagerduty(hooks, "X" * 24), message())
    canary = "CANARY" + "0" * 26
    with pytest.raises(Refused) as refused:
        # The server repeats the key that it does not know.
        await delivered(to_pagerduty(hooks, canary), message())
    assert "'routing_key' *** is not known" in str(refused.value)
    assert canary not in str(refused.value)


async def test_an_error_page_that_shows_the_path_tells_nobody_the_url_s_secret(hooks: Hooks) -> None:
    for channel, path in (
        (to_slack(hooks), SLACK_PATH),
        (to_webhook(hooks, path="/in?key=CANARY-012"), "key=CANARY-012"),
    ):
        hooks.next_answers = [(404, f"Cannot POST {path} ({path.rpartition('/')[2]})", {})]
        with pytest.raises(Refused, match="HTTP 404 Cannot POST ") as refused:
            await delivered(channel, message())
        assert path.rpartition("/")[2].removeprefix("key=") not in str(refused.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_what_may_pass_is_worth_another_try(hooks: Hooks, status: int) -> None:
    hooks.next_answers = [(status, "busy", {"Retry-After": "17"})]
    with pytest.raises(Undelivered, match=f"HTTP {status}") as failed:
        await delivered(to_slack(hooks), message())
    assert failed.value.after == 17


async def test_a_retry_after_may_be_a_date_or_nonsense(hooks: Hooks) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100))
    for header, least in ((date, 90.0), ("soon", None), ("-5", None)):
        hooks.next_answers = [(429, "busy", {"Retry-After": header})]
        with pytest.raises(Undelivered) as failed:
            await delivered(to_slack(hooks), message())
        after = failed.value.after
        assert after is None if least is None else after is not None and least < after < 101


async def test_a_redirect_is_not_followed(hooks: Hooks) -> None:
    hooks.next_answers = [(307, "", {"Location": f"{hooks.url}{SLACK_PATH}"})]
    with pytest.raises(Refused, match="a redirect"):
        await delivered(to_slack(hooks), message())
    assert len(hooks.attempts) == 1


async def test_who_hangs_or_is_gone_is_tried_again_and_the_url_is_in_no_error(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.watch.channels.http.DEADLINE", 0.3)
    hooks.next_answers = [None]
    with pytest.raises(Undelivered, match="no answer in time"):
        await delivered(to_slack(hooks), message())
    gone = Slack(webhook_url=Secret("http://127.0.0.1:1/services/canary"), clock=SystemClock())
    with pytest.raises(Undelivered) as failed:
        await delivered(gone, message())
    assert "canary" not in repr(failed.value)
    assert failed.value.__suppress_context__


async def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    import ssl  # noqa: PLC0415

    made = server_certificate(tmp_path, "ecdsa-sha256")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    heard: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with server:
        url = Secret(f"https://localhost:{server.sockets[0].getsockname()[1]}/x")
        strange = Poster(url=url, clock=SystemClock())
        with pytest.raises(Undelivered, match="certificate"):
            await strange.post(b"{}")
        await strange.close()
        assert heard == []
        known = Poster(url=url, clock=SystemClock(), ca_file=made.certificate)
        assert (await known.post(b"{}")).body == "ok"
        await known.close()


def block(name: str) -> str:
    """The page's sample of this name."""
    return PAGE.partition(f"<!-- {name} -->\n```json\n")[2].partition("\n```")[0]
