"""Profiles of other tools become ours where the broker gives the same role: under their old names, so that scripts go on working.

This is the one thing that ``configure`` does outside of its block, and only when it is told to by ``--from``: the old section
leaves its place, for two profiles of one name would break every AWS tool. What is not ours to give stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from zerotrust_kerberos.profiles import block
from zerotrust_kerberos.profiles.block import Profile
from zerotrust_kerberos.profiles.names import is_name
from zerotrust_kerberos.profiles.text import lines_of, sections, without

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerotrust_kerberos.profiles.names import Role
    from zerotrust_kerberos.profiles.tools import Old, Tool

# IAM Identity Center makes a role of each permission set, with a hash behind its name.
_RESERVED = re.compile(r"AWSReservedSSO_(.+)_[0-9a-f]{16}")


@dataclass(frozen=True)
class Adopted:
    """What came of it.

    Attributes:
        text: The file without the sections that were adopted.
        profiles: Ours from now on.
        said: A line for each profile of the tool: what became of it, or why nothing did.
    """

    text: str
    profiles: list[Profile]
    said: list[str]


def adopt(text: str, *, path: str, tool: str, how: Tool, own: str, roles: Sequence[Role]) -> Adopted:
    """Take a tool's profiles over. ``own`` is the text of the tool's own file.

    Raises:
        Failure: ``configuration``: the block is damaged.
    """
    parts = block.split(text, path)
    outside = lines_of(parts.before)
    included = _included(outside)
    profiles: dict[str, Profile] = {}
    gone, said = [], []
    for old in how.read(outside, own):
        matching = [role for role in roles if _is(role, old)]
        reason = _obstacle(old, matching, included, profiles)
        said.append(f"{old.name}: {reason or f'role {matching[0].name}'}")
        if reason:
            continue
        profiles[old.name] = Profile(old.name, matching[0].name, origin=tool, extras=list(old.extras))
        if old.section is not None:
            gone.append(_with_space(outside, old.section.first, old.section.end))
    before = "".join(without(outside, gone))
    middle = "".join(parts.block or ()) if not parts.joined else "\n" + "".join(parts.block or ())
    return Adopted(text=f"{before}{middle}{parts.after}", profiles=list(profiles.values()), said=said)


def _obstacle(old: Old, matching: Sequence[Role], included: set[str], taken: dict[str, Profile]) -> str:
    """Why a profile is left alone; empty where nothing stands in the way."""
    target = old.arn or f"{old.aws_role} in {old.account}"
    if not matching:
        return f"left, no role of yours is {target}"
    if len(matching) > 1:
        return f"left, {target} is {' and '.join(role.name for role in matching)}"
    if old.name in included:
        return "left, another profile includes it"
    if old.name in taken:
        return f"left, it was {taken[old.name].role} already"
    return "" if is_name(old.name) else "left, its name is none for a profile of ours"


def _is(role: Role, old: Old) -> bool:
    if old.arn:
        return role.arn == old.arn
    reserved = _RESERVED.fullmatch(role.aws_role)
    return role.account == old.account and old.aws_role in {role.aws_role, reserved[1] if reserved else ""}


def _included(lines: list[str]) -> set[str]:
    """Profiles that others take values from by name, in aws-vault's way: without them, those would change."""
    keys = ("include_profile", "parent_profile")
    return {section.values[key] for section in sections(lines) for key in keys if key in section.values}


def _with_space(lines: Sequence[str], first: int, end: int) -> tuple[int, int]:
    """The empty lines behind a section go with it."""
    while end < len(lines) and not lines[end].strip():
        end += 1
    return first, end
