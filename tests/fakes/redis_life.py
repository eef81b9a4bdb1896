"""What a broker does with Redis, once: a ticket that counts and not again, a pass, a user who is stopped and let in again.

MIT's replay cache, which would refuse a ticket's second use on this host whatever Redis says, is off.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from broker import wire
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import ask
from tests.fakes.operator import MARK, Operator, send
from tests.fakes.realm import Realm
from tests.fakes.sts.process import StrictSts
from tests.fakes.until import eventually

ALICE, ROOT = "alice@EXAMPLE.COM", "root/admin@EXAMPLE.COM"
RULE = {"name": "engineers", "principals": [ALICE], "roles": ["developer"], "job_passes": "1d"}
PASS = json.dumps({"role": "developer"}).encode()


class Life:
    """A broker, a user and an operator."""

    def __init__(self, broker: BrokerProcess, realm: Realm, folder: Path) -> None:
        self.broker = broker
        self.realm = realm
        self.alice = Operator(realm, "alice", folder / "alice")
        self.root = Operator(realm, "root/admin", folder / "root")
        self.root.env |= {"ZEROTRUST_ADMIN_SOCKET": str(folder / "s"), "ZEROTRUST_HOST": "localhost"}

    def ticket_counts_once(self) -> None:
        token = self.realm.client_token(self.alice.env)
        assert ask(self.broker.url, token).status == 200
        assert ask(self.broker.url, token).status == 401
        assert self.broker.last_record()["reason"] == "ticket_replayed"

    def made_pass(self) -> str:
        """A pass of alice's, that counts."""
        answer = self.alice.ask(self.broker.url, "POST", wire.PASSES_PATH, PASS)
        assert answer.status == 200, answer.body
        return str(answer.json["pass"])

    def with_pass(self, token: str) -> int:
        """What an SDK gets for it."""
        return self._asked("GET", f"{wire.CONTAINER_PATH}/developer", token)

    def cancel(self, token: str) -> int:
        return self._asked("DELETE", f"{wire.PASSES_PATH}/current", token)

    def _asked(self, method: str, path: str, token: str) -> int:
        host = ("Host", self.broker.url.partition("//")[2])
        return send(self.broker.url, method, path, [host, MARK, ("Authorization", token)]).status

    def admin(self, *words: str) -> None:
        done = self.root.admin(*words)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr

    def readiness(self) -> Any:
        return ask(self.broker.url, None, "/readyz").body

    def is_lived(self) -> None:
        """All of it."""
        eventually(lambda: ask(self.broker.url, None, "/readyz").status == 200)
        self.ticket_counts_once()
        token = self.made_pass()
        assert self.with_pass(token) == 200
        self.admin("revoke-credentials", "--user", ALICE)
        assert self.with_pass(token) == 401
        self.admin("restore", "--user", ALICE)
        token = self.made_pass()
        assert self.with_pass(token) == 200
        assert self.cancel(token) == 204
        assert self.with_pass(token) == 401


@contextmanager
def life_beside(section: dict[str, Any], folder: Path, realm: Realm, sts: StrictSts) -> Iterator[Life]:
    """A broker whose configuration has this section `redis`."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    settings = configuration(
        folder,
        keytab=realm.keytab(folder / "http.keytab", "HTTP/localhost"),
        sts_endpoint=sts.url,
        redis=section,
        state={"directory": str(state)},
        rules=[RULE],
        admin={"socket": str(folder / "s"), "principals": [ROOT]},
    )
    with BrokerProcess(folder, settings, env={**realm.env, "KRB5RCACHENAME": "none:"}) as broker:
        yield Life(broker, realm, folder)
