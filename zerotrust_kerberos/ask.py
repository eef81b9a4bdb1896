"""One authenticated request to the broker: ticket, exchange, proof of the broker, then and only then the body.

Over TLS the ticket is bound to the connection's certificate (RFC 5929), so it is of no use to anybody in between.

The answer to a request counts as the broker's only after its mutual-auth token has been verified (RFC 4559, section 5): TLS
proves the name of a host, Kerberos proves that the realm knows the service there.
"""

from __future__ import annotations

import binascii
import time

from broker import wire
from zerotrust_kerberos import __version__
from zerotrust_kerberos.exchange import Answer, connect, exchange
from zerotrust_kerberos.failures import TABLE, Failure
from zerotrust_kerberos.negotiate import Initiator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from zerotrust_kerberos.settings import Settings
    from zerotrust_kerberos.watch import Watch

    Headers: TypeAlias = list[tuple[str, str]]
    # Method, URL, headers so far and body of a request -> further headers.
    Sign: TypeAlias = Callable[[str, str, Headers, bytes], Headers]

_OK = (200, 201, 204)
_NO_CONTENT = 204
# Seconds. What a Retry-After may make us recommend; the broker's own are far below.
_WAIT_DEFAULT, _WAIT_MAX = 5, 3600

# Seconds. The default of ``clockskew`` in krb5.conf: what a broker tolerates.
_SKEW_MAX = 300

# For an answer without a code of ours: something in front of the broker spoke.
_BY_STATUS = {
    401: "auth_failed",
    403: "access_denied",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    421: "host_not_allowed",
    429: "rate_limited",
    431: "headers_too_large",
    502: "broker_unreachable",
    503: "broker_unreachable",
    504: "broker_timeout",
}


def ask(
    settings: Settings, watch: Watch, *, method: str, path: str, body: bytes = b"", sign: Sign | None = None
) -> bytes:
    """Ask and return the body of the broker's 200. ``sign`` adds what an operator's request may have to carry.

    Raises:
        Failure: Anything else.
    """
    initiator = Initiator(settings.spn)
    # Over TLS the token is bound to the certificate and has to wait for it; elsewhere nobody is called without a ticket.
    token = b"" if settings.broker.scheme == "https" else initiator.first_token()
    watch.waiting_for = "broker_timeout"
    connection, end_point = connect(settings)
    if not token:
        watch.waiting_for = "kdc_unreachable"
        token = initiator.first_token(end_point)
        watch.waiting_for = "broker_timeout"
    headers = _headers(settings, token, body)
    if sign is not None:
        scheme = "https" if settings.broker.scheme == "https" else "http"
        headers += sign(method, f"{scheme}://{settings.broker.authority}{path}", headers, body)
    answer = exchange(connection, _request(method, path, headers, body))
    if answer.status not in _OK:
        raise _refusal(answer)
    initiator.verify(_token_of(answer))
    return answer.body


def ask_by_pass(settings: Settings, watch: Watch, *, method: str, path: str, job_pass: str, body: bytes = b"") -> bytes:
    """The same with a job pass in the place of a ticket; what proves the broker is then TLS alone, or that it is this machine.

    Raises:
        Failure: Anything but success.
    """
    watch.waiting_for = "broker_timeout"
    connection, _ = connect(settings)
    answer = exchange(connection, _request(method, path, _shown(settings, f"Bearer {job_pass}", body), body))
    if answer.status not in {*_OK, _NO_CONTENT}:
        raise _refusal(answer)
    return answer.body


def _headers(settings: Settings, token: bytes, body: bytes) -> Headers:
    return _shown(settings, f"Negotiate {binascii.b2a_base64(token, newline=False).decode()}", body)


def _shown(settings: Settings, authorization: str, body: bytes) -> Headers:
    headers = [
        ("Host", settings.broker.authority),
        ("Authorization", authorization),
        (wire.REQUEST_HEADER, wire.REQUEST_HEADER_VALUE),
        ("User-Agent", f"zerotrust/{__version__}"),
        ("Accept", wire.JSON),
        ("Connection", "close"),
    ]
    return [*headers, ("Content-Type", wire.JSON), ("Content-Length", str(len(body)))] if body else headers


def _request(method: str, path: str, headers: Headers, body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("ascii") + body


def _token_of(answer: Answer) -> bytes:
    found = [
        value[len("negotiate ") :].strip()
        for value in answer.values("www-authenticate")
        if value[: len("negotiate ")].lower() == "negotiate "
    ]
    if len(found) != 1:
        raise Failure("mutual_auth_failed", "no token" if not found else "more than one token")
    try:
        return binascii.a2b_base64(found[0].encode("ascii"), strict_mode=True)
    except ValueError as error:
        raise Failure("mutual_auth_failed", "the token is not base64") from error


def _refusal(answer: Answer) -> Failure:
    """The broker's own word (RFC 9457) where there is one, otherwise what the status means."""
    code, hint, request_id = _problem(answer)
    wait = _retry_after(answer)
    skew = _skew(answer) if code == "auth_failed" else 0
    if skew > _SKEW_MAX:
        # The broker does not say what was wrong with a ticket; its clock does.
        return Failure("clock_skew", f"the broker's differs by {skew} s")
    # A code is taken only from the list: a server must not pick one of the client's own, such as kdc_unreachable.
    if code in wire.PROBLEM_CODES and code in TABLE:
        said = [f'"{hint}"'] if hint else []
        return Failure(code, "; ".join([*said, *([f"request {request_id}"] if request_id else [])]), wait=wait)
    known = _BY_STATUS.get(answer.status, "unexpected_answer")
    return Failure(known, f"HTTP status {answer.status} without a code of the broker", wait=wait)


def _problem(answer: Answer) -> tuple[str, str, str]:
    if not any(kind.lower().startswith(wire.PROBLEM_JSON) for kind in answer.values("content-type")):
        return "", "", ""
    import json  # noqa: PLC0415  a refusal may cost 8 ms more than success

    try:
        members = json.loads(answer.body.decode())
    except (ValueError, RecursionError):
        return "", "", ""
    if not isinstance(members, dict):
        return "", "", ""
    code, hint, request_id = (members.get(name) for name in ("code", "hint", "request_id"))
    return (
        code if isinstance(code, str) else "",
        hint if isinstance(hint, str) else "",
        request_id if isinstance(request_id, str) else "",
    )


def _skew(answer: Answer) -> int:
    """Seconds between the broker's clock and ours, by the Date header; 0 where there is none."""
    import calendar  # noqa: PLC0415  for this one refusal only

    try:
        said = calendar.timegm(time.strptime("".join(answer.values("date")), "%a, %d %b %Y %H:%M:%S GMT"))
    except (ValueError, OverflowError):
        return 0
    return abs(int(time.time()) - said)


def _retry_after(answer: Answer) -> int:
    values = answer.values("retry-after")
    if len(values) == 1 and values[0].isascii() and values[0].isdigit():
        return max(1, min(int(values[0][:6]), _WAIT_MAX))
    return _WAIT_DEFAULT
