"""Coverage-guided fuzzing of the PAC reader: `python -m tests.fuzz.fuzz_pac -max_total_time=60`, with atheris installed.

Whatever the bytes are, nothing but `MalformedPac` may leave the reader, and what it returns has to be of the promised form. The
frozen logon information of tests/vectors/pac is where it starts from, and from what it has found before; the options are
libFuzzer's.
"""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["broker.authn"]):
    from broker.authn import pac

VECTORS = Path(__file__).parents[1] / "vectors" / "pac"
CORPUS = Path(__file__).parents[2] / ".hypothesis" / "fuzz" / "pac"  # Git ignores it and `make clean` removes it.
HEADERS = 16  # bytes; the length of the object is at 8

SID = re.compile(r"S-1-(\d+|0x[0-9A-F]{12})(-\d+)*")
GROUPS_MAX = 4_096 + 1  # the limit, and the primary group


def one_input(data: bytes) -> None:
    judge(data)
    # With a header that fits, the fuzzer gets past the first check however long its invention is.
    if len(data) >= HEADERS:
        judge(data[:8] + struct.pack("<I", len(data) - HEADERS) + data[12:])


def judge(logon_info: bytes) -> None:
    try:
        found = pac.groups(logon_info)
    except pac.MalformedPac:
        return
    for sid in (found.domain_sid, found.user_sid, *found.groups):
        assert SID.fullmatch(sid), sid
    assert len(found.groups) <= GROUPS_MAX
    assert pac.groups(logon_info) == found


def main() -> None:
    CORPUS.mkdir(parents=True, exist_ok=True)
    # libFuzzer keeps what it finds in the first of the folders that it is given.
    atheris.Setup([*sys.argv, str(CORPUS), str(VECTORS)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
