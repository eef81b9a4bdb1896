"""The machine of the guide, in namespaces of its own: ``/etc/zerotrust``, and a real vault at https://vault.example.com:8200.

``unshare --mount --propagation=unchanged --net python -m tests.fakes.guide_machine FOLDER`` reads a JSON object from stdin,
``{"config": YAML, "code": PYTHON, "vault": {PATH: FIELDS}, "show": EXPRESSION}``, runs the code as it stands, and prints what the
expression is then.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fakes.bao import BaoServer
from tests.fakes.certificates import server_certificate

NAME, PORT = "vault.example.com", 8200
# The engine that the guide's program does not name.
KV = "secret"
_IFF_UP, _SIOCSIFFLAGS = 0x1, 0x8914
FILES = {"redis_password": "canary-from-a-file\n", "encryption_key": "A" * 43 + "=\n"}


class _Vault(BaoServer):
    """At the port that the guide prints: nobody else is in this network."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.certificate = server_certificate(self.folder / "tls", "ecdsa-sha256", also=[NAME])

    def _start(self) -> None:
        self.port, self._cluster_port = PORT, PORT + 1
        assert self._came_up()


def furnish(folder: Path, config: str) -> None:
    """An /etc of our own, over the machine's."""
    raise_loopback()
    # Nothing of this is seen outside. In a chroot / is no mount point; what holds it is out of reach and mostly private.
    run("sh", "-c", "mount --make-rprivate / || ! mountpoint -q /")
    run("mount", "-t", "tmpfs", "tmpfs", str(folder))
    for name in ("upper", "work"):
        (folder / name).mkdir()
    run(
        "mount",
        "-t",
        "overlay",
        "overlay",
        "-o",
        f"lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/work",
        "/etc",
    )
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost {NAME}\n")
    secrets = Path("/etc/zerotrust/secrets")
    secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    texts = {secrets / name: text for name, text in FILES.items()}
    for path, text in [*texts.items(), (secrets.parent / "config.yaml", config)]:
        path.touch(mode=0o600)
        path.write_text(text)


def raise_loopback() -> None:
    """``ip link set lo up`` without that program: the ioctl behind it (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def run(*command: str) -> None:
    """Or fail with what it said."""
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """One program."""
    folder = Path(sys.argv[1])
    asked = json.load(sys.stdin)
    furnish(folder, asked["config"])
    with _Vault.start(folder / "bao") as vault:
        vault.mount(KV, "kv", {"version": "2"})
        for path, fields in asked["vault"].items():
            vault.api("POST", f"{KV}/data/{path}", {"data": fields})
        vault.policy("program", f'path "{KV}/data/*" {{ capabilities = ["read"] }}')
        login = vault.approle("program", "program")
        os.environ |= {"VAULT_ROLE_ID": login.role_id, "VAULT_SECRET_ID": login.secret_id} if asked["login"] else {}
        os.environ["SSL_CERT_FILE"] = str(vault.ca_file)
        # The guide prints no import of os.
        names: dict[str, Any] = {"os": os}
        try:
            exec(asked["code"], names)  # noqa: S102  # the guide's own
            shown = eval(asked["show"], names)  # noqa: S307  # the test's own
        except Exception as error:  # noqa: BLE001  # to be shown
            shown = f"{type(error).__name__}: {error}"
    print(json.dumps(shown))  # noqa: T201


if __name__ == "__main__":
    main()
