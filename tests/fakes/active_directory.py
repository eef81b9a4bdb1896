"""A throw-away Active Directory: Samba's domain controller as a real KDC with real PACs, in a folder of its own.

`ActiveDirectory.start(folder)` provisions a domain with users, groups and a service, and starts the KDC part of the domain
controller on a free port of 127.0.0.1: about four seconds, without root, touching nothing outside the folder. For clients it
is a `Realm` like the MIT ones: `kinit`, `client_token`, `entered`, `env`. What it is made of, and whom it trusts, is fixed at its
start.

Debian packages: samba (with python3-samba for the system's Python), samba-ad-provision, samba-dsdb-modules.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.fakes.realm import POLL_SECONDS, START_SECONDS, Realm, RealmError, _program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Debian builds Samba's bindings for its own Python only.
SYSTEM_PYTHON = "/usr/bin/python3"
HERE = Path(__file__).parent

# A fixed one, so that its SIDs can stand in a configuration before there is a domain, and vectors can be made anew.
DOMAIN_SID = "S-1-5-21-397955417-626881126-188441444"
SERVICE_ACCOUNT = "svc-http"
SERVICE = "HTTP/localhost"
PASSWORD = "Wonder-land-1"
PROVISION_SECONDS = 120.0  # Three seconds on a quiet core; a loaded build machine may need ten times that.

# Without NT hashes nobody has an RC4 key, which the export of a keytab would add to the AES ones whatever the account allows.
SMB_CONF = """\
[global]
    workgroup = {domain}
    realm = {realm}
    netbios name = DC1
    disable netbios = yes
    server role = active directory domain controller
    server services = kdc
    interfaces = 127.0.0.1/8
    bind interfaces only = yes
    krb5 port = {port}
    kpasswd port = 0
    nt hash store = never
    private dir = {folder}/private
    state directory = {folder}/state
    cache directory = {folder}/cache
    lock directory = {folder}/lock
    pid directory = {folder}/pid
    ncalrpc dir = {folder}/ncalrpc

[sysvol]
    path = {folder}/state/sysvol
    read only = no

[netlogon]
    path = {folder}/state/sysvol/scripts
    read only = no
