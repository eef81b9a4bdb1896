"""A throw-away Kerberos realm: a real MIT KDC in a folder of its own.

`Realm.start(folder)` makes a database, its principals and a running `krb5kdc` in about a fifth of a second, without root,
listening on 127.0.0.1 only, and touching nothing outside the folder: every program finds its files through `KRB5_CONFIG` and
`KRB5_KDC_PROFILE`. `linked_realms` makes two that trust each other. The demo and the tests use the same realm, so nothing here
knows about pytest.

MIT Kerberos reads `KRB5_CONFIG` anew for every krb5 context, and GSS-API makes one per acquired credential and per step. So one
process can speak to several realms in turn: `with realm.entered(): ...` is enough, also after contexts of another realm existed
(tests/integration/test_realm.py shows it). The variable belongs to the whole process, though: never enter two realms from two
threads at once. A process that stays in one realm, such as the broker, gets `realm.env` at its start.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

TEMPLATES = Path(__file__).parents[2] / "krb5"

# RFC 3962 and RFC 8009: AES only. RC4 and DES keys are what the product refuses, so the realm has none to give.
ENCTYPES = ("aes256-cts-hmac-sha1-96", "aes256-cts-hmac-sha384-192", "aes128-cts-hmac-sha1-96")

START_SECONDS = 10.0  # A KDC is up in 20 ms; a loaded build machine may need a hundred times that.
STOP_SECONDS = 5.0  # SIGTERM ends krb5kdc at once; beyond this something hangs and is killed.
COMMAND_SECONDS = 30.0  # No administrative command here takes a second.
COMMANDS_AT_ONCE = 100  # Each principal is a write to the disk, of 30 ms where it is busy.
POLL_SECONDS = 0.005
PORT_ATTEMPTS = 20  # Another process may take the port between our choice and the KDC's bind.


class RealmError(Exception):
    """A Kerberos program is missing, failed, or did not come up; the message holds what it said."""


class Realm:
    """One running KDC and the means to make principals, keytabs and tickets in it.

    Attributes:
        name: The realm's name, `EXAMPLE.COM`.
        folder: Everything the realm consists of; deleting it after `stop()` leaves no trace.
        port: The loopback port the KDC listens on, UDP and TCP.
    """

    def __init__(self, folder: Path, *, name: str, services_realm: str | None = None) -> None:
        self.name = name
        self.folder = folder.resolve()
        self.port = 0
        self._services_realm = services_realm or name
        self._peers: dict[str, int] = {}
        self._passwords: dict[str, str] = {}
        self._options: dict[str, dict[str, str]] = {"kdc.conf": {}, "krb5.conf": {}}
        self._sections = {"kdc.conf": "", "krb5.conf": ""}
        self._kdc: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        name: str = "EXAMPLE.COM",
        principals: Mapping[str, str] | None = None,
        services: Sequence[str] = ("HTTP/localhost",),
        trusts: Mapping[str, str] | None = None,
        services_realm: str | None = None,
        kdc_options: Mapping[str, str] | None = None,
        client_options: Mapping[str, str] | None = None,
        kdc_sections: str = "",
    ) -> Realm:
        """Makes a realm and starts its KDC; returns when the KDC answers.

        Args:
            folder: An empty or missing folder; made with mode 0700.
            name: The realm's name.
            principals: User to password; a user without a realm is one of this realm.
            services: Principals with random keys, `HTTP/localhost`.
            trusts: Other realm to the password of the two cross-realm keys, the same in both databases.
            services_realm: The realm that `localhost` belongs to; this one unless another serves it.
            kdc_options: Further settings of the realm in kdc.conf; they replace the template's of the same name.
            client_options: Further settings of [libdefaults] in krb5.conf; they replace the template's.
            kdc_sections: Further sections of kdc.conf, such as [otp].

        Raises:
            RealmError: A program is missing or failed.
        """
        realm = cls(folder, name=name, services_realm=services_realm)
        realm._options = {"kdc.conf": dict(kdc_options or {}), "krb5.conf": dict(client_options or {})}
        realm._sections = {"kdc.conf": kdc_sections, "krb5.conf": ""}
        realm.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        realm._write_configuration()
        realm._create_database(principals=principals or {}, services=services, trusts=trusts or {})
        realm.start_kdc()
        return realm

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # ---- what other processes need ----

    @property
    def env(self) -> dict[str, str]:
        """The variables that put a child process into this realm; add them to its environment."""
        return {
            "KRB5_CONFIG": str(self.folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
        }

    @contextlib.contextmanager
    def entered(self, extra: Mapping[str, str] | None = None) -> Iterator[None]:
        """Puts this process into the realm for the length of a block; see the module's note on threads.

        Args:
            extra: More variables for the block, such as the result of `kinit`.
        """
        wanted = {**self.env, **(extra or {})}
        before = {key: os.environ.get(key) for key in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value

    # ---- principals and keys ----

    def add_principal(self, name: str, password: str | None = None, *, options: Sequence[str] = ()) -> None:
        """Adds a principal; without a password it gets random keys, as a service does.

        Args:
            name: As kadmin reads it: backslash escapes stand for characters that names cannot hold as they are.
            password: What `kinit` will use; remembered for it.
            options: Further words of kadmin's `addprinc`, such as `-maxlife`, `10 minutes`.
        """
        self._kadmin([_addprinc(name, password, options)])
        self._remember({name: password} if password is not None else {})

    def set_string(self, name: str, attribute: str, value: str) -> None:
        """Sets a string attribute of a principal, such as `session_enctypes`."""
        self._kadmin([_words("setstr", name, attribute, value)])

    def rotate(self, service: str, *, keepold: bool = True) -> None:
        """Gives a service new keys under the next key version number.

        Keytabs already written stay as they are: `keytab` writes the new state. Without `keepold` tickets issued before the
        rotation can no longer be read, with any keytab exported afterwards.
        """
        self._kadmin([_words("cpw", "-randkey", *(["-keepold"] if keepold else []), service)])

    def keytab(self, path: Path, *services: str) -> Path:
        """Writes the keys of the services, all versions, to `path` with mode 0600, replacing it in one rename.

        The keys stay what they are (`ktadd -norandkey`), so any number of keytabs of one service agree.
        """
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            self._kadmin([_words("ktadd", "-norandkey", "-k", str(fresh), service) for service in services])
            fresh.chmod(0o600)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        return path

    # ---- tickets ----

    def kinit(
        self,
        user: str,
        ccache: Path,
        *,
        password: str | None = None,
        lifetime: timedelta | None = None,
        options: Sequence[str] = (),
    ) -> dict[str, str]:
        """Logs a user in and returns the variables that make a child process this user.

        Args:
            user: A principal of this realm, with or without `@REALM`.
            ccache: The file that will hold the tickets.
            password: Needed only when the realm did not make the user itself.
            lifetime: How long the ticket shall live; the KDC caps it at 10 hours.
            options: Further words for `kinit`.

        Raises:
            RealmError: The KDC refused.
        """
        env = {**self.env, "KRB5CCNAME": f"FILE:{ccache}"}
        command = ["kinit", "-c", env["KRB5CCNAME"], *options]
        if lifetime is not None:
            command += ["-l", f"{int(lifetime.total_seconds())}s"]
        secret = self._passwords[self._full_name(user)] if password is None else password
        self._run([*command, "--", self._full_name(user)], text=f"{secret}\n")
        return env

    def client_token(
        self,
        client: Mapping[str, str],
        *,
        service: str = "HTTP@localhost",
        mechanism: str = "1.3.6.1.5.5.2",
        binding: bytes = b"",
    ) -> bytes:
        """Makes a fresh first token of a client for a service, as `Authorization: Negotiate` carries it.

        Args:
            client: What `kinit` returned.
            service: A host-based service name.
            mechanism: SPNEGO unless another object identifier is given (1.2.840.113554.1.2.2 is a raw AP-REQ).
            binding: Application data of the channel bindings; empty for none.
        """
        import gssapi  # noqa: PLC0415 - starting a realm needs no GSS-API; the KDC alone starts 40 ms faster

        with self.entered():
            mech = gssapi.OID.from_int_seq(mechanism)
            credentials = gssapi.Credentials(usage="initiate", store={"ccache": client["KRB5CCNAME"]})
            target = gssapi.Name(service, gssapi.NameType.hostbased_service)
            bound = gssapi.raw.ChannelBindings(application_data=binding) if binding else None
            context = gssapi.SecurityContext(
                name=target, creds=credentials, mech=mech, usage="initiate", channel_bindings=bound
            )
            return context.step() or b""

    # ---- the KDC ----

    def start_kdc(self) -> None:
        """Starts the KDC; after `stop` it comes back on the same port where that is still free.

        Raises:
            RealmError: No port could be had, or the KDC did not come up.
        """
        for _ in range(PORT_ATTEMPTS):
            self.port = self.port or free_port()
            self._write_configuration()
            if self._kdc_came_up():
                return
            self.port = 0
        raise RealmError(f"krb5kdc found no free port on 127.0.0.1 in {PORT_ATTEMPTS} tries: {self._log()}")

    def stop(self) -> None:
        """Ends the KDC; harmless when it has ended. The folder stays for who made it to delete."""
        if self._kdc is None:
            return
        self._kdc.terminate()
        try:
            self._kdc.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kdc.send_signal(signal.SIGKILL)
            self._kdc.wait()
        self._kdc = None

    def introduce(self, peer: Realm) -> None:
        """Tells clients of this realm where the other realm's KDC is; both have been started."""
        self._peers[peer.name] = peer.port
        self._write_configuration()

    # ---- inside ----

    def _full_name(self, user: str) -> str:
        return user if "@" in user else f"{user}@{self.name}"

    def _remember(self, users: Mapping[str, str]) -> None:
        self._passwords.update({self._full_name(user): password for user, password in users.items()})

    def _create_database(
        self, *, principals: Mapping[str, str], services: Sequence[str], trusts: Mapping[str, str]
    ) -> None:
        master = secrets.token_urlsafe(24)
        # -W takes the keys from the non-blocking generator: a fresh machine has little entropy and these keys no value.
        self._run(["kdb5_util", "create", "-s", "-W", "-r", self.name], text=f"{master}\n{master}\n")
        commands = [_addprinc(user, password, ()) for user, password in principals.items()]
        commands += [_addprinc(service, None, ()) for service in services]
        for other, password in trusts.items():
            # One key for each direction (RFC 4120 section 1.2): the same in both databases is the whole trust.
            commands.append(_addprinc(f"krbtgt/{other}@{self.name}", password, ()))
            commands.append(_addprinc(f"krbtgt/{self.name}@{other}", password, ()))
        self._kadmin(commands)
        self._remember(principals)

    def _kadmin(self, commands: Sequence[str]) -> None:
        """Runs commands in kadmin.local; it exits with 0 whatever happens, so any complaint is a failure."""
        for start in range(0, len(commands), COMMANDS_AT_ONCE):
            some = commands[start : start + COMMANDS_AT_ONCE]
            done = self._run(["kadmin.local", "-r", self.name], text="\n".join([*some, "quit", ""]))
            complaints = [line for line in done.stderr.splitlines() if line.strip()]
            if complaints:
                raise RealmError(f"kadmin.local refused: {'; '.join(complaints)}")

    def _run(self, command: Sequence[str], *, text: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [_program(command[0]), *command[1:]],
            input=text,
            env=self._child_env(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            umask=0o077,
        )
        if done.returncode != 0:
            raise RealmError(
                f"{command[0]} exited with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done

    def _child_env(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("KRB5")}
        # The complaints of kadmin are read, so they have to be in English.
        return {**inherited, **self.env, "LC_ALL": "C"}

    def _write_configuration(self) -> None:
        kdcs = {self.name: self.port, **self._peers}
        fields = {
            "realm": self.name,
            "services_realm": self._services_realm,
            "folder": str(self.folder),
            "port": str(self.port),
            "enctypes": " ".join(ENCTYPES),
            "key_salts": " ".join(f"{enctype}:normal" for enctype in ENCTYPES),
            "kdcs": "".join(
                f"    {realm} = {{\n        kdc = 127.0.0.1:{port}\n    }}\n" for realm, port in kdcs.items()
            ),
        }
        for file in ("krb5.conf", "kdc.conf"):
            # In front of the template's: where a name occurs twice, MIT Kerberos takes the first value.
            options = "".join(f"    {name} = {value}\n" for name, value in self._options[file].items())
            text = Template((TEMPLATES / f"{file}.template").read_text()).substitute(fields, options=options)
            (self.folder / file).write_text(text + self._sections[file])

    def _kdc_came_up(self) -> bool:
        """Starts krb5kdc and waits until it has its sockets; False when the port was taken."""
        log = self.folder / "krb5kdc.log"
        log.unlink(missing_ok=True)
        # A session of its own: Ctrl-C in a terminal reaches our owner, who ends the KDC in order.
        self._kdc = subprocess.Popen(
            [_program("krb5kdc"), "-n", "-r", self.name, "-P", str(self.folder / "krb5kdc.pid")],
            env=self._child_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            # The KDC's own word, written once its sockets are bound: a port that answers might be somebody else's.
            if "commencing operation" in self._log():
                return True
            if self._kdc.poll() is not None:
                self._kdc = None
                if "Address already in use" in self._log():
                    return False
                raise RealmError(f"krb5kdc ended at its start: {self._log()}")
            time.sleep(POLL_SECONDS)
        self.stop()
        raise RealmError(f"krb5kdc was not ready within {START_SECONDS} s: {self._log()}")

    def _log(self) -> str:
        try:
            return (self.folder / "krb5kdc.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""


@contextlib.contextmanager
def linked_realms(
    folder: Path,
    first: str = "EXAMPLE.COM",
    second: str = "PARTNER.EXAMPLE",
    *,
    principals: Mapping[str, Mapping[str, str]] | None = None,
    services: Sequence[str] = ("HTTP/localhost",),
) -> Iterator[tuple[Realm, Realm]]:
    """Two realms with a two-way trust; the services on localhost belong to the first.

    Args:
        folder: Each realm gets a folder of its name in it.
        first: The realm of the services.
        second: The realm that the first one trusts.
        principals: Realm to its users and their passwords.
        services: Service principals of the first realm.
    """
    trust = secrets.token_urlsafe(24)
    users = principals or {}
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(
            Realm.start(
                folder / first,
                name=first,
                principals=users.get(first),
                services=services,
                trusts={second: trust},
            )
        )
        there = stack.enter_context(
            Realm.start(
                folder / second,
                name=second,
                principals=users.get(second),
                services=(),
                trusts={first: trust},
                services_realm=first,
            )
        )
        here.introduce(there)
        there.introduce(here)
        yield here, there


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP at this moment; whoever binds it may still come second."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _program(name: str) -> str:
    """The path of a Kerberos program; Debian keeps the KDC's in /usr/sbin, which users do not have in PATH."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if found is None:
        raise RealmError(f"{name} is not installed; run: make setup")
    return found


def _addprinc(name: str, password: str | None, options: Sequence[str]) -> str:
    keys = ["-randkey"] if password is None else ["-pw", password]
    # Without -clearpolicy kadmin remarks on the missing policy where it reports errors.
    return _words("addprinc", "-clearpolicy", *keys, *options, name)


def _words(*words: str) -> str:
    """One line for kadmin: each word in double quotes, a quote inside doubled."""
    if any("\n" in word for word in words):
        raise ValueError("kadmin reads one command a line; write a line feed in a name as \\n")
    return " ".join('"' + word.replace('"', '""') + '"' for word in words)
