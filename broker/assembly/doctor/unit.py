"""The broker's unit as it is installed: read from its files, so that it is seen where systemd does not answer, too."""

from __future__ import annotations

import glob
import os
import pwd
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.core.visible import visible

_ALONE, _TEMPLATE = "zerotrust-broker.service", "zerotrust-broker@.service"
_RUNNING = ("active", "activating", "reloading", "deactivating")
# systemd.unit(5), in their order; the variable is systemd's own.
_UNIT_PATH = (
    "/etc/systemd/system:/run/systemd/system:/usr/local/lib/systemd/system:/usr/lib/systemd/system:/lib/systemd/system"
)
# systemctl waits for a bus that hangs for 25 s.
_PATIENCE_SECONDS = 5.0
_CREDENTIALS = Path("/run/credentials")
# What systemd makes of these settings, and below which folder (systemd.exec(5)).
_FOLDERS = {"StateDirectory": ("STATE_DIRECTORY", "/var/lib"), "LogsDirectory": ("LOGS_DIRECTORY", "/var/log")}
_SERVICE = "[Service]"
_CONTINUED = re.compile(r"\\\n")


@dataclass(frozen=True, slots=True)
class Unit:
    """One.

    Attributes:
        name: ``zerotrust-broker.service``.
        file: Where it is defined.
        instances: Of a template those that are there; of any other unit itself.
        drop_ins: What changes it, in the order in which systemd reads them.
        service: The settings of its section [Service], each with all of its values; an empty one has taken away those before.
    """

    name: str
    file: Path
    instances: Sequence[str]
    drop_ins: Sequence[Path]
    service: Mapping[str, Sequence[str]]

    def last(self, setting: str, default: str = "") -> str:
        """The value that counts, of a setting that has one."""
        return (self.service.get(setting) or [default])[-1]

    @property
    def account(self) -> pwd.struct_passwd | None:
        """Whom it runs as, where that account is there."""
        try:
            return pwd.getpwnam(self.last("User"))
        except KeyError:
            return None

    def environment(self) -> dict[str, str]:
        """What systemd gives the broker, as far as we may read it."""
        found = {
            variable: ":".join(f"{parent}/{name}" for name in self.last(setting).split())
            for setting, (variable, parent) in _FOLDERS.items()
            if self.last(setting)
        }
        for text in self.service.get("Environment", ()):
            found |= _assignments(shlex.split(text))
        for text in self.service.get("EnvironmentFile", ()):
            found |= _assignments(_lines_of(Path(text.removeprefix("-"))))
        if os.access(_CREDENTIALS / self.name, os.X_OK):
            found["CREDENTIALS_DIRECTORY"] = str(_CREDENTIALS / self.name)
        return found


def installed(environ: Mapping[str, str]) -> Unit | None:
    """The one that runs; else the template, where it has instances, else the unit of a broker alone."""
    folders = [Path(text) for text in (environ.get("SYSTEMD_UNIT_PATH") or _UNIT_PATH).split(":") if text]
    # Never both: they conflict. Instances that nobody disabled start at the next boot, and hide nobody who runs now.
    runs_alone = properties(_ALONE, "ActiveState", environ=environ).get("ActiveState") in _RUNNING
    for name in (_ALONE, _TEMPLATE) if runs_alone else (_TEMPLATE, _ALONE):
        files = [folder / name for folder in folders if (folder / name).is_file()]
        instances = _instances(folders, environ) if name == _TEMPLATE else [name]
        if not files or not instances:
            continue
        # One of a name hides the others, in whichever folder (systemd.unit(5)).
        drop_ins: dict[str, Path] = {}
        for folder in reversed(folders):
            drop_ins |= {Path(text).name: Path(text) for text in glob.glob(f"{folder / name}.d/*.conf")}  # noqa: PTH207  # sorted below
        ordered = [drop_ins[each] for each in sorted(drop_ins)]
        return Unit(name, files[0], instances, ordered, _service([files[0], *ordered]))
    return None


def said_by(*words: str, environ: Mapping[str, str]) -> str:
    """What one of systemd's programs prints; nothing where it is not there, fails, or hangs."""
    try:
        done = subprocess.run(  # noqa: S603  # words of ours
            words,
            env={**environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def properties(name: str, *wanted: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What systemd says of a unit now; empty where it does not answer."""
    said = said_by("systemctl", "show", "--no-pager", f"--property={','.join(wanted)}", name, environ=environ)
    return {key: visible(value) for key, _, value in (line.partition("=") for line in said.splitlines())}


def _instances(folders: Sequence[Path], environ: Mapping[str, str]) -> list[str]:
    """Those that start at boot, and those that systemd knows beside them."""
    pattern = _TEMPLATE.replace("@.", "@?*.")
    wanted = {Path(text).name for folder in folders for text in glob.glob(f"{folder}/*.wants/{pattern}")}  # noqa: PTH207  # names
    said = said_by("systemctl", "list-units", "--all", "--plain", "--no-legend", pattern, environ=environ)
    return sorted(wanted | {line.split()[0] for line in said.splitlines() if line.strip()})


def _service(files: Sequence[Path]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        section = ""
        for line in _lines_of(file):
            if line.startswith("["):
                section = line
                continue
            key, separator, value = line.partition("=")
            if section == _SERVICE and separator:
                values = found.setdefault(key.strip(), [])
                values[:] = [*values, value.strip()] if value.strip() else []
    return found


def _lines_of(file: Path) -> Iterator[str]:
    """Those that say something."""
    try:
        text = _CONTINUED.sub(" ", file.read_text())
    except (OSError, UnicodeDecodeError):
        return
    yield from (line for line in map(str.strip, text.splitlines()) if line and line[0] not in "#;")


def _assignments(words: Iterator[str] | Sequence[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name.strip(): value.strip().strip("\"'") for name, separator, value in pairs if separator}
