"""The process that fuzzes one target: `python -m tests.fuzz.child MODULE SEEDS LIBFUZZER-ARGUMENT...`, started by `runner`.

A target is a module with two functions: `seeds()` gives valid inputs to start from, and `one_input(data)` raises
where a promise is broken. What it imports of the product is instrumented, so that the fuzzer sees which branches an input
takes. An input that takes longer than `LONGEST` is a finding too.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from types import ModuleType

# Seconds of processor time, so that a busy machine makes no findings. With instrumentation, an input takes a millisecond.
LONGEST = 1.0


class TooSlow(Exception):
    """An attacker could keep a processor busy with this."""


def main() -> None:
    module, seeds, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["broker", "zerotrust_kerberos"]):
        target = importlib.import_module(module)
    _write_seeds(target, Path(seeds))

    def one_input(data: bytes) -> None:
        before = time.process_time()
        target.one_input(data)
        if (taken := time.process_time() - before) > LONGEST:
            raise TooSlow(f"{taken:.1f} s for {len(data)} bytes")

    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


def _write_seeds(target: ModuleType, folder: Path) -> None:
    for number, seed in enumerate(target.seeds()):
        folder.joinpath(f"seed-{number:03}").write_bytes(seed)


if __name__ == "__main__":
    main()
