"""Hours in seconds: real processes whose clock the test sets (clockwork.c), all of them the same one.

The time of the day moves; the monotonic clock does not, so nobody's timeout fires because an hour went by.
"""

from __future__ import annotations

import subprocess
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
    offset.write_bytes(bytes(8))
    return {"LD_PRELOAD": str(library), "CLOCKWORK": str(offset)}
