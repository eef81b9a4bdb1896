"""``python -m tests.fakes.sts --world FILE.json``: serve until SIGTERM; one JSON line on stdout says where."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.server import announce, serve
from tests.fakes.sts.world import World, WorldError

# It hands out sessions to whoever knows made-up keys, and anybody may set its faults: never beyond this machine.
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.sts", description=__doc__)
    parser.add_argument("--world", required=True, metavar="FILE", help="JSON, see world.py; or the word demo")
    parser.add_argument("--host", default="127.0.0.1", choices=_LOOPBACK)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every AWS call")
    parser.add_argument(
        "--fd", type=int, action="append", default=[], help="a listening socket that was inherited, of another network"
    )
    args = parser.parse_args()
    try:
        world = demo_world() if args.world == "demo" else World.from_json(Path(args.world).read_text("utf-8"))
    except (OSError, WorldError) as error:
        parser.error(f"--world {args.world}: {error}")
    asyncio.run(_until_sigterm(world, args))
    return 0


async def _until_sigterm(world: World, args: argparse.Namespace) -> None:
    serving = asyncio.ensure_future(
        serve(
            world,
            host=args.host,
            port=args.port,
            latency=args.latency_ms / 1000,
            ready=announce,
            inherited=[socket.socket(fileno=number) for number in args.fd],
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    sys.exit(main())
