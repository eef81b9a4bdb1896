"""The other places a key can come from, laid over the file's tree: ``KEY_file``, the vault, systemd credentials, the environment.

Each later one wins: ``KEY``, ``KEY_file`` or ``KEY_secret`` of the configuration file; the systemd credential named by the
dotted key; ``ZEROTRUST_SECTION_KEY``, with ``_FILE`` or ``_SECRET`` behind it or without. Last, and only where nothing else
speaks, the AWS SDKs' own variables. What stands in the vault is noted, not read (``kept``). The names are derived from the
model, so a key has all its sources from the day it exists; what has the form of such a name and fits no key is a problem, for it
is a typing error that would otherwise go unnoticed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from broker.config import yaml_source
from broker.config.fault import nearest
from broker.config.fields import FILE, SECRET, Kind, Leaf, elsewhere_keys, leaves, shapes
from broker.config.model import Settings
from broker.config.resolve import is_sealed, note_reference
from broker.config.tree import Origin, Tree, Value
from broker.config.tree import Path as KeyPath
from broker.core.file_secret import FileText
from broker.core.private_file import PermissionProblem

_PREFIX = "ZEROTRUST_"
_NO_TEXT = {
    FILE: ("is not the path of a file", "write an absolute path"),
    SECRET: ("is not where a secret stands", "write PATH#FIELD"),
}
# What `zerotrust-admin` reads too, or alone; a broker without operators has nothing to do with it.
_OF_THE_CLIENT = {"ZEROTRUST_ADMIN_SOCKET", "ZEROTRUST_ADMIN_SIGNING_KEY"}
# systemd.exec(5), StateDirectory=; several folders are joined by colons.
_STATE_DIRECTORY = "STATE_DIRECTORY"
_AWS_VARIABLES = {
    ("aws", "access_key_id"): "AWS_ACCESS_KEY_ID",
    ("aws", "secret_key"): "AWS_SECRET_ACCESS_KEY",
    ("aws", "session_token"): "AWS_SESSION_TOKEN",
}


def apply(tree: Tree, environ: Mapping[str, str]) -> None:
    """Lay all other sources over the file's ``tree``."""
    known = tuple(leaves(Settings))
    if environ.get("CREDENTIALS_DIRECTORY"):
        _take_credentials(tree, Path(environ["CREDENTIALS_DIRECTORY"]), known)
    for leaf in known:
        if leaf.variable not in _OF_THE_CLIENT or leaf.path[0] in tree.data:
            _take_variable(tree, leaf, environ)
    _refuse_unknown_variables(tree, known, environ)
    # After the others, so that a file that they make superfluous is never opened.
    _bring_in(tree, Settings, tree.data, ())
    _take_aws_variables(tree, environ)
    _take_state_directory(tree, environ)


def _replace(tree: Tree, leaf: Leaf) -> None:
    """Make way for another source: whatever the file says of ``KEY`` no longer counts."""
    tree.clear(leaf.path)
    if leaf.shape.comes_from_elsewhere:
        for variant in elsewhere_keys(leaf.model, leaf.path[-1]):
            tree.clear((*leaf.path[:-1], variant))


def _bring_in(tree: Tree, model: type[BaseModel], node: Value, path: KeyPath) -> None:
    """``KEY_file`` -> ``KEY`` with the file's content, ``KEY_secret`` noted, in every mapping that the model describes."""
    if not isinstance(node, dict):
        return  # validation says so
    for key, inner in shapes(model):
        if inner.comes_from_elsewhere:
            _bring_in_one(tree, model, node, path, key)
        if inner.model is None:
            continue
        here, value = (*path, key), node.get(key)
        if inner.kind is Kind.SECTION:
            _bring_in(tree, inner.model, value, here)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                _bring_in(tree, inner.model, item, (*here, index))
        elif isinstance(value, dict):
            for name, item in value.items():
                _bring_in(tree, inner.model, item, (*here, name))


def _bring_in_one(tree: Tree, model: type[BaseModel], node: dict[str, Value], path: KeyPath, key: str) -> None:
    for variant in elsewhere_keys(model, key):
        if variant in node:
            _replace_variant(tree, node, path, key, variant)
    if is_sealed(node.get(key)):
        tree.sealed.append((*path, key))


def _replace_variant(tree: Tree, node: dict[str, Value], path: KeyPath, key: str, variant: str) -> None:
    variant_path, key_path = (*path, variant), (*path, key)
    origin = tree.origin(variant_path)
    value = node.pop(variant)
    if key in node:
        # A reference has a mark in its place, so the third is found beside the second, too.
        tree.refuse(key_path, f"stands beside {variant}", "keep one of the two")
    elif not isinstance(value, str):
        node[key] = None
        if not tree.is_refused(variant_path):
            what, fix = _NO_TEXT[variant.removeprefix(key)]
            tree.refuse(variant_path, what, fix, place=origin.place)
        tree.refused.add(key_path)
    else:
        tree.origins[key_path] = Origin(origin.place, shown=False)
        if variant == f"{key}{FILE}":
            node[key] = _content(tree, value, key_path, origin.place)
        else:
            node[key] = None
            note_reference(tree, value, key_path)


