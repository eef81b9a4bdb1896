"""What is examined: one person's settings, tickets and variables, and what KDC and broker answered, each asked once."""

from __future__ import annotations

import functools
import threading

from broker import wire
from zerotrust_kerberos import __version__
from zerotrust_kerberos.answers import object_of
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.doctor import kdc
from zerotrust_kerberos.doctor.handshake import shake
from zerotrust_kerberos.doctor.krb5 import Krb5
from zerotrust_kerberos.exchange import Answer, connect, exchange
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.negotiate import Initiator
from zerotrust_kerberos.settings import TIMEOUT_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from zerotrust_kerberos.commands import Call
    from zerotrust_kerberos.doctor.handshake import Shown
    from zerotrust_kerberos.doctor.kdc import Told
    from zerotrust_kerberos.doctor.krb5 import Cache
    from zerotrust_kerberos.settings import Settings

    _T = TypeVar("_T")


class Patient:
    """One. Every question raises ``Failure`` where there is no answer, and gives the same answer the second time."""

    def __init__(self, call: Call, environ: Mapping[str, str], *, user: str, now: Callable[[], float]) -> None:
        self.call = call
        self.environ = environ
        self.user = user
        self.now = now
        self._answers: dict[str, tuple[object, Failure | None]] = {}

    @functools.cached_property
    def _patience(self) -> float:
        """Seconds for one thing."""
        try:
            return self.settings.timeout
        except Failure:
            return TIMEOUT_MAX

    @functools.cached_property
    def settings(self) -> Settings:
        """Where the broker is."""
        return self.call.settings()

    def default_realm(self) -> str:
        """Of krb5.conf."""

        def look() -> str:
            with Krb5() as krb5:
                return krb5.default_realm()

        return self._once("realm", look, late="kerberos_failed")

    def cache(self) -> Cache:
        """The tickets."""

        def look() -> Cache:
            with Krb5() as krb5:
                return krb5.cache()

        return self._once("cache", look, late="kerberos_failed")

    def principal(self) -> str:
        """Who the tickets are for, or who would be asked for by a bare ``kinit``."""
        try:
            return self.cache().principal
        except Failure:
            return f"{self.user}@{self.default_realm()}"

    def service_name(self, service: str, host: str) -> str:
        """What the library makes of a service's name."""

        def look() -> str:
            with Krb5() as krb5:
                return krb5.service_name(service, host)

        return self._once("service", look, late="kerberos_failed")

    def kdc(self) -> Told:
        """What the KDC of one's realm says."""

        def look() -> Told:
            with Krb5() as krb5:
                return kdc.told(krb5, self.principal(), now=self.now)

        return self._once("kdc", look, late="kdc_unreachable")

    def certificate(self) -> Shown:
        """What the broker shows over TLS."""
        return self._once("certificate", lambda: shake(self.settings), late="broker_timeout")

    def service_ticket(self) -> None:
        """That there is a ticket for the broker."""
        self._once("ticket", lambda: Initiator(self.settings.spn).first_token(), late="kdc_unreachable")

    def door(self) -> Answer:
        """What the broker says to who shows no ticket."""
        if self.settings.broker.scheme == "https":
            self.certificate()

        def look() -> Answer:
            authority = self.settings.broker.authority
            lines = [f"GET {wire.WHOAMI_PATH} HTTP/1.1", f"Host: {authority}", f"User-Agent: zerotrust/{__version__}"]
            request = "\r\n".join([*lines, f"Accept: {wire.JSON}", "Connection: close", "", ""])
            connection, _ = connect(self.settings)
            return exchange(connection, request.encode("ascii"))

        return self._once("door", look, late="broker_timeout")

    def whoami(self) -> dict[str, object]:
        """Who one is to the broker."""
        return self._asked(wire.WHOAMI_PATH)

    def explained(self, role: str) -> dict[str, object]:
        """What stands between one and a role."""
        return self._asked(f"{wire.EXPLAIN_PATH}/{role}")

    def _asked(self, path: str) -> dict[str, object]:
        def look() -> dict[str, object]:
            return object_of(ask(self.settings, self.call.watch, method="GET", path=path))

        return self._once(path, look, late=lambda: self.call.watch.waiting_for)

    def forget(self) -> None:
        """Something was changed: ask everything anew."""
        self._answers.clear()

    def timed(self, look: Callable[[], _T], *, late: str | Callable[[], str]) -> _T:
        """Do something, but not for ever: libkrb5 tries silent KDCs for half a minute, a resolver as long.

        Raises:
            Failure: Its own, or ``late``.
        """
        found: list[tuple[_T | None, Exception | None]] = []

        def work() -> None:
            try:
                found.append((look(), None))
            except Exception as error:  # noqa: BLE001  raised again below, in the thread that asked
                found.append((None, error))

        # It may sit in C code for longer than anybody waits; the process does not wait for it at its end.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self._patience)
        if not found:
            raise Failure(late if isinstance(late, str) else late(), f"no answer in {self._patience:g} s")
        [(value, error)] = found
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # without an error there is one

    def _once(self, what: str, look: Callable[[], _T], *, late: str | Callable[[], str]) -> _T:
        if what not in self._answers:
            try:
                self._answers[what] = (self.timed(look, late=late), None)
            except Failure as failure:
                self._answers[what] = (None, failure)
        value, error = self._answers[what]
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # as above
