"""Imports large libraries without what they do while they are imported and nobody here has any use for.

To be called by the daemon before anything else imports them, and before there is a second thread. Measured of a start of 0.6 s
and 80 MB: the system's authorities, which aiohttp reads twice for contexts that no session of ours uses, 35 ms and 3 MB;
OpenTelemetry, which redis-py looks for although it is never told to count, 25 ms and 3 MB.
"""

from __future__ import annotations

import importlib
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

_COUNTING = "opentelemetry"


def load() -> None:
    """Import aiohttp and redis."""
    with _without_authorities():
        importlib.import_module("aiohttp")
    with _without(_COUNTING):
        importlib.import_module("redis.asyncio")


@contextmanager
def _without_authorities() -> Iterator[None]:
    """A context made inside believes nobody: whoever used one would be refused every connection, and not let into a false one."""
    own = "set_default_verify_paths"
    setattr(ssl.SSLContext, own, lambda _: None)
    try:
        yield
    finally:
        # What it inherits is the real one.
        delattr(ssl.SSLContext, own)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """To whoever asks for it inside, ``module`` is not installed (the import system: None in ``sys.modules``)."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = cast("ModuleType", None)
    try:
        yield
    finally:
        del sys.modules[module]
