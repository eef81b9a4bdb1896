"""Memory that is not swapped, not dumped and not left behind, for the few octets on which others hang; standard library only.

One page holds a key of this process. Whatever has to last is sealed with it while nobody uses it (``AtRest``), so that a dump, a
swapped page or a freed block holds nothing without that page, and forgetting is overwriting some octets in place. What comes out
for use is an ordinary ``str`` or ``bytes`` again, which CPython copies and frees as it likes: docs/memory.md says what remains.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os

# memfd_secret(2), the same number on x86-64 and arm64: pages that the kernel itself does not map, nor shows to root by
# /proc/PID/mem or ptrace. Locked and left out of core files by their kind.
_MEMFD_SECRET = 447
_O_CLOEXEC = os.O_CLOEXEC
# madvise(2).
_DONTDUMP, _WIPEONFORK = 16, 18
_KEY_BYTES = 32
_NONCE_BYTES = 16


class Wiped(Exception):
    """The value is not there any more, or not in this process."""


class Locked:
    """Octets in pages of their own. ``kind``: what became of them.

    ``secret``: memfd_secret. ``locked``: mlock, out of core files, empty in a forked child. ``plain``: neither was to be had, for
    the limit on locked memory is used up; they are out of core files all the same.
    """

    def __init__(self, size: int) -> None:
        """``size`` octets, all zero."""
        self.size = size
        self._pages, self.kind = _secret_pages(size) or _locked_pages(size)
        self._owner = os.getpid()

    def fill(self) -> None:
        """Random, straight from the kernel: no copy of it is anywhere else."""
        source = os.open("/dev/urandom", os.O_RDONLY | _O_CLOEXEC)
        try:
            if os.readv(source, [memoryview(self._pages)[: self.size]]) != self.size:
                raise OSError("the kernel gives no random octets")
        finally:
            os.close(source)

    def view(self) -> memoryview:
        """The octets themselves, not a copy; to be released at once.

        Raises:
            Wiped: They are gone, or were made by a process that forked into this one.
        """
        if self._pages.closed or self._owner != os.getpid():
            raise Wiped("this was wiped, or belongs to the process that forked")
        return memoryview(self._pages)[: self.size]

    def close(self) -> None:
        """Overwrite and let go; once is enough. In a forked child nothing happens: the octets are its parent's."""
        if not self._pages.closed and self._owner == os.getpid():
            self._pages[:] = bytes(len(self._pages))
            self._pages.close()


class AtRest:
    """A value, sealed while nobody uses it. Shows in no repr and cannot be pickled."""

    __slots__ = ("_nonce", "_owner", "_sealed")

    def __init__(self, value: bytes) -> None:
        self._owner = os.getpid()
        self._nonce = os.urandom(_NONCE_BYTES)
        self._sealed = bytearray(_mixed(value, self._nonce))

    def open(self) -> bytes:
        """The value, to be used at once.

        Raises:
            Wiped: It is gone, or was made by a process that forked into this one.
        """
        if not self._nonce or self._owner != os.getpid():
            raise Wiped("this was wiped, or belongs to the process that forked")
        return _mixed(self._sealed, self._nonce)

    def wipe(self) -> None:
        """Overwrite it; once is enough."""
        self._sealed[:] = bytes(len(self._sealed))
        self._nonce = b""

    def __repr__(self) -> str:
        return "AtRest(***)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("what is kept in memory cannot be pickled")


_process_key: Locked | None = None


def process_key() -> Locked:
    """The key of this process, made when first needed; a forked child gets one of its own."""
    global _process_key  # noqa: PLW0603  # there is one process
    if _process_key is None or _process_key._owner != os.getpid():  # noqa: SLF001
        made = Locked(_KEY_BYTES)
        made.fill()
        _process_key = made
    return _process_key


def _mixed(value: bytes | bytearray, nonce: bytes) -> bytes:
    """Exclusive or with a stream that only the process key gives, another for each nonce.

    SHAKE256 of a secret and a nonce is as good as random (FIPS 202). Nothing authenticates it: whoever can alter our memory needs
    no forged ciphertext.
    """
    stream = hashlib.shake_256()
    with process_key().view() as key:
        stream.update(key)
    stream.update(nonce)
    size = len(value)
    mixed = int.from_bytes(stream.digest(size), "little") ^ int.from_bytes(value, "little")
    return mixed.to_bytes(size, "little")


def _secret_pages(size: int) -> tuple[mmap.mmap, str] | None:
    descriptor = _libc().syscall(_MEMFD_SECRET, _O_CLOEXEC)
    if descriptor < 0:
        return None
    try:
        os.ftruncate(descriptor, size)
        # Shared is the only kind there is; a forked child sees it, and is refused by ``view``.
        return mmap.mmap(descriptor, size), "secret"
    except (OSError, ValueError):
        return None  # beyond the limit on locked memory
    finally:
        os.close(descriptor)


def _locked_pages(size: int) -> tuple[mmap.mmap, str]:
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice in (_DONTDUMP, _WIPEONFORK):
        pages.madvise(advice)
    first = ctypes.c_char.from_buffer(pages)
    is_locked = _libc().mlock(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size)) == 0
    return pages, "locked" if is_locked else "plain"


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
