"""Whose ticket there is, and until when: asked of the ticket cache at every use, because a login ends and changes.

The caches of MIT Kerberos are all its library's affair (FILE, DIR, KEYRING, KCM). What the library does not look at is whose file
a cache is: /tmp is everybody's, and a file that somebody else put there would make their ticket ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_char_p, c_int32, c_uint, c_uint32, c_void_p
from typing import NamedTuple

from zerotrust_kerberos.failures import Failure

_LIBRARY = "libkrb5.so.3"
# Where logins by ssh and PAM put caches of their own: krb5cc_UID_RANDOM beside the default krb5cc_UID.
SHARED_FOLDER = "/tmp"  # noqa: S108  each file in it is looked at first
_CACHES_MAX = 64  # looked at there
# What another process of the same user can open.
_KINDS = ("FILE:", "DIR:", "KEYRING:", "KCM:", "/")
_NAME_MAX = 1024


class Login(NamedTuple):
    """Somebody's ticket.

    Attributes:
        principal: Whose.
        cache: The one of a collection that was meant.
        began: When they proved who they are, in seconds since the epoch (authtime, RFC 4120): a renewal keeps it, another login
            has another.
        ends: In seconds since the epoch.
    """

    principal: str
    cache: str
    began: int
    ends: int


class _Keyblock(ctypes.Structure):
    _fields_ = (("magic", c_int32), ("enctype", c_int32), ("length", c_uint), ("contents", c_void_p))


class _Credential(ctypes.Structure):
    """krb5_creds of krb5.h up to what is read of it; the rest is room."""

    _fields_ = (
        ("magic", c_int32),
        ("client", c_void_p),
        ("server", c_void_p),
        ("keyblock", _Keyblock),
        ("authtime", c_uint32),
        ("starttime", c_uint32),
        ("endtime", c_uint32),  # unsigned since krb5 1.16: past 2038
        ("rest", c_void_p * 32),
    )


class Logins:
    """The ticket caches of the user that this process runs as."""

    def __init__(self, spn: str, *, takes_any_file: bool, now: Callable[[], float]) -> None:
        """Load the library.

        Args:
            spn: The broker's: where somebody has several tickets, krb5.conf and .k5identity say which one is for it.
            takes_any_file: Whether a cache that is named may be anybody's file: where the one who names it is who runs us.
            now: Seconds since the epoch.
        """
        self._krb5 = _load()
        # Never by DNS, as a host-based name might.
        self._service = (spn if "/" in spn else spn.replace("@", "/", 1) + "@").encode("ascii")
        self._takes_any_file = takes_any_file
        self._now = now

    def current(self, named: str | None = None) -> Login:
        """The login that counts now: that of the cache ``named``, otherwise of the default one or else of /tmp.

        Raises:
            Failure: ``no_ticket``, also where it is not ours to trust, or ``ticket_expired``.
        """
        if named is not None and not (named.startswith(_KINDS) and named.isprintable() and len(named) <= _NAME_MAX):
            raise Failure("no_ticket", "this kind of ticket cache is for one process only")
        with self._context() as context:
            try:
                return self._unexpired(self._login(context, named))
            except Failure:
                found = None if named is not None else self._elsewhere(context)
                if found is None:
                    raise
                return found

    def _elsewhere(self, context: c_void_p) -> Login | None:
        """The login in /tmp that lasts longest."""
        found = []
        for path in _left_by_logins(os.geteuid()):
            with contextlib.suppress(Failure):
                found.append(self._unexpired(self._login(context, f"FILE:{path}")))
        return max(found, key=lambda login: login.ends, default=None)

    def _unexpired(self, login: Login) -> Login:
        if login.ends <= self._now():
            raise Failure("ticket_expired", login.cache)
        return login

    def _login(self, context: c_void_p, named: str | None) -> Login:
        # Of a context that knows another name from before, the default is asked anew.
        self._krb5.krb5_cc_set_default_name(context, named.encode() if named else None)
        name = (self._krb5.krb5_cc_default_name(context) or b"").decode("utf-8", "surrogateescape")
        if named is None or not self._takes_any_file:
            _require_own(name)
        with self._selected(context) as cache:
            principal = self._principal(context, cache)
            full = c_void_p()
            self._check(context, self._krb5.krb5_cc_get_full_name(context, cache, byref(full)))
            chosen = ctypes.string_at(full.value or 0).decode("utf-8", "surrogateescape")
            self._krb5.krb5_free_string(context, full)
            began, ends = self._times(context, cache)
            return Login(principal=principal, cache=chosen, began=began, ends=ends)

    @contextlib.contextmanager
    def _context(self) -> Iterator[c_void_p]:
        context = c_void_p()
        if self._krb5.krb5_init_context(byref(context)):
            raise Failure("kerberos_failed", "krb5.conf cannot be read")
        try:
            yield context
        finally:
            self._krb5.krb5_free_context(context)

    @contextlib.contextmanager
    def _selected(self, context: c_void_p) -> Iterator[c_void_p]:
        """The cache of the collection that GSS-API would choose for the broker."""
        cache, service, client = c_void_p(), c_void_p(), c_void_p()
        self._check(context, self._krb5.krb5_parse_name(context, self._service, byref(service)))
        status = self._krb5.krb5_cc_select(context, service, byref(cache), byref(client))
        self._krb5.krb5_free_principal(context, service)
        self._krb5.krb5_free_principal(context, client)
        if status or not cache.value:
            self._check(context, self._krb5.krb5_cc_default(context, byref(cache)))
        try:
            yield cache
        finally:
            self._krb5.krb5_cc_close(context, cache)

    def _principal(self, context: c_void_p, cache: c_void_p) -> str:
        principal, text = c_void_p(), c_void_p()
        self._check(context, self._krb5.krb5_cc_get_principal(context, cache, byref(principal)))
        status = self._krb5.krb5_unparse_name(context, principal, byref(text))
        self._krb5.krb5_free_principal(context, principal)
        self._check(context, status)
        name = ctypes.string_at(text.value or 0).decode("utf-8", "surrogateescape")
        self._krb5.krb5_free_unparsed_name(context, text)
        return name

    def _times(self, context: c_void_p, cache: c_void_p) -> tuple[int, int]:
        """When the login began, and the last end of a ticket there: none outlives the one that it was got with."""
        cursor, credential, began, ends = c_void_p(), _Credential(), 0, 0
        self._check(context, self._krb5.krb5_cc_start_seq_get(context, cache, byref(cursor)))
        while self._krb5.krb5_cc_next_cred(context, cache, byref(cursor), byref(credential)) == 0:
            began, ends = max(began, credential.authtime), max(ends, credential.endtime)
            self._krb5.krb5_free_cred_contents(context, byref(credential))
        self._krb5.krb5_cc_end_seq_get(context, cache, byref(cursor))
        return began, ends

    def _check(self, context: c_void_p, status: int) -> None:
        if status:
            message = self._krb5.krb5_get_error_message(context, status)
            raise Failure("no_ticket", ctypes.string_at(message or 0).decode("utf-8", "replace"))


def _require_own(name: str) -> None:
    """What of a cache lies in the file system is ours alone to write; no link leads there from what is not ours.

    Raises:
        Failure: ``no_ticket``.
    """
    kind, colon, rest = name.partition(":")
    if kind in {"KEYRING", "KCM"}:
        return  # the kernel and the daemon know whose it is
    # DIR:/folder is the collection, DIR::/folder/tkt one of it.
    path = rest.removeprefix(":") if colon and kind in {"FILE", "DIR"} else name
    if not path.startswith("/"):
        raise Failure("no_ticket", f"{name} is no ticket cache that an agent can read")
    if kind == "DIR" and rest.startswith(":"):
        _require_own_file(os.path.dirname(path))  # noqa: PTH120
    _require_own_file(path)


def _require_own_file(path: str) -> None:
    try:
        status = os.lstat(path)
    except OSError as error:
        raise Failure("no_ticket", f"{path}: {error.strerror}") from error
    if status.st_uid != os.geteuid():
        raise Failure("no_ticket", f"{path} belongs to somebody else")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)) or status.st_mode & 0o022:
        raise Failure("no_ticket", f"{path} is a link, or others may write to it")


def _left_by_logins(uid: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError), os.scandir(SHARED_FOLDER) as entries:
        for entry in entries:
            name = entry.name
            if name == f"krb5cc_{uid}" or name.startswith(f"krb5cc_{uid}_"):
                found.append(entry.path)
    return found[:_CACHES_MAX]


def _load() -> ctypes.CDLL:
    try:
        krb5 = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise Failure("kerberos_missing", str(error)) from error
    out, credential = POINTER(c_void_p), POINTER(_Credential)
    for name, arguments in {
        "krb5_init_context": (out,),
        "krb5_cc_set_default_name": (c_void_p, c_char_p),
        "krb5_cc_default": (c_void_p, out),
        "krb5_cc_select": (c_void_p, c_void_p, out, out),
        "krb5_cc_get_principal": (c_void_p, c_void_p, out),
        "krb5_cc_get_full_name": (c_void_p, c_void_p, out),
        "krb5_cc_start_seq_get": (c_void_p, c_void_p, out),
        "krb5_cc_next_cred": (c_void_p, c_void_p, out, credential),
        "krb5_cc_end_seq_get": (c_void_p, c_void_p, out),
        "krb5_cc_close": (c_void_p, c_void_p),
        "krb5_parse_name": (c_void_p, c_char_p, out),
        "krb5_unparse_name": (c_void_p, c_void_p, out),
    }.items():
        function = getattr(krb5, name)
        function.argtypes, function.restype = arguments, c_int32
    for name in ("krb5_free_context",):
        getattr(krb5, name).argtypes, getattr(krb5, name).restype = (c_void_p,), None
    for name in ("krb5_free_principal", "krb5_free_unparsed_name", "krb5_free_string"):
        getattr(krb5, name).argtypes, getattr(krb5, name).restype = (c_void_p, c_void_p), None
    krb5.krb5_free_cred_contents.argtypes, krb5.krb5_free_cred_contents.restype = (c_void_p, credential), None
    krb5.krb5_cc_default_name.argtypes, krb5.krb5_cc_default_name.restype = (c_void_p,), c_char_p
    krb5.krb5_get_error_message.argtypes, krb5.krb5_get_error_message.restype = (c_void_p, c_int32), c_void_p
    return krb5
