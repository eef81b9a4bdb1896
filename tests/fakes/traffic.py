"""People at two brokers at once: each with tickets, each token sent to both, and with a session at each; every answer is kept.

Nobody here judges. What the answers, AWS's log and the records must be together says `tests/fakes/judge.py`.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import gssapi

from broker import wire
from tests.fakes.site import PEOPLE, ROLE, Site
from tests.fakes.until import eventually

# The broker promises an answer within five seconds whatever happens; past this it hangs.
PATIENCE = 15.0
NO_ANSWER = 0
_MADE = 204
_MARK = {wire.REQUEST_HEADER: wire.REQUEST_HEADER_VALUE, "Content-Type": wire.JSON}
_SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and what came of it.

    Attributes:
        mark: What the request states as its reason, so that records can be found by it; the same for each use of one token.
        way: `ticket` or `session`.
        began, ended: Monotonic seconds.
        status: `NO_ANSWER` where the connection broke or nothing came in time.
        code: The problem's, where it is one.
    """

    user: str
    broker: str
    mark: str
    way: str
    began: float
    ended: float
    status: int
    code: str
    access_key_id: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """A use of a ticket: what one `Authorization` holds."""

    user: str
    mark: str
    header: str


class Traffic:
    """``with Traffic(site) as traffic``: it flows until the end of the block; ``attempts`` grows meanwhile."""

    _runs = itertools.count()

    def __init__(self, site: Site, *, people: tuple[str, ...] = PEOPLE, pause: float = 0.1) -> None:
        """``pause``: seconds between two requests of one client."""
        self.site = site
        self.attempts: list[Attempt] = []
        self.tokens: list[Token] = []
        # Nobody waits for their answers.
        self.revoked: set[str] = set()
        self._people = people
        self._pause = pause
        self._run = next(self._runs)
        self._numbers = itertools.count()
        self._stop = threading.Event()
        # What was sent to one broker, to be sent to the other.
        self._again: dict[str, queue.SimpleQueue[Token | None]] = {name: queue.SimpleQueue() for name in site.brokers}
        self._tickets = {user: site.realm.kinit(user, site.folder / f"{user}.ccache") for user in people}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        cookies = {name: {user: self.session(user, name) for user in self._people} for name in self.site.brokers}
        for name in self.site.brokers:
            self._start(self._use_tickets, name)
            self._start(self._use_again, name)
            self._start(self._use_sessions, name, cookies[name])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for waiting in self._again.values():
            waiting.put(None)
        for thread in self._threads:
            thread.join(4 * PATIENCE)

    def token(self, user: str) -> Token:
        """A fresh one."""
        credentials = gssapi.Credentials(usage="initiate", store={"ccache": self._tickets[user]["KRB5CCNAME"]})
        target = gssapi.Name("HTTP@localhost", gssapi.NameType.hostbased_service)
        made = gssapi.SecurityContext(name=target, creds=credentials, mech=_SPNEGO, usage="initiate").step() or b""
        mark = f"run {self._run} token {next(self._numbers)}"
        return Token(user, mark, f"Negotiate {base64.b64encode(made).decode()}")

    def ask(self, broker: str, token: Token) -> Attempt:
        """Credentials for a ticket."""
        headers = {"Authorization": token.header}
        return self._ask(broker, headers, user=token.user, mark=token.mark, way="ticket")

    def by_session(self, broker: str, user: str, cookie: str) -> Attempt:
        """Credentials for a session."""
        mark = f"run {self._run} session {next(self._numbers)}"
        return self._ask(broker, {"Cookie": cookie}, user=user, mark=mark, way="session")

    def session(self, user: str, broker: str) -> str:
        """A browser's cookie, as soon as one is to be had: a machine that is busy makes a guard late, and then it refuses."""
        found: list[str] = []

        def have() -> bool:
            headers = {"Authorization": self.token(user).header, **_MARK}
            status, answer, _ = self._send(broker, wire.SESSIONS_PATH, headers, b"")
            found.extend([answer["Set-Cookie"].partition(";")[0]] if status == _MADE else [])
            return bool(found)

        eventually(have)
        return found[0]

    def everything_again(self) -> None:
        """Once more each token that ever brought credentials, to each broker: none may be good for anything any more."""
        spent = {each.mark for each in self.attempts if each.way == "ticket" and each.status == 200}
        for token in [token for token in self.tokens if token.mark in spent]:
            for broker in self.site.brokers:
                self.ask(broker, token)

    def since(self, moment: float, *, broker: str, way: str) -> Iterator[Attempt]:
        """What was begun from then on, oldest first, but for those who were revoked."""
        chosen = [each for each in self.attempts if each.began >= moment and (each.broker, each.way) == (broker, way)]
        return iter(sorted((each for each in chosen if each.user not in self.revoked), key=lambda each: each.began))

    # ---- inside ----

    def _start(self, flow: object, *arguments: object) -> None:
        thread = threading.Thread(target=flow, args=arguments, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    def _use_tickets(self, broker: str) -> None:
        for user in itertools.cycle(self._people):
            if self._stop.wait(self._pause):
                return
            token = self.token(user)
            self.tokens.append(token)
            # The other broker is asked at the same time: who is first is nobody's to say.
            for other in self._again.keys() - {broker}:
                self._again[other].put(token)
            self.ask(broker, token)

    def _use_again(self, broker: str) -> None:
        while (token := self._again[broker].get()) is not None:
            self.ask(broker, token)

    def _use_sessions(self, broker: str, cookies: Mapping[str, str]) -> None:
        for user, cookie in itertools.cycle(cookies.items()):
            if self._stop.wait(self._pause):
                return
            self.by_session(broker, user, cookie)

    def _ask(self, broker: str, headers: Mapping[str, str], *, user: str, mark: str, way: str) -> Attempt:
        body = json.dumps({"role": ROLE, "reason": mark}).encode()
        began = time.monotonic()
        status, _, answer = self._send(broker, wire.CREDENTIALS_PATH, {**headers, **_MARK}, body)
        made = Attempt(
            user=user,
            broker=broker,
            mark=mark,
            way=way,
            began=began,
            ended=time.monotonic(),
            status=status,
            code=str(answer.get("code", "")),
            access_key_id=answer.get("AccessKeyId"),
        )
        self.attempts.append(made)
        return made

    def _send(
        self, broker: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], Mapping[str, str]]:
        connection = http.client.HTTPConnection("localhost", self.site.port(broker))
        try:
            connection.sock = self.site.host(broker).dial(self.site.port(broker), patience=PATIENCE)
            connection.request("POST", path, body=body, headers=dict(headers))
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return NO_ANSWER, {}, {}
        finally:
            connection.close()
        return response.status, response.headers, json.loads(content) if content else {}
