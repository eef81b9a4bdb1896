"""Credentials for whoever is logged in when they are asked for: the keeper's, while the ticket is of the same login."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable

from zerotrust_kerberos.agent.errand import errand
from zerotrust_kerberos.agent.keeper import Keeper, Wanted
from zerotrust_kerberos.agent.logins import Login, Logins
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.settings import Settings
from zerotrust_kerberos.watch import Watch


class Source:
    """For the user that this process runs as."""

    def __init__(
        self,
        settings: Settings,
        *,
        ask: Callable[[Settings, Watch], bytes],
        takes_any_file: bool,
        now: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        """Take the parts.

        Args:
            settings: Where the broker is.
            ask: How it is asked, in a process of its own.
            takes_any_file: As for ``Logins``.
            now: Seconds since the epoch.
            chance: From 0 to 1.
        """
        self._settings = settings
        self._ask = ask
        self._logins = Logins(settings.spn, takes_any_file=takes_any_file, now=now)
        self.keeper = Keeper(now=now, chance=chance)

    async def credentials(self, *, role: str, scope: str | None, reason: str | None, cache: str | None = None) -> bytes:
        """The broker's body for whoever is logged in now.

        Raises:
            Failure: Nobody is, or the broker's.
        """
        login = self._logins.current(cache)
        wanted = Wanted(principal=login.principal, login=login.began, role=role, scope=scope, reason=reason)
        return await self.keeper.credentials(wanted, lambda: errand(lambda watch: self._fetched(watch, wanted, cache)))

    def _fetched(self, watch: Watch, wanted: Wanted, cache: str | None) -> bytes:
        """In a process of its own."""
        settings = copy.copy(self._settings)
        settings.role, settings.scope, settings.reason = wanted.role, wanted.scope, wanted.reason
        watch.start(settings.timeout)
        login = self._required(wanted, cache)
        os.environ["KRB5CCNAME"] = login.cache
        body = self._ask(settings, watch)
        # Whoever logged in meanwhile, as somebody else or in another way, must not find this under the former login.
        self._required(wanted, cache)
        return body

    def _required(self, wanted: Wanted, cache: str | None) -> Login:
        login = self._logins.current(cache)
        if (login.principal, login.began) != (wanted.principal, wanted.login):
            raise Failure("no_ticket", "there was another login meanwhile")
        return login
