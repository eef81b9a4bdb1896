"""Values that the file does not show: sealed ones, ``enc:v1:...``, and those that stand in the vault, ``KEY_secret: PATH#FIELD``.

The loader cannot open or ask anything itself; it is given a ``Resolver``. The order is forced: what is sealed opens with
`encryption.key`, the vault may need a sealed login, and `encryption.key` may itself stand in somebody else's vault.

    sealed -> the sections that lead to the vault -> the vault, once -> sealed again, where the key came from there

No line repeats a path or a value: what stands where a path belongs may be the secret itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from pydantic import ConfigDict, ValidationError

from broker.config.aws import Aws
from broker.config.elsewhere import Elsewhere
from broker.config.encryption import Encryption
from broker.config.fault import dotted
from broker.config.fields import shape_at
from broker.config.model import Settings
from broker.config.redis import RedisSection
from broker.config.secrets import Secrets
from broker.config.section import Section
from broker.config.tree import Path, Reference, Tree, Value
from broker.config.values import AbsolutePath
from broker.core.secret import Secret, Unasked

# For a vault that does not answer. A start that fails after this is tried again by systemd without end: five of them take longer
# than the minute of StartLimitIntervalSec.
PATIENCE_SECONDS = 12
# Of a command, which somebody waits for: with its own start it is over in ten.
COMMAND_PATIENCE_SECONDS = 6
SEALED = "enc:v1:"
_REFERENCE = re.compile(r"([^#\s]+)(?:#([^#\s]+))?")
_FORM = "write PATH#FIELD, or PATH of a secret with one field"
_INTEGRATED = "integrated"
# The field of a secret with one text; meant, too, where a secret has several and none is named.
_VALUE = "value"
# What the vault is reached by cannot stand in it. The integrated one is opened with `encryption`, and lies in `state` or `redis`.
_BOOTSTRAP: tuple[Path, ...] = (("secrets",),)
_BOOTSTRAP_OF_INTEGRATED: tuple[Path, ...] = (("secrets",), ("encryption",), ("state",))
# AWS Secrets Manager is asked with the broker's own credentials; the rest of their section may stand there.
_SIGNING = ("credentials_provider", "access_key_id", "secret_key", "session_token", "profile", "credentials_file")
_BOOTSTRAP_OF_AWS: tuple[Path, ...] = (("secrets",), *(("aws", key) for key in _SIGNING))
_KEYLESS = ("secret", "web_identity")


class Bootstrap(Section):
    """What leads to somebody else's vault."""

    model_config = ConfigDict(extra="ignore")

    secrets: Secrets = Secrets()


class IntegratedBootstrap(Bootstrap):
    """What leads to the integrated one: as much of ``Settings`` as opens it."""

    encryption: Encryption
    state_directory: AbsolutePath
    redis: RedisSection | None = None


class AwsBootstrap(Bootstrap):
    """What leads to AWS Secrets Manager. ``aws``: what signs; None for what AWS's SDK finds by itself."""

    aws: Aws | None = None


