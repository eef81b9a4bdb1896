"""What the model says about its keys: sections, lists, mappings, and the leaves that other sources can set."""

from __future__ import annotations

import enum
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from broker.core.secret import Secret

# What stands behind a key's name where its value is elsewhere: in a private file, in the vault.
FILE, SECRET = "_file", "_secret"
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]{1,6})\]")


class Kind(enum.Enum):
    """What stands behind a key."""

    SECTION = "section"
    LIST = "list"
    MAPPING = "mapping"
    SCALAR = "scalar"


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a key's value. ``model`` is the section's own, or that of a list's or mapping's entries."""

    kind: Kind
    model: type[BaseModel] | None = None
    scalar: type | None = None
    choices: tuple[str, ...] = ()

    @property
    def comes_from_elsewhere(self) -> bool:
        """Whether ``KEY_file`` and ``KEY_secret`` exist: for a path, a number, or yes or no, they would only confuse."""
        return self.kind is Kind.SCALAR and self.scalar not in (Path, bool, int)

    @property
    def is_list_of_scalars(self) -> bool:
        """Whether commas can separate its entries."""
        return self.kind is Kind.LIST and self.model is None

    @property
    def is_secret(self) -> bool:
        """Whether its value may be shown to nobody."""
        return self.scalar is Secret


@dataclass(frozen=True, slots=True)
class Leaf:
    """A key that one environment variable sets. ``model``: of the section that it stands in."""

    path: tuple[str, ...]
    shape: Shape
    info: FieldInfo
    model: type[BaseModel]

    @property
    def variable(self) -> str:
        """The environment variable's name."""
        return "_".join(("ZEROTRUST", *self.path)).upper()

    @property
    def credential(self) -> str:
        """The systemd credential's name."""
        return ".".join(self.path)


def keys(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Each key as it is written in YAML."""
    for name, info in model.model_fields.items():
        yield info.alias or name, info


@cache
def shapes(model: type[BaseModel]) -> tuple[tuple[str, Shape], ...]:
    """Each key with its value's shape; worked out once, for there may be a hundred thousand rules of one model."""
    return tuple((key, shape(info)) for key, info in keys(model))


def shape(info: FieldInfo) -> Shape:
    """Of one field."""
    return _shape(info.annotation)


@cache
def elsewhere_keys(model: type[BaseModel], key: str) -> tuple[str, ...]:
    """``KEY_file`` and ``KEY_secret``, without those that are keys of their own; for a key that has such variants."""
    known = {name for name, _shape in shapes(model)}
    return tuple(variant for variant in (f"{key}{FILE}", f"{key}{SECRET}") if variant not in known)


def leaves(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every key outside lists and mappings, in the model's order."""
    for key, info in keys(model):
        inner = shape(info)
        if inner.kind is Kind.SECTION and inner.model is not None:
            yield from leaves(inner.model, (*prefix, key))
        else:
            yield Leaf((*prefix, key), inner, info, model)


def model_at(model: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel]:
    """The model of the mapping at ``path``, which must be one that the model describes."""
    if not path:
        return model
    inner = {key: shape(info) for key, info in keys(model)}[str(path[0])]
    # The entry of a list or mapping is one step further, behind its index or name.
    return model_at(inner.model or model, path[1 if inner.kind is Kind.SECTION else 2 :])


def shape_at(model: type[BaseModel], path: tuple[str | int, ...]) -> Shape:
    """Of the key at ``path``, a key of a mapping that the model describes."""
    return dict(shapes(model_at(model, path[:-1])))[str(path[-1])]


def path_of(model: type[BaseModel], key: str) -> tuple[str | int, ...] | None:
    """The path that ``fault.dotted`` writes as ``key``, where a single text stands; None where the model has none there."""
    path = tuple(int(found[2]) if found[2] else found[1] for found in _STEP.finditer("." + key))
    if "".join(map(_step, path)) != "." + key:
        return None
    found = _shape_of_step(model, path)
    return path if found is not None and found.comes_from_elsewhere else None


def _shape_of_step(model: type[BaseModel], path: tuple[str | int, ...]) -> Shape | None:
    """Of the key at ``path``; None where one of its steps leads nowhere."""
    inner = dict(shapes(model)).get(str(path[0]))
    if inner is None or len(path) == 1:
        return inner
    if inner.kind in (Kind.LIST, Kind.MAPPING):
        # The entry of a list or mapping is one step further, behind its index or name.
        if isinstance(path[1], int) != (inner.kind is Kind.LIST) or len(path) == 2:  # noqa: PLR2004
            return None
        path = path[1:]
    return None if inner.model is None else _shape_of_step(inner.model, path[1:])


def _step(part: str | int) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


def _shape(annotation: Any) -> Shape:
    bare = _bare(annotation)
    origin = get_origin(bare)
    if origin is tuple:
        return Shape(Kind.LIST, model=_shape(get_args(bare)[0]).model)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return Shape(Kind.MAPPING, model=_shape(get_args(bare)[1]).model)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return Shape(Kind.SECTION, model=bare)
    if origin is Literal:
        return Shape(Kind.SCALAR, scalar=str, choices=get_args(bare))
    return Shape(Kind.SCALAR, scalar=bare if isinstance(bare, type) else str)


def _bare(annotation: Any) -> Any:
    """Without Annotated and without ``| None``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not type(None)]
        return _bare(inner[0])
    return annotation
