"""The page without a browser: what it shows somebody, and its forms sent just as a test wants."""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tests.fakes.broker import BrokerProcess
from tests.fakes.realm import Realm

PATIENCE = 20.0
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Shown:
    """An answer."""

    status: int
    headers: http.client.HTTPMessage
    body: str


@dataclass
class Visitor:
    """Somebody at the page, with a session that a ticket made; ``cookie`` and ``form`` are what their browser holds."""

    broker: BrokerProcess
    realm: Realm
    tickets: Mapping[str, str]
    cookie: str = ""
    form: str = ""

    def enter(self) -> Shown:
        """Open the page with a ticket."""
        shown = self.send("GET", "/", {"Authorization": self.ticket(), "Cookie": ""})
        assert shown.status == 200, shown.body
        self.cookie = shown.headers["Set-Cookie"].partition(";")[0]
        self.form = forms_of(shown.body)
        return shown

    def ticket(self) -> str:
        """An ``Authorization`` that counts once."""
        return f"Negotiate {base64.b64encode(self.realm.client_token(self.tickets)).decode()}"

    def look(self, path: str = "/") -> Shown:
        """The page by the session."""
        return self.send("GET", path, {"Sec-Fetch-Site": "same-origin"})

    def post(self, path: str, headers: Mapping[str, str | None] | None = None, **fields: str) -> Shown:
        """A form as a browser sends it, but for what a test bends; a header that is None is left out."""
        sent = {"Origin": self.broker.url, "Sec-Fetch-Site": "same-origin", "Content-Type": FORM, **(headers or {})}
        body = urlencode({"form": self.form, **fields})
        return self.send("POST", f"/page/{path}", sent, body)

    def send(self, method: str, path: str, headers: Mapping[str, str | None], body: str | None = None) -> Shown:
        """One request, with the cookie unless a test says otherwise."""
        address = urlsplit(self.broker.url)
        all_headers = {"Host": address.netloc, "Cookie": self.cookie, "Accept": "text/html", **headers}
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=PATIENCE)
        try:
            found = {name: value for name, value in all_headers.items() if value}
            connection.request(method, path, body=body, headers=found)
            answer = connection.getresponse()
            return Shown(answer.status, answer.headers, answer.read().decode())
        finally:
            connection.close()


def forms_of(html: str) -> str:
    """The token in the forms of a page: one for all of them."""
    (token,) = set(re.findall(r'name="form" value="([0-9a-f]{64})"', html))
    return str(token)
