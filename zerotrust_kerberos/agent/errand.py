"""Asking the broker in a process of its own, which ends in time whatever it waits for.

libkrb5 blocks for as long as it likes, and reads which ticket cache is meant from the environment: both are a process's affair.
The one that asks has no descriptor but the pipe to us, and is the helper's own way from ticket to answer (``ask``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import NoReturn

from zerotrust_kerberos.failures import TABLE, Failure
from zerotrust_kerberos.watch import Watch

# Seconds. Its own watch ends it within ten.
_LONGEST = 15.0
_PIPE = 3
_READ = 65536
_DONE, _FAILED = b"+", b"-"
_BETWEEN = b"\0"


def errand(do: Callable[[Watch], bytes]) -> asyncio.Future[bytes | Failure]:
    """Start ``do`` in a child; its answer, or why there is none. Nobody has to wait for it."""
    loop = asyncio.get_running_loop()
    landed: asyncio.Future[bytes | Failure] = loop.create_future()
    try:
        ours, theirs = os.pipe()
        pid = os.fork()
    except OSError as error:
        landed.set_result(Failure("output_failed", f"no further process: {error.strerror}"))
        return landed
    if pid == 0:
        _child(theirs, do)
    os.close(theirs)
    parts: list[bytes] = []
    # Where it hangs in spite of its watch, the pipe ends with it.
    last = loop.call_later(_LONGEST, _kill, pid)

    def readable() -> None:
        part = os.read(ours, _READ)
        if part:
            parts.append(part)
            return
        last.cancel()
        loop.remove_reader(ours)
        os.close(ours)
        os.waitpid(pid, 0)
        landed.set_result(_read(b"".join(parts)))

    loop.add_reader(ours, readable)
    return landed


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _read(said: bytes) -> bytes | Failure:
    if said[:1] == _DONE:
        return said[1:]
    code, *words = said[1:].decode("utf-8", "replace").split("\0")
    if said[:1] != _FAILED or code not in TABLE or len(words) != 3:  # noqa: PLR2004  detail, fix, wait
        return Failure("broker_timeout", "whoever asked for us was ended")
    return Failure(code, words[0], fix=words[1] or None, wait=int(words[2]))


def _child(pipe: int, do: Callable[[Watch], bytes]) -> NoReturn:
    try:
        os.dup2(pipe, _PIPE)
        os.closerange(_PIPE + 1, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        watch = Watch(_report)
        try:
            answer = do(watch)
        except Failure as failure:
            watch.speak()
            _report(failure)
        else:
            watch.speak()
            _write(_DONE + answer)
    finally:
        os._exit(0)


def _report(failure: Failure) -> None:
    words = (failure.code, failure.detail, failure.fix or "", str(failure.wait))
    _write(_FAILED + _BETWEEN.join(word.replace("\0", "?").encode("utf-8", "replace") for word in words))


def _write(content: bytes) -> None:
    rest = content
    while rest:
        rest = rest[os.write(_PIPE, rest) :]
