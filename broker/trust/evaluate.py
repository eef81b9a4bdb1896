"""What a live policy document says to one action: yes, no, or perhaps. Pure.

Live documents hold conditions on what only AWS knows at the moment of a call (an organisation, a network, a clock). Each
of them makes the answer `PERHAPS`, never a guess, and never silently a yes.

Source: IAM User Guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators", "Creating a condition
with multiple keys or values", "AWS JSON policy elements: Principal".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


class Answer(enum.IntEnum):
    """Ordered, so that ``min`` is *and* and ``max`` is *or*."""

    NO = 0
    PERHAPS = 1
    YES = 2

    def negated(self) -> Answer:
        """The answer to the opposite question."""
        return Answer(Answer.YES - self)


class Present:
    """The value of a condition key that is there, and different in each call."""


PRESENT = Present()

Values = tuple[str, ...] | Present
"""Of one condition key; the empty tuple where the key is known to be absent."""

Context = Mapping[str, Values]
"""Condition keys in lower case. What is not in it is not known."""

_Match = Callable[[str, str], bool]

_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def decide(
    documents: Iterable[Any],
    *,
    action: str,
    context: Context,
    principal: str | None = None,
    resource: str | None = None,
) -> Answer:
    """Whether the documents together allow an action.

    Args:
        documents: Parsed JSON, of one kind: trust policies, or identity policies.
        action: Such as ``sts:AssumeRole``.
        context: What is known of the request.
        principal: The caller's user or role ARN, for trust policies.
        resource: The role's ARN, for identity policies.
    """
    allowed = denied = Answer.NO
    for statement in (one for document in documents for one in statements_of(document)):
        speaks = min(
            matches_action(statement, action),
            _matches(statement, "Resource", resource, _like) if principal is None else _trusts(statement, principal),
            _conditions(statement, context),
        )
        if statement.get("Effect") == "Deny":
            denied = max(denied, speaks)
        elif statement.get("Effect") == "Allow":
            allowed = max(allowed, speaks)
    return min(allowed, denied.negated())


def statements_of(document: Any) -> list[Mapping[str, Any]]:
    """The statements of a document."""
    found = document.get("Statement") if isinstance(document, Mapping) else None
    return [one for one in _many(found) if isinstance(one, Mapping)]


def principals_of(statement: Mapping[str, Any]) -> list[str]:
    """Whom a trust policy's statement names, services too; "*" for everybody. `NotPrincipal` names everybody else."""
    if "NotPrincipal" in statement:
        return ["*"]
    named = statement.get("Principal")
    if not isinstance(named, Mapping):
        return [str(one) for one in _many(named)]
    return [str(one) for kind in named.values() for one in _many(kind)]


def matches_action(statement: Mapping[str, Any], action: str) -> Answer:
    """Whether a statement speaks of an action."""
    return _matches(statement, "Action", action, lambda pattern, value: _like(pattern.lower(), value.lower()))


def accepted_values(statement: Mapping[str, Any], key: str) -> list[str]:
    """The values and patterns of a condition key (lower case) that a statement's comparisons of strings accept."""
    block = statement.get("Condition")
    return [
        _text(one)
        for operator, keys in (block.items() if isinstance(block, Mapping) else ())
        if str(operator).rpartition(":")[2].startswith(("StringEquals", "StringLike")) and isinstance(keys, Mapping)
        for name, values in keys.items()
        if str(name).lower() == key
        for one in _many(values)
    ]


def _conditions(statement: Mapping[str, Any], context: Context) -> Answer:
    """Whether all conditions of a statement hold."""
    block = statement.get("Condition") or {}
    if not isinstance(block, Mapping):
        return Answer.PERHAPS
    answers = [
        _condition(str(operator), str(key), [_text(one) for one in _many(values)], context)
        for operator, keys in block.items()
        for key, values in (keys.items() if isinstance(keys, Mapping) else [("", "")])
    ]
    return min(answers, default=Answer.YES)


def _matches(statement: Mapping[str, Any], element: str, value: str | None, match: _Match) -> Answer:
    if value is None:
        return Answer.NO
    opposite = f"Not{element}"
    name = opposite if opposite in statement else element
    patterns = [str(one) for one in _many(statement.get(name))]
    if any("${" in pattern for pattern in patterns):
        return Answer.PERHAPS
    found = any(match(pattern, value) for pattern in patterns)
    return Answer.YES if found is (name == element) else Answer.NO


def _trusts(statement: Mapping[str, Any], principal: str) -> Answer:
    if "NotPrincipal" in statement:
        return Answer.PERHAPS
    frame = principal.rpartition(":")[0]
    account = frame.rpartition(":")[2]
    names = principals_of(statement)
    if {"*", principal, account, f"{frame}:root"} & set(names):
        return Answer.YES
    # One session of the caller: of one person, for a session is named after its person.
    sessions = f"{frame.replace(':iam:', ':sts:')}:assumed-role/{principal.rpartition('/')[2]}/"
    return Answer.PERHAPS if any(name.startswith(sessions) for name in names) else Answer.NO


def _condition(operator: str, key: str, wanted: Sequence[str], context: Context) -> Answer:
    quantifier, _, rest = operator.rpartition(":")
    name = rest.removesuffix("IfExists")
    values = context.get(key.lower())
    if values is None or any("${" in one for one in wanted):
        return Answer.PERHAPS
    if name == "Null":
        is_absent = values == ()
        return max(_answer(is_absent is (one == "true")) for one in wanted)
    positive = _NEGATED.get(name, name)
    is_negated = positive != name
    if positive not in _OPERATORS:
        return Answer.PERHAPS
    if values == ():
        is_true = rest != name or quantifier == "ForAllValues" or (is_negated and quantifier != "ForAnyValue")
        return _answer(is_true)
    if isinstance(values, Present):
        found = Answer.YES if positive == "StringLike" and "*" in wanted else Answer.PERHAPS
        return found.negated() if is_negated else found
    hits = [any(_OPERATORS[positive](one, value) for one in wanted) is not is_negated for value in values]
    return _answer(any(hits) if quantifier == "ForAnyValue" else all(hits))


def _like(pattern: str, value: str) -> bool:
    escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(escaped, value, re.DOTALL) is not None


def _arn_like(pattern: str, value: str) -> bool:
    """Part by part: no ``*`` reaches over a colon of the frame."""
    ours, theirs = pattern.split(":", 5), value.split(":", 5)
    return len(ours) == len(theirs) and all(map(_like, ours, theirs))


_OPERATORS: Mapping[str, _Match] = {
    "StringEquals": str.__eq__,
    "StringEqualsIgnoreCase": lambda pattern, value: pattern.casefold() == value.casefold(),
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda pattern, value: pattern.casefold() == value.casefold(),
}


def _answer(is_true: bool) -> Answer:  # noqa: FBT001  # its only argument
    return Answer.YES if is_true else Answer.NO


def _many(value: Any) -> list[Any]:
    """IAM writes one value plainly and several as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
