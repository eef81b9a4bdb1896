"""The API server of a Kubernetes cluster: secrets, short-lived tokens of service accounts, and whose a token is.

By hand, for eight requests need no client of 40 MB. Every request carries the bearer token that a function gives: a projected
token is replaced by the kubelet long before it ends, so it is read again at each use and kept nowhere. A secret is changed
only in the version that was read (``resourceVersion``), and a member that the server does not know is a refusal
(``fieldValidation=Strict``), never silently dropped.

Sources: Kubernetes API Reference v1.34, Secret v1, TokenRequest v1 and TokenReview v1 of authentication.k8s.io; API Concepts,
"Resource versions", "Retrieving large results sets in chunks", "Validation for unrecognized or duplicate fields".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from broker.core.secret import Secret
from broker.remote.failure import Conflict, Malformed, Missing, Refused, RemoteFailure, Unreachable
from broker.remote.https import Answer, Https

# Seconds. The least that the server gives a token (validation.MinTokenAgeSec of authentication.k8s.io).
TOKEN_SECONDS_MIN = 600
# Bytes of all values of a secret together (core/v1 MaxSecretSize).
SECRET_BYTES_MAX = 1024 * 1024
# A projected token is a JWT of 1 to 2 kB.
_TOKEN_BYTES_MAX = 64 * 1024
# Secrets a page: the answer stays within what is read of one even if each is of the largest size.
_PAGE = 16
_STRICT = "fieldValidation=Strict"
_OK = frozenset({200, 201, 202})
# HTTP status -> what it means here.
_FAILURES: Mapping[int, tuple[type[RemoteFailure], str, str]] = {
    401: (
        Refused,
        "Kubernetes does not take the token — fix: has it expired, is it for another audience?",
        "token_refused",
    ),
    403: (
        Refused,
        "the service account may not do this in Kubernetes — fix: give it the verb with a Role and a RoleBinding",
        "not_permitted",
    ),
    404: (Missing, "it is not in Kubernetes", "not_found"),
    409: (Conflict, "somebody changed the secret in Kubernetes meanwhile", "changed_meanwhile"),
    410: (Unreachable, "the list of secrets changed while it was read", "list_expired"),
    413: (Refused, "a secret of Kubernetes holds at most 1 MiB", "too_large"),
}
# Of the metadata, what is ours to send back unchanged; everything else is the server's.
_KEPT = ("labels", "annotations", "ownerReferences", "finalizers")


@dataclass(frozen=True, slots=True)
class Held:
    """A secret as the server has it. ``revision`` is its ``resourceVersion``."""

    name: str
    revision: str
    data: Mapping[str, bytes] = field(repr=False)
    kind: str = "Opaque"
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Whose a token is, as the server says."""

    username: str
    groups: frozenset[str]
    audiences: frozenset[str]


def token_of_file(path: Path) -> Callable[[], Secret]:
    """A function that reads the token anew at each call.

    The file is the kubelet's: a symbolic link into a folder of the container that it exchanges as a whole, readable by the
    container's account. So it is not judged as a private file of ours would be.
    """

    def read() -> Secret:
        try:
            with path.open("rb") as file:
                text = file.read(_TOKEN_BYTES_MAX).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            what = f"{path}: the service account's token cannot be read ({type(error).__name__})"
            raise Refused(f"{what} — fix: mount a projected token there", reason="no_token") from error
        if not text or not text.isprintable() or " " in text:
            raise Refused(f"{path}: holds no token — fix: mount a projected token there", reason="no_token")
        return Secret(text)

    return read


