"""The part of ``~/.aws/config`` that is ours, between two lines of comment; everything else belongs to the user.

A block remembers how it was asked for, because whoever has it written again tomorrow, from cron perhaps, has forgotten. Taking
the block out leaves the bytes that were there before it was put in: a line feed that had to be added in front of it is marked.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.profiles.text import editing, lines_of, sections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerotrust_kerberos.profiles.text import Section

BEGIN = "# >>> zerotrust configure >>>"
_JOINED = f"{BEGIN} (the line feed before this line is ours)"
END = "# <<< zerotrust configure <<<"
_ABOUT = "# Written by `zerotrust configure --write`, again and again: profiles here change, nothing outside of this block does."
_FROM = "# from "
COMMAND = "credential_process"


@dataclass(frozen=True)
class Options:
    """How a block was asked for.

    Attributes:
        template: What names are made of.
        region: For every profile that the template names; empty for none.
        output: The same.
    """

    template: str = "{role}"
    region: str = ""
    output: str = ""


@dataclass
class Profile:
    """A profile of ours.

    Attributes:
        name: What stands behind ``--profile``.
        role: The role of the broker that it gives.
        origin: The tool whose profile it was, or empty for one that the template names.
        extras: Its lines beside the credential_process line, as they are, without their ends.
        command: The credential_process line's value.
    """

    name: str
    role: str
    origin: str = ""
    extras: list[str] = field(default_factory=list)
    command: str = ""


@dataclass(frozen=True)
class Parts:
    """A file in three parts.

    Attributes:
        before: All before the block, or all.
        after: All behind it.
        block: The block's own lines, None where there is none.
        joined: The line feed at the end of ``before`` came with the block, and is not in ``before``.
    """

    before: str
    after: str
    block: list[str] | None
    joined: bool = False

    @property
    def outside(self) -> str:
        """The file without the block."""
        # Behind the block something may have been added since; the two must not become one line.
        gap = _eol(self.before) if self.joined and self.after else ""
        return f"{self.before}{gap}{self.after}"


def split(text: str, path: str) -> Parts:
    """Find the block.

    Raises:
        Failure: ``configuration``: its two lines are not there exactly once, or keys behind it would become somebody else's.
    """
    lines = lines_of(text)
    marks = [(at, line.strip()) for at, line in enumerate(lines) if line.strip() in {BEGIN, _JOINED, END}]
    if not marks:
        return Parts(before=text, after="", block=None)
    begins = [at for at, mark in marks if mark != END]
    ends = [at for at, mark in marks if mark == END]
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        at = marks[-1][0] + 1
        raise Failure("configuration", f"{path}:{at}: the block of zerotrust is damaged", fix=editing(path, at))
    begin, end = begins[0], ends[0]
    _refuse_loose_keys(lines, end + 1, path)
    before, joined = "".join(lines[:begin]), lines[begin].strip() == _JOINED
    if joined:
        before = before.removesuffix("\n").removesuffix("\r")
    return Parts(before=before, after="".join(lines[end + 1 :]), block=lines[begin : end + 1], joined=joined)


def _refuse_loose_keys(lines: Sequence[str], at: int, path: str) -> None:
    """Keys that follow the block without a section of their own belong to its last profile, and later to nobody knows whom."""
    for number, line in enumerate(lines[at:], start=at + 1):
        said = line.strip()
        if said and not said.startswith(("#", ";")):
            # Deeper than a key of ours, even a section would be read as more of its value.
            if not line.startswith("["):
                what = f"{path}:{number}: this line belongs to no profile of yours"
                raise Failure("configuration", f"{what}; move it above the block", fix=editing(path, number))
            return


def join(parts: Parts, options: Options, profiles: Sequence[Profile]) -> str:
    """The file with these profiles in the block, and without a block if there are none."""
    if not profiles:
        return parts.outside
    eol = _eol(parts.before or parts.after)
    joined = parts.joined if parts.block is not None else bool(parts.before) and parts.before[-1] not in "\r\n"
    block = [_JOINED if joined else BEGIN, _ABOUT, *_remembered(options), ""]
    for profile in profiles:
        header = profile.name if profile.name == "default" else f"profile {profile.name}"
        origin = [f"{_FROM}{profile.origin}"] if profile.origin else []
        block += [f"[{header}]", *origin, f"{COMMAND} = {profile.command}", *profile.extras, ""]
    return f"{parts.before}{eol if joined else ''}{eol.join([*block, END])}{eol}{parts.after}"


def read(block: Sequence[str] | None) -> tuple[Options | None, list[Profile]]:
    """What a block says: how it was asked for, and its profiles. What is none of ours in it is left out."""
    if block is None:
        return None, []
    lines = list(block)
    profiles = [profile for section in sections(lines) if (profile := _profile(section, lines))]
    said = dict(line[2:].strip().split(" = ", 1) for line in lines if line.startswith("# ") and " = " in line)
    known = {name: said[name] for name in ("template", "region", "output") if said.get(name)}
    return Options(**known), profiles


def role_of(command: str) -> str | None:
    """The role that a credential_process line of ours asks for."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if "credential-process" not in words or "--role" not in words[:-1]:
        return None
    return words[words.index("--role") + 1]


def _profile(section: Section, lines: Sequence[str]) -> Profile | None:
    name, role = section.profile, role_of(section.values.get(COMMAND, ""))
    if name is None or role is None:
        return None
    own = range(*section.spans[COMMAND])
    rest = [lines[at].rstrip("\r\n") for at in range(section.first + 1, section.end) if at not in own]
    origins = [line[len(_FROM) :] for line in rest if line.startswith(_FROM)]
    extras = [line for line in rest if line and not line.startswith(_FROM)]
    return Profile(name, role, origin=origins[0] if origins else "", extras=extras, command=section.values[COMMAND])


def _remembered(options: Options) -> list[str]:
    said = {"template": options.template, "region": options.region, "output": options.output}
    return [f"# {name} = {value}" for name, value in said.items() if value]


def _eol(text: str) -> str:
    """How the file ends its lines."""
    return "\r\n" if "\r\n" in text else "\n"
