"""A live role held against what the configuration needs of it. Pure.

The question is never whether a document looks like the printed one, but what it lets happen: the broker's own step with the
external ID that is sent today, with the one that a rotation will send, with none, with a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from broker.core.verdict import Verdict
from broker.sts.web_identity import AUDIENCE
from broker.trust.documents import ASSUME, FEDERATE, FEDERATE_SAML, Needed, Step
from broker.trust.evaluate import (
    PRESENT,
    Answer,
    Context,
    Values,
    accepted_values,
    decide,
    matches_action,
    principals_of,
    statements_of,
)
from broker.trust.finding import Finding
from broker.trust.live import Live

# No configuration names it: whoever may assume it may assume more than was printed.
_STRANGER = "zerotrust-doctor-of-no-configuration"

_NOTHING: Context = {}

_APPLY = "apply what `zerotrust-admin trust-policy` prints"


def judge(needed: Needed, live: Live) -> list[Finding]:
    """Everything there is to say of one role, or of the broker's own principal; one ``ok`` where there is nothing."""
    arn = needed.principal.text
    if live.arn != arn:
        return [
            Finding(Verdict.BAD, arn, f"is {live.arn} in AWS", "correct the path in the configuration, or the role")
        ]
    found = [*_comes(needed, live), *_goes(needed, live), *_duration(needed, live)]
    return found or [Finding(Verdict.OK, arn, "trust, external ID, permissions and duration are as needed")]


def near_miss(external_id: str) -> str:
    """Another ID that differs in the last character: what a pattern in a trust policy would let through."""
    return external_id[:-1] + ("0" if external_id[-1] != "0" else "1")


def _comes(needed: Needed, live: Live) -> Iterator[Finding]:
    if needed.comes:
        for step in needed.comes:
            yield from _step(step, live)
        yield from _strangers(needed, live)
        yield from _further_ids(needed, live)


def _step(step: Step, live: Live) -> Iterator[Finding]:
    def says(external_id: str | None, action: str = step.assume, *, but: Context = _NOTHING) -> Answer:
        context = {**_context(step, external_id), **but}
        return decide([live.trust], action=action, principal=step.caller.text, context=context)

    arn, caller = step.role.text, step.caller.text
    sent = step.external_ids[0] if step.external_ids else None
    for action in step.actions:
        answer = says(sent, action)
        if answer is Answer.NO:
            yield Finding(Verdict.BAD, arn, f"does not let {caller} do {action}{_why(live, step)}", _APPLY)
        elif answer is Answer.PERHAPS:
            what = f"has conditions on {action} that only AWS can judge"
            yield Finding(Verdict.WARN, arn, what, "see that they hold for the broker")
    if step.caller.is_provider:
        if says(None, but={f"{step.caller.name.lower()}:aud": ("another",)}) is not Answer.NO:
            yield Finding(
                Verdict.BAD, arn, f"ALARM: takes tokens of {caller} that are made for others than AWS", _APPLY
            )
        return
    yield from _external_ids(step, says)
    if says(sent, but={"sts:sourceidentity": ()}) is not Answer.NO:
        what = f"lets {caller} make sessions without a source identity, which CloudTrail ascribes to nobody"
        yield Finding(Verdict.WARN, arn, what, _APPLY)


def _external_ids(step: Step, says: Callable[[str | None], Answer]) -> Iterator[Finding]:
    arn, caller = step.role.text, step.caller.text
    if not step.external_ids:
        yield Finding(
            Verdict.WARN, arn, f"is assumed by {caller} without an external ID", "set derive_external_id for the hop"
        )
        return
    if says(None) is not Answer.NO:
        yield Finding(Verdict.BAD, arn, f"ALARM: lets {caller} in without any external ID", _APPLY)
    if any(says(near_miss(one)) is not Answer.NO for one in step.external_ids):
        yield Finding(Verdict.BAD, arn, f"ALARM: lets {caller} in with a wrong external ID", _APPLY)
    if any(says(one) is Answer.NO for one in step.external_ids[1:]):
        what = "does not accept the next external ID yet: raising aws.external_ids.version would break the chain"
        yield Finding(Verdict.WARN, arn, what, _APPLY)


def _why(live: Live, step: Step) -> str:
    """IAM puts a principal's unique ID in the place of an ARN whose user or role was deleted."""
    named = {name for statement in statements_of(live.trust) for name in principals_of(statement)}
    if step.caller.text in named:
        return " as the broker asks for it"
    if any(name.startswith(("AROA", "AIDA")) for name in named):
        return ": it trusts a principal that was deleted (and perhaps made anew)"
    return ""


