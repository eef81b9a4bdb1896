"""A real OpenLDAP server in a folder of its own, on free ports of 127.0.0.1, that knows its clients by Kerberos.

It reads the keys of ``ldap/localhost`` from a keytab, answers nobody who is not authenticated by GSS-API with an encrypted
connection (SASL's own, or TLS), and logs every operation, so that a test can say what the product asked for. Root is not
needed. The tree is ``dc=example,dc=com``; entries come as LDIF, and ``change()`` is the administrator.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.fakes.certificates import ServerCertificate
from tests.fakes.realm import Realm, free_port
from tests.fakes.server_process import ServerProcess

BASE = "dc=example,dc=com"
SERVICE = "ldap/localhost"

START_SECONDS = 10.0  # It is up in 30 ms; a loaded build machine may need a hundred times that.
COMMAND_SECONDS = 10.0
POLL_SECONDS = 0.005
PORT_ATTEMPTS = 20  # Another process may take a port between our choice and the server's bind.
# slapd(8) -d: connections, operations and results.
_LOG_STATS = "256"

# What MIT Kerberos and FreeIPA call an entry's principals; and of Active Directory's schema what the product asks for, the
# computed attribute tokenGroups kept like any other.
_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 2.16.840.1.113719.1.301.6.8.1 NAME 'krbPrincipalName' EQUALITY caseExactIA5Match
    SUBSTR caseExactSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
objectclass ( 2.16.840.1.113719.1.301.6.8.2 NAME 'krbPrincipalAux' SUP top AUXILIARY MAY krbPrincipalName )
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.146 NAME 'objectSid' EQUALITY octetStringMatch
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.1301 NAME 'tokenGroups' SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.2.840.113556.1.5.6 NAME 'securityPrincipal' SUP top AUXILIARY
    MAY ( sAMAccountName $ objectSid $ tokenGroups ) )
objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL MUST cn MAY member )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
sasl-host localhost
sasl-realm {realm}
{tls}
database mdb
directory {folder}/database
maxsize 16777216
suffix "{base}"
rootdn "cn=admin,{base}"
rootpw {password}
access to * by dn.regex="^uid=[^,]+,(cn=[^,]+,)?cn=gssapi,cn=auth$" ssf=56 read by * auth
"""

_SUFFIX = f"""\
dn: {BASE}
objectClass: organization
objectClass: dcObject
o: Example
dc: example
"""


class LdapError(Exception):
    """A program of OpenLDAP is missing, failed, or did not come up; the message holds what it said."""


