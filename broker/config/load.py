"""File, environment and secret files -> Settings, or every problem at once.

1. The file must be private, and not larger than any configuration.     private_file
2. YAML becomes a tree that knows each value's line.                    yaml_source
3. *_file keys, systemd credentials and the environment go over it.     overlay
4. What is sealed is opened, what stands in the vault is fetched.       kept
5. The model validates it, sections compared with each other.           model, elsewhere
6. What is wrong becomes one line each: place, key, fault, fix.         explain
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from broker.config import overlay, resolve, yaml_source
from broker.config.elsewhere import Elsewhere
from broker.config.explain import problems
from broker.config.fault import Problem
from broker.config.fields import Kind, keys, shape
from broker.config.model import Settings
from broker.config.tree import Origin, Tree
from broker.core import collector
from broker.core.errors import ConfigurationError, ConfigurationUnavailable
from broker.core.private_file import PermissionProblem, read_private

# A hundred thousand rules fit.
FILE_MAX_BYTES = 16 * 1024 * 1024


def load(
    path: Path, *, environ: Mapping[str, str], signs: bool = True, resolver: resolve.Resolver | None = None
) -> Settings:
    """The configuration of ``path`` with ``environ`` over it.

    ``resolver``: what opens sealed values and asks the vault. Without it, such values are problems.

    ``signs``: whether the reader asks AWS anything. Who does not needs no key for it: an operator's shell has not what the
    broker's unit has in its environment.

    Raises:
        ConfigurationError: With every problem that was found, a line each:
            ``FILE:LINE: key.path: what — fix: what to do``. No line repeats a secret.
        ConfigurationUnavailable: A part of it stands in a vault that does not answer, and nothing else is wrong.
    """
    with collector.paused():
        tree = yaml_source.parse(_text(path), name=str(path), environ=environ)
        _open_required_sections(tree)
        overlay.apply(tree, environ)
        resolve.fill_in(tree, resolver, signs=signs)
        settings, found = _validate(tree, signs=signs)
    if settings is None or found:
        # "from None": the error that pydantic raised holds the values, secrets among them.
        raise _refusal(tree, found) from None
    return settings


def _refusal(tree: Tree, found: list[Problem]) -> ConfigurationError:
    kind = ConfigurationUnavailable if tree.may_be_well_later and len(found) == 1 else ConfigurationError
    return kind([str(problem) for problem in sorted(found, key=_line)])


@dataclass(frozen=True, slots=True)
class Part:
    """What some file holds of a configuration, by dotted key. ``bootstrap``: the way to the vault, where the file names one.

    ``secrets`` are the values that are secrets by their kind, or that no reader of the file can see.
    """

    secrets: Mapping[str, str] = field(repr=False)
    plain: Mapping[str, object]
    bootstrap: resolve.Bootstrap | None


def load_part(
    path: Path, *, environ: Mapping[str, str], resolver: resolve.Resolver, secrets: Mapping[str, object] | None
) -> Part:
    """What ``path`` holds, for a program that is no broker: whatever is there is right, and nothing is missing.

    ``secrets``: in the place of the section of that name. Raises like ``load``.
    """
    tree = yaml_source.parse(_text(path), name=str(path), environ=environ)
    if secrets is not None:
        tree.clear(("secrets",))
        tree.set(("secrets",), resolve.mapping(secrets), Origin("secrets_config", shown=False))
    overlay.apply(tree, environ)
    resolve.fill_in(tree, resolver, signs=False)
    _, found = _validate(tree, signs=False, is_whole=False)
    if found:
        raise _refusal(tree, found) from None
    for key in (key for key in tree.references if tree.is_refused(key)):
        what = "stands in the vault, and nothing here leads to one"
        raise ConfigurationError([str(Problem(tree.origin(key).place, key, what, "add the section secrets"))])
    names_vault = "secrets" in tree.data
    shown, hidden = resolve.texts(tree)
    return Part(secrets=hidden, plain=shown, bootstrap=resolve.bootstrap_of(tree, signs=False) if names_vault else None)


def _text(path: Path) -> str:
    try:
        return read_private(path, limit=FILE_MAX_BYTES).decode()
    except PermissionProblem as problem:
        raise ConfigurationError([str(Problem(str(path), (), problem.what, problem.fix))]) from problem
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = "is not UTF-8 text"
        raise ConfigurationError([str(Problem(f"{path}:{line}", (), what, "save it as UTF-8"))]) from None


def _line(problem: Problem) -> int:
    """For the order of the report: other sources first, then the file from top to bottom."""
    line = problem.place.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


def _open_required_sections(tree: Tree) -> None:
    """An absent section is validated as an empty one, so that the keys it needs are named one by one."""
    for key, info in keys(Settings):
        if info.is_required() and shape(info).kind is Kind.SECTION:
            tree.data.setdefault(key, {})


def _validate(tree: Tree, *, signs: bool, is_whole: bool = True) -> tuple[Settings | None, list[Problem]]:
    settings = None
    found = list(tree.problems)
    try:
        settings = Settings.model_validate(tree.data, context=Elsewhere.of(tree, signs=signs))
    except ValidationError as error:
        found += problems(error, Settings, tree, is_whole=is_whole)
    return settings, found