class Cluster:
    """The API server, as one service account. Errors are of ``failure``."""

    def __init__(self, *, url: str, token: Callable[[], Secret], ca_file: str | None) -> None:
        self._https = Https(url=url, who="Kubernetes", ca_file=ca_file)
        self._token = token

    async def secret(self, namespace: str, name: str) -> Held:
        """One secret. Raises ``Missing``."""
        return _held((await self._ask("GET", _secrets(namespace, name))).members())

    async def create(self, namespace: str, name: str, data: Mapping[str, bytes], **metadata: Any) -> Held:
        """A new secret; ``metadata`` are its labels and annotations. Raises ``Conflict`` where there is one of this name."""
        made = _manifest(name, data, kind="Opaque", metadata=metadata)
        return _held((await self._ask("POST", f"{_secrets(namespace)}?{_STRICT}", made)).members())

    async def replace(self, namespace: str, held: Held, data: Mapping[str, bytes]) -> Held:
        """Other values in the secret that was read. Raises ``Conflict`` where it is another one by now."""
        kept = {key: held.metadata[key] for key in (*_KEPT, "uid") if key in held.metadata}
        made = _manifest(held.name, data, kind=held.kind, metadata={**kept, "resourceVersion": held.revision})
        return _held((await self._ask("PUT", f"{_secrets(namespace, held.name)}?{_STRICT}", made)).members())

    async def delete(self, namespace: str, name: str) -> None:
        """Away with it. Raises ``Missing``."""
        await self._ask("DELETE", _secrets(namespace, name))

    async def secrets(self, namespace: str) -> Sequence[Held]:
        """All that are nobody's but their user's (type ``Opaque``), page by page."""
        found: list[Held] = []
        query = {"fieldSelector": "type=Opaque", "limit": str(_PAGE)}
        while True:
            page = (await self._ask("GET", f"{_secrets(namespace)}?{urlencode(query)}")).members()
            items = page.get("items")
            if page.get("kind") != "SecretList" or not isinstance(items, list):
                raise _malformed("a list of secrets")
            found += [_held({"kind": "Secret", **item}) for item in items if isinstance(item, dict)]
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return found
            query["continue"] = more

    async def look(self, namespace: str) -> None:
        """Ask for as little as shows that token and permission are right."""
        await self._ask("GET", f"{_secrets(namespace)}?limit=1")

    async def request_token(self, namespace: str, account: str, *, audience: str) -> Secret:
        """A token of a service account for somebody who expects to be its audience, for ten minutes (TokenRequest)."""
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS_MIN},
        }
        path = f"/api/v1/namespaces/{_part(namespace)}/serviceaccounts/{_part(account)}/token?{_STRICT}"
        answer = (await self._ask("POST", path, wanted, changes=False)).members()
        token = (answer.get("status") or {}).get("token")
        if not isinstance(token, str) or not token:
            raise _malformed("a token")
        return Secret(token)

    async def review_token(self, token: Secret, *, audiences: Sequence[str]) -> Reviewed:
        """Whose token this is (TokenReview). Raises ``Refused`` where it is nobody's, or not for one of the audiences."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token.reveal(), "audiences": list(audiences)},
        }
        path = f"/apis/authentication.k8s.io/v1/tokenreviews?{_STRICT}"
        status = (await self._ask("POST", path, asked, changes=False)).members().get("status")
        if not isinstance(status, dict):
            raise _malformed("a review of a token")
        user, meant = status.get("user"), frozenset(status.get("audiences") or ())
        # API reference: a server that knows nothing of audiences leaves them out, and then its yes is not for us.
        if status.get("authenticated") is not True or not isinstance(user, dict) or not meant & set(audiences):
            raise Refused("Kubernetes does not believe the token", reason="token_not_believed")
        return Reviewed(username=str(user.get("username")), groups=frozenset(user.get("groups") or ()), audiences=meant)

    async def close(self) -> None:
        """Let the connections go."""
        await self._https.close()

    async def _ask(
        self, method: str, path: str, content: Mapping[str, Any] | None = None, *, changes: bool = True
    ) -> Answer:
        headers = {"Authorization": f"Bearer {self._token().reveal()}", "Accept": "application/json"}
        body = None if content is None else json.dumps(content).encode()
        answer = await self._https.ask(method, path, headers=headers, body=body, changes=changes)
        if answer.status not in _OK:
            raise _failure(answer)
        return answer


def _secrets(namespace: str, name: str | None = None) -> str:
    whole = f"/api/v1/namespaces/{_part(namespace)}/secrets"
    return whole if name is None else f"{whole}/{_part(name)}"


def _part(name: str) -> str:
    return quote(name, safe="")


def _manifest(name: str, data: Mapping[str, bytes], *, kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    if sum(map(len, data.values())) > SECRET_BYTES_MAX:
        raise Refused("a secret of Kubernetes holds at most 1 MiB", reason="too_large")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, **metadata},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _held(found: Mapping[str, Any]) -> Held:
    metadata = found.get("metadata")
    data = found.get("data") or {}
    if found.get("kind") != "Secret" or not isinstance(metadata, dict) or not isinstance(data, dict):
        raise _malformed("a secret")
    name, revision, kind = metadata.get("name"), metadata.get("resourceVersion"), found.get("type", "Opaque")
    if not (isinstance(name, str) and isinstance(revision, str) and isinstance(kind, str)):
        raise _malformed("a secret")
    try:
        values = {str(key): base64.b64decode(value, validate=True) for key, value in data.items()}
    except (TypeError, binascii.Error, ValueError):
        raise _malformed("a secret") from None
    return Held(name=name, revision=revision, data=values, kind=kind, metadata=metadata)


def _failure(answer: Answer) -> RemoteFailure:
    """What the server's ``Status`` means; its message is left out, for it may quote what was sent."""
    if answer.status in _FAILURES:
        kind, what, reason = _FAILURES[answer.status]
        return kind(what, reason=reason)
    return Refused(f"Kubernetes refuses it: HTTP {answer.status} {_reason(answer)}", reason="refused")


def _reason(answer: Answer) -> str:
    try:
        said = answer.members().get("reason")
    except Malformed:
        return ""
    return said if isinstance(said, str) and said.isalpha() else ""


def _malformed(what: str) -> Malformed:
    return Malformed(f"Kubernetes answered something that is not {what}", reason="answer_malformed")