def _strangers(needed: Needed, live: Live) -> Iterator[Finding]:
    arn = needed.principal.text
    known = {step.caller.text for step in needed.comes}
    for name in dict.fromkeys(_assumers(live)):
        if name == "*":
            yield Finding(Verdict.BAD, arn, "trusts everybody", _APPLY)
        elif name not in known:
            what = f"trusts {name}, which is no caller of this configuration"
            yield Finding(Verdict.WARN, arn, what, "see whether it must")


def _further_ids(needed: Needed, live: Live) -> Iterator[Finding]:
    """An ID of before a rotation, or a pattern that lets more in than the tries above show; never repeated here."""
    known = {one for step in needed.comes for one in step.external_ids}
    accepted = {
        one
        for statement in statements_of(live.trust)
        if statement.get("Effect") == "Allow" and _takes(statement)
        for one in accepted_values(statement, "sts:externalid")
    }
    if known and not accepted <= known:
        what = "accepts another external ID than the one that is sent and the next: of before a rotation, or a pattern"
        yield Finding(Verdict.WARN, needed.principal.text, what, _APPLY)


def _assumers(live: Live) -> Iterator[str]:
    for statement in statements_of(live.trust):
        if statement.get("Effect") == "Allow" and _takes(statement):
            yield from principals_of(statement)


def _takes(statement: Mapping[str, Any]) -> bool:
    return any(matches_action(statement, action) is not Answer.NO for action in (ASSUME, FEDERATE, FEDERATE_SAML))


def _goes(needed: Needed, live: Live) -> Iterator[Finding]:
    arn = needed.principal.text
    for step in needed.goes:
        context = _context(step, step.external_ids[0] if step.external_ids else None)
        for action in step.actions:
            answer = _may(live, action, step.role.text, context)
            if answer is Answer.NO:
                yield _not_permitted(step, action)
            elif answer is Answer.PERHAPS:
                what = f"may do {action} on {step.role.text} under conditions that only AWS can judge"
                yield Finding(Verdict.WARN, arn, what, "see that they hold for the broker")
    for account in sorted({step.role.account for step in needed.goes}):
        stranger = f"arn:{needed.principal.partition}:iam::{account}:role/{_STRANGER}"
        if _may(live, ASSUME, stranger, {}) is not Answer.NO:
            what = f"may assume roles of {account} that are none of this configuration"
            yield Finding(Verdict.WARN, arn, what, _APPLY)


def _not_permitted(step: Step, action: str) -> Finding:
    what = f"has no permission to do {action} on {step.role.text}"
    if step.role.account == step.caller.account:
        return Finding(
            Verdict.WARN, step.caller.text, f"{what}; within one account the trust policy alone may do", _APPLY
        )
    return Finding(Verdict.BAD, step.caller.text, what, _APPLY)


def _may(live: Live, action: str, resource: str, context: Context) -> Answer:
    allowed = decide(live.policies, action=action, resource=resource, context=context)
    if live.boundary is None:
        return allowed
    return min(allowed, decide([live.boundary], action=action, resource=resource, context=context))


def _duration(needed: Needed, live: Live) -> Iterator[Finding]:
    arn, asked, longest = needed.principal.text, needed.max_session_duration, live.max_session_duration
    if not needed.comes or longest is None:
        return
    if longest < asked:
        yield Finding(Verdict.BAD, arn, f"MaxSessionDuration is {longest}, and the configuration says {asked}", _APPLY)
    elif longest > asked:
        what = f"MaxSessionDuration is {longest}, and the configuration says {asked}"
        yield Finding(Verdict.WARN, arn, what, _APPLY)


def _context(step: Step, external_id: str | None) -> dict[str, Values]:
    """What is known of the broker's own call, and nothing else."""
    context: dict[str, Values] = {
        "aws:principalarn": (step.caller.text,),
        "aws:principalaccount": (step.caller.account,),
        "aws:multifactorauthpresent": (),
        "aws:requestedregion": PRESENT,
        "aws:securetransport": ("true",),
        "aws:tagkeys": tuple(sorted(step.tag_keys)),
        "aws:resourceaccount": (step.role.account,),
        "sts:externalid": () if external_id is None else (external_id,),
        "sts:rolesessionname": PRESENT,
        "sts:sourceidentity": PRESENT,
    }
    if step.caller.is_provider:
        context |= {f"{step.caller.name.lower()}:aud": (AUDIENCE,), f"{step.caller.name.lower()}:sub": PRESENT}
        del context["aws:principalarn"], context["aws:principalaccount"]
    return context
