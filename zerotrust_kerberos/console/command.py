"""``zerotrust console``: the AWS console as a role, in the user's browser.

The URL that opens it is a secret for a quarter of an hour, and everybody on a machine reads everybody's command lines. So a
browser is started with an address of ours (``handover``), and gets the URL from there.
"""

from __future__ import annotations

import json
import os

from broker import wire
from zerotrust_kerberos import output
from zerotrust_kerberos.answers import object_of
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.console import browser
from zerotrust_kerberos.console.handover import Handover
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.commands import Call
    from zerotrust_kerberos.settings import Settings

# Partition -> where its console is, and how the names of its regions begin (AWS General Reference).
_CONSOLES = {
    "aws": ("console.aws.amazon.com", ""),
    "aws-cn": ("console.amazonaws.cn", "cn-"),
    "aws-us-gov": ("console.amazonaws-us-gov.com", "us-gov-"),
}
# Where the console calls a service something else than the AWS CLI does.
_PAGES = {
    "dynamodb": "dynamodbv2",
    "ecr": "ecr/private-registry",
    "elb": "ec2",
    "elbv2": "ec2",
    "logs": "cloudwatch",
    "ssm": "systems-manager",
    "stepfunctions": "states",
}
# What a page is named by.
_PARTS = frozenset({"service", "region", "path"})
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_URL_BEGINS = "https://"
# Seconds. A browser that has to be started first, on a slow machine, and its owner who unlocks a profile.
_PATIENCE = 60.0


def command(call: Call) -> str:
    """With ``--print`` the URL; without, nothing: it was handed to a browser.

    Raises:
        Failure: ``usage``, ``no_browser``, or there is no console for them.
    """
    settings = call.settings_for_role()
    wanted = {name: value for name, value in call.options.items() if name in _PARTS}
    is_printed = "print" in call.switches
    # Before anything is issued that nobody could open.
    program = [] if is_printed else browser.find(os.environ)
    call.watch.start(settings.timeout)
    members = {"role": settings.role, "scope": settings.scope, "reason": settings.reason}
    members["destination"] = _destination(call, settings, wanted) if wanted else None
    body = json.dumps({name: value for name, value in members.items() if value is not None}).encode()
    url = _url(object_of(ask(settings, call.watch, method="POST", path=wire.CONSOLE_PATH, body=body)))
    if is_printed:
        return url
    call.watch.end()
    with Handover(url) as handover:
        browser.start(program, handover.address)
        output.tell(f"the console as {settings.role} opens in your browser")
        if not handover.wait(_PATIENCE):
            raise Failure("no_browser", "none came for the page")
    return ""


def _destination(call: Call, settings: Settings, wanted: Mapping[str, str]) -> str:
    if wanted.get("path", "").startswith(_URL_BEGINS):
        if len(wanted) > 1:
            raise Failure("usage", "a whole URL says service and region by itself")
        return wanted["path"]
    found = object_of(ask(settings, call.watch, method="GET", path=wire.ROLES_PATH)).get("roles")
    return destination(_partition(found, settings.role), wanted, os.environ)


def _partition(roles: object, name: str | None) -> str:
    """That of a role's ARN; empty where the broker lists no such role, for then it will say so itself."""
    for role in roles if isinstance(roles, list) else []:
        if isinstance(role, dict) and role.get("name") == name:
            return str(role.get("role_arn")).partition(":")[2].partition(":")[0]
    return ""


def destination(partition: str, wanted: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The page of the console of a partition.

    Args:
        partition: ``aws``; one that is not known is taken for it, and the broker has the last word.
        wanted: ``service``, ``region`` and ``path``, each where it is given.
        environ: Says the region where nobody does.

    Raises:
        Failure: ``usage``.
    """
    host, beginning = _CONSOLES.get(partition, _CONSOLES["aws"])
    region = wanted.get("region", "")
    if region and _partition_of(region) != beginning:
        raise Failure("usage", f"the region {region} is not of the role's partition")
    if not region:
        default = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
        region = default if _is_name(default) and _partition_of(default) == beginning else ""
    service, path = wanted.get("service", ""), wanted.get("path", "")
    for name, value in (("service", service), ("region", region)):
        if value and not _is_name(value):
            raise Failure("usage", f"--{name} is a name of a-z 0-9 -")
    if path and not path.startswith("/"):
        raise Failure("usage", f"--path begins with / or {_URL_BEGINS}")
    first = f"/{_PAGES.get(service, service)}" if service else ""
    page = first + (path or ("/home" if first else "/console/home"))
    return f"https://{f'{region}.' if region else ''}{host}{_in_region(page, region)}"


def _in_region(page: str, region: str) -> str:
    """A page with the region in its query, as the console's own links have it."""
    before, hash_sign, fragment = page.partition("#")
    if not region or "region=" in before:
        return page
    return f"{before}{'&' if '?' in before else '?'}region={region}{hash_sign}{fragment}"


def _is_name(value: str) -> bool:
    return bool(value) and _NAME_CHARS.issuperset(value)


def _partition_of(region: str) -> str:
    return next((start for _, start in _CONSOLES.values() if start and region.startswith(start)), "")


def _url(members: Mapping[str, object]) -> str:
    url = members.get("url")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")) or not _is_plain(url):
        raise Failure("unexpected_answer", "url is missing")
    return url


def _is_plain(url: str) -> bool:
    """Whether it goes into a header and onto a terminal as it is."""
    return url.isascii() and url.isprintable() and " " not in url
