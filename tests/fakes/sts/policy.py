"""IAM policy documents, as far as AssumeRole needs them: read once, then decided without I/O.

What is promised: an explicit Deny wins, nothing is allowed that no statement allows, and a document is either evaluated
whole or refused whole. An element, operator or condition key that is not evaluated here raises ``UnsupportedPolicy`` when
the document is read, so a test can never pass because a condition was skipped.

Source: IAM user guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators" and "Creating a condition
with multiple keys or values".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Context = Mapping[str, Sequence[str]]
"""Condition keys in lower case (IAM compares their names so) to the values of this request; an absent key is not there."""


class UnsupportedPolicy(ValueError):
    """The document is malformed, or holds something this evaluator does not know. The text names it."""


class Kind(enum.Enum):
    """Where a document is attached; it decides which elements are required and which are forbidden."""

    IDENTITY = "identity policy"
    TRUST = "trust policy"
    SESSION = "session policy"


class Decision(enum.Enum):
    """Deny is explicit; neither means that no statement spoke."""

    ALLOW = "allow"
    DENY = "deny"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed. ``principal_arn`` is the user's or the *role's* ARN; ``arn`` names the session if there is one."""

    arn: str
    principal_arn: str
    account: str
    partition: str


@dataclass(frozen=True, slots=True)
class Federated:
    """Who shows a token instead of signing: the ARN of the identity provider that made it, and whose token it is."""

    arn: str
    account: str
    partition: str
    subject: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator applied to one key."""

    key: str
    holds: Callable[[Context], bool]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; ``principals`` and ``federated`` are empty but for trust policies, ``resources`` but for the others."""

    allows: bool
    actions: tuple[re.Pattern[str], ...]
    resources: tuple[re.Pattern[str], ...]
    principals: tuple[str, ...]
    conditions: tuple[Condition, ...]
    federated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A document that was read and found to be understood entirely."""

    kind: Kind
    statements: tuple[Statement, ...]

    def decide(self, *, action: str, resource: str, caller: Caller | Federated, context: Context) -> Decision:
        """What this document alone says to ``action`` on ``resource``."""
        verdicts = {
            statement.allows
            for statement in self.statements
            if _speaks(statement, self.kind, action, resource, caller)
            and all(condition.holds(context) for condition in statement.conditions)
        }
        if False in verdicts:
            return Decision.DENY
        return Decision.ALLOW if verdicts else Decision.NEITHER

    def satisfies(self, key: str, context: Context) -> bool:
        """Whether any statement's conditions on ``key`` (lower case) hold; for the call log, decides nothing."""
        groups = [[c for c in statement.conditions if c.key == key] for statement in self.statements]
        return any(group and all(c.holds(context) for c in group) for group in groups)


def _speaks(statement: Statement, kind: Kind, action: str, resource: str, caller: Caller | Federated) -> bool:
    if not any(pattern.fullmatch(action) for pattern in statement.actions):
        return False
    if isinstance(caller, Federated):
        return kind is Kind.TRUST and caller.arn in statement.federated
    if kind is Kind.TRUST:
        return any(_is_principal(principal, caller) for principal in statement.principals)
    return any(pattern.fullmatch(resource) for pattern in statement.resources)


# --- principals -----------------------------------------------------------------------------------------------------

_PRINCIPAL = re.compile(
    r"\*|[0-9]{12}|arn:aws[a-z-]*:iam::[0-9]{12}:root"
    r"|arn:aws[a-z-]*:iam::[0-9]{12}:(?:user|role)/[\w+=,.@/-]+"
    r"|arn:aws[a-z-]*:sts::[0-9]{12}:assumed-role/[\w+=,.@-]+/[\w+=,.@-]+"
)


def _is_principal(principal: str, caller: Caller) -> bool:
    return principal in {
        "*",
        caller.account,
        f"arn:{caller.partition}:iam::{caller.account}:root",
        caller.principal_arn,
        caller.arn,
    }


_PROVIDER = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/[\w.:/-]+")


def _federated(statement: Mapping[str, Any], where: str) -> tuple[str, ...]:
    named = statement["Principal"]
    if not isinstance(named, dict) or set(named) != {"Federated"}:
        return ()
    providers = _texts(named["Federated"], f"{where}: Principal")
    for provider in providers:
        if not _PROVIDER.fullmatch(provider):
            raise UnsupportedPolicy(f"{where}: {provider!r} is no OIDC provider's ARN")
    return providers


