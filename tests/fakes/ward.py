"""A broker's host for the server's doctor to look at: real parts, healthy until a test makes one of them ill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from broker.admin.assembled import Assembled
from broker.admin.cli import main
from broker.assembly.doctor.examine import examine
from broker.assembly.resolver import VaultResolver
from broker.core.clock import Clock, SystemClock
from tests.fakes.broker import configuration
from tests.fakes.sts import demo

# No unit of this machine is looked at, unless a test installs one.
NO_UNITS = "/proc/no-units"


@dataclass
class Ward:
    """The files of one, and the doctor, called as a program would be."""

    folder: Path
    keytab: Path
    sts_endpoint: str
    sections: Mapping[str, Any] = field(default_factory=dict)
    environ: dict[str, str | None] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o755, exist_ok=True)
        (self.folder / "audit").mkdir(mode=0o750, exist_ok=True)
        self.settings = configuration(self.folder, keytab=self.keytab, sts_endpoint=self.sts_endpoint, **self.sections)
        self.config = self.folder / "config.yaml"
        self.environ = {
            "AWS_ACCESS_KEY_ID": demo.BROKER_ACCESS_KEY_ID,
            "ZEROTRUST_AWS_SECRET_KEY": demo.BROKER_SECRET_ACCESS_KEY,
            "SYSTEMD_UNIT_PATH": NO_UNITS,
            **self.environ,
        }
        self.write()

    @property
    def env(self) -> dict[str, str]:
        """For a process of its own."""
        return {name: value for name, value in self.environ.items() if value}

    def write(self) -> None:
        """Bring ``settings`` into the file. JSON is YAML."""
        self.config.touch(mode=0o600)
        self.config.write_text(json.dumps(self.settings, indent=2))

    def run(self, *words: str) -> Result:
        unused: Any = None
        members: dict[str, Any] = dict.fromkeys(Assembled.__dataclass_fields__, unused)
        members["resolver"] = lambda sections: VaultResolver(sections=sections)
        members["examine"] = lambda config, only, assume: examine(config, only, may_assume=assume, clock=self.clock)
        arguments = ["doctor", "--config", str(self.config), *words]
        return CliRunner().invoke(main, arguments, obj=Assembled(**members), env=self.environ)

    def findings(self, *words: str) -> list[dict[str, str]]:
        """What is said; whatever is wrong must say how it is mended, under a code, and decide the exit status."""
        result = self.run("--json", *words)
        assert result.stderr == ""
        found: list[dict[str, str]] = json.loads(result.stdout)
        for one in found:
            assert one["verdict"] not in ("bad", "warn") or (one["code"] and one["fix"]), one
        verdicts, codes = {one["verdict"] for one in found}, {one.get("code") for one in found}
        expected = 78 if "config_invalid" in codes else 1 if "bad" in verdicts or verdicts <= {"unseen"} else 0
        assert result.exit_code == expected, result.output
        return found

    def said_by(self, check: str, *words: str) -> list[tuple[str, str, str]]:
        """Verdict, code and evidence of one check's findings."""
        found = self.findings("--only", check, *words)
        assert {one["check"] for one in found} == {check}
        return [(one["verdict"], one.get("code", ""), one["evidence"]) for one in found]

    def ill(self, check: str, *words: str) -> list[tuple[str, str, str]]:
        """The same without what is well."""
        return [one for one in self.said_by(check, *words) if one[0] != "ok"]

    def everything(self) -> dict[str, str]:
        """Each file below the folder, as it is now."""
        return {str(path): _state_of(path) for path in sorted(self.folder.rglob("*"))}


def _state_of(path: Path) -> str:
    status = path.lstat()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return f"{status.st_mode:o} {status.st_uid} {status.st_ino} {status.st_mtime_ns} {content}"
