"""Somebody with a ticket before a healthy broker's door, and `zerotrust doctor`, for tests that make one of them ill."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from broker import wire
from tests.fakes import front_door
from tests.fakes.front_door import FrontDoor, Visit
from tests.fakes.realm import Realm
from zerotrust_kerberos.doctor.table import CHECKS
from zerotrust_kerberos.failures import TABLE

PROGRAM = str(Path(sys.executable).parent / "zerotrust")
Environment = dict[str, str]


class Clinic:
    """A healthy broker's door, somebody with a ticket, and the program."""

    def __init__(self, realm: Realm, door: FrontDoor, home: Path, login: Environment) -> None:
        self.realm = realm
        self.door = door
        self.home = home
        self.ahead = 0.0  # seconds that the door's clock is ahead
        self.challenge = ["WWW-Authenticate: Negotiate"]
        self.verdict = {"verdict": "allowed", "hint": ""}
        programs = home / "bin"  # the AWS CLI takes longer to tell its version than all checks together
        programs.mkdir(exist_ok=True)
        (programs / "kinit").symlink_to("/usr/bin/kinit")
        self.env = {
            # The clock of AWS is the door's: nothing leaves this machine.
            "AWS_ENDPOINT_URL_STS": door.url,
            "HOME": str(home),
            "PATH": str(programs),
            "ZEROTRUST_BROKER_URL": door.url,
            **login,
        }
        door.reply = self._answer

    def _answer(self, visit: Visit) -> None:
        date = f"Date: {formatdate(time.time() + self.ahead, usegmt=True)}"
        path = visit.head.split(" ")[1]
        if not visit.principal:
            front_door.problem(401, "auth_required", date, *self.challenge)(visit)
            return
        body = (
            json.dumps(self.verdict).encode()
            if path.startswith(wire.EXPLAIN_PATH)
            else wire.whoami_body(
                principal=visit.principal, realm="EXAMPLE.COM", name_type="user", ticket_ends="x", accounts=[]
            )
        )
        visit.answer(200, body, visit.negotiate(), date, f"Content-Type: {wire.JSON}")

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [PROGRAM, "doctor", *words]
        env = {name: value for name, value in {**self.env, **more}.items() if value}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)

    def findings(self, *words: str, **more: str) -> dict[str, dict[str, str]]:
        """By check; with the exit status under "status"."""
        done = self.run("--json", *words, **more)
        assert done.stderr == ""
        found = {one["check"]: one for one in json.loads(done.stdout)}
        assert list(found) == list(CHECKS)
        codes = [one["code"] for one in found.values() if one["verdict"] == "bad" and one.get("fixed") != "done"]
        assert done.returncode == (TABLE[codes[0]][0] if codes else 0)
        return found

    def first(self, **more: str) -> tuple[str, str, str]:
        """The first fault: its check, its code, and all that is said of it."""
        found = next(one for one in self.findings(**more).values() if one["verdict"] == "bad")
        return found["check"], found["code"], f"{found['evidence']} — run: {found['fix']}"


class tls_door:  # noqa: N801  read like a function
    """A door with a certificate; gives the variables that lead there."""

    def __init__(
        self, clinic: Clinic, folder: Path, *, host: str = "localhost", days: int = 90, known: bool = True
    ) -> None:
        self._clinic, self._known = clinic, known
        tls, self._ca_file = front_door.server_tls(folder, host=host, days=days)
        keytab = clinic.realm.keytab(folder / "keytab", "HTTP/localhost")
        self._door = FrontDoor.tcp(keytab, tls=tls)
        self._door.reply = clinic._answer

    def __enter__(self) -> Environment:
        self._door.__enter__()
        trust = {"ZEROTRUST_CA_FILE": str(self._ca_file)} if self._known else {}
        return {"ZEROTRUST_BROKER_URL": self._door.url, **trust}

    def __exit__(self, *_: object) -> None:
        self._door.__exit__()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def krb5_conf(clinic: Clinic, change: Callable[[str], str]) -> Environment:
    path = clinic.home / "krb5.conf"
    path.write_text(change(Path(clinic.realm.env["KRB5_CONFIG"]).read_text()))
    return {"KRB5_CONFIG": str(path)}
