"""``python -m demo``: run the story. ``python -m demo up``: keep its stage running. ``python -m demo down``: end that."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from demo import processes
from demo.stack import (
    PASSWORDS,
    ROOT,
    START_ERRORS,
    InUseError,
    Stack,
    absolute,
    forget_the_callers_settings,
    started,
    typed,
)
from demo.story import EXEC_IDENTITY, IDENTITY, BrokenError, Story

UP_SECONDS = 60.0  # It is up in two; a loaded machine may need many more.
LOG_LINES = 20  # of the broker's, beside a failure
EXIT_BROKEN = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# Beside what a step says itself: a command that hangs, an answer that is no JSON or lacks a member, a part that is gone.
STEP_ERRORS = (BrokenError, subprocess.SubprocessError, LookupError, ValueError, OSError, *START_ERRORS)

_RECIPE, _LOG = "recipe.txt", "holder.log"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", nargs="?", default="run", choices=["run", "up", "down", "hold"])
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="for all that is made (.demo)")
    args = parser.parse_args()
    # The two environments have folders of their own, so that `run` never disturbs what `up` keeps.
    run, up = (args.folder.resolve() / name for name in ("run", "up"))
    sys.stdout.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)  # type: ignore[union-attr]
    # SIGINT too: a shell that starts a job in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    forget_the_callers_settings()
    try:
        commands = {
            "run": lambda: _run(run),
            "up": lambda: _up(up),
            "hold": lambda: _hold(up),
            "down": lambda: _down(run, up),
        }
        return commands[args.command]()
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started has ended", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (InUseError, *START_ERRORS) as error:
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_BROKEN
    except PermissionError as error:
        print(f"demo: {error} — run: sudo rm -rf {args.folder}", file=sys.stderr)
        return EXIT_BROKEN


def _run(folder: Path) -> int:
    begun = time.monotonic()
    print(f"starting a Kerberos realm, Redis, an STS and the broker in {typed(folder)}")
    with started(folder) as stack:
        story = Story(stack)
        try:
            story.tell()
        except STEP_ERRORS as error:
            print(f"\nBROKEN: {type(error).__name__}: {error}\n\nThe broker's log ends with:", file=sys.stderr)
            print("\n".join(stack.broker.output.read_text().splitlines()[-LOG_LINES:]), file=sys.stderr)
            return EXIT_BROKEN
        stopping = time.monotonic()
    took = stack.took | story.took | {"ending the rest": time.monotonic() - stopping}
    print(f"\nAll as it should be. Nothing is left running; {typed(folder)} has the files.\n")
    for title, seconds in {**took, "all together": time.monotonic() - begun}.items():
        print(f"{seconds:6.2f} s  {title}")
    return 0


def _up(folder: Path) -> int:
    recipe, log = folder / _RECIPE, folder.parent / _LOG
    holder = None if processes.owner_lives(folder) else _detached(folder.parent, recipe=recipe, log=log)
    deadline = time.monotonic() + UP_SECONDS
    while not recipe.exists():
        if time.monotonic() > deadline or (holder is not None and holder.poll() is not None):
            processes.end(folder)
            print(f"the demo did not come up:\n{log.read_text()}", file=sys.stderr)
            return EXIT_BROKEN
        time.sleep(0.02)
    print(recipe.read_text(), end="")
    return 0


def _detached(folder: Path, *, recipe: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts the process that holds the environment; the recipe exists once it is up."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe.unlink(missing_ok=True)
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "demo", "hold", "--folder", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _hold(folder: Path) -> int:
    with started(folder) as stack, contextlib.suppress(KeyboardInterrupt):
        whole = folder / f"{_RECIPE}.new"
        whole.write_text(_recipe(stack))
        whole.rename(folder / _RECIPE)
        while True:
            signal.pause()
    return 0


def _down(run: Path, up: Path) -> int:
    ended = processes.end(up)
    if not processes.owner_lives(run):
        ended += processes.end(run)  # left by a run that was killed
    (up / _RECIPE).unlink(missing_ok=True)
    print("the demo has ended" if ended else "no demo was running")
    return 0


def _recipe(stack: Stack) -> str:
    """What to type into a shell in the repository's folder."""
    exports = "\n".join(f'export {name}="{value}"' for name, value in stack.exports("alice").items())
    sandbox = " --no-sandbox" if os.geteuid() == 0 else ""
    profile = absolute(stack.folder / "chromium")
    return f"""\
The demo is up; the page is {stack.url}/

# In a shell in {ROOT}:
{exports}
echo {PASSWORDS["alice"]} | zerotrust login alice
zerotrust roles
zerotrust configure --write --region eu-central-1
{IDENTITY}
zerotrust exec developer -- {EXEC_IDENTITY}

# What else there is: zerotrust help. Something fails: zerotrust doctor.
# The page, in the same shell; the flag lets Chromium show its ticket to this host:
chromium{sandbox} --user-data-dir="{profile}" --no-first-run --auth-server-allowlist=localhost {stack.url}/

# AWS is a stand-in here: it signs her in to the console, and sends the browser on to Amazon's, which knows nothing of it.

# mallory (password {PASSWORDS["mallory"]}) has a ticket and no role. Configuration, audit records and logs: {typed(stack.folder)}
# make demo-down ends it all.
"""


if __name__ == "__main__":
    sys.exit(main())