"""


@dataclass(frozen=True)
class User:
    """An account; with services it is one that services run as, known to the KDC under the first one's name too.

    `delegates_to` are the services where it may appear as anybody (constrained delegation with protocol transition). The
    account of a machine gets a `$` behind its name.
    """

    password: str = PASSWORD
    disabled: bool = False
    services: tuple[str, ...] = ()
    delegates_to: tuple[str, ...] = ()
    machine: bool = False


@dataclass(frozen=True)
class Group:
    """A security group. `kind` is global, universal, or resource (domain local: what a resource's owner makes).

    `claimed_sid` is what only a hostile domain controller does: a SID that is not its own to give.
    """

    members: tuple[str, ...] = ()
    kind: str = "global"
    claimed_sid: str | None = None


@dataclass(frozen=True)
class Trust:
    """Another realm, trusted in both directions: the secret of the two, and its domain's SID.

    A realm without domains needs one all the same: Samba refuses a trust without.
    """

    password: str
    domain_sid: str


def users() -> dict[str, User]:
    """Everybody in the domain; what they are in is in their names."""
    names = ("one", "threehundred", "thousand", "nested", "borrower")
    return {
        **{name: User() for name in names},
        "disabled": User(disabled=True),
        SERVICE_ACCOUNT: User(services=(SERVICE,)),
    }


def groups() -> dict[str, Group]:
    """A thousand teams; three groups in each other; a resource group that is reached directly and through a team."""
    in_team = {"one": 1, "threehundred": 300, "thousand": 1_000}
    teams = {
        f"team-{number:04}": Group(members=tuple(user for user, size in in_team.items() if number < size))
        for number in range(max(in_team.values()))
    }
    return teams | {
        "inner": Group(members=("nested",)),
        "middle": Group(members=("inner",)),
        "outer": Group(members=("middle",), kind="universal"),
        "printers": Group(members=("borrower", "outer"), kind="resource"),
        "empty": Group(),
    }


class ActiveDirectory(Realm):
    """One running domain controller.

    Attributes:
        domain_sid: The domain's SID.
        sids: SID of every user and group by its account name.
        token_groups: The groups of every user that was wished for, as SIDs, by the directory's own reckoning
            (attribute tokenGroups): nested ones, resource groups and built-in ones included.
        http_keytab: The AES keys of HTTP/localhost, mode 0600.
    """

    def __init__(
        self, folder: Path, *, name: str, domain_sid: str = DOMAIN_SID, services_realm: str | None = None
    ) -> None:
        super().__init__(folder, name=name, services_realm=services_realm)
        self.domain_sid = domain_sid
        self.sids: dict[str, str] = {}
        self.token_groups: dict[str, frozenset[str]] = {}
        self.http_keytab = self.folder / "http.keytab"

    @classmethod
    def start(  # type: ignore[override] - a directory is made of other things than an MIT realm
        cls,
        folder: Path,
        *,
        name: str = "AD.EXAMPLE.COM",
        domain_sid: str = DOMAIN_SID,
        people: Mapping[str, User] | None = None,
        teams: Mapping[str, Group] | None = None,
        trusts: Mapping[str, Trust] | None = None,
        services_realm: str | None = None,
    ) -> Self:
        """Makes a domain and starts its KDC; returns when the KDC listens.

        Args:
            folder: An empty or missing folder; made with mode 0700.
            name: The realm's name; the domain's DNS name is the same in small letters, its short name the first part.
            domain_sid: The domain's SID.
            people: Its accounts; `users()` unless given.
            teams: Its groups; `groups()` unless given. Members come before the groups that they are in.
            trusts: The realms that it trusts.
            services_realm: The realm that `localhost` belongs to; this one unless another serves it.

        Raises:
            RealmError: A program is missing or failed.
        """
        directory = cls(folder, name=name, domain_sid=domain_sid, services_realm=services_realm)
        directory.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in ("private", "state", "cache", "lock", "pid", "ncalrpc"):
            (directory.folder / part).mkdir(mode=0o700)
        directory._write_configuration()
        directory._provision(users() if people is None else people, groups() if teams is None else teams, trusts or {})
        directory.start_kdc()
        return directory

    def impersonated_token(self, user: str, ccache: Path, *, by: str = SERVICE) -> bytes:
        """A token for HTTP/localhost of a user who took no part in it (S4U2Self, and S4U2Proxy for another service).

        Args:
            user: Whom the service pretends to have seen.
            ccache: The file that will hold the service's own tickets.
            by: The service.
        """
        import gssapi  # noqa: PLC0415 - as in Realm.client_token

        service = self.kinit(by, ccache, password=PASSWORD)
        with self.entered():
            own = gssapi.Credentials(usage="initiate", store={"ccache": service["KRB5CCNAME"]})
            theirs = own.impersonate(gssapi.Name(self._full_name(user), gssapi.NameType.kerberos_principal))
            target = gssapi.Name("HTTP@localhost", gssapi.NameType.hostbased_service)
            context = gssapi.SecurityContext(name=target, creds=theirs, mech=gssapi.MechType.kerberos, usage="initiate")
            return context.step() or b""

    def logon_info(self, token: bytes) -> bytes:
        """The logon information in a token for HTTP/localhost, as an acceptor with the keytab gets it from GSS-API."""
        from gssapi import raw  # noqa: PLC0415

        with self.entered():
            store = {b"keytab": bytes(self.http_keytab), b"rcache": b"none:"}
            accepted = raw.accept_sec_context(token, raw.acquire_cred_from(store, usage="accept").creds)
            attribute = raw.get_name_attribute(accepted.initiator_name, b"urn:mspac:logon-info")
        if not attribute.authenticated:
            raise RealmError("the PAC's signature was not verified")
        (value,) = attribute.values
        return value

    @property
    def _domain(self) -> str:
        return _short(self.name)

    def _provision(self, people: Mapping[str, User], teams: Mapping[str, Group], trusts: Mapping[str, Trust]) -> None:
        wish = {
            "smb_conf": str(self.folder / "smb.conf"),
            "realm": self.name,
            "domain": self._domain,
            "domain_sid": self.domain_sid,
            "administrator_password": f"Aa1-{secrets.token_urlsafe(24)}",
            "service": SERVICE,
            "keytab": str(self.http_keytab),
            "users": {name: dataclasses.asdict(user) for name, user in people.items()},
            "groups": {name: dataclasses.asdict(group) for name, group in teams.items()},
            "trusts": {name: {**dataclasses.asdict(trust), "domain": _short(name)} for name, trust in trusts.items()},
        }
        answer = json.loads(
            in_system_python(HERE / "active_directory_setup.py", text=json.dumps(wish), folder=self.folder)
        )
        self.sids = answer["sids"]
        self.token_groups = {name: frozenset(sids) for name, sids in answer["token_groups"].items()}
        self._remember({name: user.password for name, user in people.items()})

    def _kadmin(self, commands: Sequence[str]) -> None:
        raise RealmError(f"{self.name} is a directory, kadmin has no say in it: {commands}")

    def _write_configuration(self) -> None:
        super()._write_configuration()
        text = SMB_CONF.format(domain=self._domain, realm=self.name, port=self.port, folder=self.folder)
        (self.folder / "smb.conf").write_text(text)

    def _kdc_came_up(self) -> bool:
        """Starts the domain controller as one process; False when the port was taken."""
        command = [
            _program("samba"),
            "-F",
            "-M",
            "single",
            "--no-process-group",
            "--debug-stdout",
            "-s",
            self.folder / "smb.conf",
        ]
        with self._log_file.open("w") as log:
            self._kdc = subprocess.Popen(
                command,
                env=_samba_environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._kdc.poll() is not None:
                self._kdc = None
                if "ADDRESS_ALREADY_ASSOCIATED" in self._log():
                    return False
                raise RealmError(f"samba ended at its start: {self._log()}")
            if listens(self._kdc.pid, self.port):
                return True
            time.sleep(POLL_SECONDS)
        self.stop()
        raise RealmError(f"samba was not ready within {START_SECONDS} s: {self._log()}")

    @property
    def _log_file(self) -> Path:
        return self.folder / "samba.log"

    def _log(self) -> str:
        return self._log_file.read_text(errors="replace")


def _short(realm: str) -> str:
    return realm.partition(".")[0]


def listens(pid: int, port: int) -> bool:
    """Whether this very process has a TCP listener on 127.0.0.1: a port that answers might be somebody else's."""
    listener = f" 0100007F:{port:04X} 00000000:0000 0A "
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if listener in line}
    try:
        opened = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except FileNotFoundError:
        return False
    return any(f"socket:[{inode}]" in opened for inode in inodes)


