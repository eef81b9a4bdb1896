"""``zerotrust configure``: shows what would change, and changes it when told to (``--write``)."""

from __future__ import annotations

import difflib
import os
import shlex
import sys
from dataclasses import dataclass

from broker import wire
from zerotrust_kerberos import output
from zerotrust_kerberos.answers import object_of
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import Failure, clean
from zerotrust_kerberos.profiles import block, place
from zerotrust_kerberos.profiles.adopt import adopt
from zerotrust_kerberos.profiles.names import roles_of
from zerotrust_kerberos.profiles.plan import refuse_shadows, rewritten
from zerotrust_kerberos.profiles.text import check, lines_of
from zerotrust_kerberos.profiles.tools import TOOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zerotrust_kerberos.commands import Call
    from zerotrust_kerberos.profiles.names import Role

_OUTPUTS = ("json", "text", "table", "yaml", "yaml-stream", "off")
_NOT_IN_THE_LINE = ("host", "spn")
_FEW = 12  # names that somebody still reads
_SHOWN = ("diff", "print", "write")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


@dataclass(frozen=True)
class Change:
    """What the file is and what it would be; ``said`` is about the profiles of another tool."""

    path: Path
    old: str
    new: str
    said: Sequence[str] = ()


def command(call: Call) -> str:
    """A diff; with ``--print`` the block as it would be; with ``--write`` nothing, and the file is changed.

    Raises:
        Failure: Nothing was changed.
    """
    shown = [name for name in _SHOWN if name in call.switches]
    if len(shown) > 1:
        raise Failure("usage", f"--{shown[0]} and --{shown[1]} exclude each other")
    wanted = _wanted(call.options)
    roles = roles_of(object_of(ask(call.asking(), call.watch, method="GET", path=wire.ROLES_PATH)))
    path = place.config_path(os.environ)
    _say(_only_here(os.environ))
    if shown != ["write"]:
        change = _change(call, path, roles, wanted)
        _say(change.said)
        return _block(change) if shown == ["print"] else _diff(change)
    with place.locked(path):
        change = _change(call, path, roles, wanted)
        if change.new != change.old:
            backup = place.replace(path, old=change.old, new=change.new)
            _say([*change.said, *_summary(change), *([f"what stood there before: {backup}"] if backup else [])])
        else:
            _say([*change.said, f"{path}: nothing to change"])
    return ""


def _change(call: Call, path: Path, roles: Sequence[Role], wanted: Mapping[str, str]) -> Change:
    old = place.read(path)
    check(old, str(path))
    text, adopted, said = old, [], []
    if tool := call.options.get("from"):
        how = TOOLS[tool]
        own = place.read(place.below_home(os.environ, how.variable, how.file)) if how.file else ""
        found = adopt(old, path=str(path), tool=tool, how=how, own=own, roles=roles)
        text, adopted, said = found.text, found.profiles, found.said or [f"{tool}: no profiles of it"]
    prefix = _prefix(call.options, os.environ)
    new = rewritten(
        text,
        path=str(path),
        roles=roles,
        wanted=wanted,
        command=lambda role: f"{prefix} --role {role}",
        prune="prune" in call.switches,
        adopted=adopted,
    )
    credentials = place.credentials_path(os.environ)
    refuse_shadows(place.read(credentials), path=str(credentials), names=_names(new, path))
    return Change(path=path, old=old, new=new, said=said)


def _wanted(options: Mapping[str, str]) -> dict[str, str]:
    """What was asked for on the command line, of what the block remembers.

    Raises:
        Failure: ``usage``.
    """
    region, form, tool = (options.get(name, "") for name in ("region", "output", "from"))
    # The partitions' regions differ and grow: eu-central-1, us-gov-west-1, us-iso-east-1.
    if region and not (_LETTERS.issuperset(region) and region.count("-") > 1 and region[-1].isdigit()):
        raise Failure("usage", f"{region} is no region", fix="zerotrust configure --region eu-central-1")
    if form and form not in _OUTPUTS:
        raise Failure("usage", f"--output is one of {', '.join(_OUTPUTS)}", fix="zerotrust configure --output json")
    if tool and tool not in TOOLS:
        raise Failure("usage", f"--from is one of {', '.join(TOOLS)}", fix="zerotrust configure --from aws-vault")
    return {name: options[name] for name in ("template", "region", "output") if name in options}


def _prefix(options: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The credential_process line up to the role.

    The program by its whole path, because cron and desktops have another PATH; where the broker is, unless a settings file says
    so, because they have another environment, too.
    """
    given = {
        "--broker": options.get("broker") or environ.get("ZEROTRUST_BROKER_URL"),
        "--ca-file": options.get("ca-file") or environ.get("ZEROTRUST_CA_FILE"),
    }
    if given["--ca-file"]:
        given["--ca-file"] = os.path.abspath(given["--ca-file"])  # noqa: PTH100  links stay as they are
    words = [*_program(), "credential-process", *(word for pair in given.items() if pair[1] for word in pair)]
    line = shlex.join(str(word) for word in words)
    # Go's and JavaScript's readers take these for the beginning of a comment, botocore does not.
    if not line.isprintable() or " #" in line or " ;" in line:
        raise Failure("configuration", f"AWS tools cannot run this line: {clean(line)}")
    return line


def _only_here(environ: Mapping[str, str]) -> list[str]:
    """Settings that the line cannot carry, and that AWS tools started from elsewhere would not have."""
    names = [name for name in _NOT_IN_THE_LINE if environ.get(f"ZEROTRUST_{name.upper()}")]
    where = "a variable of this shell: AWS tools that are started without it need it in ~/.config/zerotrust/config.toml"
    return [f"{name} is {where}" for name in names]


def _program() -> list[str]:
    script = os.path.abspath(sys.argv[0])  # noqa: PTH100  a link to the program outlives its updates
    if os.path.basename(script) in ("zerotrust", "zerotrust.pyz") and os.access(script, os.X_OK):  # noqa: PTH119
        return [script]
    return [sys.executable, "-m", __package__.partition(".")[0]]


def _names(text: str, path: Path) -> list[str]:
    return [profile.name for profile in block.read(block.split(text, str(path)).block)[1]]


def _block(change: Change) -> str:
    return "".join(block.split(change.new, str(change.path)).block or ()).rstrip("\r\n")


def _diff(change: Change) -> str:
    path = str(change.path)
    if change.new == change.old:
        _say([f"{path}: nothing to change"])
        return ""
    lines = difflib.unified_diff(lines_of(change.old), lines_of(change.new), fromfile=path, tofile=path)
    pieces = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    _say(["this is what would change; to do it, add --write"])
    return "".join(pieces).rstrip("\n")


def _summary(change: Change) -> list[str]:
    before, after = set(_names(change.old, change.path)), set(_names(change.new, change.path))
    groups = {"added": after - before, "removed": before - after}
    lines = [f"{change.path}: {what} {_few(names)}" for what, names in groups.items() if names]
    return lines or [f"{change.path}: written"]


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)) if len(names) <= _FEW else f"{len(names)} profiles"


def _say(lines: Sequence[str]) -> None:
    output.say("".join(f"{''.join(char if char.isprintable() else '?' for char in line)}\n" for line in lines))