class Unread(Exception):
    """A secret, or the whole vault, gave nothing. ``later``: it may, another time."""

    def __init__(self, what: str, fix: str, *, later: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.later = later


class Resolver(Protocol):
    """What asks and opens for the loader."""

    def needs(self, key: Path) -> bool:
        """Whether the secret at ``key`` is of any use to whoever reads this configuration."""

    def read(self, bootstrap: Bootstrap, paths: Collection[str]) -> Mapping[str, Mapping[str, Secret] | Unread]:
        """The fields of each secret, or why there are none.

        Raises:
            Unread: The vault as a whole gives nothing.
        """

    def open(self, sealed: str, *, key: str, masters: Sequence[bytes]) -> str | None:
        """What was sealed for the dotted ``key``; None where it does not open."""


def is_sealed(value: Value) -> bool:
    """Whether this is text that ``encrypt-value`` made."""
    return isinstance(value, str) and value.startswith(SEALED)


def note_reference(tree: Tree, text: str, path: Path) -> None:
    """Keep in mind where the value of ``path`` stands; a problem, where nobody can tell."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        tree.refuse(path, "does not say where its secret stands", _FORM)
    else:
        tree.references[path] = Reference(found[1], found[2])


def fill_in(tree: Tree, resolver: Resolver | None, *, signs: bool) -> None:
    """Put what stands elsewhere into its place; what cannot be had is a problem, a line each."""
    if resolver is None:
        for path in (*tree.sealed, *tree.references):
            tree.refuse(path, "is sealed or stands in the vault, and nobody opens it here", "write the value out")
        return
    _leave(tree, resolver)
    key_stands_in_vault = ("encryption", "key") in tree.references
    if not key_stands_in_vault:
        _open_sealed(tree, resolver, tree.sealed, signs=signs)
    _ask(tree, resolver, signs=signs)
    if key_stands_in_vault:
        _open_sealed(tree, resolver, tree.sealed, signs=signs)


def _leave(tree: Tree, resolver: Resolver) -> None:
    """What nobody here needs stays where it is."""
    for path in (*tree.sealed, *tree.references):
        if shape_at(Settings, path).is_secret and not resolver.needs(path):
            tree.replace(path, Unasked(dotted(path)))
            tree.references.pop(path, None)
    tree.sealed = [path for path in tree.sealed if not isinstance(_at(tree, path), Unasked)]


def _open_sealed(tree: Tree, resolver: Resolver, paths: Sequence[Path], *, signs: bool) -> None:
    masters = _masters(tree, signs=signs) if paths else None
    for path in paths:
        sealed = _at(tree, path)
        opened = None
        if path[0] == "encryption":
            tree.refuse(path, "is sealed with a key that stands in its own section", "name a private file, or a vault")
        elif masters is None:
            tree.refuse(path, "is sealed, and there is no encryption.key to open it with", "set encryption.key")
        elif isinstance(sealed, str) and (opened := resolver.open(sealed, key=dotted(path), masters=masters)) is None:
            fix = (
                f"zerotrust-admin encrypt-value {dotted(path)}; it opens at this key and with this encryption.key alone"
            )
            tree.refuse(
                path, "is sealed for another key of the configuration, with another encryption.key, or cut", fix
            )
        tree.replace(path, opened)


def _masters(tree: Tree, *, signs: bool) -> Sequence[bytes] | None:
    try:
        section = Encryption.model_validate(tree.data.get("encryption", {}), context=Elsewhere.of(tree, signs=signs))
    except ValidationError:
        return None
    return section.all_key_bytes()


def _ask(tree: Tree, resolver: Resolver, *, signs: bool) -> None:
    bootstrap = bootstrap_of(tree, signs=signs) if tree.references else None
    if bootstrap is None:
        # What is wrong with the sections that lead there is reported, once; nothing is asked.
        tree.refused.update(tree.references)
        return
    wanted = {path: where for path, where in tree.references.items() if not tree.is_refused(path)}
    if not wanted:
        return
    try:
        answers = resolver.read(bootstrap, sorted({where.secret for where in wanted.values()}))
    except Unread as unread:
        _nothing(tree, unread, wanted)
        return
    for path, where in wanted.items():
        _put(tree, path, where, answers[where.secret])


def bootstrap_of(tree: Tree, *, signs: bool) -> Bootstrap | None:
    """The way to the vault; None, and a problem somewhere, where it cannot be told."""
    section = tree.data.get("secrets", {})
    provider = section.get("provider", _INTEGRATED) if isinstance(section, dict) else None
    kind, ways = _BOOTSTRAPS.get(str(provider), (Bootstrap, _BOOTSTRAP))
    if isinstance(section, dict) and section.get("store") == "redis":
        ways = (*ways, ("redis",))
    for path in tree.references:
        if _leads(path, ways):
            tree.refuse(path, "leads to the vault, and cannot stand in it", f"write it out, or as {path[-1]}_file")
            if path[0] == "secrets":
                tree.replace(path, Unasked(dotted(path)))  # or the section would lack it, too
    data = {way[0]: tree.data[way[0]] for way in ways if way[0] in tree.data}
    if kind is AwsBootstrap:
        data |= _signing(tree)
    if any(_leads(problem.path, ways) for problem in tree.problems):
        return None
    try:
        return kind.model_validate(data | _folder(tree), context=Elsewhere.of(tree, signs=signs))
    except ValidationError:
        return None


_BOOTSTRAPS: Mapping[str, tuple[type[Bootstrap], tuple[Path, ...]]] = {
    _INTEGRATED: (IntegratedBootstrap, _BOOTSTRAP_OF_INTEGRATED),
    "aws": (AwsBootstrap, _BOOTSTRAP_OF_AWS),
}


def _leads(path: Path, ways: Collection[Path]) -> bool:
    return any(path[: len(way)] == way for way in ways)


def _signing(tree: Tree) -> dict[str, Value]:
    """What signs, of the section `aws`: the rest of it may itself stand in the vault. An application's file has none."""
    section = tree.data.get("aws")
    if not isinstance(section, dict):
        return {"aws": None}
    provider = section.get("credentials_provider")
    if provider in _KEYLESS:
        what = f"is {provider}, which gives no keys to ask AWS Secrets Manager with, where values of this file stand"
        tree.refuse(("aws", "credentials_provider"), what, "set environment, file, profile or default")
    signing = {key: section[key] for key in (*_SIGNING, "region") if key in section}
    return {"aws": signing if "region" in signing else None}


def _folder(tree: Tree) -> dict[str, Value]:
    """Where the integrated vault lies: what `Settings.state_directory` says, of a tree."""
    sections = (tree.data.get(name) for name in ("state", "audit"))
    folders = [section["directory"] for section in sections if isinstance(section, dict) and "directory" in section]
    return {"state_directory": folders[0]} if folders else {}


def _nothing(tree: Tree, unread: Unread, wanted: Mapping[Path, Reference]) -> None:
    """The whole vault gives nothing: one line says so, not one for each key."""
    tree.refused.update(wanted)
    tree.refuse(next(iter(wanted)), unread.what, unread.fix)
    tree.may_be_well_later = unread.later


def _put(tree: Tree, path: Path, where: Reference, answer: Mapping[str, Secret] | Unread) -> None:
    if isinstance(answer, Unread):
        tree.refuse(path, answer.what, answer.fix)
        return
    name = where.field or (next(iter(answer)) if len(answer) == 1 else _VALUE)
    if name in answer:
        tree.replace(path, answer[name].reveal())
    elif where.field is None:
        tree.refuse(path, "stands in a secret with several fields", "name the one as PATH#FIELD")
    else:
        tree.refuse(
            path, "stands in a secret without that field", "name another as PATH#FIELD, or add it to the secret"
        )


def _at(tree: Tree, path: Path) -> Value:
    node: Value = tree.data
    for part in path:
        node = node[part] if isinstance(node, dict | tuple) else None  # type: ignore[index]
    return node


def mapping(given: Mapping[str, object]) -> dict[str, Value]:
    """What a program gave in the place of a section; what a file could not hold becomes text, and is judged as such."""
    return {
        str(key): mapping(value)
        if isinstance(value, Mapping)
        else value
        if isinstance(value, str | bool)
        else str(value)
        for key, value in given.items()
    }


def texts(tree: Tree) -> tuple[dict[str, object], dict[str, str]]:
    """Every value by its dotted key: those that a reader of the file sees, and the others."""
    shown: dict[str, object] = {}
    hidden: dict[str, str] = {}
    below: list[tuple[Path, Value]] = [((), tree.data)]
    while below:
        path, value = below.pop()
        if isinstance(value, dict):
            below += [((*path, name), inner) for name, inner in value.items()]
        elif isinstance(value, tuple):
            below += [((*path, index), inner) for index, inner in enumerate(value)]
        elif isinstance(value, str) and not (tree.origin(path).shown and not _is_secret(path)):
            hidden[dotted(path)] = value
        else:
            shown[dotted(path)] = value
    return shown, hidden


def _is_secret(path: Path) -> bool:
    try:
        return shape_at(Settings, path).is_secret
    except KeyError:
        return False  # an entry of a list
