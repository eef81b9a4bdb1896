"""``python -m bench.vault``: the integrated vault's seals and its rewrap, against Fernet in the same rounds.

Fernet (AES-128-CBC with HMAC, of the same library) is what a program keeps secrets with that has no vault; ``MultiFernet.rotate``
is its rewrap. It keeps nothing: our rewrap is with the store, a head besides each version, and a sync for each batch. So the
ratios say what all of that costs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet

from bench.ratios import Estimate, estimate, ratios
from broker.core.clock import SystemClock
from broker.keys.envelope import Envelope
from broker.secrets import changes
from broker.secrets.metadata import THE_BROKER, Stamp
from broker.secrets.rewrap import Rewrapped
from broker.secrets.store import Swap
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault

_OLD, _NEW = b"o" * 32, b"n" * 32
_TEXT = b'{"password":"' + b"x" * 40 + b'"}'
_CONTEXT = b"vault/version/v1\0" + b"p" * 60
_ROUNDS = 5
_SEALS = 5_000
# Secrets of one version each; the second with --full.
_QUICK, _FULL = 10_000, 100_000
_BATCH = 1_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.vault", description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"rewrap {_FULL:,} secrets instead of {_QUICK:,}")
    secrets = _FULL if parser.parse_args().full else _QUICK
    envelope, fernet = Envelope(keys=[_NEW]), Fernet(Fernet.generate_key())
    sealed, token = envelope.seal(_TEXT, context=_CONTEXT), fernet.encrypt(_TEXT)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "seal": (lambda: envelope.seal(_TEXT, context=_CONTEXT), lambda: fernet.encrypt(_TEXT)),
        "open": (lambda: envelope.open(sealed, context=_CONTEXT), lambda: fernet.decrypt(token)),
    }
    print("| | vault, a second | Fernet, a second | ratio |\n|---|---|---|---|")
    for name, (ours, theirs) in pairs.items():
        rounds = [(_rate(ours), _rate(theirs)) for _ in range(_ROUNDS)]
        mine, others = [one for one, _ in rounds], [other for _, other in rounds]
        _row(name, estimate(mine, seed=1).value, estimate(others, seed=1).value, estimate(ratios(mine, others), seed=1))
    with tempfile.TemporaryDirectory() as folder:
        rewrapped, grown = asyncio.run(_rewrap(Path(folder), secrets)), _rss()
    rotated = _rotate(secrets)
    _row(f"rewrap of {secrets:,}, stored", rewrapped, rotated, estimate([rewrapped / rotated], seed=1))
    print(f"\nmemory of the process at most, after the rewrap: {grown:.0f} MB")


def _row(name: str, ours: float, theirs: float, ratio: Estimate) -> None:
    print(f"| {name} | {ours:,.0f} | {theirs:,.0f} | {ratio.value:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) |")


def _rate(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(_SEALS):
        work()
    return _SEALS / (time.perf_counter() - began)


async def _rewrap(folder: Path, secrets: int) -> float:
    """Secrets a second. They are put there in batches: filling is not what is measured."""
    store = SqliteStore(directory=folder)
    await _fill(Vault(store=store, envelope=Envelope(keys=[_OLD]), clock=SystemClock()), store, secrets)
    vault = Vault(store=store, envelope=Envelope(keys=[_NEW, _OLD]), clock=SystemClock())
    began = time.perf_counter()
    done = await vault.rewrap()
    took = time.perf_counter() - began
    if done != Rewrapped(seen=secrets, renewed=secrets):
        raise RuntimeError(f"not everything was sealed anew: {done}")
    await vault.close()
    return secrets / took


async def _fill(vault: Vault, store: SqliteStore, secrets: int) -> None:
    seals, stamp = await vault._rows.seals(), Stamp(SystemClock().now(), THE_BROKER)  # noqa: SLF001
    for begin in range(0, secrets, _BATCH):
        swaps = []
        for number in range(begin, min(begin + _BATCH, secrets)):
            path, born = f"team/{number % 100}/{number}", os.urandom(8).hex()
            made = changes.written(None, path=path, cas=None, details=None, stamp=stamp, born=born)
            puts = {1: seals.version(made, 1, _TEXT)}
            swaps.append(Swap(name=seals.name(path), before=None, after=seals.head(made), puts=puts))
        await store.swap(swaps)


def _rotate(secrets: int) -> float:
    old, new = Fernet(Fernet.generate_key()), Fernet(Fernet.generate_key())
    tokens, rotating = [old.encrypt(_TEXT) for _ in range(secrets)], MultiFernet([new, old])
    began = time.perf_counter()
    for token in tokens:
        rotating.rotate(token)
    return secrets / (time.perf_counter() - began)


def _rss() -> float:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
