"""What python-gssapi leaves out of libkrb5: a keytab that no file holds, and a context that is kept.

GSS-API makes a krb5 context for every ticket and lets it go. As long as another one is there they share what it read of krb5.conf
(which is looked at once a second, and read again when it changed); and a MEMORY keytab is not opened, locked and read for each.
Together these are 28 of the 70 system calls that a ticket costs.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_numbers = itertools.count(1)
# A context is one thread's at a time.
_lock = threading.Lock()
# A krb5_keytab_entry (krb5.h) takes 48 bytes; nobody looks inside.
_ENTRY_BYTES = 256
_END = -1765328202  # KRB5_KT_END


class Krb5Error(RuntimeError):
    """libkrb5 refused; the text is its own."""


class _Krb5:
    """The library, and the one context that is kept."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libkrb5.so.3")
        self._library.krb5_get_error_message.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p()
        self.call("krb5_init_context", ctypes.byref(self.context), with_context=False)

    def call(self, name: str, *arguments: object, with_context: bool = True, but: int = 0) -> int:
        """What a function answers: 0, or ``but``. Raises ``Krb5Error``."""
        function: Callable[..., int] = getattr(self._library, name)
        code = function(self.context, *arguments) if with_context else function(*arguments)
        if code not in (0, but):
            raise Krb5Error(f"{name}: {self._words(code)}")
        return code

    def free(self, name: str, *arguments: object) -> None:
        """Call what gives something back and answers nothing."""
        getattr(self._library, name)(self.context, *arguments)

    def _words(self, code: int) -> str:
        said = self._library.krb5_get_error_message(self.context, code)
        try:
            return ctypes.string_at(said).decode("utf-8", "replace")
        finally:
            self.free("krb5_free_error_message", ctypes.c_void_p(said))


_library: list[_Krb5] = []


class MemoryKeytab:
    """Keys in this process alone. They are wiped when nobody holds them any more, credentials made with them included.

    Attributes:
        name: What GSS-API opens.
        number: Of the keys that libkrb5 found.
    """

    def __init__(self, content: bytes) -> None:
        """Take what a keytab file would hold.

        Raises:
            Krb5Error: It cannot be read.
        """
        self.name = f"MEMORY:zerotrust-{next(_numbers)}"
        with _lock:
            if not _library:
                _library.append(_Krb5())
            self._krb5 = _library[0]
            self._handle, self.number = self._resolved(self.name), 0
            for entry in self._entries(content):
                self._krb5.call("krb5_kt_add_entry", self._handle, entry)
                self.number += 1

    def close(self) -> None:
        """Let go of it."""
        with _lock:
            self._krb5.call("krb5_kt_close", self._handle)

    def _resolved(self, name: str) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self._krb5.call("krb5_kt_resolve", name.encode(), ctypes.byref(handle))
        return handle

    def _entries(self, content: bytes) -> Iterator[ctypes.Array[ctypes.c_char]]:
        """As the library reads them, so that nobody else takes its format apart; each is good until the next."""
        with _file_of(content) as path:
            file, cursor = self._resolved(f"FILE:{path}"), ctypes.c_void_p()
            try:
                self._krb5.call("krb5_kt_start_seq_get", file, ctypes.byref(cursor))
                entry = ctypes.create_string_buffer(_ENTRY_BYTES)
                while self._krb5.call("krb5_kt_next_entry", file, entry, ctypes.byref(cursor), but=_END) != _END:
                    yield entry
                    self._krb5.free("krb5_free_keytab_entry_contents", entry)
                self._krb5.call("krb5_kt_end_seq_get", file, ctypes.byref(cursor))
            finally:
                self._krb5.call("krb5_kt_close", file)


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """A file that is on no disk, for as long as it is read."""
    descriptor = os.memfd_create("zerotrust-keytab", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
