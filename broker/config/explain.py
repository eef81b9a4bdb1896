"""pydantic's errors in the words of this house: what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from broker.config.fault import ABSENCE, FAULT, Problem, nearest, quoted
from broker.config.fields import elsewhere_keys, keys, leaves, model_at, shapes
from broker.config.tree import Path, Tree

_MAPPING = ("is not a mapping", "write key: value lines below it")
_LIST = ("is not a list", "write [one, two], or lines that begin with -")
# The errors that pydantic itself raises for this model, beside the faults of our own validators.
_SENTENCES = {
    "model_type": _MAPPING,
    "mapping_type": _MAPPING,
    "dict_type": _MAPPING,
    "tuple_type": _LIST,
    "bool_type": ("is neither true nor false", "write true or false, without quotes"),
    "string_type": ("is not text", "write one value, in quotes"),
    "string_unicode": ("is not UTF-8 text", "encode it as UTF-8"),
    "too_short": ("is empty", "give at least one, or remove the key"),
}


def problems(error: ValidationError, model: type[BaseModel], tree: Tree, *, is_whole: bool = True) -> Iterator[Problem]:
    """One problem for each error whose value has none yet. ``is_whole``: whether what is missing is one."""
    errors = error.errors(include_url=False, include_input=False)
    around = {details["loc"][:length] for details in errors for length in range(len(details["loc"]))}
    for details in errors:
        # An error of a mapping's key has "[key]" behind it.
        path = tuple(part for part in details["loc"] if part != "[key]")
        # pydantic counts only the valid entries, so a list of bad ones is too short as well.
        is_echo = details["type"] == "too_short" and details["loc"] in around
        is_absence = not is_whole and details["type"] in ("missing", ABSENCE)
        if not is_echo and not is_absence and not tree.is_refused(path):
            origin = tree.origin(path)
            what, fix = _words(details, model, path, shown=origin.shown)
            yield Problem(origin.place, path, what, fix)


def _words(details: ErrorDetails, model: type[BaseModel], path: Path, *, shown: bool) -> tuple[str, str]:
    context = details.get("ctx", {})
    match details["type"]:
        case kind if kind in (FAULT, ABSENCE):
            value = f"{quoted(context['shown'])} " if shown and context["shown"] is not None else ""
            return value + context["what"], context["fix"]
        case "missing":
            return "is missing", _how_to_add(model, path)
        case "extra_forbidden":
            return "is not a known key", nearest(str(path[-1]), _known_keys(model, path[:-1])) + "remove it"
        case "literal_error":
            return "is none of the possible values", f"write {context['expected']}"
        case "too_long":
            return f"has more than {context['max_length']} entries", "remove some"
        case kind:
            return _SENTENCES[kind]


def _how_to_add(model: type[BaseModel], path: Path) -> str:
    variables = {leaf.path: leaf for leaf in leaves(model)}
    leaf = variables.get(tuple(str(part) for part in path))
    if leaf is None:
        return "add it"
    file = f", name a file as {path[-1]}_file" if leaf.shape.is_secret else ""
    return f"add it{file}, or set {leaf.variable}"


def _known_keys(model: type[BaseModel], path: Path) -> list[str]:
    section = model_at(model, path)
    found = [key for key, _info in keys(section)]
    for key, inner in shapes(section):
        found += elsewhere_keys(section, key) if inner.comes_from_elsewhere else ()
    return found
