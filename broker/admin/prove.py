"""``zerotrust-admin audit prove`` and ``check-proof``: one record of the log for somebody who has not the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import orjson

from broker.admin.offline import config_option, fail, keys_of, settings_of
from broker.audit.proof import NotProved, check_proof, prove_growth, prove_records

_jwks_option = click.option("--jwks", type=click.Path(path_type=Path), help="The public keys.")


@click.command("prove")
@click.argument("what")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@_jwks_option
@config_option
def audit_prove(what: str, files: tuple[Path, ...], jwks: Path | None, config: Path) -> None:
    """Print the proof that a record is in the log, one line of JSON for each.

    WHAT is a sequence number, a request id, or a file with a checkpoint that was kept: then the proof is that the log of today
    goes on from it. FILES as for `verify`. Whoever has the public keys checks it with `check-proof` and needs nothing else.
    """
    with _explained(jwks):
        keys, roots = keys_of(jwks, config), list(files) or [settings_of(config).audit.directory]
        kept = Path(what)
        if kept.is_file():
            proofs = [prove_growth(roots, kept.read_text(encoding="utf-8"), jwks=keys)]
        else:
            proofs = prove_records(roots, what, jwks=keys)
    for proof in proofs:
        click.echo(orjson.dumps(proof))


@click.command("check-proof")
@click.argument("proofs", type=click.File("rb"))
@_jwks_option
@config_option
def audit_check_proof(proofs: BinaryIO, jwks: Path | None, config: Path) -> None:
    """Check proofs that `prove` printed, with the public keys alone. PROOFS is a file, or - for what is piped in."""
    with _explained(jwks):
        keys = keys_of(jwks, config)
        shown = [check_proof(orjson.loads(line), jwks=keys) for line in proofs]
    if not shown:
        fail(f"{proofs.name}: no proof in it — run: zerotrust-admin audit prove SEQ")
    for each in shown:
        log = f"the log of {each.instance} as it was at {each.timestamp}, with {each.size} records"
        if each.record is None:
            click.echo(f"good: {log}, goes on from its first {each.earlier}")
        else:
            click.echo(f"good: record {each.record['seq']} ({each.record.get('event')}) is in {log}")


@contextmanager
def _explained(jwks: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fail(f"{error.filename}: {error.strerror} — fix: name record files or the audit directory, readable to you")
    except NotProved as error:
        fail(f"not proved: {error}")
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        fail("not proved: not JSON")
    except ValueError as error:
        fail(f"{jwks}: {error} — run: curl -o {jwks} https://BROKER/.well-known/jwks.json")
