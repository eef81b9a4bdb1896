"""One Key Vault: the challenge, the check of every token, secrets in versions that can be deleted and recovered.

Source: Azure Key Vault REST API reference 7.4, "Authentication, requests and responses", "Azure Key Vault REST API error codes".
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.azure import entra
from tests.fakes.azure.keys import Keys
from tests.fakes.azure.wire import Answer, Asked, Refusal, bad, found, members

API_VERSION = "7.4"
AUDIENCE = "https://vault.azure.net"
DOMAIN = ".vault.azure.net"
VALUE_MAX = 25 * 1024
PAGE = 25
_TAGS_MAX, _TAG_MAX = 15, 256
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_RETENTION = 90 * 86400


@dataclass(slots=True)
class _Version:
    id: str
    value: str
    tags: Mapping[str, str]
    content_type: str | None
    created: int
    enabled: bool = True


@dataclass(slots=True)
class KeyVault:
    """``allowed``: the permissions of the application, such as ``secrets/get``; None: all."""

    name: str
    entra: entra.Entra
    allowed: set[str] | None = None
    # The tenant and the resource that the challenge names: a hostile vault names others.
    challenge_tenant: str | None = None
    challenge_resource: str = AUDIENCE
    deleting: set[str] = field(default_factory=set)
    # How many writes a secret that is recovered still refuses: it comes back in its own time.
    recovering: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, list[_Version]] = field(default_factory=dict)
    deleted: dict[str, list[_Version]] = field(default_factory=dict)
    keys: Keys = field(default_factory=Keys)
    page: int = PAGE

    @property
    def host(self) -> str:
        return self.name + DOMAIN

    @property
    def url(self) -> str:
        return f"https://{self.host}/"

    def put(self, name: str, value: str, *, tags: Mapping[str, str] | None = None) -> None:
        """As somebody else writes it; Key Vault keeps the capitals of a name, and does not tell names apart by them."""
        version = _Version(secrets.token_hex(16), value, tags or {}, None, int(time.time()))
        self.secrets.setdefault(name, []).append(version)

    def answer(self, asked: Asked) -> Answer:
        """To any request."""
        try:
            self._authenticate(asked)
            if asked.query.get("api-version") != API_VERSION:
                raise bad(f"The specified version ({asked.query.get('api-version')}) is not recognized.")
            if asked.body and asked.headers.get("content-type", "").partition(";")[0] != "application/json":
                raise bad("The content type of the request is not application/json")
            kind, *steps = asked.path.strip("/").split("/")
            if kind == "keys":
                return self.keys.answer(asked, steps, url=self.url, permit=self._permit)
            return self._secret(asked, kind, steps)
        except Refusal as refusal:
            return refusal.answer()

    def _authenticate(self, asked: Asked) -> None:
        scheme, _, text = asked.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not text:
            raise self._challenge("AKV10000: Request is missing a Bearer or PoP token.")
        token = self.entra.tokens.get(text)
        if token is None:
            raise self._challenge("AKV10032: Invalid issuer or signature.", error="invalid_token")
        if token.audience != AUDIENCE:
            text = f"AKV10022: Invalid audience. Expected {AUDIENCE}, found: {token.audience}."
            raise self._challenge(text, error="invalid_token")
        if token.tenant != self.entra.tenant:
            raise self._challenge("AKV10032: Invalid issuer.", error="invalid_token")
        if token.expires <= time.time():
            raise self._challenge("AKV10015: The token has expired.", error="invalid_token")

    def _challenge(self, message: str, *, error: str | None = None) -> Refusal:
        tenant = self.challenge_tenant or self.entra.tenant
        header = f'Bearer authorization="https://{entra.HOST}/{tenant}", resource="{self.challenge_resource}"'
        if error is not None:
            header += f', error="{error}", error_description="{message}"'
        return Refusal(401, "Unauthorized", message, headers={"WWW-Authenticate": header})

    def _permit(self, permission: str) -> None:
        if self.allowed is not None and permission not in self.allowed:
            text = f"Caller is not authorized to perform action on resource. Action: '{permission}'"
            raise Refusal(403, "Forbidden", text, inner="ForbiddenByRbac")

    def _secret(self, asked: Asked, kind: str, steps: list[str]) -> Answer:  # noqa: PLR0911  # a table of routes
        match asked.method, kind, steps:
            case "GET", "secrets", []:
                self._permit("secrets/list")
                return self._listed(asked, "secrets", sorted(self.secrets), self._item)
            case "GET", "deletedsecrets", []:
                self._permit("secrets/list")
                return self._listed(asked, "deletedsecrets", sorted(self.deleted), self._deleted_bundle)
            case "PUT", "secrets", [name]:
                self._permit("secrets/set")
                return self._put(_named(name), asked.body)
            case "GET", "secrets", [name, "versions"]:
                self._permit("secrets/list")
                held = {version.id: version for version in self._held(_named(name))}
                bundle = lambda id_: self._bundle(name, held[id_], value=False)  # noqa: E731
                return self._listed(asked, f"secrets/{name}/versions", list(held), bundle)
            case "GET", "secrets", [name, *version]:
                self._permit("secrets/get")
                return found(self._read(_named(name), version))
            case "DELETE", "secrets", [name]:
                self._permit("secrets/delete")
                self.deleted[name] = self._held(_named(name))
                del self.secrets[name]
                return found(self._deleted_bundle(name))
            case "GET", "deletedsecrets", [name] if name in self.deleted and name not in self.deleting:
                self._permit("secrets/get")
                return found(self._deleted_bundle(name))
            case "POST", "deletedsecrets", [name, "recover"] if name in self.deleted:
                self._permit("secrets/recover")
                self.secrets[name] = self.deleted.pop(name)
                return found(self._item(name))
            case "DELETE", "deletedsecrets", [name] if name in self.deleted:
                self._permit("secrets/purge")
                del self.deleted[name]
                return Answer(204, b"")
        raise Refusal(404, "SecretNotFound", "Not found")

    def _put(self, name: str, body: bytes) -> Answer:
        given = members(body, known={"value", "contentType", "tags", "attributes"}, needed={"value"})
        value, tags = given["value"], given.get("tags") or {}
        if not isinstance(value, str) or len(value.encode()) > VALUE_MAX:
            raise bad("Secret value is not text, or over 25 kilobytes")
        if len(tags) > _TAGS_MAX or any(len(text) > _TAG_MAX for pair in tags.items() for text in pair):
            raise bad("Too many tags, or too long")
        if self.recovering.get(name, 0) > 0 and name in self.secrets:
            self.recovering[name] -= 1
            raise Refusal(409, "Conflict", f"Secret {name} is being recovered.", inner="ObjectIsBeingRecovered")
        if name in self.deleted:
            deleting = name in self.deleting
            state = "is being deleted" if deleting else "is in a deleted but recoverable state"
            inner = "ObjectIsBeingDeleted" if deleting else "ObjectIsDeletedButRecoverable"
            raise Refusal(409, "Conflict", f"Secret {name} {state}; its name cannot be reused.", inner=inner)
        version = _Version(secrets.token_hex(16), value, tags, given.get("contentType"), int(time.time()))
        self.secrets.setdefault(name, []).append(version)
        return found(self._bundle(name, version))

    def _held(self, name: str) -> list[_Version]:
        for kept, versions in self.secrets.items():
            if kept.lower() == name.lower():
                return versions
        raise Refusal(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault.")

    def _read(self, name: str, version: list[str]) -> dict[str, Any]:
        held = self._held(name)
        if not version or version == [""]:
            chosen = held[-1]
        else:
            matching = [each for each in held if [each.id] == version]
            if not matching:
                raise Refusal(404, "SecretNotFound", f"A secret with (name/id) {name}/{version[0]} was not found")
            chosen = matching[0]
        if not chosen.enabled:
            text = "Operation get is not allowed on a disabled secret."
            raise Refusal(403, "Forbidden", text, inner="SecretDisabled")
        return self._bundle(name, chosen)

    def _bundle(self, name: str, version: _Version, *, value: bool = True) -> dict[str, Any]:
        shown = {
            "id": f"{self.url}secrets/{name}/{version.id}",
            "attributes": {
                "enabled": version.enabled,
                "created": version.created,
                "updated": version.created,
                "recoveryLevel": "Recoverable+Purgeable",
                "recoverableDays": 90,
            },
            "tags": dict(version.tags),
        }
        if version.content_type is not None:
            shown["contentType"] = version.content_type
        return shown | ({"value": version.value} if value else {})

    def _item(self, name: str) -> dict[str, Any]:
        shown = self._bundle(name, self.secrets[name][-1], value=False)
        return shown | {"id": f"{self.url}secrets/{name}"}

    def _deleted_bundle(self, name: str) -> dict[str, Any]:
        last = self.deleted[name][-1]
        return self._bundle(name, last, value=False) | {
            "recoveryId": f"{self.url}deletedsecrets/{name}",
            "deletedDate": last.created,
            "scheduledPurgeDate": last.created + _RETENTION,
        }

    def _listed(self, asked: Asked, path: str, names: list[str], shown: Any) -> Answer:
        if not 1 <= int(asked.query.get("maxresults", PAGE)) <= PAGE:
            raise bad("maxresults must be from 1 to 25")
        start = int(asked.query.get("$skiptoken", "0"))
        page = names[start : start + self.page]
        rest = start + self.page < len(names)
        following = f"{self.url}{path}?api-version={API_VERSION}&$skiptoken={start + self.page}"
        return found({"value": [shown(name) for name in page], "nextLink": following if rest else None})


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise bad(f"The request URI contains an invalid name: {name}")
    return name
