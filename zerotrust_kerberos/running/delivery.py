"""Where secrets go on this side: into files that lie in memory, and past a pipeline's log.

A file appears whole under its name or not at all, is its owner's alone to read (0400), and lies on a tmpfs, which is asked of
the kernel (statfs(2)) and of nobody's configuration. A tmpfs can be swapped out; swap belongs encrypted, or off.
"""

from __future__ import annotations

import os

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# statfs(2): TMPFS_MAGIC, RAMFS_MAGIC. Both keep nothing that outlives a reboot.
_IN_MEMORY = frozenset({0x01021994, 0x858458F6})
_STATFS_BYTES = 256  # more than the structure of any machine; its first member is the type, a long
_MODE = 0o400
_NAME_MAX = 128  # bytes
_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
# Characters of a line that is nothing but the end of some JSON: `}]},`.
_BRACKETS_MAX = 4

# What each runner reads out of its job's output, and the variable by which it says that it is one.
# https://docs.github.com/actions/reference/workflow-commands (a percent sign is written %25); GitLab Runner 17.10, proxy_exec;
# https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands (%AZP25).
MASKS: dict[str, tuple[str, str, str]] = {
    "github": ("GITHUB_ACTIONS", "::add-mask::", "%25"),
    "gitlab": ("GITLAB_CI", "::add-mask::", "%"),
    "azure": ("TF_BUILD", "##vso[task.setsecret]", "%AZP25"),
}


def deliver(folder: str, files: Mapping[str, bytes], *, on_disk: bool) -> None:
    """Put each content under its name into ``folder``, which is made if its parent is there.

    Args:
        folder: On a tmpfs, unless ``on_disk``.
        files: By name. What is there already is replaced, one file after the other; what has not changed stays.
        on_disk: Whether somebody said that any file system will do.

    Raises:
        Failure: ``configuration`` for a folder or name that will not do, ``output_failed`` when the writing fails.
    """
    for name in files:
        if not (0 < len(name) <= _NAME_MAX and _NAME_CHARS.issuperset(name)) or name.startswith("."):
            raise Failure("usage", "a file's name is 1 to 128 of A-Z a-z 0-9 _ . - and begins with no dot")
    try:
        descriptor = _opened(folder)
    except OSError as error:
        raise Failure("configuration", f"{folder}: {error.strerror}", fix=f"ls -ld {folder}") from error
    try:
        if os.fstat(descriptor).st_uid not in (0, os.geteuid()):
            # Whoever owns a folder puts other files in the place of ours, and other secrets into them.
            what = f"{folder} belongs to another account"
            raise Failure("configuration", what, fix=f"name one of your own, or: chown {os.geteuid()} {folder}")
        if not on_disk and not is_in_memory(descriptor):
            what = f"{folder} is not in memory: what is written there outlives its use"
            raise Failure("configuration", what, fix=f"mount -t tmpfs -o mode=0700,size=1m tmpfs {folder}")
        for name, content in files.items():
            _write(descriptor, name, content)
    except OSError as error:
        raise Failure("output_failed", f"{folder}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def is_in_memory(descriptor: int) -> bool:
    """Whether an open file or folder lies on a tmpfs or ramfs."""
    import ctypes  # noqa: PLC0415  # os.statvfs() does not tell the type

    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fstatfs(ctypes.c_int(descriptor), buffer) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF in _IN_MEMORY


def masked(runner: str, value: str, environ: Mapping[str, str]) -> str:
    """The lines that make a runner hide a value, each of its lines by itself, for that is how logs are searched.

    Raises:
        Failure: ``usage`` where this is no job of that runner: there the lines would show what they should hide.
    """
    if runner not in MASKS:
        raise Failure("usage", f"--mask is one of {', '.join(MASKS)}")
    variable, command, percent = MASKS[runner]
    if environ.get(variable, "").lower() != "true":
        raise Failure("usage", f"--mask {runner} outside a job of it would print what it should hide")
    # A short line without a letter or digit is a bracket of some JSON: hiding it would hide half the log and no secret.
    found = value.replace("\r", "\n").split("\n")
    lines = [line for line in found if len(line.strip()) > _BRACKETS_MAX or any(char.isalnum() for char in line)]
    return "".join(f"{command}{line.replace('%', percent)}\n" for line in dict.fromkeys(lines))


def _opened(folder: str) -> int:
    if not os.path.isdir(folder):  # noqa: PTH112  # pathlib would double the start-up time
        os.mkdir(folder, 0o700)  # noqa: PTH102
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _write(folder: int, name: str, content: bytes) -> None:
    if _content(folder, name) == content:
        return
    # A dot, so that nobody who reads the folder takes it; a kill leaves at most this one behind, for the next to remove.
    made = f".{name}.new"
    if made in os.listdir(folder):
        os.unlink(made, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(made, flags, _MODE, dir_fd=folder)
    try:
        rest = content
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
    os.rename(made, name, src_dir_fd=folder, dst_dir_fd=folder)


def _content(folder: int, name: str) -> bytes | None:
    """What is there already, if it is as private as what we write."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_mode & 0o777 != _MODE or status.st_uid != os.geteuid():
            return None
        return file.read()
