"""The process that fuzzes one target: `python -m tests.fuzz.child MODULE SEEDS LIBFUZZER-ARGUMENT...`, started by `runner`.

A target is a module with two functions: `seeds()` gives valid inputs to start from, and `one_input(data)` raises where a promise
is broken. A third, `mutate(data, chance)`, changes an input where changing bytes would lead nowhere. What a target imports of the
product is instrumented, so that the fuzzer sees which branches an input takes. An input that takes longer than `LONGEST` is a
finding too.
"""

from __future__ import annotations

import importlib
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from collections.abc import Callable
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

    if hasattr(target, "mutate"):
        atheris.Setup([sys.argv[0], *options], one_input, custom_mutator=_mutator(target))
    else:
        atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


def _mutator(target: ModuleType) -> Callable[[bytes, int, int], bytes]:
    """The target's way of changing an input in one case of two, and the fuzzer's own in the other."""

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311  the fuzzer's, so that a seed repeats a run
        changed: bytes = target.mutate(data, chance) if chance.random() < 0.5 else atheris.Mutate(data, longest)
        return changed if len(changed) <= longest else data

    return mutate


def _write_seeds(target: ModuleType, folder: Path) -> None:
    for number, seed in enumerate(target.seeds()):
        folder.joinpath(f"seed-{number:03}").write_bytes(seed)


if __name__ == "__main__":
    main()
