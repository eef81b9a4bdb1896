"""CyberArk Conjur (Secrets Manager, Self-Hosted and Cloud) by its documented REST API.

A login with the API key gives a token that lives eight minutes; it is kept for five, and made again when Conjur no longer takes
it. Identifiers are URL-encoded as a whole, slashes too.

Sources: docs.cyberark.com, "REST APIs": Authenticate, Authenticate using REST APIs, Retrieve a secret, Set a secret,
List resources, Show a resource, Who am I.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from urllib.parse import quote

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.remote.failure import Malformed, Missing, Refused, RemoteFailure
from broker.remote.https import Answer, Https

# Seconds of the eight minutes that a token is used: what is left is for clocks that differ and requests under way.
_TOKEN_SECONDS = 300.0
# Resources a page. Conjur has no upper limit of its own; a page of this size is some 500 kB.
_PAGE = 1000
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_OK = frozenset({200, 201, 204})


class Conjur:
    """One account's Conjur, as one host or user. Errors are of ``failure``."""

    def __init__(
        self, *, url: str, account: str, login: str, api_key: Secret, ca_file: str | None, clock: Clock
    ) -> None:
        """Take ``login`` as Conjur writes it: ``host/broker``, or a user's name."""
        self._https = Https(url=url, who="Conjur", ca_file=ca_file)
        self._account = account
        self._login = login
        self._api_key = api_key
        self._clock = clock
        self._token: Secret | None = None
        self._until = 0.0
        self._logging_in = asyncio.Lock()

    async def value(self, identifier: str, *, version: int) -> Secret:
        """One version of a variable's value. Raises ``Missing``, ``Malformed`` where it is no text."""
        answer = await self._ask("GET", f"{self._variable(identifier)}?version={version}")
        return _text(answer.body)

    async def set(self, identifier: str, value: Secret) -> None:
        """A new value of a variable that a policy has declared. Raises ``Missing`` where none has, or it is not for us to see."""
        await self._ask("POST", self._variable(identifier), value.reveal().encode())

    async def versions(self, identifier: str) -> Sequence[int]:
        """The versions that a variable has, ascending; none where it has no value yet. Raises ``Missing``."""
        found = (await self._ask("GET", f"/resources/{_part(self._account)}/variable/{_part(identifier)}")).members()
        secrets = found.get("secrets")
        if not isinstance(secrets, list):
            raise _malformed("a variable")
        numbers = [each.get("version") if isinstance(each, dict) else None for each in secrets]
        if not all(isinstance(number, int) for number in numbers):
            raise _malformed("a variable")
        return sorted(number for number in numbers if isinstance(number, int))

    async def variables(self) -> Sequence[str]:
        """The identifiers of all variables that we may see."""
        begin, found, offset = f"{self._account}:variable:", [], 0
        while True:
            query = f"kind=variable&limit={_PAGE}&offset={offset}"
            page = (await self._ask("GET", f"/resources/{_part(self._account)}?{query}")).json()
            if not isinstance(page, list):
                raise _malformed("a list of variables")
            found += [str(each.get("id", "")) for each in page if isinstance(each, dict)]
            if len(page) < _PAGE:
                return [whole.removeprefix(begin) for whole in found if whole.startswith(begin)]
            offset += _PAGE

    async def look(self) -> None:
        """Ask for as little as shows that we are known there."""
        await self._ask("GET", "/whoami")

    async def close(self) -> None:
        """Let the connections and the token go."""
        self._token = None
        await self._https.close()

    def _variable(self, identifier: str) -> str:
        return f"/secrets/{_part(self._account)}/variable/{_part(identifier)}"

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        answer = await self._once(method, path, body, await self._logged_in())
        if answer.status == _UNAUTHORIZED:
            # Conjur was restored, its key changed, or its clock is ahead: once more with a token of now.
            answer = await self._once(method, path, body, await self._logged_in(anew=True))
        if answer.status not in _OK:
            raise _failure(answer.status)
        return answer

    async def _once(self, method: str, path: str, body: bytes | None, token: Secret) -> Answer:
        headers = {"Authorization": f'Token token="{token.reveal()}"'}
        return await self._https.ask(method, path, headers=headers, body=body, kind="application/octet-stream")

    async def _logged_in(self, *, anew: bool = False) -> Secret:
        refused = self._token if anew else None
        async with self._logging_in:
            # Somebody who waited here takes what the one before got.
            if self._token is None or self._token is refused or self._clock.boottime() >= self._until:
                self._token = await self._authenticate()
                self._until = self._clock.boottime() + _TOKEN_SECONDS
            return self._token

    async def _authenticate(self) -> Secret:
        path = f"/authn/{_part(self._account)}/{_part(self._login)}/authenticate"
        key = self._api_key.reveal().encode()
        answer = await self._https.ask("POST", path, headers={}, body=key, kind="text/plain", changes=False)
        if answer.status not in _OK:
            what = "Conjur does not take the login — fix: check account, login and api_key"
            raise Refused(what, reason="login_refused")
        if not answer.body.startswith(b"{"):
            raise _malformed("a token")
        return Secret(base64.b64encode(answer.body).decode())


def _part(name: str) -> str:
    return quote(name, safe="")


def _text(value: bytes) -> Secret:
    try:
        return Secret(value.decode())
    except UnicodeDecodeError:
        raise Malformed("a value in Conjur is not text", reason="not_text") from None


def _failure(status: int) -> RemoteFailure:
    if status == _UNAUTHORIZED:
        return Refused("Conjur does not take its own token", reason="token_refused")
    if status == _FORBIDDEN:
        return Refused("Conjur does not permit it — fix: permit it in a policy", reason="not_permitted")
    if status == _NOT_FOUND:
        return Missing("Conjur has no such variable, no value of it, or hides it", reason="not_found")
    return Refused(f"Conjur refuses it: HTTP {status}", reason="refused")


def _malformed(what: str) -> Malformed:
    return Malformed(f"Conjur answered something that is not {what}", reason="answer_malformed")
