"""Records by HTTP at receivers that refuse what Splunk and webhooks refuse, over real sockets and real TLS."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.audit.sinks import http
from broker.audit.sinks.http import Post, Splunk, Webhook
from broker.audit.sinks.parcel import Sink, SinkDown, SinkRefused
from broker.core.secret import Secret
from tests.fakes import receivers
from tests.fakes.audit import Directory, SetClock, an_event
from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.records import parcel
from tests.fakes.scripted_sink import caught_up, forwarder_to, log_to

TOKEN = "hec-token-canary-9b1f"
KEY = "hmac-key-canary-77aa"
URL_SECRET = "sig=in-the-url"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("server"), "ecdsa-sha256")


@pytest.fixture
def collector() -> Iterator[receivers.Collector]:
    with receivers.Collector(token=TOKEN) as collector:
        yield collector


@pytest.fixture
def hook() -> Iterator[receivers.Webhook]:
    with receivers.Webhook(token=TOKEN, key=KEY) as hook:
        yield hook


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    path = tmp_path / "audit"
    path.mkdir(mode=0o750)
    return Directory(path=path, jwks={})


def post(believed: ServerCertificate | None = None) -> Post:
    authority = str(believed.certificate) if believed else None
    return Post(context=ssl.create_default_context(cafile=authority), clock=SetClock())


def splunk(url: str, *, token: str = TOKEN, index: str | None = None, acknowledge: bool = False) -> Splunk:
    return Splunk(post=post(), url=url, token=Secret(token), index=index, form="native", acknowledge=acknowledge)


def webhook(url: str, *, believed: ServerCertificate | None = None, key: str | None = KEY) -> Webhook:
    return Webhook(
        post=post(believed),
        url=Secret(f"{url}/hook?{URL_SECRET}"),
        bearer=Secret(TOKEN),
        hmac_key=Secret(key) if key else None,
    )


async def sent(sink: Sink, *numbers: int) -> None:
    try:
        await sink.send([parcel(number, payload=json.dumps({"seq": number}).encode()) for number in numbers])
    finally:
        await sink.close()


async def test_splunk_takes_a_batch_as_its_documentation_wants_it(collector: receivers.Collector) -> None:
    sink = splunk(collector.url, index="main")
    await sent(sink, 1, 2, 3)
    assert collector.numbers == [1, 2, 3]
    (_, _, body), *_ = collector.requests
    first = json.loads(body.splitlines()[0])
    assert first == {
        "source": "zerotrust-broker",
        "sourcetype": "zerotrust:audit",
        "index": "main",
        "time": 1769860801.123456,
        "host": "db-1.example.com",
        "event": {"seq": 1},
    }


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"token": "wrong"}, "HTTP 403"),
        # A 400, but none that another record would not meet.
        ({"index": "nowhere"}, "HTTP 400, code 7"),
        ({"acknowledge": True}, "no ackId"),
    ],
    ids=["token", "index", "acknowledgement"],
)
async def test_what_is_wrong_with_the_configuration_is_waited_out_and_blames_no_record(
    collector: receivers.Collector, settings: dict[str, object], why: str
) -> None:
    with pytest.raises(SinkDown, match=why):
        await sent(splunk(collector.url, **settings), 1)  # type: ignore[arg-type]


async def test_a_success_that_is_not_splunks_own_counts_for_nothing(collector: receivers.Collector) -> None:
    for text in (b"<html>Sign in to the proxy</html>", b"{}", b'{"code":9}', b"[" * 100_000):
        collector.scripted.append((200, {"Content-Type": "text/html"}, text))
        with pytest.raises(SinkDown):
            await sent(splunk(collector.url), 1)


async def test_with_acknowledgement_a_record_counts_only_when_an_indexer_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "_ASK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(http, "_ACKNOWLEDGED_WITHIN_SECONDS", 0.2)
    with receivers.Collector(token=TOKEN, acknowledges=True) as collector:
        await sent(splunk(collector.url, acknowledge=True), 1)
        assert collector.asked == [[1]]
        collector.indexed.clear()
        with pytest.raises(SinkDown, match="no indexer"):
            await sent(splunk(collector.url, acknowledge=True), 2)


async def test_a_webhook_gets_an_array_that_is_signed_from_whoever_has_the_token(hook: receivers.Webhook) -> None:
    await sent(webhook(hook.url), 1, 2)
    assert hook.taken == [{"seq": 1}, {"seq": 2}]
    with pytest.raises(SinkDown, match="HTTP 403"):
        await sent(webhook(hook.url, key=None), 3)


async def test_a_receiver_says_when_it_wants_to_be_asked_again(hook: receivers.Webhook) -> None:
    for wish, seconds in (
        ("120", 120.0),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 59.876544),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
    ):
        hook.scripted.append((429, {"Retry-After": wish}, b""))
        with pytest.raises(SinkDown, match="HTTP 429") as caught:
            await sent(webhook(hook.url), 1)
        assert caught.value.retry_after == seconds


async def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else(
    hook: receivers.Webhook, collector: receivers.Collector
) -> None:
    hook.scripted.append((307, {"Location": collector.url}, b""))
    with pytest.raises(SinkDown, match="HTTP 307"):
        await sent(webhook(hook.url), 1)
    assert collector.requests == []


async def test_a_receiver_that_hangs_is_given_up(hook: receivers.Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_SECONDS", 0.3)
    hook.answers.clear()
    started = time.monotonic()
    with pytest.raises(SinkDown, match="no answer"):
        await sent(webhook(hook.url), 1)
    assert time.monotonic() - started < 2


async def test_by_tls_only_the_configured_authority_is_believed(certificate: ServerCertificate) -> None:
    with receivers.Webhook(token=TOKEN, key=KEY, certificate=certificate) as hook:
        await sent(webhook(hook.url, believed=certificate), 1)
        assert hook.numbers == [1]
        with pytest.raises(SinkDown, match="certificate is not believed"):
            await sent(webhook(hook.url), 2)
        with pytest.raises(SinkDown, match="certificate is not believed"):
            await sent(webhook(hook.url.replace("localhost", "127.0.0.1"), believed=certificate), 2)
        assert hook.numbers == [1]


async def test_no_secret_is_in_any_error(hook: receivers.Webhook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hook.scripted += [(500, {}, TOKEN.encode()), (400, {}, KEY.encode())]
    said = []
    gone = "http://127.0.0.1:9"
    for sink in (webhook(hook.url), webhook(hook.url), webhook(gone), splunk(gone)):
        with pytest.raises((SinkDown, SinkRefused)) as caught:
            await sent(sink, 1)
        said.append(f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__suppress_context__}")
    text = " ".join(said) + caplog.text
    for secret in (TOKEN, KEY, URL_SECRET):
        assert secret not in text


async def test_a_receiver_that_takes_little_at_once_gets_little_at_once(
    hook: receivers.Webhook, directory: Directory
) -> None:
    hook.most_bytes = 6_000
    hook.answers.clear()
    forwarder = forwarder_to(webhook(hook.url), directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    for number in range(40):
        await log.note(an_event(number))
    hook.answers.set()
    await caught_up(forwarder)
    await log.close()
    assert hook.numbers == [*range(1, 43)]
    assert any(len(body) > 6_000 for _, _, body in hook.requests)


async def test_one_bad_event_of_a_batch_is_found_and_costs_no_other(
    collector: receivers.Collector, directory: Directory
) -> None:
    collector.answers.clear()
    collector.refuses = {9}
    forwarder = forwarder_to(splunk(collector.url), directory.path)
    log = log_to(directory.path, forwarder)
    await log.open()
    for number in range(20):
        await log.note(an_event(number))
    collector.answers.set()
    await caught_up(forwarder)
    await log.close()
    # Splunk takes what is in front of a bad event: those come twice, and none comes out of its order.
    assert list(dict.fromkeys(collector.numbers)) == [number for number in range(1, 24) if number != 9]
    assert forwarder.set_aside == 1


async def test_a_receiver_that_wants_a_pause_gets_one(hook: receivers.Webhook, directory: Directory) -> None:
    hook.scripted.append((429, {"Retry-After": "1"}, b""))
    forwarder = forwarder_to(webhook(hook.url), directory.path)
    log = log_to(directory.path, forwarder)
    started = time.monotonic()
    await log.open()
    await caught_up(forwarder)
    assert time.monotonic() - started >= 1
    await log.close()
    assert hook.numbers == [1, 2]
