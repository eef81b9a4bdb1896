"""``python -m bench.gate``: how many instructions a warm request with a ticket takes, against the number that is written down.

callgrind counts them, so neither the machine's speed nor its neighbours are in the number. Exit code 1 where it is more than 5 %
away from what ``bench/gate.json`` says: a change that costs, or one that saves and should be written down (``--record``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from bench import load, machine, tokens
from bench.load import CONNECTIONS
from bench.negotiate import asking_broker
from bench.stage import SERVICE, USER
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world

WRITTEN = Path(__file__).with_name("gate.json")
_TOLERANCE = 0.05
# Until the specialising interpreter and the caches have settled; then those that are counted.
_WARM_UP, _REQUESTS = 400, 400
_DISK = "/var/tmp"  # noqa: S108  # mkdtemp makes a folder of our own in it
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)
_PATIENCE = 120.0


class Uncounted(RuntimeError):
    """callgrind did not do what it was told; the message holds what it said."""


class Counter:
    """callgrind around one server."""

    def __init__(self, folder: Path) -> None:
        self._out = folder / "callgrind"

    def inside(self, *command: str) -> list[str]:
        """The command line that is counted; nothing is, before ``counting``."""
        options = ("--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self._out}")
        return [_program("valgrind"), "--quiet", *options, *command]

    @contextlib.contextmanager
    def counting(self, pid: int) -> Iterator[None]:
        """Count what happens inside."""
        _control("--instr=on", pid)
        yield
        _control("--instr=off", pid)
        _control("--dump", pid)

    def instructions(self) -> int:
        """All that were counted.

        Raises:
            Uncounted: There is no number.
        """
        found = [_TOTALS.findall(path.read_text()) for path in self._out.parent.glob(f"{self._out.name}*")]
        numbers = [int(number) for numbers in found for number in numbers]
        if not numbers:
            raise Uncounted(f"nothing in {self._out}*")
        return max(numbers)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Uncounted(f"{name} is not installed; run: make bench-gate")
    return found


def _control(what: str, pid: int) -> None:
    done = subprocess.run(
        [_program("callgrind_control"), what, str(pid)], capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    if done.returncode or "Error" in done.stdout:
        raise Uncounted(f"{what}: {done.stdout}{done.stderr}")


def count() -> float:
    """Instructions a request."""
    context = multiprocessing.get_context("spawn")
    cores = tuple(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gate-", dir=_DISK)))
        folder.chmod(0o711)
        realm = stack.enter_context(Realm.start(folder / "realm", principals={USER: "only-for-this-run"}))
        sts = stack.enter_context(StrictSts(demo_world()))
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        client = realm.kinit(USER, folder / "ccache")
        makers = stack.enter_context(ProcessPoolExecutor(1, context, tokens.enter, (client, cores)))

        def fire(port: int, pid: int, number: int) -> None:
            made = makers.submit(tokens.make, number + CONNECTIONS, SERVICE).result()
            load.fire(list(map(asking_broker(port), made)), port=port, server=pid)

        home = folder / "broker"
        home.mkdir(mode=0o700)
        counter = Counter(home)
        settings = configuration(home, keytab=keytab, sts_endpoint=sts.url)
        # The same order of the same sets each time.
        environment = {**realm.env, "PYTHONHASHSEED": "0"}
        with BrokerProcess(home, settings, env=environment, inside=counter.inside) as broker:
            assert broker.process is not None  # noqa: S101  # it was just started
            port, pid = urlsplit(broker.url).port or 0, broker.process.pid
            fire(port, pid, _WARM_UP)
            with counter.counting(pid):
                fire(port, pid, _REQUESTS)
        return counter.instructions() / (_REQUESTS + CONNECTIONS)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the number down")
    arguments = parser.parse_args()
    ours = count()
    print(f"{ours:,.0f} instructions a warm request")
    if arguments.record:
        facts = {name: machine.facts()[name] for name in ("date", "python", "system", "krb5")}
        WRITTEN.write_text(json.dumps({"instructions": round(ours), **facts}, indent=2) + "\n")
        return 0
    written = json.loads(WRITTEN.read_text())["instructions"]
    change = ours / written - 1
    print(f"{change:+.1%} against the {written:,} that are written down; {_TOLERANCE:.0%} are tolerated")
    return int(abs(change) > _TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
