"""What MIT's library knows, by ctypes as in ``negotiate``: the ticket cache, names of services, and a KDC's own words.

The declarations are those of ``krb5.h``. The cache is read through the library because only it can: FILE, DIR, KEYRING and KCM
look nothing alike on disk.
"""

from __future__ import annotations

import contextlib
import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_uint, c_uint32, c_void_p
from dataclasses import dataclass

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

_LIBRARY = "libkrb5.so.3"
_HOST_BASED = 3  # KRB5_NT_SRV_HST
_RENEWABLE = 0x00800000  # TKT_FLG_RENEWABLE
_NAME_BYTES = 64


class _Data(ctypes.Structure):
    _fields_ = (("magic", c_int32), ("length", c_uint), ("data", c_void_p))


class _Key(ctypes.Structure):
    _fields_ = (("magic", c_int32), ("enctype", c_int32), ("length", c_uint), ("contents", c_void_p))


class _Times(ctypes.Structure):
    # Unsigned: the library itself reads them so, until 2106.
    _fields_ = (("auth", c_uint32), ("start", c_uint32), ("end", c_uint32), ("renew_till", c_uint32))


class _Creds(ctypes.Structure):
    _fields_ = (
        ("magic", c_int32),
        ("client", c_void_p),
        ("server", c_void_p),
        ("key", _Key),
        ("times", _Times),
        ("is_skey", c_uint),
        ("flags", c_int32),
        ("addresses", c_void_p),
        ("ticket", _Data),
        ("second_ticket", _Data),
        ("authdata", c_void_p),
    )


class _Trace(ctypes.Structure):
    _fields_ = (("message", c_char_p),)


_TRACED = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Trace), c_void_p)
_RECEIVED = ctypes.CFUNCTYPE(
    c_int32, c_void_p, c_void_p, c_int32, POINTER(_Data), POINTER(_Data), POINTER(_Data), POINTER(c_void_p)
)


@dataclass(frozen=True)
class Ticket:
    """A ticket of the cache.

    Attributes:
        server: Whom it is for.
        start: Unix time.
        end: Unix time.
        renew_till: Unix time, 0 where it cannot be renewed.
        enctype: Of its session key.
    """

    server: str
    start: int
    end: int
    renew_till: int
    enctype: str


@dataclass(frozen=True)
class Cache:
    """The default ticket cache: its name, whose it is, and what is in it."""

    name: str
    principal: str
    tickets: list[Ticket]


@dataclass(frozen=True)
class Asked:
    """What came of asking for a first ticket without a password.

    Attributes:
        replies: What KDCs sent, as it came.
        addresses: Which of them were asked, in order: ``127.0.0.1:88 (UDP)``.
        error: The library's words at the end.
    """

    replies: list[bytes]
    addresses: list[str]
    error: str