def samba_reads(*logon_infos: bytes) -> list[dict[str, Any]]:
    """What Samba's own NDR reader finds in the logon information of PACs.

    Returns:
        For each domain_sid, user_rid, primary_rid, rids, sids, resource_domain_sid (or None) and resource_rids; the three lists
        are pairs with the attributes behind; and strings, the eight names and paths.

    Raises:
        RealmError: Samba cannot read one of them.
    """
    encoded = json.dumps([base64.b64encode(logon_info).decode() for logon_info in logon_infos])
    return json.loads(in_system_python(HERE / "samba_pac.py", "read", text=encoded))


def samba_writes(*descriptions: Mapping[str, Any]) -> list[bytes]:
    """The logon information that Samba's own NDR writer makes of what `samba_reads` returns."""
    written = json.loads(in_system_python(HERE / "samba_pac.py", "write", text=json.dumps(descriptions)))
    return [base64.b64decode(encoded) for encoded in written]


def samba_writes_delegations(*transited: Sequence[str]) -> list[bytes]:
    """The delegation information that Samba's own NDR writer makes of the names of services."""
    written = json.loads(in_system_python(HERE / "samba_pac.py", "delegation", text=json.dumps(transited)))
    return [base64.b64decode(encoded) for encoded in written]


def in_system_python(script: Path, *words: str, text: str, folder: Path = HERE) -> str:
    """Runs a script where Samba's bindings are.

    Raises:
        RealmError: It failed; the message holds what it said.
    """
    done = subprocess.run(
        [SYSTEM_PYTHON, "-I", script, *words],
        input=text,
        env=_samba_environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=PROVISION_SECONDS,
        umask=0o077,
    )
    if done.returncode != 0:
        raise RealmError(f"{script.name} failed: {done.stderr[-2000:]}")
    return done.stdout


def _samba_environment(folder: Path) -> dict[str, str]:
    """Samba brings a Kerberos of its own (Heimdal), which must not read what is written for MIT's."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", "KRB5_CONFIG": str(folder / "private" / "krb5.conf")}
