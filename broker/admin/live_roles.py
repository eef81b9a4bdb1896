"""Whether the live roles are what the configuration needs, and refuse what they must refuse: ``doctor --roles``, ``--probe``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from pydantic_core import PydanticCustomError

from broker.admin.assembled import Assembled
from broker.admin.offline import EXIT_BAD, EXIT_CONFIG, EXIT_USAGE, settings_of
from broker.admin.trust import needed_of
from broker.config.model import Settings
from broker.config.values import parse_sts_endpoint
from broker.core.errors import AuditUnavailable, ConfigurationError, StsError
from broker.core.verdict import Verdict
from broker.trust.documents import Needed
from broker.trust.finding import Finding
from broker.trust.judge import judge
from broker.trust.live import NotThere, Unreadable

if TYPE_CHECKING:
    from broker.trust.iam import Account


def probe_roles(assembled: Assembled, config: Path, *, as_json: bool) -> NoReturn:
    """Try every hop as the broker; say what they did, and end."""
    _end(_probe(assembled, settings_of(config, signs=True)), as_json=as_json)


def look_at_roles(
    assembled: Assembled,
    config: Path,
    *,
    profiles: Sequence[str],
    endpoint_url: str | None,
    broker_arn: str | None,
    as_json: bool,
) -> NoReturn:
    """Read every role with the caller's credentials; say what they let happen, and end."""
    settings = settings_of(config, signs=True)
    broker = broker_arn or _caller(assembled, settings)
    _end(_look(needed_of(settings, broker), profiles, endpoint_url), as_json=as_json)


def _end(findings: Sequence[Finding], *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(finding)
    levels = {finding.level for finding in findings}
    sys.exit(EXIT_BAD if Verdict.BAD in levels or levels <= {Verdict.UNSEEN} else 0)


def _probe(assembled: Assembled, settings: Settings) -> Sequence[Finding]:
    try:
        return assembled.probe(settings)
    except ConfigurationError as error:
        _refuse(str(error), status=EXIT_CONFIG)
    except AuditUnavailable as error:
        fix = "make room, or mend the audit directory; what is not recorded is not tried"
        _refuse(f"no record could be written: {error} — fix: {fix}", status=EXIT_BAD)


def _caller(assembled: Assembled, settings: Settings) -> str | None:
    """Who the broker is to AWS, as AWS says; nobody, where it shows tokens."""
    if settings.aws.web_identity_issuer is not None:
        return None
    try:
        return assembled.caller(settings)
    except ConfigurationError as error:
        _refuse(str(error), status=EXIT_CONFIG)
    except StsError as error:
        _refuse(f"who the broker is to AWS is not known ({error.reason}) — fix: add --broker-arn", status=EXIT_BAD)


def _look(everything: Mapping[str, Needed], profiles: Sequence[str], endpoint_url: str | None) -> list[Finding]:
    from broker.trust.iam import Account  # noqa: PLC0415  # boto3 is a third of a second that the other commands save

    accounts: dict[str, Account] = {}
    for profile in profiles or (None,):
        try:
            account = Account(profile=profile, endpoint=_endpoint(endpoint_url))
        except Unreadable as error:
            _refuse(f"{error} — fix: log in, or name a profile of ~/.aws/config with --profile", status=EXIT_BAD)
        accounts.setdefault(account.number, account)
    return [finding for needed in everything.values() for finding in _judged(needed, accounts)]


def _judged(needed: Needed, accounts: Mapping[str, Account]) -> Iterator[Finding]:
    principal = needed.principal
    account = accounts.get(principal.account)
    if account is None:
        what = f"is in account {principal.account}, and these credentials are of {', '.join(sorted(accounts))}"
        yield Finding(Verdict.UNSEEN, principal.text, what, "add a --profile of that account")
        return
    try:
        yield from judge(needed, account.look_at(principal))
    except NotThere:
        what = f"is not in account {account.number}"
        yield Finding(Verdict.BAD, principal.text, what, "create it as `zerotrust-admin trust-policy` prints it")
    except Unreadable as error:
        yield Finding(
            Verdict.UNSEEN, principal.text, str(error), f"let {account.caller} read roles and policies in IAM"
        )


def _endpoint(text: str | None) -> str | None:
    try:
        return None if text is None else parse_sts_endpoint(text)
    except PydanticCustomError as error:
        context = error.context or {}
        _refuse(f"--endpoint-url {context['what']} — fix: {context['fix']}")


def _refuse(message: str, *, status: int = EXIT_USAGE) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(status)