class Krb5:
    """One context of the library, and so one reading of krb5.conf. ``with Krb5() as krb5:``."""

    def __init__(self) -> None:
        """Read krb5.conf.

        Raises:
            Failure: ``kerberos_missing``, or ``kerberos_failed`` where krb5.conf cannot be read.
        """
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise Failure("kerberos_missing", str(error)) from error
        self._declare()
        self._context = c_void_p()
        code = self._library.krb5_init_context(byref(self._context))
        if code:
            raise Failure("kerberos_failed", self._words(code))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.krb5_free_context(self._context)

    def default_realm(self) -> str:
        """Of krb5.conf.

        Raises:
            Failure: ``kerberos_failed``: there is none.
        """
        name = c_char_p()
        self._call("krb5_get_default_realm", byref(name))
        try:
            return (name.value or b"").decode()
        finally:
            self._library.krb5_free_default_realm(self._context, name)

    def service_name(self, service: str, host: str) -> str:
        """What the library makes of a host-based name: after DNS, where krb5.conf says so. The realm may be empty.

        Raises:
            Failure: ``kerberos_failed``.
        """
        with self._principal("krb5_sname_to_principal", host.encode(), service.encode(), _HOST_BASED) as name:
            return self._unparsed(name)

    def cache(self) -> Cache:
        """The default cache.

        Raises:
            Failure: ``no_ticket``.
        """
        cache = c_void_p()
        self._call("krb5_cc_default", byref(cache), code="no_ticket")
        try:
            full = c_char_p()
            self._call("krb5_cc_get_full_name", cache, byref(full))
            name = (full.value or b"").decode("utf-8", "replace")
            self._library.krb5_free_string(self._context, full)
            with self._principal_of(cache) as principal:
                return Cache(name=name, principal=self._unparsed(principal), tickets=list(self._tickets(cache)))
        finally:
            self._library.krb5_cc_close(self._context, cache)

    def ask_kdc(self, principal: str) -> Asked:
        """Ask the KDC of somebody's realm for a first ticket, without a password: it answers, and counts no failed login.

        Raises:
            Failure: ``kerberos_failed``: this is no principal.
        """
        replies: list[bytes] = []
        addresses: list[str] = []

        def traced(_context: object, info: Any, _data: object) -> None:
            # A null pointer says that tracing ends.
            if info:
                _note(addresses, (info.contents.message or b"").decode("utf-8", "replace"))

        def received(_c: object, _d: object, code: int, _r: object, _m: object, reply: Any, _new: object) -> int:
            if not code and reply:
                found = reply.contents
                replies.append(ctypes.string_at(found.data, found.length))
            return code

        on_trace, on_reply = _TRACED(traced), _RECEIVED(received)
        self._library.krb5_set_trace_callback(self._context, on_trace, None)
        self._library.krb5_set_kdc_recv_hook(self._context, on_reply, None)
        credentials = _Creds()
        try:
            with self._principal("krb5_parse_name", principal.encode()) as client:
                code = self._library.krb5_get_init_creds_password(
                    self._context, byref(credentials), client, None, None, None, 0, None, None
                )
        finally:
            self._library.krb5_set_kdc_recv_hook(self._context, _RECEIVED(), None)
            self._library.krb5_set_trace_callback(self._context, _TRACED(), None)
        return Asked(replies=replies, addresses=addresses, error=self._words(code))

    # ---- inside ----

    def _tickets(self, cache: c_void_p) -> Iterator[Ticket]:
        cursor, found = c_void_p(), _Creds()
        if self._library.krb5_cc_start_seq_get(self._context, cache, byref(cursor)):
            return
        while not self._library.krb5_cc_next_cred(self._context, cache, byref(cursor), byref(found)):
            yield Ticket(
                server=self._unparsed(c_void_p(found.server)),
                start=found.times.start or found.times.auth,
                end=found.times.end,
                renew_till=found.times.renew_till if found.flags & _RENEWABLE else 0,
                enctype=self._enctype(found.key.enctype),
            )
            self._library.krb5_free_cred_contents(self._context, byref(found))
        self._library.krb5_cc_end_seq_get(self._context, cache, byref(cursor))

    def _enctype(self, number: int) -> str:
        text = ctypes.create_string_buffer(_NAME_BYTES)
        if self._library.krb5_enctype_to_name(number, 0, text, _NAME_BYTES):
            return str(number)
        return text.value.decode()

    @contextlib.contextmanager
    def _principal(self, function: str, *arguments: object) -> Iterator[c_void_p]:
        name = c_void_p()
        self._call(function, *arguments, byref(name))
        try:
            yield name
        finally:
            self._library.krb5_free_principal(self._context, name)

    @contextlib.contextmanager
    def _principal_of(self, cache: c_void_p) -> Iterator[c_void_p]:
        name = c_void_p()
        self._call("krb5_cc_get_principal", cache, byref(name), code="no_ticket")
        try:
            yield name
        finally:
            self._library.krb5_free_principal(self._context, name)

    def _unparsed(self, principal: c_void_p) -> str:
        text = c_char_p()
        self._call("krb5_unparse_name", principal, byref(text))
        try:
            return (text.value or b"").decode("utf-8", "replace")
        finally:
            self._library.krb5_free_unparsed_name(self._context, text)

    def _call(self, function: str, *arguments: object, code: str = "kerberos_failed") -> None:
        status = getattr(self._library, function)(self._context, *arguments)
        if status:
            raise Failure(code, self._words(status))

    def _words(self, status: int) -> str:
        text = self._library.krb5_get_error_message(self._context, status)
        try:
            return (ctypes.string_at(text) if text else b"").decode("utf-8", "replace")
        finally:
            self._library.krb5_free_error_message(self._context, text)

    def _declare(self) -> None:
        library, context, out = self._library, c_void_p, POINTER(c_void_p)
        texts = POINTER(c_char_p)
        library.krb5_init_context.argtypes = (out,)
        library.krb5_free_context.argtypes = (context,)
        library.krb5_get_default_realm.argtypes = (context, texts)
        library.krb5_free_default_realm.argtypes = (context, c_char_p)
        library.krb5_sname_to_principal.argtypes = (context, c_char_p, c_char_p, c_int32, out)
        library.krb5_parse_name.argtypes = (context, c_char_p, out)
        library.krb5_unparse_name.argtypes = (context, c_void_p, texts)
        library.krb5_free_unparsed_name.argtypes = (context, c_char_p)
        library.krb5_free_principal.argtypes = (context, c_void_p)
        library.krb5_cc_default.argtypes = (context, out)
        library.krb5_cc_close.argtypes = (context, c_void_p)
        library.krb5_cc_get_full_name.argtypes = (context, c_void_p, texts)
        library.krb5_free_string.argtypes = (context, c_char_p)
        library.krb5_cc_get_principal.argtypes = (context, c_void_p, out)
        library.krb5_cc_start_seq_get.argtypes = (context, c_void_p, out)
        library.krb5_cc_next_cred.argtypes = (context, c_void_p, out, POINTER(_Creds))
        library.krb5_cc_end_seq_get.argtypes = (context, c_void_p, out)
        library.krb5_free_cred_contents.argtypes = (context, POINTER(_Creds))
        library.krb5_enctype_to_name.argtypes = (c_int32, c_int, c_char_p, ctypes.c_size_t)
        library.krb5_get_error_message.argtypes = (context, c_int32)
        library.krb5_get_error_message.restype = c_void_p
        library.krb5_free_error_message.argtypes = (context, c_void_p)
        library.krb5_set_trace_callback.argtypes = (context, _TRACED, c_void_p)
        library.krb5_set_kdc_recv_hook.argtypes = (context, _RECEIVED, c_void_p)
        library.krb5_get_init_creds_password.argtypes = (
            *(context, POINTER(_Creds), c_void_p, c_char_p, c_void_p, c_void_p),
            *(c_int32, c_char_p, c_void_p),
        )


def _note(addresses: list[str], said: str) -> None:
    """``Sending initial UDP request to dgram 10.1.1.1:88``, ``Initiating TCP connection to stream 10.1.1.1:88``: whom it asks."""
    words = said.split()
    for kind, protocol in (("dgram", "UDP"), ("stream", "TCP")):
        if kind in words[:-1] and {"Sending", "Initiating"} & set(words):
            address = f"{words[words.index(kind) + 1]} ({protocol})"
            if address not in addresses:
                addresses.append(address)
