"""The broker for programs that run in an event loop, which is never blocked.

libkrb5 knows no waiting that others could use meanwhile, so each question has a thread of its own for the moment that it takes:
one question a role, however many tasks want the answer. They are daemon threads, because the default executor of a loop would
wait half a minute at the program's end for a KDC that does not answer.
"""

from __future__ import annotations

import asyncio
import threading

from zerotrust_kerberos.sdk.keeper import Keeper
from zerotrust_kerberos.sdk.secret_manager import SecretManager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, TypeAlias

    from zerotrust_kerberos.sdk.credentials import Credentials

    # role_arn, role, scope, reason
    _Wanted: TypeAlias = tuple[str | None, str | None, str | None, str | None]


class AsyncBroker:
    """A broker, for the length of an ``async with`` block; what it kept is wiped at its end. For one loop, as all of asyncio.

    Ask for credentials each time that something is to be signed: as long as they are good that costs nothing, and with 20 minutes
    left they are renewed.
    """

    def __init__(
        self, *, broker_url: str | None = None, ca_file: str | None = None, timeout: float | None = None
    ) -> None:
        """As ``SecretManager``.

        Raises:
            ZeroTrustError: ``configuration``.
        """
        self._manager = SecretManager(broker_url=broker_url, ca_file=ca_file, timeout=timeout)
        self._keepers: dict[_Wanted, Keeper] = {}
        self._asking: dict[_Wanted, asyncio.Future[Credentials]] = {}

    async def get_credentials(
        self,
        role: str | None = None,
        *,
        role_arn: str | None = None,
        scope: str | None = None,
        reason: str | None = None,
    ) -> Credentials:
        """Credentials of a role to sign with now, the caller's own copy.

        Raises:
            ZeroTrustError: There are none, with the reason and the fix.
        """
        wanted = (role_arn, role, scope, reason)
        if wanted not in self._keepers:
            self._keepers[wanted] = self._keeper(*wanted)
        if (kept := self._keepers[wanted].fresh()) is not None:
            return kept.copy()
        if wanted not in self._asking:
            self._asking[wanted] = asking = _in_a_thread(self._keepers[wanted])
            asking.add_done_callback(lambda done: self._answered(wanted, done))
        # Shielded: who gives up waiting takes the answer from nobody else.
        return (await asyncio.shield(self._asking[wanted])).copy()

    def _answered(self, wanted: _Wanted, done: asyncio.Future[Credentials]) -> None:
        del self._asking[wanted]
        done.exception()  # asyncio complains of an exception that nobody waited for any more

    def _keeper(self, role_arn: str | None, role: str | None, scope: str | None, reason: str | None) -> Keeper:
        return Keeper(lambda: self._manager.get_aws_credentials(role_arn, role=role, scope=scope, reason=reason))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for keeper in self._keepers.values():
            keeper.wipe()
        self._keepers.clear()


def _in_a_thread(keeper: Keeper) -> asyncio.Future[Credentials]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Credentials] = loop.create_future()

    def tell(found: Credentials | BaseException) -> None:
        if isinstance(found, BaseException):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def work() -> None:
        try:
            found: Credentials | BaseException = keeper.current()
        except BaseException as error:  # noqa: BLE001  raised again where it belongs
            found = error
        try:
            loop.call_soon_threadsafe(tell, found)
        except RuntimeError:
            return  # the loop has ended meanwhile, and nobody waits

    threading.Thread(target=work, name="zerotrust", daemon=True).start()
    return answer
