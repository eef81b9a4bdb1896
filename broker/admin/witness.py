"""``zerotrust-admin audit witness``: a witness for audit logs, run by somebody else, on another host than the broker's.

Plain HTTP, for there is nothing to hide or to forge: checkpoints and cosignatures are signed, and whoever sits in between can
only keep them from arriving, which shows. Put a proxy with TLS before it where the policy of the house wants one.
"""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import NoReturn

import click
import orjson

from broker.admin.offline import fail
from broker.audit.cosignature import BadWitnessKey, Cosigner
from broker.audit.witness import Witness
from broker.core.clock import SystemClock
from broker.core.private_file import PermissionProblem, read_private

_PEM_MAX_BYTES = 16 * 1024


@click.command("witness")
@click.option(
    "--listen", default="127.0.0.1:8480", show_default=True, metavar="HOST:PORT", help="Port 0: any free one."
)
@click.option("--state", type=click.Path(path_type=Path), required=True, help="The folder to remember in.")
@click.option(
    "--key", type=click.Path(path_type=Path), required=True, help="This witness's Ed25519 private key in PEM."
)
@click.option("--name", required=True, help="This witness's name, such as witness.example.com/audit.")
@click.option(
    "--jwks",
    type=click.Path(path_type=Path),
    required=True,
    help="The public keys of the brokers; read anew each time.",
)
def witness(listen: str, state: Path, key: Path, name: str, jwks: Path) -> None:
    """Sign for logs that only ever grow.

    Brokers name it under audit.witnesses, with the word that it prints when it starts.
    """
    from broker.admin.witness_server import serve  # noqa: PLC0415  # the other commands start without aiohttp

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        cosigner = Cosigner.of_pem(read_private(key, limit=_PEM_MAX_BYTES), name=name)
        made = Witness(
            directory=state,
            cosigner=cosigner,
            jwks=lambda: orjson.loads(jwks.read_bytes()),
            clock=SystemClock(),
        )
        listening = _listening(listen)
    except PermissionProblem as problem:
        fail(str(problem))
    except BadWitnessKey as error:
        fail(f"{key}: {error} — run: openssl genpkey -algorithm ed25519 -out {key}; chmod 600 {key}")
    except BlockingIOError:
        fail(f"{state}: another witness uses it — fix: stop that one, or name another folder")
    except OSError as error:
        fail(f"{error.filename or listen}: {error.strerror} — fix: name what is there and may be used")
    except ValueError as error:
        fail(f"{jwks}: not a JWKS: {error} — run: curl -o {jwks} https://BROKER/.well-known/jwks.json")
    click.echo(f"public key: {cosigner.key}")
    click.echo(f"listening on http://{_text(listening)}")
    sys.stdout.flush()
    serve(made, listening)


def _listening(text: str) -> socket.socket:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        _usage(text)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family)


def _usage(text: str) -> NoReturn:
    fail(f"{text}: not an address to listen on — fix: write HOST:PORT")


def _text(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
