"""What the model says about its keys: sections, lists, mappings, and the leaves that other sources can set."""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from broker.core.secret import Secret


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
    def has_file_variant(self) -> bool:
        """Whether ``KEY_file`` exists: for a key that is itself a path, a number, or yes or no, it would only confuse."""
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
    """A key that one environment variable sets."""

    path: tuple[str, ...]
    shape: Shape
    info: FieldInfo

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


def leaves(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every key outside lists and mappings, in the model's order."""
    for key, info in keys(model):
        inner = shape(info)
        if inner.kind is Kind.SECTION and inner.model is not None:
            yield from leaves(inner.model, (*prefix, key))
        else:
            yield Leaf((*prefix, key), inner, info)


def model_at(model: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel]:
    """The model of the mapping at ``path``, which must be one that the model describes."""
    if not path:
        return model
    inner = {key: shape(info) for key, info in keys(model)}[str(path[0])]
    # The entry of a list or mapping is one step further, behind its index or name.
    return model_at(inner.model or model, path[1 if inner.kind is Kind.SECTION else 2 :])


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
