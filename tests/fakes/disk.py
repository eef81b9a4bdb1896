"""A small real disk that can be filled, frozen, made read-only or broken while a program writes to it.

It is ext4 on a loop device, so every fault is the kernel's own: ENOSPC, EROFS after a file system error, EIO after a shutdown,
and a write that does not come back while the file system is frozen. Needs root. Mounts live in a mount namespace of
the test process and end with it, however it ends; in a chroot, whose mounts others share, they end with the context manager.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

SIZE = 4 << 20
FILLER = "filler"
_CLONE_NEWNS = 0x00020000  # linux/sched.h
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000  # linux/mount.h
_EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), fs/ext4/ext4.h
_WITH_LOG_FLUSH = 1  # What was durable stays so.


class Disk:
    """Use as a context manager; ``path`` is where it is mounted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self._image = folder / "disk.img"

    def __enter__(self) -> Self:
        _own_namespace()
        self.path.mkdir(mode=0o750)
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,root_owner=0:0", str(self._image))
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unmount()

    def fill(self) -> None:
        """Until not one byte more fits."""
        with (self.path / FILLER).open("ab", buffering=0) as filler:
            for size in (1 << 16, 1 << 10, 1):
                with contextlib.suppress(OSError):
                    while filler.write(b"x" * size):
                        pass
            os.fsync(filler.fileno())

    def empty(self) -> None:
        (self.path / FILLER).unlink()

    def remount(self, option: str) -> None:
        """``ro`` or ``rw``; the kernel refuses ``ro`` while a file is open for writing."""
        _run("mount", "-o", f"remount,{option}", str(self.path))

    def go_read_only(self) -> None:
        """As after an error in the file system, with files open (mount option ``errors=remount-ro``)."""
        device = Path(_run("findmnt", "--noheadings", "--output", "SOURCE", str(self.path)).strip()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")

    def go_away(self) -> None:
        """Every access fails with EIO from now on, as if the cable were pulled."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _WITH_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def repair(self) -> None:
        """What an administrator does after either: what is left goes to a new disk, checked, and mounted in the same place.

        The broker still has its file on the old one open, and the kernel keeps that one as broken as it is.
        """
        self.unmount()
        self._image = Path(shutil.copy(self._image, self._image.with_suffix(".new")))
        # e2fsck: 0 nothing to do, 1 repaired.
        done = subprocess.run(["/sbin/e2fsck", "-fy", str(self._image)], capture_output=True, check=False)
        assert done.returncode in {0, 1}, done.stdout
        self.mount()

    def unmount(self) -> None:
        """What lies in the folder below is there from now on; who has a file open keeps it."""
        _run("umount", "--lazy", str(self.path))

    def mount(self) -> None:
        """In its place again."""
        self._mount("rw")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Writes wait until the end of the block; a child of ours ends the frost even if we are killed."""
        script = 'fsfreeze --freeze "$1" && echo frozen; read -r _; fsfreeze --unfreeze "$1"'
        with subprocess.Popen(
            ["sh", "-c", script, "sh", str(self.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                assert child.stdout.readline() == "frozen\n"
                yield
            finally:
                child.stdin.close()
                child.wait()

    def _mount(self, option: str) -> None:
        _run("mount", "-o", f"loop,{option},errors=remount-ro", str(self._image), str(self.path))


@functools.cache
def _own_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        hint = "; these tests mount a disk: run them as root" if number == errno.EPERM else ""
        raise OSError(number, os.strerror(number) + hint)
    # EINVAL: / is no mount point but the folder of a chroot. What holds it is out of reach, so its mounts stay shared: they are
    # seen outside too, and `umount` ends them there as well.
    if libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) != 0 and ctypes.get_errno() != errno.EINVAL:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "/")


def _run(*command: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
