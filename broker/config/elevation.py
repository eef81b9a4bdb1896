"""What a rule asks of a ticket, and beside it: a reason, others' approval, broken glass; and who approves."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from broker.config.fault import fault
from broker.config.people import RuleGroup, RulePrincipal
from broker.config.section import Section
from broker.config.values import Duration, Switch, matching
from broker.core.elevation import APPROVALS_MAX, BOX_DEFAULT, REASON_LENGTH_MAX
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Approvers, Requirements

# The parser of ``re``: there is no other that knows what Python will do with a pattern.
_parser: Any = re._parser  # type: ignore[attr-defined]  # noqa: SLF001

# Ways to match that a pattern may make Python try on the longest reason: three open repeats, a tenth of a second at the worst.
_WAYS_MAX = 10_000_000
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})
_ONE_WAY = frozenset({"LITERAL", "NOT_LITERAL", "IN", "ANY", "AT", "CATEGORY"})

# With less, nothing could be handed out: credentials live 15 minutes at least, and end with the box.
# The same of a ticket's age and of a role: they are refreshed with 20 minutes left (SDKs fetch anew with less than 15).
SHORTEST_DURATION = timedelta(minutes=20)
_LONGEST_BOX = timedelta(hours=24)


def useful_age(age: timedelta) -> timedelta:
    """Of a ticket, or a login."""
    if age < SHORTEST_DURATION:
        raise fault("is under 20 minutes: AWS makes no credentials of less than 15", "write 20m or more")
    return age


class SwitchOrText:
    """Marks a value that is text, or true or false."""


def _ways(parsed: Any) -> int:
    """An upper bound of the ways in which a pattern can be tried; beyond the bound for what cannot be counted."""
    ways = 1
    for operation, argument in parsed:
        name = str(operation)
        if name in _REPEATS:
            least, most, inner = argument
            longest = min(int(most), REASON_LENGTH_MAX)
            each = _ways(inner)
            # A repeat of what can itself be matched in several ways is how patterns take for ever.
            ways *= (longest - int(least) + 1) if each == 1 else _WAYS_MAX + 1 if longest > 1 else each + 1
        elif name == "BRANCH":
            ways *= sum(_ways(one) for one in argument[1])
        elif name == "SUBPATTERN":
            ways *= _ways(argument[3])
        elif name not in _ONE_WAY:
            return _WAYS_MAX + 1
    return min(ways, _WAYS_MAX + 1)


def _reason(value: object) -> str | None:
    if isinstance(value, bool) or value in ("true", "false"):
        return "" if value in (True, "true") else None
    if not isinstance(value, str) or not value:
        raise fault("is neither true, false nor a pattern", 'write true, or a pattern such as "(INC|CHG)-[0-9]+"')
    if not value.isprintable():
        raise fault("holds characters that cannot be printed", "write a pattern that people can read")
    try:
        ways = _ways(_parser.parse(value))
    except (re.error, RecursionError, OverflowError):
        raise fault("is not a regular expression", 'write one such as "(INC|CHG)-[0-9]+"', shown=value) from None
    if ways > _WAYS_MAX:
        fix = (
            "write it with at most three open repeats, no repeat within a repeat, no look-around and no back-reference"
        )
        raise fault("can take Python too long to match", fix, shown=value)
    return value


def _approval(value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= APPROVALS_MAX:
        raise fault("is no number of approvers", f"write 0 to {APPROVALS_MAX}")
    return number


def _not_both(broken: bool, info: ValidationInfo) -> bool:  # noqa: FBT001  # pydantic's own calling convention
    if broken and info.data.get("approval"):
        raise fault("stands beside approval", "give the role by two rules: one with approval, one with break_glass")
    return broken


def _useful_box(box: timedelta | None, info: ValidationInfo) -> timedelta | None:
    if box is None:
        return None
    if not (info.data.get("approval") or info.data.get("break_glass")):
        raise fault("is of no use without approval or break_glass", "remove it")
    if not SHORTEST_DURATION <= box <= _LONGEST_BOX:
        raise fault("is no useful time", "write 20m to 24h")
    return box


class Require(Section):
    """What a ticket must be like; otherwise the answer is 403 step_up_required."""

    indicators: tuple[
        Annotated[str, matching(r"[A-Za-z0-9_.-]{1,64}", "is not an indicator", "write pkinit or otp")], ...
    ] = Field(
        default=(),
        description="At least one of these authentication indicators (RFC 8129), as the KDC names them: `[pkinit, otp]`.",
    )
    max_ticket_age: Annotated[Duration, AfterValidator(useful_age)] | None = Field(
        default=None,
        description="Since somebody authenticated, renewals not counted. Credentials end no later.",
    )
    channel_binding: Switch = Field(default=False, description="The ticket must be bound to the TLS connection.")

    def made(self) -> Requirements:
        """The requirements as the other rooms know them."""
        return Requirements(
            indicators=frozenset(self.indicators),
            max_ticket_age=self.max_ticket_age,
            channel_binding=self.channel_binding,
        )


class ReasonedRequire(Require):
    """What a ticket must be like (else 403 step_up_required), and a reason beside it (else 403 approval_required)."""

    reason: Annotated[str | None, SwitchOrText(), BeforeValidator(_reason)] = Field(
        default=None,
        description="`true`: a reason must be stated each time. Or a pattern that it must begin with, such as a ticket's number: "
        "`(INC|CHG)-[0-9]+`.",
    )

    def made(self) -> Requirements:
        """With the reason."""
        return Requirements(
            indicators=frozenset(self.indicators),
            max_ticket_age=self.max_ticket_age,
            channel_binding=self.channel_binding,
            reason=self.reason,
        )


class RuleRequire(ReasonedRequire):
    """What a ticket must be like (else 403 step_up_required), and what must be beside it (else 403 approval_required)."""

    approval: Annotated[int, BeforeValidator(_approval)] = Field(
        default=0,
        description="How many others must approve, 0 to 5, before a time box opens: see `approvers` of the rule.",
    )
    break_glass: Annotated[Switch, AfterValidator(_not_both)] = Field(
        default=False,
        description="Instead: for emergencies, by one person and without approval, with a reason. An alert is raised first, and "
        "a review follows.",
    )
    time_box: Annotated[Duration | None, AfterValidator(_useful_box)] = Field(
        default=None,
        description="How long what was approved or broken open may last, `20m` to `24h`; credentials end with it. "
        "Without it: 1h.",
    )

    def made(self) -> Requirements:
        """With what is beside the ticket."""
        return Requirements(
            indicators=frozenset(self.indicators),
            max_ticket_age=self.max_ticket_age,
            channel_binding=self.channel_binding,
            reason=self.reason,
            approval=self.approval,
            break_glass=self.break_glass,
            time_box=self.time_box or BOX_DEFAULT,
        )


class ApproversEntry(Section):
    """Who may approve; never the one who asks."""

    principals: tuple[RulePrincipal, ...] = Field(default=(), description="As in `principals` of the rule.")
    groups: tuple[RuleGroup, ...] = Field(default=(), description="As in `groups` of the rule.")

    def made(self) -> Approvers:
        """As the other rooms know them."""
        return Approvers(principals=tuple(map(PrincipalPattern.parse, self.principals)), groups=self.groups)
