"""``zerotrust-admin trust-policy``: what AWS must be told for a role's chain to work. Needs no broker and no AWS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from broker.admin.offline import EXIT_CONFIG, EXIT_USAGE, broker_option, config_option, settings_of
from broker.config.fault import nearest
from broker.config.model import Settings
from broker.core.roles import Hop, RoleArn, RoleName
from broker.trust.documents import AwsPrincipal, Contradiction, Needed, UnusablePrincipal, needed
from broker.trust.render import FORMATS

_BOUNDARY = "allow it for roles with your permissions boundary only (docs/revocation.md, At AWS)"


@click.command("trust-policy")
@click.argument("role", required=False)
@click.option("--revocation", is_flag=True, help="In place of ROLE: the chains of `aws.revocation` into all accounts.")
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), default="json", show_default=True)
@broker_option
@config_option
def trust_policy(role: str | None, *, revocation: bool, form: str, broker_arn: str | None, config: Path) -> None:
    """Print the trust and permission policies of every hop of ROLE, or of what denies sessions in AWS.

    They are complete for the whole configuration: what other roles need of the same hops is in them. Derived external IDs
    stand there in their current and their next version, so a later change of the version breaks nothing.
    """
    if revocation == (role is not None):
        _refuse("what to print is not clear — fix: name a ROLE, or --revocation")
    settings = settings_of(config)
    chains = [_chain(settings, role, config)] if role is not None else _denying(settings, config)
    everything = needed_of(settings, broker_arn, guess=True)
    brokers = [one for one in everything.values() if not one.comes]
    hops = {hop.arn.text: hop for chain in chains for hop in chain[1 if settings.aws.web_identity_issuer else 0 :]}
    way = [*brokers, *(everything[arn] for arn in dict.fromkeys(hop.arn.text for chain in chains for hop in chain))]
    for arn, hop in hops.items():
        if hop.external_id is None:
            click.echo(
                f"note: no external ID for {arn} — fix: set derive_external_id, or external_id, for the hop", err=True
            )
    if revocation:
        click.echo("note: who can put a policy can put any — fix: " + _BOUNDARY, err=True)
    click.echo(FORMATS[form](way))


def _chain(settings: Settings, role: str, config: Path) -> Sequence[Hop]:
    if role not in settings.roles:
        where = f"is no role of {config}"
        _refuse(f"{role!r} {where} — fix: {nearest(role, settings.roles)}write one of: {', '.join(settings.roles)}")
    return settings.roles[RoleName(role)].chain


def _denying(settings: Settings, config: Path) -> list[Sequence[Hop]]:
    if settings.denying is None:
        _refuse(f"--revocation: {config} has no section aws.revocation — fix: add it (docs/revocation.md)")
    return [settings.denying(account) for account in sorted({role.target.account for role in settings.roles.values()})]


def needed_of(settings: Settings, broker_arn: str | None, *, guess: bool = False) -> Mapping[str, Needed]:
    """What the configuration needs; or the end, with what is missing to say it.

    Who the broker is to AWS cannot be known offline. A ``guess`` is the account of the first hop, where a policy says who.
    """
    issuer = settings.aws.web_identity_issuer
    if issuer is not None:
        if broker_arn is not None:
            _refuse("--broker-arn: the broker has no principal, AWS believes its tokens — fix: leave it out")
        return _needed(settings, partial(AwsPrincipal.provider, issuer))
    fix = (
        "add --broker-arn with the Arn that `aws sts get-caller-identity` shows with the broker's own credentials "
        "(the role's, for a session)"
    )
    if broker_arn is None and guess:
        click.echo(
            f"note: the first hop trusts its whole account, for who the broker is there is not said — fix: {fix}",
            err=True,
        )
        return _needed(settings, AwsPrincipal.somebody_in)
    if broker_arn is None:
        _refuse(f"who the broker itself is to AWS cannot be known offline — fix: {fix}")
    try:
        broker = AwsPrincipal.parse(broker_arn)
    except UnusablePrincipal as error:
        _refuse(f"--broker-arn: {error}")
    return _needed(settings, lambda _: broker)


def _needed(settings: Settings, first: Callable[[RoleArn], AwsPrincipal]) -> Mapping[str, Needed]:
    try:
        return needed(settings.roles, first=first, denying=settings.denying)
    except (Contradiction, UnusablePrincipal) as error:
        click.echo(error, err=True)
        sys.exit(EXIT_CONFIG)


def _refuse(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(EXIT_USAGE)
