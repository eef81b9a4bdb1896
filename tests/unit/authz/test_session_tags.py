"""What a grant says of somebody in tags, and how a scope limits it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authz.policy import Policy, decide
from broker.core.errors import AccessDenied, BrokerError
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Requirements, Rule
from broker.core.scope import PolicyArn, Scope, ScopeName
from broker.core.tags import Tag, TagTemplate
from tests.fakes.cache import MovedClock, cache_of

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
ROLE = Role(
    name=RoleName("developer"),
    chain=(Hop(arn=RoleArn.parse("arn:aws:iam::111122223333:role/Developer"), external_id=None),),
    duration=timedelta(hours=1),
)
ARN = PolicyArn.parse("arn:aws:iam::aws:policy/ReadOnlyAccess")
READ_ONLY = Scope(name=ScopeName("readonly"), policy=None, policy_arns=(ARN,))
WRITER = Scope(name=ScopeName("writer"), policy="{}", policy_arns=())


def tag(key: str, template: str, *, optional: bool = False, transitive: bool = False) -> Tag:
    return Tag(key=key, template=TagTemplate.parse(template), transitive=transitive, optional=optional)


def rule(*groups: str, name: str = "rule", principals: Sequence[str] = ()) -> Rule:
    return Rule(
        name=name,
        principals=tuple(map(PrincipalPattern.parse, principals)),
        groups=groups,
        networks=(),
        require=Requirements(),
        roles=frozenset({ROLE.name}),
    )


def ask(
    role: Role, *rules: Rule, groups: Sequence[str] = (), scope: str | None = None, who: str = "alice/admin@R"
) -> Grant:
    identity = Identity(
        principal=Principal.parse(who),
        ticket_end=NOW + timedelta(days=1),
        authenticated_at=NOW,
        channel_bound=False,
        indicators=frozenset(),
        groups=frozenset(groups),
        mutual_token=None,
    )
    policy = Policy(roles={role.name: role}, rules=rules)
    limited = None if scope is None else ScopeName(scope)
    return decide(policy, identity=identity, role=role.name, address=None, now=NOW, scope=limited)


def values(grant: Grant) -> dict[str, str]:
    return {tag.key: tag.value for tag in grant.tags}


def test_tags_say_who_by_which_rule_and_group_to_which_role() -> None:
    role = replace(
        ROLE,
        tags=(
            tag("Who", "{principal}"),
            tag("From", "{realm}"),
            tag("Team", "dev-{group}"),
            tag("By", "{rule}:{role}"),
        ),
    )
    given = ask(role, rule("R\\aws-dev"), groups=["R\\aws-dev"])
    assert values(given) == {"Who": "alice/admin@R", "From": "R", "Team": "dev-aws-dev", "By": "rule:developer"}


def test_somebody_in_several_groups_counts_as_in_the_first_that_the_rule_names() -> None:
    role = replace(ROLE, tags=(tag("Team", "{group}"),))
    both = ["R\\blue", "R\\red", "R\\none-of-the-rule's"]
    assert values(ask(role, rule("R\\red", "R\\blue"), groups=both)) == {"Team": "red"}
    assert values(ask(role, rule("R\\blue", "R\\red"), groups=both)) == {"Team": "blue"}
    assert values(ask(role, rule("R\\red", "R\\blue"), groups=["R\\blue"])) == {"Team": "blue"}


@pytest.mark.parametrize("optional", [False, True])
def test_a_tag_of_a_group_is_left_out_where_the_rule_names_somebody_by_none(optional: bool) -> None:  # noqa: FBT001
    by_name = rule("R\\dev", principals=["*/admin@R"])
    role = replace(ROLE, tags=(tag("Team", "in-{group}", optional=optional), tag("Who", "{principal}")))
    assert values(ask(role, by_name)) == {"Who": "alice/admin@R"}
    assert values(ask(role, by_name, groups=["R\\other"])) == {"Who": "alice/admin@R"}
    assert values(ask(role, by_name, groups=["R\\dev"])) == {"Who": "alice/admin@R", "Team": "in-dev"}


def test_a_tag_of_the_event_waits_for_it_so_that_every_request_of_somebody_finds_the_same_credentials() -> None:
    role = replace(ROLE, tags=(tag("Event", "{event}"), tag("Both", "{principal}:{event}")))
    first, second = (ask(role, rule(principals=["alice/admin@R"])) for _ in range(2))
    assert values(first) == {"Event": "{event}", "Both": "alice/admin@R:{event}"}
    assert first.tags == second.tags
    cache = cache_of(MovedClock())
    assert cache.name(first) == cache.name(second)
    plain = ask(ROLE, rule(principals=["alice/admin@R"]))
    assert cache.name(plain) != cache.name(first), "another template is another session"


_GROUPS = st.lists(st.sampled_from(["R\\a", "R\\b", "R\\c"]), unique=True, max_size=3)
_RULES = st.lists(
    st.builds(
        lambda groups, by_name: rule(*groups, principals=["alice/admin@R"] if by_name else []), _GROUPS, st.booleans()
    ),
    max_size=4,
)


@given(_RULES, _GROUPS, st.booleans(), st.integers(0, 4), _GROUPS)
def test_with_tags_too_adding_a_rule_never_takes_anything_away(
    rules: list[Rule],
    groups: list[str],
    optional: bool,  # noqa: FBT001  # as hypothesis gives it
    place: int,
    more: list[str],
) -> None:
    role = replace(ROLE, tags=(tag("Team", "{group}", optional=optional),))
    try:
        ask(role, *rules, groups=groups)
    except BrokerError:
        return
    added = rule(*more, name="added", principals=["alice/admin@R"])
    assert ask(role, *rules[:place], added, *rules[place:], groups=groups).role == role


def test_a_scope_is_granted_by_name_and_without_one_the_whole_role() -> None:
    role = replace(ROLE, scopes=(READ_ONLY, WRITER))
    mine = rule(principals=["*/admin@R"])
    assert ask(role, mine, scope="writer").scope == WRITER
    assert ask(role, mine).scope is None


@pytest.mark.parametrize("scope", ["Readonly", "readonly2", "none"])
def test_an_unknown_scope_is_refused_like_a_role_that_does_not_exist(scope: str) -> None:
    role = replace(ROLE, scopes=(READ_ONLY,))
    with pytest.raises(AccessDenied) as unknown:
        ask(role, rule(principals=["*/admin@R"]), scope=scope)
    with pytest.raises(AccessDenied) as forbidden:
        ask(role, scope="readonly")
    assert type(unknown.value) is type(forbidden.value)
    assert unknown.value.hint == forbidden.value.hint is None


def test_a_digest_changes_with_a_tag_or_the_scope_that_is_asked_for_and_with_no_other_scope() -> None:
    variants = [
        ROLE,
        replace(ROLE, tags=(tag("Team", "{group}"),)),
        replace(ROLE, tags=(tag("Team", "group"),)),
        replace(ROLE, tags=(tag("Team", "{group}", optional=True),)),
        replace(ROLE, tags=(tag("Team", "{group}", transitive=True),)),
        replace(ROLE, tags=(tag("team", "{group}"),)),
    ]
    digests = {Policy(roles={role.name: role}).digest(role.name) for role in variants}
    assert len(digests) == len(variants)

    def digest(*scopes: Scope, name: str | None = "readonly") -> str:
        wanted = None if name is None else ScopeName(name)
        return Policy(roles={ROLE.name: replace(ROLE, scopes=scopes)}).digest(ROLE.name, wanted)

    other = PolicyArn.parse("arn:aws:iam::aws:policy/Other")
    changed = {
        digest(READ_ONLY),
        digest(replace(READ_ONLY, policy_arns=(other,))),
        digest(replace(READ_ONLY, policy="{}")),
        digest(READ_ONLY, WRITER, name="writer"),
        digest(READ_ONLY, name=None),
    }
    assert len(changed) == 5
    assert digest(READ_ONLY, WRITER) == digest(READ_ONLY)
    assert digest(READ_ONLY, name=None) == digest(name=None)
