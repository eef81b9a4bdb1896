"""`.ci/loopback-only` ends what its command started, however the command ends: tests that are killed leave servers behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fakes.until import eventually

WRAPPER = Path(__file__).parents[2] / ".ci" / "loopback-only"
# In a session of its own, as servers of the tests are; its parent tells who it is, and ends as it is told to.
SERVER = "setsid sleep 600 & echo $!; "


def is_there(pid: int) -> bool:
    """A zombie is not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("ending", ["exit 0", "exit 1"])
def test_nothing_outlives_the_command(ending: str) -> None:
    done = subprocess.run([WRAPPER, "sh", "-c", SERVER + ending], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == int(ending[-1])
    assert not is_there(int(done.stdout))


def test_to_be_ended_is_passed_on() -> None:
    with subprocess.Popen([WRAPPER, "sh", "-c", SERVER + "sleep 600"], stdout=subprocess.PIPE, text=True) as wrapped:
        assert wrapped.stdout is not None
        server = int(wrapped.stdout.readline())
        wrapped.terminate()
        assert wrapped.wait() == 128 + signal.SIGTERM
    assert not is_there(server)


def test_the_command_ends_with_the_wrapper() -> None:
    with subprocess.Popen(
        [WRAPPER, "sh", "-c", "echo $$; exec sleep 600"], stdout=subprocess.PIPE, text=True
    ) as wrapped:
        assert wrapped.stdout is not None
        command = int(wrapped.stdout.readline())
        os.kill(wrapped.pid, signal.SIGKILL)
        eventually(lambda: not is_there(command))