class LdapServer(ServerProcess):
    """One running slapd.

    Attributes:
        folder: Its configuration, data and log.
        port: Its port for ``ldap://`` on 127.0.0.1.
        tls_port: Its port for ``ldaps://``; 0 without a certificate.
    """

    def __init__(self, folder: Path, *, realm: Realm, certificate: ServerCertificate | None) -> None:
        self.folder = folder.resolve()
        self.port = 0
        self.tls_port = 0
        self._realm = realm
        self._certificate = certificate
        self._password = secrets.token_urlsafe(24)

    @classmethod
    def start(
        cls, folder: Path, *, realm: Realm, entries: str = "", certificate: ServerCertificate | None = None
    ) -> LdapServer:
        """Starts a server with entries in it, and returns when it answers.

        Args:
            folder: An empty or missing folder; made with mode 0700.
            realm: Whose clients it knows; it must have the service ``ldap/localhost``.
            entries: LDIF, below ``dc=example,dc=com``.
            certificate: With one, it speaks TLS on a second port.

        Raises:
            LdapError: It did not come up, or does not like the entries.
        """
        server = cls(folder, realm=realm, certificate=certificate)
        (server.folder / "database").mkdir(mode=0o700, parents=True, exist_ok=True)
        server._write_configuration()
        realm.keytab(server.folder / "ldap.keytab", SERVICE)
        server._run(["slapadd", "-q", "-f", str(server.folder / "slapd.conf")], text=f"{_SUFFIX}\n{entries}")
        server._start()
        return server

    @property
    def url(self) -> str:
        """``ldap://localhost:PORT``: by name, because tickets are for names."""
        return f"ldap://localhost:{self.port}"

    @property
    def tls_url(self) -> str:
        """``ldaps://localhost:PORT``."""
        return f"ldaps://localhost:{self.tls_port}"

    def change(self, ldif: str) -> None:
        """Carries out LDIF change records (``changetype: ...``) as the administrator.

        Raises:
            LdapError: The server refused.
        """
        command = ["ldapmodify", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", f"cn=admin,{BASE}"]
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        self._run([*command, "-y", str(password)], text=ldif)

    def log(self) -> str:
        """What it did so far, an operation a line."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "slapd.log").read_text(errors="replace")
        return ""

    def searches(self) -> int:
        """How often it was asked for entries so far."""
        return self.log().count(" SRCH base=")

    def restart(self) -> None:
        """Ends the server and starts it on the same ports with the same entries.

        Raises:
            LdapError: It did not come up, for instance because a port was taken meanwhile.
        """
        self.stop()
        if not self._came_up():
            raise LdapError(f"slapd cannot have its ports again: {self.log()}")

    def renew(self) -> None:
        """Brings the server back to running, whatever was done to it; its entries stay as they are."""
        if not self.is_running:
            self.restart()
        else:
            self.thaw()

    # ---- inside ----

    def _start(self) -> None:
        for _ in range(PORT_ATTEMPTS):
            self.port = free_port()
            self.tls_port = free_port() if self._certificate else 0
            if self._came_up():
                return
        raise LdapError(f"slapd found no free port on 127.0.0.1 in {PORT_ATTEMPTS} tries: {self.log()}")

    def _came_up(self) -> bool:
        urls = [f"ldap://127.0.0.1:{self.port}/"]
        urls += [f"ldaps://127.0.0.1:{self.tls_port}/"] if self.tls_port else []
        command = [_program("slapd"), "-d", _LOG_STATS, "-f", str(self.folder / "slapd.conf"), "-h", " ".join(urls)]
        with (self.folder / "slapd.log").open("wb") as log:
            # A session of its own: Ctrl-C in a terminal reaches our owner, who ends the server in order.
            self._server = subprocess.Popen(
                command, env=self._env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if "slapd starting" in self.log() and self._answers():
                return True
            if self._server.poll() is not None:
                self._server = None
                if "Address already in use" in self.log():
                    return False
                raise LdapError(f"slapd ended at its start: {self.log()}")
            time.sleep(POLL_SECONDS)
        self.stop()
        raise LdapError(f"slapd was not ready within {START_SECONDS} s: {self.log()}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), START_SECONDS):
            return True
        return False

    def _write_configuration(self) -> None:
        tls = ""
        if self._certificate is not None:
            tls = f"TLSCertificateFile {self._certificate.certificate}\nTLSCertificateKeyFile {self._certificate.key}"
        text = _CONFIGURATION.format(
            folder=self.folder, realm=self._realm.name, tls=tls, base=BASE, password=self._password
        )
        file = self.folder / "slapd.conf"
        file.touch(mode=0o600)
        file.write_text(text)

    def _env(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("KRB5", "LDAP"))}
        keytab = {"KRB5_KTNAME": f"FILE:{self.folder}/ldap.keytab"}
        return {**inherited, **self._realm.env, **keytab, "LDAPNOINIT": "1", "LC_ALL": "C"}

    def _run(self, command: list[str], *, text: str) -> None:
        done = subprocess.run(
            [_program(command[0]), *command[1:]],
            input=text,
            env=self._env(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            umask=0o077,
        )
        if done.returncode != 0:
            raise LdapError(f"{command[0]} exited with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")


def person(name: str, *principals: str, uid: str | None = None) -> str:
    """LDIF of somebody below ``dc=example,dc=com``; ``uid`` is the name unless told otherwise."""
    lines = [f"dn: cn={name},{BASE}", "objectClass: inetOrgPerson", "objectClass: krbPrincipalAux"]
    lines += [f"cn: {name}", f"sn: {name}", f"uid: {uid or name}"]
    return "\n".join([*lines, *(f"krbPrincipalName: {principal}" for principal in principals), "", ""])


def group(name: str, *members: str, below: str = BASE) -> str:
    """LDIF of a ``groupOfNames``; members are distinguished names, or names of entries right below the base."""
    lines = [f"dn: cn={name},{below}", "objectClass: groupOfNames", f"cn: {name}"]
    names = [member if "=" in member else f"cn={member},{BASE}" for member in members]
    return "\n".join([*lines, *(f"member: {member}" for member in names or [""]), "", ""])


def posix_group(name: str, gid: int, *uids: str) -> str:
    """LDIF of a ``posixGroup`` (RFC 2307): its members are login names."""
    lines = [f"dn: cn={name},{BASE}", "objectClass: posixGroup", f"cn: {name}", f"gidNumber: {gid}"]
    return "\n".join([*lines, *(f"memberUid: {uid}" for uid in uids), "", ""])


def windows_person(name: str, *groups: str) -> str:
    """LDIF of somebody in Active Directory; the groups are SIDs, those of nested groups too, as ``tokenGroups`` has them."""
    lines = [f"dn: cn={name},{BASE}", "objectClass: inetOrgPerson", "objectClass: securityPrincipal"]
    lines += [f"cn: {name}", f"sn: {name}", f"sAMAccountName: {name}"]
    return "\n".join([*lines, *(f"tokenGroups:: {_sid(group)}" for group in groups), "", ""])


def windows_group(name: str, sid: str) -> str:
    """LDIF of a group of Active Directory."""
    lines = [f"dn: cn={name},{BASE}", "objectClass: group", "objectClass: securityPrincipal"]
    return "\n".join([*lines, f"cn: {name}", f"sAMAccountName: {name}", f"objectSid:: {_sid(sid)}", "", ""])


def _sid(text: str) -> str:
    """A SID in its binary form (MS-DTYP section 2.4.2.2), in base64."""
    _, revision, authority, *below = text.split("-")
    head = bytes([int(revision), len(below)]) + int(authority).to_bytes(6)
    return base64.b64encode(head + b"".join(int(part).to_bytes(4, "little") for part in below)).decode()


def _program(name: str) -> str:
    """The path of a program of OpenLDAP; Debian keeps the server's in /usr/sbin, which users do not have in PATH."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if found is None:
        raise LdapError(f"{name} is not installed; run: make setup")
    return found