def _principals(statement: Mapping[str, Any], where: str) -> tuple[str, ...]:
    named = statement["Principal"]
    if named == "*":
        return ("*",)
    if _federated(statement, where):
        return ()
    if not isinstance(named, dict) or set(named) != {"AWS"}:
        raise UnsupportedPolicy(f'{where}: Principal must be "*", {{"AWS": ...}} or {{"Federated": ...}}')
    principals = _texts(named["AWS"], f"{where}: Principal")
    for principal in principals:
        # IAM itself refuses wildcards inside a principal: "*" alone is allowed, "role/*" never matches anything.
        if not _PRINCIPAL.fullmatch(principal):
            raise UnsupportedPolicy(f"{where}: {principal!r} is no principal that AssumeRole can be called by")
    return principals


# --- conditions -----------------------------------------------------------------------------------------------------

_SINGLE_VALUED = {
    "sts:externalid",
    "sts:sourceidentity",
    "sts:rolesessionname",
    "aws:sourceidentity",
    "aws:principalarn",
    "aws:principalaccount",
}
_TAG_PREFIXES = ("aws:principaltag/", "aws:requesttag/")
# An OIDC provider's keys begin with its URL, less the scheme.
_OF_PROVIDER = re.compile(r"[a-z0-9][\w.:/-]*\.[\w.:/-]*:(aud|sub)")
_MULTI_VALUED = {"aws:tagkeys", "sts:transitivetagkeys"}

_Match = Callable[[str, str], bool]


def _like(pattern: str, value: str) -> bool:
    return _wildcards(pattern).fullmatch(value) is not None


def _arn_like(pattern: str, value: str) -> bool:
    """Each of the six parts on its own, so that no ``*`` reaches over a colon of the ARN's frame."""
    ours, theirs = pattern.split(":", 5), value.split(":", 5)
    return len(ours) == len(theirs) and all(map(_like, ours, theirs))


