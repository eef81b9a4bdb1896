"""What is to stand in the block: a decision about names, roles and what stands there now. Nothing here touches a file."""

from __future__ import annotations

import shlex
from dataclasses import replace

from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.profiles import block
from zerotrust_kerberos.profiles.block import Options, Profile
from zerotrust_kerberos.profiles.names import named
from zerotrust_kerberos.profiles.text import check, editing, lines_of, sections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from zerotrust_kerberos.profiles.names import Role


def rewritten(
    text: str,
    *,
    path: str,
    roles: Sequence[Role],
    wanted: Mapping[str, str],
    command: Callable[[str], str],
    prune: bool = False,
    adopted: Iterable[Profile] = (),
) -> str:
    """The file with its block as it shall be. Once more with the same is no change.

    Args:
        text: The file.
        path: Its name, for errors.
        roles: What the broker would give.
        wanted: ``template``, ``region`` and ``output`` where somebody asked for them; else what the block remembers.
        command: The credential_process line for a role's name.
        prune: Take out profiles whose role is not among ``roles``; without it they stay.
        adopted: Profiles that come from other tools, under their own names.

    Raises:
        Failure: ``configuration`` or ``usage``, with the line.
    """
    check(text, path)
    parts = block.split(text, path)
    remembered, old = block.read(parts.block)
    options = replace(remembered or Options(), **wanted)
    held = {role.name for role in roles}
    imported = {profile.name: profile for profile in [*(one for one in old if one.origin), *adopted]}
    fresh = _templated(options, roles, old, wanted)
    # A profile that came from another tool keeps its name, whatever the template says.
    kept = [one for one in old if not one.origin and one.role not in held and one.name not in fresh]
    found = {one.name: one for one in kept} | fresh | imported
    profiles = [one for _, one in sorted(found.items()) if one.role in held or not prune]
    for profile in profiles:
        profile.command = command(profile.role) if profile.role in held else profile.command
    _refuse_conflicts(parts, profiles, path)
    result = block.join(parts, options, profiles)
    check(result, path)
    return result


def _templated(
    options: Options, roles: Sequence[Role], old: Iterable[Profile], wanted: Mapping[str, str]
) -> dict[str, Profile]:
    """A profile for each role, with what somebody added to the one that it had before."""
    before = {profile.role: profile for profile in old if not profile.origin}
    found = {}
    for name, role in named(options.template, roles).items():
        extras = before[role.name].extras if role.name in before else None
        found[name] = Profile(name, role.name, extras=_extras(options, extras, wanted))
    return found


def _extras(options: Options, old: Sequence[str] | None, wanted: Mapping[str, str]) -> list[str]:
    asked = {name: value for name, value in (("region", options.region), ("output", options.output)) if value}
    if old is None:
        return [f"{name} = {value}" for name, value in asked.items()]
    # Somebody may have changed one profile's region by hand: it stays until a region is asked for again.
    anew = {name: value for name, value in asked.items() if name in wanted}
    present = {line.partition("=")[0].rstrip() for line in old}
    stays = [line for line in old if line.partition("=")[0].rstrip() not in anew]
    return [
        *(f"{name} = {value}" for name, value in asked.items() if name in anew or name not in present),
        *stays,
    ]


def _refuse_conflicts(parts: block.Parts, profiles: Iterable[Profile], path: str) -> None:
    """A profile of the same name outside would make the AWS tools fail, or take one of the two in silence."""
    names = {profile.name for profile in profiles}
    shift = len(parts.block or ())
    before = len(lines_of(parts.before))
    for section in sections(lines_of(parts.outside)):
        if section.profile in names:
            line = section.first + 1 + (shift if section.first >= before else 0)
            raise Failure(
                "configuration",
                f"{path}:{line}: there is a profile {section.profile} outside of the block",
                fix=editing(path, line),
            )


def refuse_shadows(text: str, *, path: str, names: Iterable[str]) -> None:
    """Keys in the credentials file go before any credential_process: such a profile would never reach the broker.

    Raises:
        Failure: ``configuration``, with the line.
    """
    wanted = set(names)
    for section in sections(lines_of(text)):
        # In this file every section is a profile, without the word.
        if (section.profile or section.header) in wanted and section.values.get("aws_access_key_id"):
            line = section.first + 1
            what = f"{path}:{line}: keys of a profile {section.header} stand there and go before everything else"
            raise Failure(
                "configuration",
                what,
                fix=f"sed -i --follow-symlinks {section.first + 1},{section.end}d {shlex.quote(path)}",
            )
