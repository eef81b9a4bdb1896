"""The sections `roles` and `rules`: what a role name stands for, and who may have it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.elevation import SHORTEST_DURATION, ApproversEntry, RuleRequire, useful_age
from broker.config.elsewhere import Elsewhere
from broker.config.fault import fault, nearest
from broker.config.people import RuleGroup, RulePrincipal
from broker.config.section import Section
from broker.config.sessions import (
    OptionalTagKeys,
    ScopeEntries,
    TagKeys,
    TagTemplates,
    scopes_of,
    tags_of,
    within_reach,
)
from broker.config.values import (
    EXTERNAL_ID_FORM,
    AsText,
    Duration,
    Networks,
    duration_text,
    matching,
)
from broker.core.identity import LONGEST_DELEGATION
from broker.core.partition import EXAMPLES
from broker.core.pattern import PrincipalPattern
from broker.core.roles import (
    EXTERNAL_ID,
    LONGEST,
    LONGEST_CHAINED,
    ROLE_NAME,
    Hop,
    MalformedArn,
    Role,
    RoleArn,
    RoleName,
)
from broker.core.rule import Approvers
from broker.core.rule import Rule as CoreRule

# A guard against copied chains; AWS itself sets no limit.
_HOPS_MAX = 5


def _role_arn(text: str) -> RoleArn:
    try:
        return RoleArn.parse(text)
    except MalformedArn:
        raise fault("is not the ARN of an IAM role", "write arn:aws:iam::ACCOUNT:role/NAME", shown=text) from None


def _in_partition(arn: RoleArn, info: ValidationInfo) -> RoleArn:
    partition = Elsewhere.seen_by(info).partition
    if partition is not None and arn.partition != partition:
        what = f"lies in the partition {arn.partition}, and aws.region in {partition}, which no role leads out of"
        fix = f"correct the ARN, or set aws.region to one of {arn.partition}, such as {EXAMPLES[arn.partition]}"
        raise fault(what, fix, shown=arn.text)
    return arn


def _in_allowed_account(arn: RoleArn, info: ValidationInfo) -> RoleArn:
    accounts = Elsewhere.seen_by(info).accounts
    if accounts is not None and arn.account not in accounts:
        fix = f'add "{arn.account}" to aws.allowed_accounts, or correct the ARN'
        raise fault("lies in an account that is not allowed", fix, shown=arn.text)
    return arn


def _can_be_derived(wanted: bool, info: ValidationInfo) -> bool:  # noqa: FBT001  # pydantic's own calling convention
    if not wanted:
        return wanted
    if info.data.get("external_id") is not None:
        raise fault("stands beside external_id", "keep one of the two")
    if not Elsewhere.seen_by(info).has_external_ids:
        raise fault("needs a key to derive from", "add external_ids with key_file to aws")
    return wanted


def _role_maximum(maximum: timedelta) -> timedelta:
    if not LONGEST_CHAINED <= maximum <= LONGEST:
        raise fault("is no MaxSessionDuration that IAM knows", "write what the role has there, 1h to 12h")
    return maximum


class HopEntry(Section):
    """One AssumeRole call."""

    arn: Annotated[RoleArn, AsText(_role_arn), AfterValidator(_in_partition), AfterValidator(_in_allowed_account)] = (
        Field(description="The role to assume: `arn:aws:iam::ACCOUNT:role/NAME`.")
    )
    external_id: (
        Annotated[str, matching(EXTERNAL_ID.pattern, "is not an external ID", EXTERNAL_ID_FORM, shown=False)] | None
    ) = Field(default=None, repr=False, description="The external ID that the role's trust policy demands.")
    derive_external_id: Annotated[bool, AfterValidator(_can_be_derived)] = Field(
        default=False,
        description="Instead: the external ID is computed for the role's account, by `aws.external_ids`. "
        "`zerotrust-admin trust-policy` prints it.",
    )
    max_session_duration: Annotated[Duration, AfterValidator(_role_maximum)] = Field(
        default=LONGEST_CHAINED,
        description="The role's MaxSessionDuration in IAM, up to `12h`: what `duration` may come to where this is the only hop.",
    )


def _role_duration(duration: timedelta, info: ValidationInfo) -> timedelta:
    if duration > LONGEST:
        raise fault("is over 12 hours, and no AWS role gives more", "write 12h or less")
    if duration > LONGEST_CHAINED:
        _check_direct(duration, info)
    if duration < SHORTEST_DURATION:
        raise fault(
            "is under 20 minutes: AWS SDKs fetch anew at every call with less than 15 minutes left, and the broker "
            "refreshes at 20",
            "write a duration from 20m to 1h",
        )
    return duration


def _check_direct(duration: timedelta, info: ValidationInfo) -> None:
    """Refuse more than an hour, but for one hop that an IAM user makes and whose role gives as much."""
    chain = info.data.get("chain")
    if chain is None:
        return  # it has a fault of its own
    if len(chain) > 1:
        raise fault("is over one hour, where AWS ends role chaining (the call would fail)", "write 1h or less")
    if Elsewhere.seen_by(info).long_term_keys is False:
        what = "is over one hour, where AWS ends role chaining: a call with temporary keys or a role's is chained, too"
        raise fault(
            what, "write 1h or less, or give the broker an IAM user's key (credentials_provider environment, AKIA...)"
        )
    most = chain[0].max_session_duration
    if duration > most:
        fix = f"write {duration_text(most)} or less, or the role's MaxSessionDuration in IAM as max_session_duration beside arn"
        raise fault(f"is over the role's max_session_duration of {duration_text(most)} (the call would fail)", fix)


def _within_reach(entries: ScopeEntries, info: ValidationInfo) -> ScopeEntries:
    chain = info.data.get("chain")
    return entries if chain is None else within_reach(entries, chain[-1].arn)


def _by_token(chain: tuple[HopEntry, ...], info: ValidationInfo) -> tuple[HopEntry, ...]:
    """A first hop by token has no external ID: that call has no parameter for one."""
    first = chain[0] if chain else None
    if first is None or not Elsewhere.seen_by(info).keyless or not (first.external_id or first.derive_external_id):
        return chain
    what = "has an external ID at its first hop, which is taken with a token and cannot send one"
    raise fault(what, "remove it there (the trust policy names issuer and audience instead), or set another provider")


class RoleEntry(Section):
    """What a role name stands for."""

    chain: Annotated[tuple[HopEntry, ...], AfterValidator(_by_token)] = Field(
        min_length=1, max_length=_HOPS_MAX, description="One to five roles; each assumes the next, users get the last."
    )
    duration: Annotated[Duration, AfterValidator(_role_duration)] = Field(
        default=LONGEST_CHAINED,
        description="How long credentials live, `20m` to `1h`; up to `12h` where the chain is one hop that the broker "
        "takes with an IAM user's key, and the role's `max_session_duration` allows it.",
    )
    tags: TagTemplates = Field(
        default_factory=dict,
        description="Session tags, by key: text with `{principal}`, `{realm}`, `{group}` (the rule's first group that somebody "
        'is in), `{rule}`, `{role}` and `{event}` (the request that the session was made for) in it: `{Team: "{group}"}`.',
    )
    transitive_tags: TagKeys = Field(
        default=(),
        description="Keys of `tags` that sessions made with the role's session inherit; set by the first hop.",
    )
    optional_tags: OptionalTagKeys = Field(
        default=(),
        description="Keys of `tags` that are left out where AWS has no room for them. All others are never shed.",
    )
    scopes: Annotated[ScopeEntries, AfterValidator(_within_reach)] = Field(
        default_factory=dict,
        description="Session policies that clients can ask for by name, to have less than the role.",
    )

    def made(
        self,
        name: RoleName,
        *,
        hop: Callable[[HopEntry], Hop],
        alias: str | None = None,
        production: bool = False,
    ) -> Role:
        """The role as the other rooms know it; ``hop`` makes each of its hops, the others are said of its account."""
        return Role(
            name=name,
            chain=tuple(map(hop, self.chain)),
            duration=self.duration,
            tags=tags_of(self.tags, transitive=self.transitive_tags, optional=self.optional_tags),
            scopes=scopes_of(self.scopes),
            account_alias=alias,
            production=production,
        )


NewRoleName = Annotated[
    RoleName,
    matching(ROLE_NAME.pattern, "is not a role name", "use up to 64 letters, digits, dots, dashes, underscores"),
]


# --- rules -----------------------------------------------------------------------------------------------------------


def _used_once(name: str, info: ValidationInfo) -> str:
    if Elsewhere.seen_by(info).rule_names[name] > 1:
        raise fault("is the name of several rules", "give each rule a name of its own", shown=name)
    return name


def _known_role(name: str, info: ValidationInfo) -> RoleName:
    roles = Elsewhere.seen_by(info).roles
    if roles is not None and name not in roles:
        raise fault("is no role of this configuration", f"{nearest(name, roles)}add it under roles", shown=name)
    return RoleName(name)


def named(rule: Rule) -> Rule:
    """A rule that names somebody."""
    if not rule.principals and not rule.groups:
        raise fault("names nobody", "add principals or groups")
    return rule


def _some_approvers(approvers: ApproversEntry | None, info: ValidationInfo) -> ApproversEntry | None:
    require = info.data.get("require")  # None where it has a fault of its own
    if require is None:
        return approvers
    if require.approval and (approvers is None or not (approvers.principals or approvers.groups)):
        raise fault("names nobody who could approve", "add approvers with principals or groups")
    if approvers is not None and not require.approval:
        raise fault("is of no use without require.approval", "remove it, or ask for approval")
    return approvers


def _passes_can_count(longest: timedelta | None, info: ValidationInfo) -> timedelta | None:
    if longest is None:
        return None
    if not Elsewhere.seen_by(info).has_redis:
        raise fault("needs redis, where it is known which passes are in force", "add the section redis")
    require = info.data.get("require")  # None where it has a fault of its own
    if require is not None and (require.reason is not None or require.approval or require.break_glass):
        raise fault("is of no use: a job states no reason, and nobody approves it", "remove it, or what require asks")
    if require is not None and require.channel_binding:
        raise fault("is of no use: no job pass is bound to a connection", "remove it, or require.channel_binding")
    if require is not None and require.max_ticket_age is not None and require.max_ticket_age < longest:
        raise fault("goes on after require.max_ticket_age", f"write {duration_text(require.max_ticket_age)} or less")
    return longest


def _pass_length(longest: timedelta) -> timedelta:
    if longest > LONGEST_DELEGATION:
        raise fault(
            f"is over {LONGEST_DELEGATION.days} days", "write 7d or less; jobs that take longer need a ticket again"
        )
    return useful_age(longest)


class Rule(Section):
    """Who may have which roles. What no rule allows is denied."""

    name: Annotated[
        str,
        matching(ROLE_NAME.pattern, "is not a rule's name", "use up to 64 letters, digits, dots, dashes, underscores"),
        AfterValidator(_used_once),
    ] = Field(description="A name of its own, for the audit record.")
    principals: tuple[RulePrincipal, ...] = Field(
        default=(),
        description="Principals as `klist` prints them. A `*` stands for one whole component: `*/admin@EXAMPLE.COM`.",
    )
    groups: tuple[RuleGroup, ...] = Field(
        default=(),
        description="Groups of Active Directory by SID, or of a realm with `ldap` by name: `'REALM\\NAME'`; whoever is in "
        "one, or is named above, is meant. Nested groups count.",
    )
    networks: Networks | None = Field(default=None, description="Only from these networks (CIDR). Without it: any.")
    require: RuleRequire = Field(
        default=RuleRequire(), description="What the ticket must be like, and what must be beside it."
    )
    approvers: Annotated[ApproversEntry | None, AfterValidator(_some_approvers)] = Field(
        default=None, validate_default=True, description="Who may approve, where `require.approval` asks for it."
    )
    roles: tuple[Annotated[RoleName, AsText(RoleName), AfterValidator(_known_role)], ...] = Field(
        min_length=1, description="Names from `roles`."
    )
    job_passes: Annotated[
        Annotated[Duration, AfterValidator(_pass_length)] | None, AfterValidator(_passes_can_count)
    ] = Field(
        default=None,
        description="For how long jobs may go on by this rule after their owner showed a ticket, `20m` to `7d`; needs `redis`. "
        "Without it: a ticket is needed each time.",
    )

    def made(self) -> CoreRule:
        """The rule as the other rooms know it."""
        return CoreRule(
            name=self.name,
            principals=tuple(map(PrincipalPattern.parse, self.principals)),
            groups=self.groups,
            networks=tuple(self.networks or ()),
            require=self.require.made(),
            roles=frozenset(self.roles),
            job_passes=self.job_passes,
            approvers=self.approvers.made() if self.approvers else Approvers(),
        )
