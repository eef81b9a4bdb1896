"""Locked pages, and what a search of a live process finds of values that are kept sealed."""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import pytest

from broker.core.secret import SecretAtRest
from broker.locked import AtRest, Locked, Wiped
from tests.fakes import memory_of

# Takes the value from a pipe into memory that it can overwrite, so that what is found later was left behind by what it does then.
TAKE = """
import ctypes, gc, os, sys
sys.path.insert(0, sys.argv[2])
import broker.locked as locked
value = bytearray(64)
assert os.readv(int(sys.argv[1]), [value]) == 64
def wait(said):
    print(said, flush=True)
    sys.stdin.readline()
"""
KEPT = TAKE + "kept = locked.AtRest(value); value[:] = bytes(64)\n"


@contextmanager
def running(program: str, value: bytes = b"", **environ: str) -> Iterator[subprocess.Popen[str]]:
    source, sink = os.pipe()
    command = [sys.executable, "-c", program, str(source), str(Path(__file__).parents[2])]
    with subprocess.Popen(
        command,
        pass_fds=[source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as child:
        os.write(sink, value)
        os.close(source)
        os.close(sink)
        yield child
        child.kill()


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def on(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def has_secret_memory() -> bool:
    descriptor = ctypes.CDLL(None).syscall(447, 0)
    if descriptor >= 0:
        os.close(descriptor)
    return bool(descriptor >= 0)


def a_value() -> bytes:
    return token_hex(32).encode()


def parts(value: bytes) -> tuple[bytes, ...]:
    """A freed block loses its beginning to the allocator: the rest is as bad to find."""
    return value[16:40], value[40:]


def test_the_page_of_the_process_key_is_locked_left_out_of_core_files_and_closed_to_root() -> None:
    program = KEPT + "wait(locked.process_key().kind)"
    with running(program, a_value()) as child:
        kind = said(child)
        if kind != "secret":
            # Linux before 6.5, not started with secretmem.enable=1: the next test is about that.
            assert (kind, has_secret_memory()) == ("locked", False)
            return
        found = memory_of.mapping(child.pid, "/secretmem")
        assert found["Locked"] == "4 kB"
        assert {"lo", "dd"} <= set(found["VmFlags"].split())
        assert memory_of.status(child.pid, "VmLck") == "4 kB"


def test_without_secret_memory_the_page_is_locked_all_the_same_and_a_forked_child_has_it_empty() -> None:
    program = (
        TAKE + "locked._MEMFD_SECRET = 1 << 20\n"
        "page = locked.Locked(4096); page.fill()\n"
        "if not (child := os.fork()):\n"
        "    os._exit(any(page._pages[:]))\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert any(page.view())\n"
        "import ctypes; address = ctypes.addressof(ctypes.c_char.from_buffer(page._pages))\n"
        "wait(f'{page.kind} {address:x}')"
    )
    with running(program, a_value()) as child:
        kind, _, address = said(child).partition(" ")
        assert kind == "locked"
        assert {"lo", "dd", "wf"} <= set(memory_of.mapping(child.pid, address)["VmFlags"].split())


def test_where_nothing_may_be_locked_it_serves_on_and_says_what_it_is() -> None:
    nobody = "os.getuid() or os.setuid(65534)\n"
    program = (
        TAKE
        + "import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        + nobody
        + "wait(locked.Locked(32).kind)"
    )
    with running(program, a_value()) as child:
        assert said(child) == "plain"


def test_what_is_kept_is_nowhere_in_the_memory_of_a_process_that_does_not_use_it() -> None:
    value = a_value()
    program = KEPT + "wait('kept'); text = kept.open(); wait('open')"
    with running(program, value) as child:
        assert said(child) == "kept"
        assert memory_of.count(child.pid, *parts(value)) == 0
        on(child)
        assert said(child) == "open"
        assert memory_of.count(child.pid, *parts(value)) >= 2, "the search finds what is there"


def test_with_the_units_environment_what_was_used_and_freed_is_overwritten() -> None:
    value = a_value()
    program = KEPT + "text = kept.open().decode(); wait('open'); del text; wait('freed')"
    unit = (Path(__file__).parents[2] / "systemd" / "zerotrust-broker.service").read_text()
    environ = dict(re.findall(r"^Environment=(PYTHONMALLOC|GLIBC_TUNABLES)=(.*)$", unit, re.MULTILINE))
    assert len(environ) == 2
    with running(program, value, **environ) as child:
        assert said(child) == "open"
        assert memory_of.count(child.pid, *parts(value)) >= 2
        on(child)
        assert said(child) == "freed"
        assert memory_of.count(child.pid, *parts(value)) == 0


def test_all_memory_is_locked_where_that_is_allowed_and_none_where_it_is_not() -> None:
    program = (
        TAKE + "from broker.keys import memory\n"
        "may_lock = memory._may_lock; memory._may_lock = lambda: False\n"
        "assert not memory.keep_out_of_swap(), 'with a limit, though mlockall would work'\n"
        "memory._may_lock = may_lock\n"
        "if os.getuid() == 0:\n"
        "    wait(memory.keep_out_of_swap()); ctypes.CDLL(None).munlockall(); os.setuid(65534)\n"
        "else:\n"
        "    wait(False)\n"
        "wait(memory.keep_out_of_swap())"
    )
    with running(program, a_value()) as child:
        if said(child) == "True":
            assert int(memory_of.status(child.pid, "VmLck").split()[0]) > 10_000
        on(child)
        assert said(child) == "False", "what reached the limit later would fail to allocate"
        assert memory_of.status(child.pid, "VmLck") == "0 kB"


def test_what_is_wiped_gives_nothing_any_more() -> None:
    kept = AtRest(b"value")
    assert kept.open() == b"value"
    sealed = kept._sealed
    kept.wipe()
    kept.wipe()
    assert not any(sealed)
    with pytest.raises(Wiped):
        kept.open()
    page = Locked(32)
    page.fill()
    page.close()
    page.close()
    with pytest.raises(Wiped):
        page.view()


def test_a_forked_child_cannot_use_what_its_parent_keeps_and_gets_a_key_of_its_own() -> None:
    program = (
        KEPT + "if not (child := os.fork()):\n"
        "    try:\n        kept.open()\n    except locked.Wiped:\n"
        "        os._exit(int(locked.AtRest(b'own').open() != b'own'))\n"
        "    os._exit(9)\n"
        "wait(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "wait(len(kept.open()))"
    )
    with running(program, a_value()) as child:
        assert said(child) == "0"
        on(child)
        assert said(child) == "64"


def test_a_secret_at_rest_is_like_any_other_and_is_sealed() -> None:
    secret = SecretAtRest("wörd")
    assert secret.reveal() == "wörd"
    assert secret == SecretAtRest("wörd")
    assert secret != SecretAtRest("word")
    assert (bool(secret), bool(SecretAtRest(""))) == (True, False)
    assert "wörd" not in f"{secret!r} {secret} {secret._kept!r}"
    assert "wörd".encode() not in bytes(secret._kept._sealed)
    for one in (secret, secret._kept):
        with pytest.raises(TypeError):
            pickle.dumps(one)
