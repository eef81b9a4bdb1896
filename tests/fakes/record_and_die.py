"""Records until it is killed, in short segments, to a sink that writes numbers into a file.

    python -m tests.fakes.record_and_die AUDIT FILE [last]

The sink is away every other time, so that it is behind while segments are closed. The ``last`` one has a sink that is well, and
ends by itself when that has everything, also of those who are dead.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from broker.audit.sinks import file
from broker.audit.sinks.parcel import Parcel, SinkDown
from tests.fakes.audit import an_event
from tests.fakes.scripted_sink import caught_up, forwarder_to, log_to
from tests.fakes.until import until

# Five records.
file._SEGMENT_BYTES = 3000


class Numbers:
    """``instance seq``, a line each."""

    settles_after = 0.0

    def __init__(self, path: Path, *, well: bool) -> None:
        self._path = path
        self._well = well
        self._tries = 0

    async def send(self, parcels: Sequence[Parcel]) -> None:
        self._tries += 1
        if self._tries % 2 and not self._well:
            raise SinkDown("away")
        with self._path.open("a") as out:
            out.write("".join(f"{parcel.instance} {parcel.seq}\n" for parcel in parcels))

    async def close(self) -> None:
        return


def written(directory: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in directory.glob("audit-*.jsonl"))


async def main(directory: Path, out: Path, *, last: bool) -> None:
    forwarder = forwarder_to(Numbers(out, well=last), directory)
    log = log_to(directory, forwarder)
    await log.open()
    sys.stdout.write("open\n")
    sys.stdout.flush()
    for number in range(3) if last else itertools.count():
        await log.record(an_event(number))
        if number % 2:
            await log.checkpoint()
    await caught_up(forwarder)
    await until(lambda: len(set(out.read_text().splitlines())) == written(directory))
    await log.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), last=sys.argv[3:] == ["last"]))
