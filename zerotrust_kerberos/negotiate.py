"""The initiator's side of ``Authorization: Negotiate`` (RFC 4559): one token out, one token back, both ends proven.

It calls the system's GSS-API library (RFC 2744) by ``_ctypes``: importing the ``gssapi`` package costs the helper three times
what everything else in it costs together, and needs a compiler on every machine; ``ctypes`` takes 2 ms to define a hundred
things of which these few are needed. Four functions are used, each declared below with the types of RFC 2744, section 5.
Delegation is never asked for.
"""

from __future__ import annotations

import _ctypes
from _ctypes import addressof, byref

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIBRARY = "libgssapi_krb5.so.2"

_COMPLETE = 0
_CONTINUE_NEEDED = 1
_MUTUAL = 2
_GSS_CODE, _MECH_CODE = 1, 2
_ROUTINE_ERROR = 0x00FF0000

# Object identifiers, DER without tag and length.
_SPNEGO = bytes.fromhex("2b0601050502")  # 1.3.6.1.5.5.2, RFC 4178
_KRB5 = bytes.fromhex("2a864886f712010202")  # 1.2.840.113554.1.2.2, RFC 4121
_HOST_BASED = bytes.fromhex("2a864886f71201020104")  # RFC 2744, section 4.1
_PRINCIPAL = bytes.fromhex("2a864886f71201020201")  # RFC 1964, section 2.1.1

# Minor codes of the Kerberos mechanism: the error table krb5 of MIT Kerberos, counted from its base, as uint32.
_KRB5_BASE = -1765328384
_CODES = {
    (_KRB5_BASE + offset) & 0xFFFFFFFF: code
    for offset, code in {
        7: "service_unknown",  # KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN
        11: "ticket_expired",  # KRB5KDC_ERR_NEVER_VALID: what is left of the ticket's life rounds to nothing
        32: "ticket_expired",  # KRB5KRB_AP_ERR_TKT_EXPIRED
        33: "clock_skew",  # KRB5KRB_AP_ERR_TKT_NYV
        37: "clock_skew",  # KRB5KRB_AP_ERR_SKEW
        141: "no_ticket",  # KRB5_CC_NOTFOUND
        142: "no_ticket",  # KRB5_CC_END
        154: "kdc_unreachable",  # KRB5_REALM_UNKNOWN: krb5.conf and DNS name no KDC
        156: "kdc_unreachable",  # KRB5_KDC_UNREACH
        195: "no_ticket",  # KRB5_FCC_NOFILE
        220: "kdc_unreachable",  # KRB5_REALM_CANT_RESOLVE
    }.items()
}


def _type(letter: str) -> Any:
    """A C type by its letter in the module ``struct``."""
    return type(letter, (_ctypes._SimpleCData,), {"_type_": letter})  # noqa: SLF001  ctypes has no other


# OM_uint32 and int. An unsigned long is as wide as size_t and as a pointer wherever Linux runs.
_Uint32, _Int, _Size, _Pointer, _Char = map(_type, "IiLPc")


class _Function(_ctypes.CFuncPtr):
    """A function of the library. The interpreter's lock is let go while it works, or the watch could not end the process."""

    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = _Uint32


class _Oid(_ctypes.Structure):
    _fields_ = (("length", _Uint32), ("elements", _Pointer))


class _Buffer(_ctypes.Structure):
    _fields_ = (("length", _Size), ("value", _Pointer))


class _Bindings(_ctypes.Structure):
    """gss_channel_bindings_struct, RFC 2744, section 3.11. The addresses stay GSS_C_AF_UNSPEC and empty (RFC 5554, section 2)."""

    _fields_ = (
        ("initiator_addrtype", _Uint32),
        ("initiator_address", _Buffer),
        ("acceptor_addrtype", _Uint32),
        ("acceptor_address", _Buffer),
        ("application_data", _Buffer),
    )


