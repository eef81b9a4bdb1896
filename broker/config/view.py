"""The roles and rules of a configuration file, for whoever asks questions of them: on a laptop, or where a change is reviewed.

The rest of the file is not judged (``check-config`` does that), the environment does not speak, and no secret is read: where the
file names another, or a place in the vault, that holds an external ID, that name stands for it. So it need not be private, nor
its keytabs be there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from broker.config import yaml_source
from broker.config.elsewhere import Elsewhere
from broker.config.explain import problems
from broker.config.fault import Problem
from broker.config.fields import FILE, SECRET
from broker.config.grants import HopEntry, NewRoleName, RoleEntry, Rule, named
from broker.config.model import Settings
from broker.config.resolve import is_sealed
from broker.config.section import Section
from broker.config.tree import Tree, Value
from broker.config.values import Network, parse_network
from broker.core import collector
from broker.core.errors import ConfigurationError
from broker.core.roles import Hop, Role, RoleName
from broker.core.rule import Rule as CoreRule

_OURS = ("roles", "rules")
_NO_EXTERNAL_ID_SIGN = re.compile(r"[^A-Za-z0-9_+=,.@:/-]")


@dataclass(frozen=True, slots=True)
class View:
    """``accounts`` and ``networks`` are what the configuration allows at all; None where it sets no bounds.

    ``tells_people``: whether alarms go to anybody.
    """

    roles: Mapping[RoleName, Role]
    rules: list[CoreRule]
    accounts: frozenset[str] | None
    networks: tuple[Network, ...] | None
    tells_people: bool


class _Grants(Section):
    model_config = ConfigDict(extra="ignore")

    role_entries: Mapping[NewRoleName, RoleEntry] = Field(default_factory=dict, alias="roles")
    rules: tuple[Annotated[Rule, AfterValidator(named)], ...] = ()


def view(path: Path, *, environ: Mapping[str, str]) -> View:
    """Read ``path``; ``environ`` is what ``${NAME}`` refers to.

    Raises:
        ConfigurationError: With every problem of the roles and rules, a line each.
    """
    with collector.paused():
        tree = yaml_source.parse(_text(path), name=str(path), environ=environ)
        _name_secrets(tree)
        found = [problem for problem in tree.problems if not problem.path or problem.path[0] in _OURS]
        # Which keys sign the first call is known only where the broker runs.
        elsewhere = replace(Elsewhere.of(tree, signs=False), long_term_keys=None)
        try:
            grants = _Grants.model_validate(tree.data, context=elsewhere)
        except ValidationError as error:
            found += problems(error, Settings, tree)
        if found:
            raise ConfigurationError([str(problem) for problem in found]) from None
        return View(
            roles={name: entry.made(name, hop=_hop) for name, entry in grants.role_entries.items()},
            rules=[rule.made() for rule in grants.rules],
            accounts=elsewhere.accounts,
            networks=_networks(tree.data.get("server")),
            tells_people=_has_channels(tree.data.get("security")),
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        what = f"cannot be read ({error.strerror if isinstance(error, OSError) else 'not UTF-8'})"
        raise ConfigurationError([str(Problem(str(path), (), what, "name a configuration file"))]) from None


def _name_secrets(tree: Tree) -> None:
    roles = tree.data.get("roles")
    for role in roles.values() if isinstance(roles, dict) else ():
        chain = role.get("chain") if isinstance(role, dict) else None
        for hop in chain if isinstance(chain, tuple) else ():
            if isinstance(hop, dict):
                _name_secret(hop)


def _name_secret(hop: dict[str, Value]) -> None:
    for variant, mark in ((FILE, "file"), (SECRET, "vault")):
        place = hop.pop(f"external_id{variant}", None)
        if isinstance(place, str):
            hop["external_id"] = f"{mark}:{_NO_EXTERNAL_ID_SIGN.sub('_', place)}"
    if is_sealed(sealed := hop.get("external_id")):
        # Sealed anew, the same text looks different; here it is compared with itself only.
        hop["external_id"] = f"sealed:{_NO_EXTERNAL_ID_SIGN.sub('_', str(sealed))}"


def _hop(entry: HopEntry) -> Hop:
    return Hop(arn=entry.arn, external_id="derived" if entry.derive_external_id else entry.external_id)


def _has_channels(security: Value) -> bool:
    notification = security.get("breach_notification") if isinstance(security, dict) else None
    return (
        isinstance(notification, dict)
        and notification.get("enabled") not in (False, "false")
        and bool(notification.get("channels"))
    )


def _networks(server: Value) -> tuple[Network, ...] | None:
    texts = server.get("allowed_networks") if isinstance(server, dict) else None
    try:
        return tuple(parse_network(str(text)) for text in texts) if isinstance(texts, tuple) else None
    except PydanticCustomError:
        return None  # check-config says so
