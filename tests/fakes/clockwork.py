"""Hours in seconds: real processes whose clock the test sets (clockwork.c), all of them the same one.

The time of the day moves; the monotonic clock does not, so nobody's timeout fires because an hour went by. The seconds since boot
move only for who says so (`set_clock`): a wall clock that was set is one that went without them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")

# What a program under such a clock runs to turn it, `turn(minutes)`: eight octets in one write, as the clock reads them.
TURN = """
import os, sys
def turn(minutes):
    file = os.open(os.environ["CLOCKWORK"], os.O_RDWR)
    seconds = int.from_bytes(os.pread(file, 8, 0), sys.byteorder) + 60 * minutes
    os.pwrite(file, seconds.to_bytes(8, sys.byteorder), 0)
    os.close(file)
"""


def clockwork(folder: Path) -> dict[str, str]:
    """A clock that begins at now, as variables that put programs under it."""
    library, offset = folder / "clockwork.so", folder / "clockwork"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    offset.write_bytes(bytes(16))
    return {"LD_PRELOAD": str(library), "CLOCKWORK": str(offset)}


def set_clock(clock: Mapping[str, str], *, wall: int, boot: int = 0) -> None:
    """By so many seconds the two clocks are ahead of the kernel's, from now on."""
    file = os.open(clock["CLOCKWORK"], os.O_RDWR)
    try:
        for place, seconds in enumerate((wall, boot)):
            os.pwrite(file, seconds.to_bytes(8, sys.byteorder, signed=True), 8 * place)
    finally:
        os.close(file)
