"""The ticket that somebody holds, as ``klist`` of MIT Kerberos tells it: whose it is, until when, by which proof it was got."""

from __future__ import annotations

import os
import subprocess
import time

from zerotrust_kerberos.failures import Failure

# What MIT's library writes down beside a ticket: the kind of pre-authentication (RFC 4120, section 7.5.2; RFC 4556; RFC 6560).
PASSWORD, CERTIFICATE, CODE = "password", "certificate", "one-time password"
_PROOFS = {"2": PASSWORD, "138": PASSWORD, "151": PASSWORD, "16": CERTIFICATE, "17": CERTIFICATE, "141": CODE}

_CACHE, _PRINCIPAL, _PROOF = "Ticket cache: ", "Default principal: ", "config: pa_type("
_TIME = "%m/%d/%y %H:%M:%S"  # in the locale C
_WORDS = 5  # two times of two words each, and the service


class Ticket:
    """A ticket-granting ticket.

    Attributes:
        principal: ``alice@EXAMPLE.COM``.
        cache: Where it is: ``FILE:/tmp/krb5cc_1000``.
        ends: Unix time; 0 where it cannot be told.
        proof: ``PASSWORD``, ``CERTIFICATE`` or ``CODE``; empty where it cannot be told.
    """

    __slots__ = ("cache", "ends", "principal", "proof")

    def __init__(self, principal: str, *, cache: str, ends: int, proof: str) -> None:
        self.principal = principal
        self.cache = cache
        self.ends = ends
        self.proof = proof

    @property
    def realm(self) -> str:
        """``EXAMPLE.COM``."""
        return self.principal.rpartition("@")[2]


def held() -> Ticket | None:
    """The one in the default cache, unless it has ended.

    Raises:
        Failure: ``kerberos_missing``.
    """
    if run(["klist", "-s"]).returncode != 0:
        return None
    return read(run(["klist", "-C"]).stdout)


def read(listed: str) -> Ticket | None:
    """What ``klist -C`` prints in the locale C; None where no principal is in it."""
    lines = listed.splitlines()
    cache, principal = (_behind(lines, start) for start in (_CACHE, _PRINCIPAL))
    realm = principal.rpartition("@")[2]
    service, ends = f"krbtgt/{realm}@{realm}", 0
    for line in lines:
        words = line.split()
        if len(words) == _WORDS and words[4] == service:
            ends = _moment(f"{words[2]} {words[3]}")
    proof = _PROOFS.get(_behind(lines, f"{_PROOF}{service}) = "), "")
    return Ticket(principal, cache=cache, ends=ends, proof=proof) if principal else None


def _behind(lines: list[str], start: str) -> str:
    return next((line.removeprefix(start) for line in lines if line.startswith(start)), "")


def first_of(keytab: str) -> str:
    """The first principal of a keytab.

    Raises:
        Failure: ``configuration``, or ``kerberos_missing``.
    """
    done = run(["klist", "-k", keytab])
    names = [words[1] for line in done.stdout.splitlines() if len(words := line.split()) > 1 and "@" in words[1]]
    if not names:
        raise Failure("configuration", f"{keytab} holds no key to be read", fix=f"klist -k {keytab}")
    return names[0]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run one of Kerberos's programs, in English, and keep what it says.

    Raises:
        Failure: ``kerberos_missing``.
    """
    try:
        return subprocess.run(  # noqa: S603
            command,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise Failure("kerberos_missing", f"{command[0]}: {error.strerror}") from error


def _moment(text: str) -> int:
    try:
        return int(time.mktime(time.strptime(text, _TIME)))
    except ValueError:
        return 0
