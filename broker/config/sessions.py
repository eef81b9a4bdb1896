"""What a role's sessions carry and how they can be limited: its tags and its scopes.

Whatever AWS would refuse is refused here, with the longest values that the rest of the configuration makes possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from broker.config.elsewhere import Elsewhere
from broker.config.fault import fault, nearest
from broker.config.section import Section
from broker.config.values import AsText, matching
from broker.core import scope, tags
from broker.core.roles import RoleArn
from broker.core.scope import MalformedPolicy, PolicyArn, Scope, ScopeName
from broker.core.tags import MalformedTag, Placeholder, Tag, TagTemplate

# --- tags ------------------------------------------------------------------------------------------------------------


def _key(text: str) -> str:
    try:
        tags.check_key(text)
    except MalformedTag as error:
        raise _refused(error, text) from None
    return text


def _template(text: str) -> TagTemplate:
    try:
        return TagTemplate.parse(text)
    except MalformedTag as error:
        raise _refused(error, text) from None


def _fits(template: TagTemplate, info: ValidationInfo) -> TagTemplate:
    longest = template.longest(Elsewhere.seen_by(info).lengths)
    if longest > tags.VALUE_MAX:
        what = f"can become {longest} characters long, of which AWS takes {tags.VALUE_MAX}"
        raise fault(what, "use fewer placeholders, or shorter names", shown=template.text)
    return template


def _distinct(templates: Mapping[str, TagTemplate]) -> Mapping[str, TagTemplate]:
    try:
        tags.check_distinct(list(templates))
    except MalformedTag as error:
        raise _refused(error, None) from None
    return templates


def _listed(key: str, info: ValidationInfo) -> str:
    known = info.data.get("tags")  # None where they have a fault of their own
    if known is not None and key not in known:
        raise fault("is no tag of this role", f"{nearest(key, known)}add it to tags", shown=key)
    return key


def _may_go(key: str, info: ValidationInfo) -> str:
    known = info.data.get("tags") or {}
    if key in known and known[key].names(Placeholder.PRINCIPAL):
        raise fault("says who somebody is, and is never left out", "remove it from optional_tags", shown=key)
    return key


def _refused(error: MalformedTag | MalformedPolicy, shown: str | None) -> PydanticCustomError:
    return fault(error.what, error.fix, shown=shown)


TagTemplates = Annotated[
    Mapping[Annotated[str, AsText(_key)], Annotated[TagTemplate, AsText(_template), AfterValidator(_fits)]],
    Field(max_length=tags.TAGS_MAX),
    AfterValidator(_distinct),
]
TagKeys = tuple[Annotated[str, AsText(str), AfterValidator(_listed)], ...]
OptionalTagKeys = tuple[Annotated[str, AsText(str), AfterValidator(_listed), AfterValidator(_may_go)], ...]


def tags_of(templates: Mapping[str, TagTemplate], *, transitive: TagKeys, optional: TagKeys) -> tuple[Tag, ...]:
    """A role's tags as the other rooms know them."""
    return tuple(
        Tag(key=key, template=template, transitive=key in transitive, optional=key in optional)
        for key, template in templates.items()
    )


# --- scopes ----------------------------------------------------------------------------------------------------------


class Document:
    """Marks a JSON policy: a mapping, or JSON as text (from a file, mostly)."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_policy)


def _policy(value: object) -> str:
    if not isinstance(value, str | dict):
        raise fault(
            "is no policy document", "write a mapping with Version and Statement, or name a file as policy_file"
        )
    if any(type(leaf) is int for leaf in _leaves(value)):
        raise fault("has a number in it", "put it in quotes")
    try:
        return scope.read_policy(value) if isinstance(value, str) else scope.compact_policy(value)
    except MalformedPolicy as error:
        raise _refused(error, None) from None


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _policy_arn(text: str) -> PolicyArn:
    try:
        return PolicyArn.parse(text)
    except MalformedPolicy as error:
        raise _refused(error, text) from None


class ScopeEntry(Section):
    """A session policy, by a name that clients ask for: what the role may, and this allows too. At least one of the keys."""

    policy_arns: tuple[Annotated[PolicyArn, AsText(_policy_arn)], ...] = Field(
        default=(),
        max_length=scope.POLICY_ARNS_MAX,
        description="Managed policies, up to ten: AWS's own (`arn:aws:iam::aws:policy/...`) or of the role's account.",
    )
    policy: Annotated[str | None, Document()] = Field(
        default=None,
        description="A policy document: as YAML or JSON here, or as JSON in the file. With the ARNs 2,048 characters.",
    )


def useful(entry: ScopeEntry) -> ScopeEntry:
    """A scope that limits something, within AWS's limits."""
    if not entry.policy_arns and entry.policy is None:
        raise fault("limits nothing", "add policy_arns or policy")
    if len(set(entry.policy_arns)) < len(entry.policy_arns):
        raise fault("names a policy twice", "keep one of the two")
    size = _scope(ScopeName(""), entry).size
    if size > scope.TEXT_MAX:
        what = f"has {size} characters in its policy and ARNs together, of which AWS takes {scope.TEXT_MAX}"
        raise fault(what, "say less, or put the policy into AWS and its ARN here")
    return entry


NewScopeName = Annotated[
    ScopeName,
    matching(
        scope.SCOPE_NAME.pattern, "is not a scope's name", "use up to 64 letters, digits, dots, dashes, underscores"
    ),
]
ScopeEntries = Mapping[NewScopeName, Annotated[ScopeEntry, AfterValidator(useful)]]


def within_reach(entries: ScopeEntries, target: RoleArn) -> ScopeEntries:
    """Scopes whose policies AWS can find: of the role's account or its own, in the role's partition."""
    for name, entry in entries.items():
        for arn in entry.policy_arns:
            if arn.partition != target.partition or arn.account not in (scope.AWS_OWNED, target.account):
                fix = f"use AWS's own (arn:{target.partition}:iam::aws:policy/...) or one of account {target.account}"
                raise fault(f"{name}: {arn.text} is no policy that the role's account can have", fix)
    return entries


def scopes_of(entries: ScopeEntries) -> tuple[Scope, ...]:
    """A role's scopes as the other rooms know them."""
    return tuple(_scope(name, entry) for name, entry in entries.items())


def _scope(name: ScopeName, entry: ScopeEntry) -> Scope:
    return Scope(name=name, policy=entry.policy, policy_arns=entry.policy_arns)
