"""Where a broker listens, for who only wants to reach it: nothing else of its configuration is judged, and no secret is read.

Whoever asks does so often, beside a broker that has read all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic_core import PydanticCustomError

from broker.config import yaml_source
from broker.config.fault import Problem
from broker.config.tree import Tree, Value
from broker.config.values import DEFAULT_LISTEN, Listener, parse_listener
from broker.core.errors import ConfigurationError

_VARIABLE = "ZEROTRUST_SERVER_LISTEN"
_KEY = ("server", "listen")


def listeners(path: Path, *, environ: Mapping[str, str]) -> tuple[Listener, ...]:
    """What ``server.listen`` says: in the environment, else in the file at ``path``, else by default.

    Raises:
        ConfigurationError: It cannot be read, or says nothing that can be listened on.
    """
    place, value = _found(path, environ)
    try:
        found = tuple(parse_listener(str(text)) for text in value) if isinstance(value, tuple) else ()
    except PydanticCustomError:
        found = ()
    if not found:
        what = "names no addresses to listen on"
        raise ConfigurationError([str(Problem(place, _KEY, what, "run: zerotrust-broker check-config"))])
    return found


def _found(path: Path, environ: Mapping[str, str]) -> tuple[str, Value]:
    if (text := environ.get(_VARIABLE)) is not None:
        if not text.lstrip().startswith("["):
            return f"environment {_VARIABLE}", tuple(item.strip() for item in text.split(","))
        return f"environment {_VARIABLE}", _read(f"listen: {text}", _VARIABLE, environ).data.get("listen")
    try:
        tree = _read(path.read_text(encoding="utf-8"), str(path), environ)
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read ({error.strerror if isinstance(error, OSError) else 'not UTF-8'})"
        raise ConfigurationError([str(Problem(str(path), (), what, "name a configuration file"))]) from None
    server = tree.data.get("server")
    return str(path), server.get("listen", DEFAULT_LISTEN) if isinstance(server, dict) else DEFAULT_LISTEN


def _read(text: str, name: str, environ: Mapping[str, str]) -> Tree:
    return yaml_source.parse(text, name=name, environ=environ)