class Initiator:
    """One exchange with one service. Not for reuse, not for two threads.

    Args:
        spn: ``HTTP@host`` (host-based) or ``HTTP/host@REALM`` (a principal).
    """

    def __init__(self, spn: str) -> None:
        self._gss = _load()
        self._context = _Pointer()
        self._flags = _Uint32()
        self._name = self._import_name(spn)
        self._bindings = b""

    def first_token(self, bindings: bytes = b"") -> bytes:
        """The token for the request. Asks the KDC where the ccache holds no ticket for the service.

        Args:
            bindings: What the channel below is known by; empty for a channel without a name of its own.

        Raises:
            Failure: Of the Kerberos kind.
        """
        self._bindings = bindings
        major, _, token = self._step(_SPNEGO, b"")
        if major != _CONTINUE_NEEDED or not token:
            raise self._reason()
        return token

    def verify(self, token: bytes) -> None:
        """Check the service's answer. Returning is the proof; there is no flag to forget.

        Raises:
            Failure: ``mutual_auth_failed``.
        """
        if not token:
            raise Failure("mutual_auth_failed", "no token")
        major, minor, answer = self._step(_SPNEGO, token)
        if major != _COMPLETE:
            raise Failure("mutual_auth_failed", self._text(major, minor, _SPNEGO))
        if answer or not self._flags.value & _MUTUAL:
            raise Failure("mutual_auth_failed", "the exchange is not complete")

    def _step(self, mech: bytes, token: bytes) -> tuple[int, int, bytes]:
        """``gss_init_sec_context``: major status, minor status, output token."""
        minor, out = _Uint32(), _Buffer()
        oid, given, named = _held(_Oid, mech), _held(_Buffer, token), _held(_Buffer, self._bindings)
        bindings = _Bindings(application_data=named)
        major = self._gss.gss_init_sec_context(
            byref(minor),
            None,  # the default credential: the caller's ccache
            byref(self._context),
            self._name,
            byref(oid),
            _MUTUAL,
            0,  # the default lifetime
            byref(bindings) if self._bindings else None,
            byref(given) if token else None,
            None,
            byref(out),
            byref(self._flags),
            None,
        )
        return major, minor.value, self._take(out)

    def _reason(self) -> Failure:
        """Why there was no token. SPNEGO renumbers the codes of the mechanism below it, so that one is asked by itself."""
        self._context = _Pointer()
        major, minor, _ = self._step(_KRB5, b"")
        error = major & _ROUTINE_ERROR
        code = _CODES.get(minor) or _MAJORS.get(error) or "kerberos_failed"
        return Failure(code, self._text(major, minor, _KRB5) if error else "SPNEGO is not available")

    def _import_name(self, spn: str) -> Any:
        minor, name = _Uint32(), _Pointer()
        given, kind = _held(_Buffer, spn.encode("ascii")), _held(_Oid, _PRINCIPAL if "/" in spn else _HOST_BASED)
        major = self._gss.gss_import_name(byref(minor), byref(given), byref(kind), byref(name))
        if major != _COMPLETE:
            raise Failure("kerberos_failed", self._text(major, minor.value, _KRB5))
        return name

    def _text(self, major: int, minor: int, mech: bytes) -> str:
        """The library's own words; those of the mechanism where it has any."""
        special = self._display(minor, _MECH_CODE, mech) if minor else ""
        return special if special not in {"", "Unknown error"} else self._display(major, _GSS_CODE, mech)

    def _display(self, status: int, kind: int, mech: bytes) -> str:
        spare, more, oid, out = _Uint32(), _Uint32(), _held(_Oid, mech), _Buffer()
        self._gss.gss_display_status(byref(spare), status, kind, byref(oid), byref(more), byref(out))
        return self._take(out).decode("utf-8", "replace")

    def _take(self, buffer: _Buffer) -> bytes:
        if not buffer.value:
            return b""
        copy = bytes((_Char * buffer.length).from_address(buffer.value))
        self._gss.gss_release_buffer(byref(_Uint32()), byref(buffer))
        return copy


# What the mechanism-independent status says where the minor code is none of the above.
_MAJORS = {7 << 16: "no_ticket", 11 << 16: "ticket_expired"}  # GSS_S_NO_CRED, GSS_S_CREDENTIALS_EXPIRED


def _held(kind: type[Any], content: bytes) -> Any:
    """A length and a pointer to a copy of the content, which lives as long as they do."""
    copy = (_Char * len(content)).from_buffer_copy(content)
    made = kind(len(content), addressof(copy))
    made.copy = copy
    return made


class _Library:
    """The four functions."""

    def __init__(self) -> None:
        handle, buffer = _ctypes.dlopen(_LIBRARY, 0), _Pointer

        def function(name: str, *takes: type[Any]) -> Any:
            found = _Function(_ctypes.dlsym(handle, name))
            found.argtypes = takes
            return found

        # Whatever is behind a pointer is given by byref(), and each pointer is declared as nothing more.
        self.gss_init_sec_context = function(
            "gss_init_sec_context",
            *(_Pointer, _Pointer, _Pointer, _Pointer, _Pointer, _Uint32, _Uint32, _Pointer),
            *(buffer, _Pointer, buffer, _Pointer, _Pointer),
        )
        self.gss_import_name = function("gss_import_name", _Pointer, buffer, _Pointer, _Pointer)
        self.gss_display_status = function("gss_display_status", _Pointer, _Uint32, _Int, _Pointer, _Pointer, buffer)
        self.gss_release_buffer = function("gss_release_buffer", _Pointer, buffer)


def _load() -> _Library:
    try:
        return _Library()
    except OSError as error:
        raise Failure("kerberos_missing", str(error)) from error