def _content(tree: Tree, file: str, path: KeyPath, place: str) -> str | None:
    """The text of a private file, without the newline that ``echo`` leaves at its end; None and a problem otherwise.

    What does not exist is not named in the problem: it may be a secret that was written where its file belongs.
    """
    if not file.startswith("/"):
        fix = "write the path from / on, never the value itself"
        tree.refuse(path, "the file is not an absolute path", fix, place=place)
        return None
    try:
        return FileText.read(Path(file))
    except PermissionProblem as problem:
        tree.refuse(path, f"the file {problem.what}", problem.fix, place=place)
    except UnicodeDecodeError:
        tree.refuse(path, "the file is not UTF-8 text", "write the value as text (keys in base64)", place=place)
    return None


def _take_credentials(tree: Tree, folder: Path, known: tuple[Leaf, ...]) -> None:
    """systemd.exec(5), LoadCredential=. Other names belong to somebody else, unless they begin like a key."""
    scalars = {leaf.credential: leaf for leaf in known if leaf.shape.kind is Kind.SCALAR}
    sections = {leaf.path[0] for leaf in known if len(leaf.path) > 1}
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        what = f"cannot be read ({os.strerror(error.errno or 0)})"
        tree.note("environment CREDENTIALS_DIRECTORY", (), what, "let the account of the broker read it, or unset it")
        return
    for file in files:
        place = f"systemd credential {file.name}"
        leaf = scalars.get(file.name)
        if leaf is not None:
            _replace(tree, leaf)
            # A key that is itself a path means the credential, where systemd put it.
            value = _content(tree, str(file), leaf.path, place) if leaf.shape.comes_from_elsewhere else str(file)
            tree.set(leaf.path, value, Origin(place, shown=False))
        elif file.name.partition(".")[0] in sections:
            fix = nearest(file.name, scalars) + "give it a name that does not begin like a key"
            tree.note(place, (), "no key of this name can be set by a credential", fix)


def _take_variable(tree: Tree, leaf: Leaf, environ: Mapping[str, str]) -> None:
    given = [name for name in _variables(leaf) if name in environ]
    if not given:
        return
    place, text = f"environment {given[-1]}", environ[given[-1]]
    origin = Origin(place, shown=False)
    _replace(tree, leaf)
    if len(given) > 1:
        tree.refuse(leaf.path, f"stands beside {given[0]}", "keep one of the two", place=place)
    elif given[0] == leaf.variable + FILE.upper():
        tree.set(leaf.path, _content(tree, text, leaf.path, place), origin)
    elif given[0] == leaf.variable + SECRET.upper():
        # Noted with those of the file.
        tree.set((*leaf.path[:-1], leaf.path[-1] + SECRET), text, origin)
    elif leaf.shape.kind is Kind.SCALAR:
        tree.set(leaf.path, text, origin)
    elif leaf.shape.is_list_of_scalars and not text.lstrip().startswith("["):
        tree.set(leaf.path, tuple(item.strip() for item in text.split(",")), origin)
    else:
        yaml_source.parse_variable(text, tree=tree, path=leaf.path, place=place, environ=environ)


def _variables(leaf: Leaf) -> tuple[str, ...]:
    """The environment's variables that speak for a key."""
    variants = elsewhere_keys(leaf.model, leaf.path[-1]) if leaf.shape.comes_from_elsewhere else ()
    return (leaf.variable, *(leaf.variable + variant.removeprefix(leaf.path[-1]).upper() for variant in variants))


def _refuse_unknown_variables(tree: Tree, known: tuple[Leaf, ...], environ: Mapping[str, str]) -> None:
    names = {name for leaf in known for name in _variables(leaf)}
    sections = {_PREFIX + leaf.path[0].upper() for leaf in known}
    for variable in sorted(set(environ) - names - _OF_THE_CLIENT):
        if any(variable == section or variable.startswith(section + "_") for section in sections):
            fix = nearest(variable, names, behind=_PREFIX) + "unset it"
            tree.note(f"environment {variable}", (), "belongs to no key", fix)


def _take_state_directory(tree: Tree, environ: Mapping[str, str]) -> None:
    state = tree.data.get("state", {})
    if isinstance(state, dict) and "directory" not in state and environ.get(_STATE_DIRECTORY):
        first = environ[_STATE_DIRECTORY].partition(":")[0]
        tree.set(("state", "directory"), first, Origin(f"environment {_STATE_DIRECTORY}", shown=True))


def _take_aws_variables(tree: Tree, environ: Mapping[str, str]) -> None:
    aws = tree.data.get("aws")
    if not isinstance(aws, dict) or aws.get("credentials_provider", "environment") != "environment":
        return
    for path, variable in _AWS_VARIABLES.items():
        if path[-1] not in aws and environ.get(variable):
            tree.set(path, environ[variable], Origin(f"environment {variable}", shown=False))
