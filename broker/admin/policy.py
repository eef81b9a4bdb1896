"""``zerotrust-admin policy``: questions of a policy. They need no broker, and change nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic_core import PydanticCustomError

from broker.admin.offline import EXIT_BAD, EXIT_CONFIG, config_option, fail
from broker.config.cases import Case, load_cases, parse_address
from broker.config.values import parse_duration
from broker.config.view import View, view
from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError
from broker.core.principal import MalformedPrincipal
from broker.issuing.questions import Answer, Asker, Questions

_T = TypeVar("_T")

# What a case expects, in the words of a verdict.
_EXPECTED = {"allow": "allowed", "deny": "denied", "step_up": "step_up", "approval": "approval"}

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


@click.group()
def policy() -> None:
    """Questions of the configured roles and rules. Nothing is asked of AWS, and no broker need run."""


def _parsed(parse: Callable[[str], _T]) -> Callable[[click.Context, click.Parameter, str | None], _T | None]:
    """An option's callback from one of the configuration's own readers."""

    def callback(_context: click.Context, _option: click.Parameter, text: str | None) -> _T | None:
        try:
            return None if text is None else parse(text)
        except PydanticCustomError as error:
            told = error.context or {}
            raise click.BadParameter(f"{text} {told['what']}: {told['fix']}") from None

    return callback


@policy.command("explain")
@click.argument("principal")
@click.argument("role")
@click.option("--address", callback=_parsed(parse_address), help="Where from. Without it: a local socket.")
@click.option("--group", "groups", multiple=True, help="A group they are in, as rules name it. Repeatable.")
@click.option("--indicator", "indicators", multiple=True, help="An indicator of their ticket. Repeatable.")
@click.option("--age", callback=_parsed(parse_duration), help="How long ago they authenticated, such as 2h.")
@click.option("--bound", is_flag=True, help="Their ticket is bound to the TLS connection.")
@click.option("--job", callback=_parsed(parse_duration), help="A job pass asks, whose ticket was shown so long ago.")
@click.option("--reason", help="What they state.")
@click.option("--approved", is_flag=True, help="As many others have approved as are asked for.")
@click.option("--broken-glass", is_flag=True, help="They broke the glass.")
@click.option("--scope", help="A scope of the role.")
@config_option
@_as_json
def explain(principal: str, role: str, scope: str | None, config: Path, as_json: bool, **asker: Any) -> None:  # noqa: FBT001
    """Say whether PRINCIPAL may have ROLE now, and what each rule has to do with it.

    Exit code 0 where they may, 1 where they may not (or need a better ticket, a reason or an approval).
    """
    asker["age"] = asker["age"] or timedelta(0)
    try:
        answer = _questions(_viewed(config)).explain(
            Asker(principal=principal, **asker), role=role, scope=scope, now=SystemClock().now()
        )
    except MalformedPrincipal:
        raise click.BadParameter(f"{principal} is not a principal: write name@REALM") from None
    click.echo(json.dumps(answer, indent=2) if as_json else "\n".join(_explained(answer)))
    sys.exit(0 if answer["verdict"] == "allowed" else EXIT_BAD)


@policy.command("who-can")
@click.argument("role", required=False)
@click.option("--account", help="All roles into this account instead.")
@config_option
@_as_json
def who_can(role: str | None, account: str | None, config: Path, as_json: bool) -> None:  # noqa: FBT001
    """List everybody who may have ROLE, or any role into an account, rule by rule.

    Exit code 0; 1 where there is no such role.
    """
    if (role is None) == (account is None):
        raise click.UsageError("name a role, or --account with twelve digits")
    seen = _viewed(config)
    asked = _questions(seen)
    if role is not None and role not in seen.roles:
        fail(f"there is no role {role} — fix: name one of {', '.join(sorted(seen.roles)) or 'those you configure'}")
    roles = [role] if role is not None else asked.roles_into(str(account))
    found = {name: asked.who_can(name) for name in roles}
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_who(found)))


@policy.command("diff")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@_as_json
def diff(old: Path, new: Path, as_json: bool) -> None:  # noqa: FBT001
    """Say who gains and who loses what where the configuration OLD becomes NEW.

    Rules that are only renamed, moved or rewritten are no difference. Exit code 0 without differences, 1 with some.
    """
    found = _questions(_viewed(old)).differences(_questions(_viewed(new)), now=SystemClock().now())
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(map(_difference, found)) or "no difference")
    sys.exit(EXIT_BAD if found else 0)


@policy.command("lint")
@config_option
@_as_json
def lint(config: Path, as_json: bool) -> None:  # noqa: FBT001
    """Look for what is valid and hardly meant. Exit code 1 where there is an error; warnings alone give 0."""
    seen = _viewed(config)
    found = _questions(seen).lint(
        accounts=seen.accounts, networks=seen.networks, tells_people=seen.tells_people, now=SystemClock().now()
    )
    lines = [f"{one['severity']}: {one['where']}: {one['what']} [{one['code']}]" for one in found]
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines) or "nothing to say")
    sys.exit(EXIT_BAD if any(one["severity"] == "error" for one in found) else 0)


@policy.command("test")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
def test(file: Path, config: Path) -> None:
    """Put the golden cases of FILE to the policy. Exit code 0 where all come out as expected, else 1."""
    try:
        cases = load_cases(file)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(EXIT_CONFIG)
    asked, now = _questions(_viewed(config)), SystemClock().now()
    failed = 0
    for place, case in cases:
        answer = asked.explain(_asker(case), role=case.role, scope=case.scope, now=now)
        wrong = _wrong(case, answer)
        if wrong is not None:
            failed += 1
            click.echo(f"FAIL {place}: {case.name or f'{case.principal} {case.role}'}: {wrong}")
            click.echo("\n".join(f"    {line}" for line in _explained(answer)))
    click.echo(f"{len(cases) - failed} of {len(cases)} cases as expected")
    sys.exit(EXIT_BAD if failed else 0)


def _viewed(config: Path) -> View:
    """The roles and rules of a file; or the end, with all that is wrong with them."""
    try:
        return view(config, environ=os.environ)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(EXIT_CONFIG)


def _questions(seen: View) -> Questions:
    return Questions(roles=seen.roles, rules=seen.rules)


def _asker(case: Case) -> Asker:
    return Asker(
        principal=case.principal,
        groups=case.groups,
        address=case.address,
        indicators=case.indicators,
        age=case.age,
        bound=case.channel_bound,
        job=case.job_pass_age,
        reason=case.reason,
        approved=case.approved,
        broken_glass=case.broken_glass,
    )


def _wrong(case: Case, answer: Answer) -> str | None:
    if answer["verdict"] != _EXPECTED[case.expect]:
        return f"expected {case.expect}, and it is {answer['verdict']}"
    if case.rule is not None and answer["rule"] != case.rule:
        return f"expected by rule {case.rule}, and it is by {answer['rule'] or 'none'}"
    return None


def _explained(answer: Answer) -> list[str]:
    lines = [f"{answer['principal']} {answer['role']}: {answer['verdict']}: {answer['why']}"]
    if answer["chain"]:
        lines.append(f"  {' -> '.join(answer['chain'])}, for {timedelta(seconds=answer['lifetime'])}")
    lines += [f"  tag {key}={value}" for key, value in answer["tags"].items()]
    for rule in answer["rules"]:
        said = "gives it" if rule["gives"] else "; ".join(rule["obstacles"])
        lines.append(f"  rule {rule['name']}: {said}")
    return lines + [f"  near: {near}" for near in answer["near"]]


def _who(found: dict[str, list[Answer]]) -> list[str]:
    lines = []
    for role, rules in found.items():
        lines.append(f"{role}: {'' if rules else 'nobody'}".rstrip())
        for rule in rules:
            lines.append(f"  rule {rule['name']}")
            for principal in rule["principals"]:
                note = " (any person whose name has this form)" if principal in rule["wildcards"] else ""
                lines.append(f"    {principal}{note}")
            lines += [f"    members of {group}, nested ones too" for group in rule["groups"]]
            lines += [f"    only from {', '.join(rule['networks'])}"] if rule["networks"] else []
            lines += [f"    only with {need}" for need in rule["require"]]
            lines += [f"    jobs for {rule['job_passes']} after a ticket"] if rule["job_passes"] else []
    return lines


def _difference(one: Answer) -> str:
    shown, more = one["details"][:3], len(one["details"]) - 3
    details = "; ".join(shown) + (f"; and {more} more circumstances" if more > 0 else "")
    subject = (
        f"role {one['role']} changes" if one["change"] == "role" else f"{one['who']} {one['change']} {one['role']}"
    )
    return f"{subject}: {details}"
