"""Records at a real rsyslog, by TLS: as RFC 5424 and RFC 5425 say, and none missing whatever happens to it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.audit.event import Kind
from broker.audit.sinks import syslog
from broker.audit.sinks.parcel import SinkDown
from broker.audit.sinks.syslog import SyslogTls
from tests.fakes.audit import an_event
from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.records import parcel
from tests.fakes.rsyslog import Rsyslog
from tests.fakes.scripted_sink import caught_up, forwarder_to, log_to
from tests.fakes.until import until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("server"), "ecdsa-sha256")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("foreign"), "ecdsa-sha256")


@pytest.fixture
def server(tmp_path: Path, certificate: ServerCertificate) -> Iterator[Rsyslog]:
    with Rsyslog(tmp_path / "rsyslog", certificate) as server:
        yield server


def sink_to(port: int, believed: ServerCertificate, *, host: str = "localhost") -> SyslogTls:
    return SyslogTls(host=host, port=port, context=ssl.create_default_context(cafile=str(believed.certificate)))


def numbers(server: Rsyslog) -> list[int]:
    """Of the records that came, in their order, with repetitions."""
    # What a killed server was writing has no end, and the next one begins on the same line.
    return [json.loads(message[message.rindex("] {") + 2 :])["seq"] for message in server.messages]


async def until_it_has(server: Rsyslog, number: int) -> None:
    await until(lambda: number in numbers(server))


def in_order_and_whole(found: list[int], last: int) -> bool:
    """Whether nothing is missing, and nothing comes before what belongs in front of it, repetitions aside."""
    first_seen = list(dict.fromkeys(found))
    return first_seen == [*range(1, last + 1)]


async def test_rsyslog_understands_every_part_and_gets_the_record_byte_by_byte(
    server: Rsyslog, certificate: ServerCertificate
) -> None:
    sink = sink_to(server.port, certificate)
    payload = '{"seq":7,"user":"älice@EXAMPLE.COM","quote":"] <110>1 \\n \\" %m"}'.encode()
    refused = parcel(8, kind=Kind.REFUSED, success=False, reason="no_rule", payload=b'{"seq":8}')
    await sink.send([parcel(7, payload=payload), refused, parcel(2147483648, payload=b'{"seq":9}')])
    await sink.close()
    await until_it_has(server, 9)
    assert server.messages[0].endswith("] " + payload.decode())
    origin = '[origin software="zerotrust-broker"]'
    assert server.parts == [
        ["110", "1", "db-1.example.com", "zerotrust-broker", "issued", f'[meta sequenceId="7"]{origin}'],
        ["108", "1", "db-1.example.com", "zerotrust-broker", "refused", f'[meta sequenceId="8"]{origin}'],
        ["110", "1", "db-1.example.com", "zerotrust-broker", "issued", f'[meta sequenceId="1"]{origin}'],
    ]


async def test_what_a_killed_server_had_acknowledged_and_not_read_is_sent_again(
    server: Rsyslog, certificate: ServerCertificate, tmp_path: Path
) -> None:
    forwarder = forwarder_to(sink_to(server.port, certificate), tmp_path / "audit")
    log = log_to(tmp_path / "audit", forwarder)
    await log.open()
    for _ in range(3):
        await asyncio.gather(*(log.record(an_event(number)) for number in range(50)))
        await caught_up(forwarder)
        server.freeze()
        # Its kernel acknowledges these, and they go down with it.
        await asyncio.gather(*(log.record(an_event(number)) for number in range(50)))
        await caught_up(forwarder)
        server.kill()
        await asyncio.gather(*(log.record(an_event(number)) for number in range(20)))
        server.start()
    await caught_up(forwarder)
    await log.close()
    await until_it_has(server, 3 * 120 + 2)
    assert in_order_and_whole(numbers(server), 3 * 120 + 2)


async def test_a_frozen_server_is_noticed_once_its_buffers_are_full_and_misses_nothing(
    server: Rsyslog, certificate: ServerCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarder = forwarder_to(sink_to(server.port, certificate), tmp_path / "audit")
    log = log_to(tmp_path / "audit", forwarder)
    await log.open()
    await caught_up(forwarder)
    server.freeze()
    monkeypatch.setattr(syslog, "_SECONDS", 0.5)
    filler = {"filler": "x" * 20000}
    recorded = 1
    while forwarder.fault is None:
        await asyncio.gather(*(log.record(an_event(number, details=filler)) for number in range(40)))
        recorded += 40
    assert "no answer in" in forwarder.fault
    server.thaw()
    await caught_up(forwarder)
    await log.close()
    await until_it_has(server, recorded + 1)
    assert in_order_and_whole(numbers(server), recorded + 1)


async def test_a_server_that_does_not_answer_the_goodbye_is_not_believed_to_have_read_everything(
    server: Rsyslog, certificate: ServerCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_to(server.port, certificate)
    await sink.send([parcel(1)])
    server.freeze()
    monkeypatch.setattr(syslog, "_SECONDS", 0.5)
    await sink.send([parcel(2)])
    with pytest.raises(SinkDown, match="no answer"):
        await sink.close()
    server.thaw()


async def test_a_server_whose_authority_is_not_the_configured_one_gets_nothing(
    server: Rsyslog, foreign: ServerCertificate
) -> None:
    sink = sink_to(server.port, foreign)
    with pytest.raises(SinkDown, match="certificate is not believed"):
        await sink.send([parcel(1)])
    assert server.messages == []


async def test_a_server_with_a_certificate_for_another_name_gets_nothing(
    server: Rsyslog, certificate: ServerCertificate
) -> None:
    sink = sink_to(server.port, certificate, host="127.0.0.1")
    with pytest.raises(SinkDown, match="certificate is not believed"):
        await sink.send([parcel(1)])
    assert server.messages == []


async def test_a_server_that_wants_a_certificate_gets_the_configured_one(
    tmp_path: Path, certificate: ServerCertificate, foreign: ServerCertificate
) -> None:
    with Rsyslog(tmp_path / "strict", certificate, client=foreign) as strict:
        context = ssl.create_default_context(cafile=str(certificate.certificate))
        context.load_cert_chain(foreign.certificate, foreign.key)
        sink = SyslogTls(host="localhost", port=strict.port, context=context)
        await sink.send([parcel(1, payload=b'{"seq":1}')])
        await until_it_has(strict, 1)
        await sink.close()
        nobody = sink_to(strict.port, certificate)
        # TLS 1.3 tells a client of its refusal only after the handshake.
        with pytest.raises(SinkDown):  # noqa: PT012
            for _ in range(20):
                await nobody.send([parcel(2, payload=b'{"seq":2}')])
                await asyncio.sleep(0.02)
        assert numbers(strict) == [1]


async def test_a_server_that_does_not_speak_tls_is_named_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(100)
                client.sendall(b"220 this is no TLS\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        context = ssl.create_default_context()
        sink = SyslogTls(host="localhost", port=listening.getsockname()[1], context=context)
        with pytest.raises(SinkDown, match="TLS"):
            await sink.send([parcel(1)])
        thread.join()
