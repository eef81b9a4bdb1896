"""The rules of the section `secrets`: who may do what with which secrets. What no rule allows is denied."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from broker.config.elevation import ReasonedRequire
from broker.config.fault import fault
from broker.config.people import RuleGroup, RulePrincipal
from broker.config.section import Section
from broker.config.values import AsText, Networks, matching
from broker.core.pattern import PrincipalPattern, UnsafePattern
from broker.core.roles import ROLE_NAME
from broker.core.secret_path import PathPattern
from broker.core.secret_rule import Action, SecretRule

ActionWord = Literal["list", "read", "write", "delete", "destroy"]
assert set(get_args(ActionWord)) == set(Action)  # noqa: S101  # the one is for the reference, the other for the decision


def _path_pattern(text: str) -> str:
    try:
        PathPattern.parse(text)
    except UnsafePattern as error:
        raise fault(error.what, error.fix, shown=text) from None
    return text


class SecretRuleEntry(Section):
    """Who may do what with which secrets."""

    name: Annotated[
        str,
        matching(ROLE_NAME.pattern, "is not a rule's name", "use up to 64 letters, digits, dots, dashes, underscores"),
    ] = Field(description="A name of its own, for the audit record.")
    paths: tuple[Annotated[str, AsText(_path_pattern)], ...] = Field(
        min_length=1,
        description="Which secrets, letter by letter. A `*` stands for one whole component, `**` at the end for one or more: "
        "`team-a/*`, `*/db`, `team-a/**`.",
    )
    principals: tuple[RulePrincipal, ...] = Field(default=(), description="As in `rules`.")
    groups: tuple[RuleGroup, ...] = Field(default=(), description="As in `rules`.")
    networks: Networks | None = Field(default=None, description="Only from these networks (CIDR). Without it: any.")
    actions: tuple[ActionWord, ...] = Field(
        min_length=1,
        description="`list` (that it is there, its versions, what is said about it; no value), `read`, `write` (new versions, "
        "and what is said about it), `delete` (and undelete), `destroy` (for good).",
    )
    require: ReasonedRequire = Field(
        default=ReasonedRequire(), description="What the ticket must be like, and whether a reason is needed."
    )

    def made(self) -> SecretRule:
        """The rule as the other rooms know it."""
        return SecretRule(
            name=self.name,
            principals=tuple(map(PrincipalPattern.parse, self.principals)),
            groups=self.groups,
            networks=tuple(self.networks or ()),
            require=self.require.made(),
            paths=tuple(map(PathPattern.parse, self.paths)),
            actions=frozenset(map(Action, self.actions)),
        )


def _named(rule: SecretRuleEntry) -> SecretRuleEntry:
    if not rule.principals and not rule.groups:
        raise fault("names nobody", "add principals or groups")
    return rule


def _each_once(rules: tuple[SecretRuleEntry, ...]) -> tuple[SecretRuleEntry, ...]:
    names = Counter(rule.name for rule in rules)
    if twice := [name for name, number in names.items() if number > 1]:
        raise fault("has several rules of one name", "give each rule a name of its own", shown=twice[0])
    return rules


SecretRules = Annotated[tuple[Annotated[SecretRuleEntry, AfterValidator(_named)], ...], AfterValidator(_each_once)]
