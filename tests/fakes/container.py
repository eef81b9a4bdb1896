"""A container of the image that ``make image`` built, run as Kubernetes' strictest profile asks: crun, and nothing of a daemon.

The root is read-only, the user is the image's number, there are no capabilities and no way to new ones. What is writable is what
the documentation names: two volumes and two memory file systems. The network is the caller's.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.fakes.until import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

STORAGE = Path(__file__).parents[2] / ".venv" / "image"
NAME = "localhost/zerotrust-broker:latest"
UID = 10001
# A loaded machine; a quiet one needs two.
PATIENCE = 60.0
# crun gives up where version 1 and 2 of control groups are mixed, though none is asked for: it shall see version 2 alone.
_CRUN = ("unshare", "--mount", "sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec crun "$@"', "crun")
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Image:
    """The built image, with its files at ``root`` for as long as it is entered."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", NAME))["Docker"]["config"]
        self._name = ""
        self.root = Path()

    def __enter__(self) -> Self:
        self._name = _buildah("from", "--pull-never", NAME).strip()
        self.root = Path(_buildah("mount", self._name).strip())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _buildah("umount", self._name)
        _buildah("rm", self._name)

    @property
    def environment(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config["Env"])


class Container:
    """One run of the image. ``volumes`` are folders of this machine by their place inside; others are written ``/place:ro``."""

    def __init__(
        self, image: Image, folder: Path, *, volumes: Mapping[str, Path], env: Mapping[str, str], hostname: str
    ) -> None:
        self.output = folder / "output.log"
        self._image = image
        self._bundle = folder / "bundle"
        self._bundle.mkdir(exist_ok=True)
        self._volumes, self._env, self._hostname = volumes, env, hostname
        self._id = f"zerotrust-{secrets.token_hex(4)}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> Self:
        """Run the image's entry point, with its command where there are no ``arguments``; returns at once."""
        config = self._image.config
        command = [*config["Entrypoint"], *(arguments or config["Cmd"])]
        (self._bundle / "config.json").write_text(json.dumps(self._specification(command)))
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*_CRUN, "--cgroup-manager=disabled", "run", f"--bundle={self._bundle}", self._id],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return self

    def until_it_says(self, text: str) -> None:
        assert self.process is not None
        process = self.process
        eventually(lambda: text in self.said() or process.poll() is not None)
        assert text in self.said(), self.said()

    def said(self) -> str:
        return self.output.read_text()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command inside, as the container's own user."""
        whole = [*_CRUN, "exec", f"--user={self._image.config['User']}", self._id, *command]
        return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def send(self, number: signal.Signals) -> None:
        subprocess.run([*_CRUN, "kill", self._id, number.name], check=True, timeout=PATIENCE)

    def ended(self) -> tuple[int, float]:
        """Its exit status, and how long that took from now."""
        assert self.process is not None
        before = time.monotonic()
        return self.process.wait(PATIENCE), time.monotonic() - before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([*_CRUN, "delete", "--force", self._id], capture_output=True, check=False, timeout=PATIENCE)
        if self.process is not None:
            self.process.wait(PATIENCE)

    def _specification(self, command: Sequence[str]) -> dict[str, Any]:
        # The same group as in the image (USER 10001:10001).
        user = dict(zip(("uid", "gid"), map(int, self._image.config["User"].split(":")), strict=True))
        environment = {**self._image.environment, **self._env}
        none: list[str] = []
        return {
            "ociVersion": "1.0.0",
            "process": {
                "user": user,
                "args": list(command),
                "env": [f"{name}={value}" for name, value in environment.items()],
                "cwd": "/",
                "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted", "ambient"), none),
                "noNewPrivileges": True,
            },
            "root": {"path": str(self._image.root), "readonly": True},
            "hostname": self._hostname,
            "mounts": [*_system(), *_memory(user), *(_bound(place, self._volumes[place]) for place in self._volumes)],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
                "maskedPaths": _MASKED,
                "readonlyPaths": _READ_ONLY,
            },
        }


def _system() -> list[dict[str, Any]]:
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {
            "destination": "/sys",
            "type": "bind",
            "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
        },
    ]


def _memory(user: Mapping[str, int]) -> list[dict[str, Any]]:
    owner = [f"uid={user['uid']}", f"gid={user['gid']}"]
    always = ["nosuid", "nodev", "noexec", "size=16m"]
    return [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*always, "mode=1777"]},  # noqa: S108
        {"destination": "/run/zerotrust", "type": "tmpfs", "source": "tmpfs", "options": [*always, "mode=750", *owner]},
    ]


def _bound(place: str, folder: Path) -> dict[str, Any]:
    destination, _, mode = place.partition(":")
    options = ["rbind", "nosuid", "nodev", "noexec", mode or "rw"]
    return {"destination": destination, "type": "bind", "source": str(folder), "options": options}


def _buildah(*arguments: str) -> str:
    whole = ["buildah", f"--root={STORAGE}/storage", f"--runroot={STORAGE}/run", *arguments]
    return subprocess.run(whole, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
