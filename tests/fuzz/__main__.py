"""`python -m tests.fuzz TARGET|all --seconds N`: coverage-guided fuzzing by hand; see docs/fuzzing.md."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz import runner

# Git ignores it and `make clean` removes it; until then each run begins where the last one ended.
CORPUS = runner.ROOT / ".hypothesis" / "fuzz"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=[*runner.TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=3600, help="for each target; an hour unless given")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer's chance; 0 is another one each time")
    parser.add_argument("--input", type=bytes.fromhex, metavar="HEX", help="nothing but this one input")
    arguments = parser.parse_args()
    status = 0
    for target in runner.TARGETS if arguments.target == "all" else [arguments.target]:
        if arguments.input is not None:
            outcome = runner.replay(target, arguments.input)
        else:
            outcome = runner.run(target, seconds=arguments.seconds, seed=arguments.seed, corpus=CORPUS / target)
        sys.stdout.write(f"{outcome}\n{'' if outcome.is_clean else outcome.report()}")
        sys.stdout.flush()
        status |= not outcome.is_clean
    return status


if __name__ == "__main__":
    sys.exit(main())
