"""Profiles that aws-vault, saml2aws and granted left behind: which names stand for which roles in AWS.

Read from these tools' own sources: aws-vault's ``vault/config.go`` (it lives in ``~/.aws/config``, adds ``include_profile`` and
inherits from ``[default]``), saml2aws's ``pkg/cfg/cfg.go`` (``~/.saml2aws``, an INI file with a section an account) and granted's
``pkg/cfaws`` and ``awsconfigfile`` (``~/.aws/config`` with ``granted_sso_*``, or AWS's own keys for IAM Identity Center).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from zerotrust_kerberos.profiles.block import COMMAND
from zerotrust_kerberos.profiles.text import lines_of, sections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zerotrust_kerberos.profiles.text import Section

# Keys about where credentials come from: the broker's business from now on. All others stay with the profile.
_OF_CREDENTIALS = re.compile(
    r"aws_(access_key_id|secret_access_key|session_token)|role_arn|source_profile|credential_(source|process)|mfa_(serial|process)"
    r"|external_id|role_session_name|duration_seconds|(include|parent)_profile|(transitive_)?session_tags|source_identity"
    r"|web_identity_.*|sso_.*|granted_.*|common_fate_.*|saml_.*"
)
_SAML2AWS_PROFILE = "saml"  # where it writes keys unless told otherwise


@dataclass(frozen=True)
class Old:
    """A profile of another tool.

    Attributes:
        name: Its name.
        arn: Of the role, or empty.
        account: Where there is no ARN, the account and the name of the role in it.
        aws_role: See ``account``.
        section: Where it stands in ``~/.aws/config``; None if it stands elsewhere.
        extras: Its lines that are not about credentials.
    """

    name: str
    arn: str = ""
    account: str = ""
    aws_role: str = ""
    section: Section | None = None
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    """How the profiles of a tool are read.

    Attributes:
        read: From the lines of ``~/.aws/config`` that are not ours, and the text of the tool's own file.
        file: The tool's own file beside ``~/.aws/config``, below the home folder; empty for none.
        variable: The environment variable that names another one.
    """

    read: Callable[[Sequence[str], str], list[Old]]
    file: str = ""
    variable: str = ""


def aws_vault(config: Sequence[str], _own: str) -> list[Old]:
    """Profiles with a ``role_arn``, their own or one that they include; or with aws-vault as their credential_process."""
    every = {one.profile or "": one for one in sections(list(config))}
    every.pop("", None)
    found = []
    for name, section in every.items():
        values = _inherited(section, every)
        through = _option(values.get(COMMAND, ""), "aws-vault", last=True)
        if through in every and through != name:
            values = {**_inherited(every[through], every), **values}
        if arn := values.get("role_arn", ""):
            extras = _extras(section, config)
            if "region" in values and "region" not in section.values:
                extras = (f"region = {values['region']}", *extras)
            found.append(Old(name, arn=arn, section=section, extras=extras))
    return found


def saml2aws(config: Sequence[str], own: str) -> list[Old]:
    """Accounts of ``~/.saml2aws`` that name a role, by the profile they write to; and profiles that run saml2aws."""
    found = []
    for section in sections(lines_of(own)):
        values = {key: value.strip("\"'`") for key, value in section.values.items()}
        if arn := values.get("role_arn", ""):
            region = (f"region = {values['region']}",) if values.get("region") else ()
            found.append(Old(values.get("aws_profile") or _SAML2AWS_PROFILE, arn=arn, extras=region))
    running = {one: _option(one.values.get(COMMAND, ""), "saml2aws", "--role") for one in sections(list(config))}
    return found + [
        Old(one.profile, arn=arn, section=one, extras=_extras(one, config))
        for one, arn in running.items()
        if one.profile and arn
    ]


def granted(config: Sequence[str], _own: str) -> list[Old]:
    """Profiles of IAM Identity Center, spelt granted's way or AWS's, and profiles with a ``role_arn``."""
    found = []
    for section in sections(list(config)):
        if not section.profile:
            continue
        values, extras = section.values, _extras(section, config)
        account = values.get("granted_sso_account_id") or values.get("sso_account_id", "")
        name = values.get("granted_sso_role_name") or values.get("sso_role_name", "")
        if arn := values.get("role_arn", ""):
            found.append(Old(section.profile, arn=arn, section=section, extras=extras))
        elif account and name:
            found.append(Old(section.profile, account=account, aws_role=name, section=section, extras=extras))
    return found


TOOLS = {
    "aws-vault": Tool(aws_vault),
    "saml2aws": Tool(saml2aws, file=".saml2aws", variable="SAML2AWS_CONFIGFILE"),
    "granted": Tool(granted),
}


def _inherited(section: Section, every: Mapping[str, Section]) -> dict[str, str]:
    """What aws-vault makes of a profile: its own keys, then those that it includes; without an include, those of [default]."""
    values: dict[str, str] = {}
    seen, at = set(), section
    while at.first not in seen:
        seen.add(at.first)
        values = {**at.values, **values}
        above = at.values.get("include_profile") or at.values.get("parent_profile") or "default"
        at = every.get(above, at)
    return values


def _option(command: str, program: str, option: str = "", *, last: bool = False) -> str:
    """The value of an option, or the last word, of a command line of this program; empty for any other."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    if not words or words[0].rpartition("/")[2] != program:
        return ""
    if last:
        return words[-1]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""


def _extras(section: Section, config: Sequence[str]) -> tuple[str, ...]:
    spans = (span for key, span in section.spans.items() if not _OF_CREDENTIALS.fullmatch(key))
    return tuple(config[at].rstrip("\r\n") for first, end in spans for at in range(first, end))
