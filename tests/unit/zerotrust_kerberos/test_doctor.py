"""What the doctor reads of bytes, and what it says where no realm of ours can be made to fail."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerotrust_kerberos.commands import Call
from zerotrust_kerberos.doctor import kerberos, krb5, machine
from zerotrust_kerberos.doctor.finding import BAD, OK, WARN
from zerotrust_kerberos.doctor.kdc import time_of
from zerotrust_kerberos.doctor.krb5 import Cache, Ticket
from zerotrust_kerberos.doctor.patient import Patient
from zerotrust_kerberos.failures import Failure, Place
from zerotrust_kerberos.watch import Watch

# A KRB-ERROR of MIT's KDC for a principal that it does not know.
ERROR = bytes.fromhex(
    "7e819b308198a003020105a10302011ea411180f32303236313132323133353932345aa50502030"
    "81fefa603020106a70d1b0b4558414d504c452e434f4da8193017a003020101a110300e1b0c6e6f"
    "626f64792d7468657265a90d1b0b4558414d504c452e434f4daa20301ea003020102a11730151b0"
    "66b72627467741b0b4558414d504c452e434f4dab121b10434c49454e545f4e4f545f464f554e44"
)
NOW = 1_795_355_964


def patient(environ: dict[str, str] | None = None) -> Patient:
    call = Call("doctor", watch=Watch(lambda _: None), place=Place(["doctor"]))
    call.options |= {"broker": "http://localhost:1", "timeout": "0.1"}
    return Patient(call, environ or {}, user="alice", now=lambda: NOW)


def test_a_kdc_s_error_says_its_time() -> None:
    assert time_of(ERROR) == NOW


@given(st.binary(max_size=64) | st.integers(0, len(ERROR)).map(lambda size: ERROR[:size]))
def test_no_message_of_a_network_is_more_than_a_time_or_none(message: bytes) -> None:
    assert time_of(message) in {None, NOW}


@given(st.integers(0, len(ERROR) - 1), st.integers(0, 255))
def test_one_wrong_byte_of_an_error_breaks_nothing(at: int, value: int) -> None:
    found = time_of(ERROR[:at] + bytes([value]) + ERROR[at + 1 :])
    assert found is None or isinstance(found, int)


@pytest.mark.parametrize(
    ("ticket", "verdict", "said"),
    [
        (Ticket("krbtgt/A@A", 0, NOW + 7200, 0, "aes256-cts-hmac-sha384-192"), OK, "not renewable"),
        (Ticket("krbtgt/A@A", 0, NOW + 7200, 0, "arcfour-hmac"), BAD, "the broker takes AES only"),
        (Ticket("krbtgt/A@A", 0, NOW, 0, "aes256-cts-hmac-sha1-96"), BAD, "ended at"),
        (Ticket("krbtgt/A@A", 0, NOW + 60, NOW - 1, "aes256-cts-hmac-sha1-96"), WARN, "ends soon"),
        (Ticket("HTTP/localhost@A", 0, NOW + 60, 0, "aes256-cts-hmac-sha1-96"), BAD, "has none of the KDC"),
    ],
)
def test_a_ticket_is_judged_by_its_end_and_its_key(
    ticket: Ticket, verdict: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patient, "cache", lambda _: Cache("MEMORY:x", "alice@A", [ticket]))
    found = kerberos.ticket(patient())
    assert (found.verdict, said in found.evidence) == (verdict, True)


def test_a_machine_without_kerberos_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krb5, "_LIBRARY", "libkrb5-of-nowhere.so")
    for check in (kerberos.configuration, kerberos.kdc, kerberos.ticket):
        found = check(patient())
        assert (found.verdict, found.code) == (BAD, "kerberos_missing")
        assert found.fix.startswith("apt-get install ")


def test_what_takes_too_long_is_given_up_and_said() -> None:
    never, began = threading.Event(), time.monotonic()
    with pytest.raises(Failure) as caught:
        patient().timed(lambda: never.wait(60), late="kdc_unreachable")
    never.set()
    assert time.monotonic() - began < 30
    assert (caught.value.code, caught.value.detail) == ("kdc_unreachable", "no answer in 0.1 s")


def test_what_another_thread_raised_is_raised_here_each_time_and_asked_once() -> None:
    asked: list[int] = []

    def look() -> Any:
        asked.append(1)
        raise Failure("no_ticket", "none")

    one = patient()
    for _ in range(2):
        with pytest.raises(Failure) as caught:
            one._once("x", look, late="kdc_unreachable")
        assert caught.value.code == "no_ticket"
    assert asked == [1]


@pytest.mark.parametrize(
    ("environ", "verdict"),
    [
        ({}, OK),
        ({"http_proxy": "proxy:3128"}, WARN),
        ({"ALL_PROXY": "socks5://proxy"}, WARN),
        ({"https_proxy": "http://proxy:3128"}, OK),
        ({"http_proxy": "http://proxy", "no_proxy": "*"}, OK),
        ({"http_proxy": "http://proxy", "NO_PROXY": ".example,localhost"}, OK),
    ],
)
def test_a_proxy_counts_where_it_is_for_the_broker(environ: dict[str, str], verdict: str) -> None:
    assert machine.proxies(patient(environ)).verdict == verdict
