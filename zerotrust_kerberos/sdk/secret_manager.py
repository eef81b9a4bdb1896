"""The broker for programs: credentials for a role, with the ticket of whoever runs the program.

The broker is found as the command finds it: arguments, ``ZEROTRUST_*``, the user's file, the machine's (``settings``). Nothing is
kept: each call is one exchange with the broker, which caches, records and decides, or with an agent of this machine.
"""

from __future__ import annotations

import os
import threading

from broker import wire
from zerotrust_kerberos import settings as client_settings
from zerotrust_kerberos.answers import object_of
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.credential_process import members_of, obtained
from zerotrust_kerberos.failures import Failure, Place, line
from zerotrust_kerberos.sdk.credentials import Credentials
from zerotrust_kerberos.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from zerotrust_kerberos.settings import Settings


class ZeroTrustError(Exception):
    """What could not be done, as one line: ``what [CODE] — run: fix``. ``code`` is that code, ``exit_status`` the command's."""

    def __init__(self, text: str, *, code: str, exit_status: int) -> None:
        super().__init__(text)
        self.code = code
        self.exit_status = exit_status


class SecretManager:
    """A broker, to be asked from a program."""

    def __init__(
        self, *, broker_url: str | None = None, ca_file: str | None = None, timeout: float | None = None
    ) -> None:
        """Find the broker; nothing is asked yet. What is not given comes from the environment and the files.

        Raises:
            ZeroTrustError: ``configuration``.
        """
        given = {"broker_url": broker_url, "ca_file": ca_file, "timeout": None if timeout is None else str(timeout)}
        self._flags = {key: value for key, value in given.items() if value is not None}
        self._settings = self._load({})

    def get_aws_credentials(
        self,
        role_arn: str | None = None,
        *,
        role: str | None = None,
        scope: str | None = None,
        reason: str | None = None,
    ) -> Credentials:
        """Credentials of a role, named by its ARN or by its name at the broker.

        Args:
            role_arn: ``arn:aws:iam::111122223333:role/Developer``; the broker is asked once more, for its name.
            role: The name, such as ``developer``.
            scope: A scope of the role.
            reason: What for, where a rule asks.

        Raises:
            ZeroTrustError: There are none, with the reason and the fix.
        """
        given = {"role": role, "scope": scope, "reason": reason}
        wanted = self._load({name: value for name, value in given.items() if value is not None})
        if (role_arn is None) == (role is None):
            raise _told(Failure("usage", "name a role by its ARN or by its name"), wanted)
        try:
            wanted.role = role or self._name_of(str(role_arn))
            return _credentials(_in_time(wanted, lambda watch: obtained(wanted, watch)), role_arn)
        except Failure as failure:
            raise _told(failure, wanted) from failure

    def _load(self, flags: dict[str, str]) -> Settings:
        try:
            return client_settings.load(self._flags | flags, os.environ)
        except Failure as failure:
            raise _told(failure, None) from failure

    def _name_of(self, role_arn: str) -> str:
        settings = self._settings
        answer = _in_time(settings, lambda watch: ask(settings, watch, method="GET", path=wire.ROLES_PATH))
        found = object_of(answer).get("roles")
        names = [
            str(role.get("name"))
            for role in (found if isinstance(found, list) else [])
            if isinstance(role, dict) and role.get("role_arn") == role_arn
        ]
        if len(names) == 1:
            return names[0]
        if names:
            raise Failure("usage", f"several roles lead to {role_arn}: role={' or role='.join(sorted(names))}")
        raise Failure("access_denied", f"none of your roles leads to {role_arn}")


def _credentials(body: bytes, role_arn: str | None) -> Credentials:
    members = members_of(body, wire.SDK_MEMBERS)
    if role_arn not in (None, members["RoleArn"]):
        raise Failure("unexpected_answer", "these are another role's credentials")
    return Credentials(members)


def _in_time(settings: Settings, question: Callable[[Watch], bytes]) -> bytes:
    """The answer's body, within the settings' time: libkrb5 waits half a minute for a silent KDC and cannot be told less."""
    watch, found = Watch(lambda _failure: None), list[bytes | BaseException]()

    def work() -> None:
        try:
            found.append(question(watch))
        except BaseException as error:  # noqa: BLE001  # raised again where it belongs
            found.append(error)

    thread = threading.Thread(target=work, name="zerotrust", daemon=True)
    thread.start()
    thread.join(settings.timeout)
    if not found:
        raise Failure(watch.waiting_for, "time is up")
    answer = found.pop()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _told(failure: Failure, settings: Settings | None) -> ZeroTrustError:
    place = Place(["help"])
    if settings is not None:
        place.host, place.spn = settings.broker.host, settings.spn
        place.curl = ("curl", "-v", settings.broker.url)
    return ZeroTrustError(line(failure, place), code=failure.code, exit_status=failure.exit_status)
