"""Entra ID's token endpoint for applications with a client secret.

Source: "Microsoft identity platform and the OAuth 2.0 client credentials flow", and the list of AADSTS error codes.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tests.fakes.azure.wire import Answer, Asked, found

HOST = "login.microsoftonline.com"
# Seconds: an access token lives about an hour.
TOKEN_LIVES = 3599
_KNOWN = {"client_id", "client_secret", "grant_type", "scope", "claims", "client_info"}


@dataclass(frozen=True, slots=True)
class Token:
    """What Key Vault reads in a token."""

    audience: str
    tenant: str
    application: str
    expires: float


class Entra:
    """One tenant with one application, which may have several secrets."""

    def __init__(self) -> None:
        self.tenant = str(uuid.uuid4())
        self.application = str(uuid.uuid4())
        self.secrets = {f"first~{secrets.token_urlsafe(24)}"}
        self.tokens: dict[str, Token] = {}
        self.token_lives = TOKEN_LIVES
        self.refused = 0

    def answer(self, asked: Asked) -> Answer:
        """To any request."""
        tenant, _, rest = asked.path.lstrip("/").partition("/")
        if rest != "oauth2/v2.0/token" or asked.method != "POST":
            return Answer(404, b"", content_type="text/html")
        form = self._form(asked)
        for wrong, refusal in self._refusals(tenant, form or {}):
            if wrong:
                self.refused += 1
                return _refusal(*refusal)
        assert form is not None
        return self._token(form["scope"].removesuffix("/.default"))

    def _refusals(self, tenant: str, form: Mapping[str, str]) -> list[tuple[bool, tuple[int, str, int, str]]]:
        """Each thing that may be wrong, in the order in which it is looked at."""
        scope, application = form.get("scope", ""), form.get("client_id")
        unknown = f"Application with identifier '{application}' was not found in the directory."
        return [
            (tenant != self.tenant, (400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")),
            (not form, (400, "invalid_request", 900144, "The request body must contain other parameters.")),
            (
                form.get("grant_type") != "client_credentials",
                (400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."),
            ),
            (application != self.application, (400, "unauthorized_client", 700016, unknown)),
            (
                form.get("client_secret") not in self.secrets,
                (401, "invalid_client", 7000215, "Invalid client secret provided."),
            ),
            (
                not scope.startswith("https://") or not scope.endswith("/.default"),
                (400, "invalid_scope", 1002012, "The scope is not valid: it must end in /.default."),
            ),
        ]

    def expire(self) -> None:
        """All tokens of until now are over."""
        self.tokens = {
            text: Token(token.audience, token.tenant, token.application, 0) for text, token in self.tokens.items()
        }

    def rotate(self) -> str:
        """A new secret; the old ones are gone."""
        new = f"next~{secrets.token_urlsafe(24)}"
        self.secrets = {new}
        return new

    def _form(self, asked: Asked) -> Mapping[str, str] | None:
        if asked.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            return None
        pairs = parse_qsl(asked.body.decode(), keep_blank_values=True)
        form = dict(pairs)
        needed = {"client_id", "client_secret", "grant_type", "scope"}
        if len(pairs) > len(form) or set(form) - _KNOWN or needed - set(form):
            return None
        return form

    def _token(self, audience: str) -> Answer:
        text = f"entra-token.{secrets.token_urlsafe(32)}.{secrets.token_urlsafe(32)}"
        self.tokens[text] = Token(audience, self.tenant, self.application, time.time() + self.token_lives)
        lives = int(self.token_lives)
        return found({"token_type": "Bearer", "expires_in": lives, "ext_expires_in": lives, "access_token": text})


def _refusal(status: int, error: str, number: int, text: str) -> Answer:
    said = {
        "error": error,
        "error_description": f"AADSTS{number}: {text} Trace ID: {uuid.uuid4()} Correlation ID: {uuid.uuid4()}",
        "error_codes": [number],
        "trace_id": str(uuid.uuid4()),
    }
    return Answer(status, json.dumps(said).encode())