_OPERATORS: dict[str, tuple[_Match, bool]] = {
    "StringEquals": (str.__eq__, False),
    "StringNotEquals": (str.__eq__, True),
    "StringEqualsIgnoreCase": (lambda pattern, value: pattern.casefold() == value.casefold(), False),
    "StringNotEqualsIgnoreCase": (lambda pattern, value: pattern.casefold() == value.casefold(), True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    # IAM: ArnEquals and ArnLike behave identically.
    "ArnEquals": (_arn_like, False),
    "ArnLike": (_arn_like, False),
    "ArnNotEquals": (_arn_like, True),
    "ArnNotLike": (_arn_like, True),
    "Bool": (lambda pattern, value: pattern.casefold() == value.casefold(), False),
}


def _conditions(block: Any, where: str) -> tuple[Condition, ...]:
    if not isinstance(block, dict):
        raise UnsupportedPolicy(f"{where}: Condition must be an object")
    found = []
    for operator, keys in block.items():
        if not isinstance(keys, dict) or not keys:
            raise UnsupportedPolicy(f"{where}: {operator} must hold condition keys")
        for key, values in keys.items():
            wanted = _texts(values, f"{where}: {operator} {key}")
            found.append(Condition(key.lower(), _condition(operator, key.lower(), wanted, where)))
    return tuple(found)


def _condition(operator: str, key: str, wanted: tuple[str, ...], where: str) -> Callable[[Context], bool]:
    multi = key in _MULTI_VALUED
    if not (multi or key in _SINGLE_VALUED or key.startswith(_TAG_PREFIXES) or _OF_PROVIDER.fullmatch(key)):
        raise UnsupportedPolicy(f"{where}: condition key {key!r} is not evaluated here")
    if operator == "Null":
        if set(wanted) - {"true", "false"} or len(set(wanted)) != 1:
            raise UnsupportedPolicy(f'{where}: Null takes "true" or "false"')
        absent = wanted[0] == "true"
        return lambda context: (not context.get(key)) is absent
    quantifier, _, rest = operator.rpartition(":")
    name = rest.removesuffix("IfExists")
    if quantifier not in {"", "ForAnyValue", "ForAllValues"} or name not in _OPERATORS:
        raise UnsupportedPolicy(f"{where}: condition operator {operator!r} is not evaluated here")
    if multi and not quantifier:
        raise UnsupportedPolicy(f"{where}: {key!r} has many values: say ForAnyValue or ForAllValues")
    for value in wanted:
        if "${" in value:
            raise UnsupportedPolicy(f"{where}: policy variables such as {value!r} are not evaluated here")
    match, negated = _OPERATORS[name]
    # A single-valued key with a positive operator must be present; a negated one, IfExists and ForAllValues
    # are true of an absent key.
    if_absent = rest != name or quantifier == "ForAllValues" or (negated and quantifier != "ForAnyValue")
    quantify = any if quantifier == "ForAnyValue" else all

    def holds(context: Context) -> bool:
        values = context.get(key)
        if not values:
            return if_absent
        return quantify(any(match(pattern, value) for pattern in wanted) is not negated for value in values)

    return holds


# --- documents ------------------------------------------------------------------------------------------------------

_ELEMENTS = {
    Kind.IDENTITY: {"Sid", "Effect", "Action", "Resource", "Condition"},
    Kind.SESSION: {"Sid", "Effect", "Action", "Resource", "Condition"},
    Kind.TRUST: {"Sid", "Effect", "Action", "Principal", "Condition"},
}
_OPTIONAL = {"Sid", "Condition"}
_VERSIONS = {"2012-10-17", "2008-10-17"}


def read_policy(document: Any, kind: Kind, *, where: str = "") -> Policy:
    """Read a policy document (parsed JSON).

    Args:
        document: The object as IAM stores it.
        kind: Where it is attached.
        where: Named in errors, for example the role's ARN.

    Raises:
        UnsupportedPolicy: The document is malformed or says something that is not evaluated here.
    """
    place = f"{where} {kind.value}".strip()
    if not isinstance(document, dict) or set(document) - {"Version", "Id", "Statement"}:
        raise UnsupportedPolicy(f"{place}: expected an object with Version and Statement")
    if document.get("Version") not in _VERSIONS:
        raise UnsupportedPolicy(f"{place}: Version must be 2012-10-17")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise UnsupportedPolicy(f"{place}: Statement must hold at least one statement")
    return Policy(kind, tuple(_statement(one, kind, f"{place}[{i}]") for i, one in enumerate(statements)))


def _statement(statement: Any, kind: Kind, where: str) -> Statement:
    if not isinstance(statement, dict):
        raise UnsupportedPolicy(f"{where}: a statement must be an object")
    wrong = sorted(set(statement) - _ELEMENTS[kind]) or sorted(_ELEMENTS[kind] - _OPTIONAL - set(statement))
    if wrong:
        raise UnsupportedPolicy(f"{where}: {wrong[0]} is missing, or is not evaluated in this kind of policy")
    if statement["Effect"] not in {"Allow", "Deny"}:
        raise UnsupportedPolicy(f"{where}: Effect must be Allow or Deny")
    actions = _texts(statement["Action"], f"{where}: Action")
    for action in actions:
        if action != "*" and not re.fullmatch(r"[A-Za-z0-9-]+:[A-Za-z0-9*?]+", action):
            raise UnsupportedPolicy(f"{where}: {action!r} is no action")
        # As in IAM, which says that an AssumeRole policy may only specify STS AssumeRole actions.
        if kind is Kind.TRUST and not action.lower().startswith("sts:"):
            raise UnsupportedPolicy(f"{where}: a trust policy may only name sts actions, not {action!r}")
    trust = kind is Kind.TRUST
    resources = () if trust else _texts(statement["Resource"], f"{where}: Resource")
    return Statement(
        allows=statement["Effect"] == "Allow",
        actions=tuple(_wildcards(action, flags=re.IGNORECASE) for action in actions),
        resources=tuple(_wildcards(resource) for resource in resources),
        principals=_principals(statement, where) if trust else (),
        conditions=_conditions(statement.get("Condition", {}), where),
        federated=_federated(statement, where) if trust else (),
    )


def _texts(value: Any, where: str) -> tuple[str, ...]:
    """IAM writes one value plainly and several as a list; JSON booleans stand for their words."""
    values = value if isinstance(value, list) else [value]
    texts = tuple(str(one).lower() if isinstance(one, bool) else one for one in values)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise UnsupportedPolicy(f"{where}: expected text or a list of texts")
    return texts


def _wildcards(pattern: str, *, flags: int = 0) -> re.Pattern[str]:
    """IAM's ``*`` and ``?``, and nothing else, as a regular expression."""
    escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, flags | re.DOTALL)
