"""Names of profiles, made of roles by a template: ``{role}``, ``{alias}-{role}``, ``{account}/{aws_role}``."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What people write in profile names, without anything that a shell, an INI reader or a path could take for its own.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+,/-]{0,127}")
_ROLE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):role/([\x21-\x7e]{1,1024})")
_OTHER = re.compile(r"[^A-Za-z0-9_.@+,-]+")
FIELDS = ("role", "account", "alias", "aws_role")


@dataclass(frozen=True)
class Role:
    """A role that the broker would give.

    Attributes:
        name: The broker's name of it.
        account: Twelve digits.
        alias: What the operator calls the account, or its number.
        arn: Of the role in AWS.
    """

    name: str
    account: str
    alias: str
    arn: str

    @property
    def aws_role(self) -> str:
        """The role's name in AWS, without its path."""
        return self.arn.rpartition("/")[2]


def roles_of(members: Mapping[str, object]) -> list[Role]:
    """The roles of the broker's answer. What it says goes into a file that programs obey, so it is looked at closely.

    Raises:
        Failure: ``unexpected_answer``.
    """
    found = members.get("roles")
    if not isinstance(found, list):
        raise Failure("unexpected_answer", "roles is missing")
    return [_role(entry) for entry in found]


def _role(entry: object) -> Role:
    if not isinstance(entry, dict):
        raise Failure("unexpected_answer", "a role that is none")
    name, account, arn, alias = (entry.get(key) for key in ("name", "account", "role_arn", "account_alias"))
    if not (isinstance(name, str) and _ROLE.fullmatch(name)):
        raise Failure("unexpected_answer", "a role without a name")
    if not (isinstance(account, str) and _ACCOUNT.fullmatch(account) and isinstance(arn, str) and _ARN.fullmatch(arn)):
        raise Failure("unexpected_answer", f"the role {name} without its account or ARN")
    return Role(name=name, account=account, alias=alias if isinstance(alias, str) and alias else account, arn=arn)


def named(template: str, roles: Iterable[Role]) -> dict[str, Role]:
    """A name for each role.

    Raises:
        Failure: ``usage``: the template is none, or gives a name that is none, or one name to two roles.
    """
    found: dict[str, Role] = {}
    for role in roles:
        name = _filled(template, role)
        if not is_name(name):
            raise _wrong(f"{template} makes {name!r} of the role {role.name}, which is no name for a profile")
        if name in found:
            raise _wrong(f"{template} makes {name} of the roles {found[name].name} and {role.name}")
        found[name] = role
    return found


def is_name(name: str) -> bool:
    """Whether a profile may be called so in every AWS tool and every shell."""
    return bool(_NAME.fullmatch(name))


def _filled(template: str, role: Role) -> str:
    values = {
        "role": role.name,
        "account": role.account,
        "alias": _OTHER.sub("-", role.alias),
        "aws_role": role.aws_role,
    }
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise _wrong(f"{template} is no template") from error
    name = ""
    for literal, key, form, conversion in pieces:
        if key is not None and (key not in values or form or conversion):
            raise _wrong(f"a template knows {', '.join(f'{{{known}}}' for known in FIELDS)} and nothing else")
        name += literal + (values[key] if key is not None else "")
    return name


def _wrong(what: str) -> Failure:
    return Failure("usage", what, fix="zerotrust configure --template '{role}'")
