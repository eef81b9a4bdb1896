"""The peer: Apache with the event MPM and mod_auth_gssapi serving a static file, in a throw-away folder on loopback.

It does the least that a server with Kerberos can do: accept the ticket, look at the user's name, send a file of 1 KB. No
access log. What the broker does beyond that (policy, cache, signed and durable record) is its own cost in the ratio.

The file lies in two places: in one every request needs a ticket of its own, in the other there is a session cookie for the
first ticket, as the README of mod_auth_gssapi advises it. That cookie is set once and opened for each request, and not set anew.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.realm import free_port

FILE = "/ticket/file"
SESSION_FILE = "/session/file"
_FILE_BYTES = 1024
# Under callgrind it takes its time.
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_MODULES = Path("/usr/lib/apache2/modules")  # Debian's place for them
_USER = "www-data"  # Apache gives root away and needs somebody to become

# One process with as many threads as there are connections and some to spare, and none that come and go while it is
# measured. mod_auth_gssapi as its README advises: Kerberos only, no delegation. A location inherits nothing of its directives.
_CONFIGURATION = """\
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
LogLevel warn
User {user}
Group {user}

LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule session_module {modules}/mod_session.so
LoadModule session_cookie_module {modules}/mod_session_cookie.so
LoadModule auth_gssapi_module {modules}/mod_auth_gssapi.so

StartServers 1
ServerLimit 1
ThreadsPerChild 32
MaxRequestWorkers 32
MinSpareThreads 1
MaxSpareThreads 32
MaxConnectionsPerChild 0
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0

DocumentRoot {folder}/htdocs
<Location "/ticket">
  AuthType GSSAPI
  AuthName "bench"
  GssapiSSLonly Off
  GssapiAllowedMech krb5
  GssapiCredStore keytab:{folder}/http.keytab
  Require valid-user
</Location>
<Location "/session">
  AuthType GSSAPI
  AuthName "bench"
  GssapiSSLonly Off
  GssapiAllowedMech krb5
  GssapiCredStore keytab:{folder}/http.keytab
  GssapiUseSessions On
  GssapiSessionKey file:{folder}/session.key
  Session On
  SessionCookieName gssapi_session path=/session;httponly;secure;
  Require valid-user
</Location>
"""


class ApacheError(RuntimeError):
    """Apache is missing or did not start; the message holds what it said."""


class Apache:
    """A running Apache. Use as a context manager.

    Attributes:
        port: Where it listens on 127.0.0.1.
        pid: Its first process, the parent of the one that answers.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keytab: Path,
        krb5_conf: Path,
        inside: Callable[..., list[str]] = lambda *command: list(command),
    ) -> None:
        """Write the configuration; nothing runs yet.

        Args:
            folder: An empty or missing folder, all of whose parents ``www-data`` may pass through when this is root.
            keytab: The service's keys; copied, since Apache reads them as another user.
            krb5_conf: The realm's configuration; copied for the same reason.
            inside: Makes of a command line one that is counted (``Counter.throughout``).
        """
        self.port = free_port()
        self.pid = 0
        self._folder = folder
        self._inside = inside
        self._process: subprocess.Popen[bytes] | None = None
        for name in (FILE, SESSION_FILE):
            path = folder / "htdocs" / name.removeprefix("/")
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x" * _FILE_BYTES)
        shutil.copyfile(krb5_conf, folder / "krb5.conf")
        shutil.copyfile(keytab, folder / "http.keytab")
        (folder / "http.keytab").chmod(0o600)
        fields = {"folder": folder, "port": self.port, "user": _USER, "modules": _MODULES}
        (folder / "httpd.conf").write_text(_CONFIGURATION.format(**fields))
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid)

    @property
    def program(self) -> str:
        """The path of Apache.

        Raises:
            ApacheError: It is not installed.
        """
        found = shutil.which("apache2", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
        if found is None or not (_MODULES / "mod_auth_gssapi.so").exists():
            raise ApacheError("apache2 or mod_auth_gssapi is not installed; run: make bench")
        return found

    def __enter__(self) -> Self:
        env = {
            "PATH": os.environ["PATH"],
            "KRB5_CONFIG": str(self._folder / "krb5.conf"),
            # MIT's replay cache, on as it is by default, in a file that Apache's user owns (krb5.conf(5), default_rcache_name).
            "KRB5RCACHENAME": f"file2:{self._folder}/replay",
        }
        configuration = str(self._folder / "httpd.conf")
        command = self._inside(self.program, "-d", str(self._folder), "-f", configuration, "-DFOREGROUND")
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), _START_SECONDS).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                return self
        self.__exit__(None, None, None)
        log = self._folder / "error.log"
        raise ApacheError(f"Apache does not listen: {log.read_text() if log.exists() else 'no error log'}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
