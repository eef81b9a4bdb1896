"""A Kubernetes API server on 127.0.0.1, for secrets, TokenRequest and TokenReview, that refuses what the real one refuses.

Answers are those of Kubernetes 1.34: a ``Status`` for every failure, with the reason and code of the API conventions; bearer
tokens are JWTs of its own with audience and expiry; RBAC is a list of rules; names, keys, sizes, versions and members are
validated; pages have a ``continue``. Tests may stop it answering, script its next statuses, and move its clock.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.certificates import ServerCertificate
from tests.fakes.https_server import HttpsServer

AUDIENCE = "https://kubernetes.default.svc.cluster.local"
SECRET_MAX = 1024 * 1024
BODY_MAX = 3 * 1024 * 1024
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ANNOTATION = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_METADATA = {
    "name", "namespace", "labels", "annotations", "resourceVersion", "uid", "creationTimestamp", "ownerReferences",
    "finalizers", "generateName", "managedFields", "generation", "selfLink", "deletionTimestamp",
}  # fmt: skip
_SECRET = {"apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"}
_PATH = re.compile(r"/api/v1/namespaces/([^/]+)/(secrets|serviceaccounts)(?:/([^/]+))?(?:/(token))?")
_AUTHENTICATION = "authentication.k8s.io/v1"
_REVIEWS = f"/apis/{_AUTHENTICATION}/tokenreviews"


class Refusal(Exception):
    """Answered as a ``Status``."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


@dataclass(frozen=True)
class Rule:
    """RBAC: what a service account may do. ``names`` None: all; ``namespace`` None: of the cluster."""

    account: str
    verb: str
    resource: str
    namespace: str | None = None
    names: frozenset[str] | None = None


@dataclass
class Request:
    """One that was answered."""

    method: str
    path: str
    status: int
    body: bytes = field(repr=False)


class FakeKubernetes(HttpsServer):
    """Use as a context manager. ``url`` is https with ``certificate``, which is also its own authority."""

    def __init__(self, certificate: ServerCertificate) -> None:
        self.certificate = certificate
        self.rules: list[Rule] = []
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.scripted: list[int] = []
        self.before: Callable[[str, str], None] = lambda _method, _path: None
        self.skew = 0.0
        self._accounts: dict[tuple[str, str], str] = {}
        self._revision = 1000
        self._pages: dict[str, tuple[list[dict[str, Any]], int]] = {}
        self._lock = threading.Lock()
        self._key = ec.generate_private_key(ec.SECP256R1())
        super().__init__(self._handler(), certificate=certificate)

    def now(self) -> float:
        return time.time() + self.skew

    def account(self, namespace: str, name: str) -> None:
        self._accounts[(namespace, name)] = str(uuid.uuid4())

    def allow(self, account: str, *verbs: str, resource: str = "secrets", names: set[str] | None = None) -> None:
        """Let ``NAMESPACE/NAME`` do this in its namespace, or in the cluster for what belongs to no namespace."""
        namespace = None if resource == "tokenreviews" else account.split("/", maxsplit=1)[0]
        only = None if names is None else frozenset(names)
        self.rules += [Rule(account, verb, resource, namespace, only) for verb in verbs]

    def token(self, account: str, *, audience: str = AUDIENCE, seconds: float = 3600) -> str:
        namespace, name = account.split("/")
        now = int(self.now())
        claims = {
            "iss": AUDIENCE, "aud": [audience], "sub": f"system:serviceaccount:{namespace}:{name}", "jti": str(uuid.uuid4()),
            "iat": now, "nbf": now, "exp": now + int(seconds),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {
                "name": name, "uid": self._accounts[(namespace, name)],
            }},
        }  # fmt: skip
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "fake"})

    def text(self, namespace: str, name: str, key: str) -> str:
        return base64.b64decode(self.objects[(namespace, name)]["data"][key]).decode()

    # What follows answers requests; the lock is held.

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query, strict_parsing=bool(url.query)).items()}
        who = self._authenticated(headers)
        if url.path == _REVIEWS:
            self._permit(who, "create", "tokenreviews", None, None)
            return self._review(self._read(headers, body, query, {"apiVersion", "kind", "metadata", "spec", "status"}))
        found = _PATH.fullmatch(url.path)
        if found is None:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        namespace, resource, name, sub = (unquote(part) if part else None for part in found.groups())
        if resource == "serviceaccounts":
            if sub != "token" or method != "POST":
                raise Refusal(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
                )
            self._permit(who, "create", "serviceaccounts/token", namespace, name)
            content = self._read(headers, body, query, {"apiVersion", "kind", "metadata", "spec", "status"})
            return self._request_token(str(namespace), str(name), content)
        return self._secret(who, method, str(namespace), name, query, headers, body)

    def _secret(  # noqa: PLR0917  # what a request consists of
        self, who: str, method: str, namespace: str, name: str | None, query: Mapping[str, str],
        headers: Mapping[str, str], body: bytes,
    ) -> tuple[int, dict[str, Any]]:  # fmt: skip
        verbs = {"GET": "list" if name is None else "get", "POST": "create", "PUT": "update", "DELETE": "delete"}
        if method not in verbs or (method == "POST") != (name is None and method != "GET"):
            raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        self._permit(who, verbs[method], "secrets", namespace, name)
        if method == "GET" and name is None:
            return self._list(namespace, query)
        if method == "POST":
            return self._create(namespace, self._read(headers, body, query, _SECRET))
        if (namespace, name) not in self.objects:
            raise Refusal(404, "NotFound", f'secrets "{name}" not found')
        if method == "GET":
            return 200, self.objects[(namespace, str(name))]
        if method == "PUT":
            return self._update(namespace, str(name), self._read(headers, body, query, _SECRET))
        gone = self.objects.pop((namespace, str(name)))
        return 200, {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": name, "kind": "secrets", "uid": gone["metadata"]["uid"]},
        }  # fmt: skip

    def _authenticated(self, headers: Mapping[str, str]) -> str:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        account = self._believed(token, AUDIENCE) if scheme == "Bearer" else None
        if account is None:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        return account

    def _believed(self, token: str, audience: str) -> str | None:
        try:
            claims = jwt.decode(
                token, self._key.public_key(), algorithms=["ES256"], audience=audience, issuer=AUDIENCE,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )  # fmt: skip
        except jwt.InvalidTokenError:
            return None
        inner = claims["kubernetes.io"]
        namespace, name = inner["namespace"], inner["serviceaccount"]["name"]
        alive = self._accounts.get((namespace, name)) == inner["serviceaccount"]["uid"]
        return f"{namespace}/{name}" if alive and claims["exp"] > self.now() else None

    def _permit(self, who: str, verb: str, resource: str, namespace: str | None, name: str | None) -> None:
        for rule in self.rules:
            # A name in the body is not seen by RBAC: create and list cannot be limited by names, but a sub-resource's can.
            of_all = rule.names is None or (name is not None and name in rule.names)
            if (rule.account, rule.verb, rule.resource, rule.namespace) == (who, verb, resource, namespace) and of_all:
                return
        user = f"system:serviceaccount:{who.replace('/', ':')}"
        what = f'cannot {verb} resource "{resource}" in API group "" in the namespace "{namespace}"'
        raise Refusal(403, "Forbidden", f'{resource} "{name or ""}" is forbidden: User "{user}" {what}')

    def _read(
        self, headers: Mapping[str, str], body: bytes, query: Mapping[str, str], members: set[str]
    ) -> dict[str, Any]:
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refusal(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        if len(body) > BODY_MAX:
            raise Refusal(413, "RequestEntityTooLarge", f"Request entity too large: limit is {BODY_MAX}")
        try:
            content = json.loads(body)
        except ValueError:
            raise Refusal(400, "BadRequest", "couldn't get version/kind; json parse error") from None
        if not isinstance(content, dict):
            raise Refusal(400, "BadRequest", "couldn't get version/kind; json parse error")
        if query.get("fieldValidation") == "Strict":
            strange = sorted(set(content) - members) + sorted(set(content.get("metadata") or {}) - _METADATA)
            if strange:
                raise Refusal(400, "BadRequest", f'strict decoding error: unknown field "{strange[0]}"')
        return content

    def _review(self, content: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        # What is left out is inferred from the path, and OpenBao leaves it out.
        if (content.get("kind", "TokenReview"), content.get("apiVersion", _AUTHENTICATION)) != (
            "TokenReview",
            _AUTHENTICATION,
        ):
            raise Refusal(400, "BadRequest", "the API version in the data does not match the expected API version")
        spec = content.get("spec") or {}
        if not spec.get("token"):
            raise Refusal(400, "BadRequest", "token is required for TokenReview in authentication")
        asked = spec.get("audiences") or [AUDIENCE]
        meant = [one for one in asked if self._believed(spec["token"], one)]
        status: dict[str, Any] = {"user": {}, "error": "[invalid bearer token]"}
        if meant:
            namespace, name = str(self._believed(spec["token"], meant[0])).split("/")
            user = {
                "username": f"system:serviceaccount:{namespace}:{name}",
                "uid": self._accounts[(namespace, name)],
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
            }
            status = {"authenticated": True, "user": user, "audiences": meant}
        return 201, {**content, "status": status}

    def _request_token(self, namespace: str, name: str, content: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        if content.get("kind", "TokenRequest") != "TokenRequest":
            raise Refusal(400, "BadRequest", "not a TokenRequest")
        if (namespace, name) not in self._accounts:
            raise Refusal(404, "NotFound", f'serviceaccounts "{name}" not found')
        spec = content.get("spec") or {}
        seconds = spec.get("expirationSeconds", 3600)
        if seconds < 600:
            what = f"spec.expirationSeconds: Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            raise Refusal(422, "Invalid", f'TokenRequest.authentication.k8s.io "" is invalid: {what}')
        audience = (spec.get("audiences") or [AUDIENCE])[0]
        token = self.token(f"{namespace}/{name}", audience=audience, seconds=seconds)
        ends = datetime.fromtimestamp(self.now() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 201, {**content, "status": {"token": token, "expirationTimestamp": ends}}

    def _list(self, namespace: str, query: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        key, _, value = query.get("fieldSelector", "").partition("=")
        if key not in {"", "type", "metadata.name"}:
            raise Refusal(400, "BadRequest", f"field label not supported: {key}")
        if "continue" in query:
            if query["continue"] not in self._pages:
                raise Refusal(410, "Expired", "The provided continue parameter is too old")
            found, revision = self._pages.pop(query["continue"])
        else:
            of_here = [one for (where, _), one in sorted(self.objects.items()) if where == namespace]
            found = [one for one in of_here if key != "type" or one["type"] == value]
            revision = self._revision
        limit = int(query.get("limit", "0")) or len(found)
        page, rest = found[:limit], found[limit:]
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if rest:
            metadata |= {"continue": uuid.uuid4().hex, "remainingItemCount": len(rest)}
            self._pages[metadata["continue"]] = (rest, revision)
        # As the real one does: the items of a list do not repeat what kind they are.
        items = [{key: value for key, value in one.items() if key not in {"kind", "apiVersion"}} for one in page]
        return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": metadata, "items": items}

    def _create(self, namespace: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        metadata = content.get("metadata") or {}
        name = metadata.get("name", "")
        self._validate(namespace, name, content)
        if metadata.get("resourceVersion"):
            raise Refusal(400, "BadRequest", "resourceVersion should not be set on objects to be created")
        if (namespace, name) in self.objects:
            raise Refusal(409, "AlreadyExists", f'secrets "{name}" already exists')
        made = datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = {**metadata, "namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": made}
        return 201, self._store(namespace, name, {**content, "metadata": metadata})

    def _update(self, namespace: str, name: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        metadata, held = content.get("metadata") or {}, self.objects[(namespace, name)]
        if metadata.get("name") != name:
            raise Refusal(400, "BadRequest", "the name of the object does not match the name on the URL")
        self._validate(namespace, name, content)
        stale = metadata.get("resourceVersion") not in {None, held["metadata"]["resourceVersion"]}
        if stale or metadata.get("uid") not in {None, held["metadata"]["uid"]}:
            what = "the object has been modified; please apply your changes to the latest version and try again"
            raise Refusal(409, "Conflict", f'Operation cannot be fulfilled on secrets "{name}": {what}')
        if content.get("type", "Opaque") != held["type"]:
            raise Refusal(422, "Invalid", f'Secret "{name}" is invalid: type: field is immutable')
        if held.get("immutable") and content.get("data") != held["data"]:
            raise Refusal(
                422, "Invalid", f'Secret "{name}" is invalid: data: field is immutable when `immutable` is set'
            )
        kept = {key: held["metadata"][key] for key in ("namespace", "uid", "creationTimestamp")}
        return 200, self._store(namespace, name, {**content, "metadata": {**metadata, **kept}})

    def _validate(self, namespace: str, name: str, content: Mapping[str, Any]) -> None:
        if (content.get("kind", "Secret"), content.get("apiVersion", "v1")) != ("Secret", "v1"):
            raise Refusal(400, "BadRequest", "the object provided is unrecognized")
        metadata, data = content.get("metadata") or {}, content.get("data") or {}
        if metadata.get("namespace", namespace) != namespace:
            raise Refusal(400, "BadRequest", "the namespace of the provided object does not match the request")
        wrong = None
        if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
            wrong = f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of'
        for key in (*(metadata.get("annotations") or {}), *(metadata.get("labels") or {})):
            wrong = wrong if _ANNOTATION.fullmatch(key) else f"metadata.annotations: Invalid value: {key}"
        size = 0
        for key, value in data.items():
            if len(key) > 253 or not _KEY.fullmatch(key) or key in {".", ".."} or key.startswith(".."):
                wrong = f"data[{key}]: Invalid value"
            try:
                size += len(base64.b64decode(value, validate=True))
            except (binascii.Error, ValueError, TypeError):
                raise Refusal(400, "BadRequest", "illegal base64 data at input byte 0") from None
        if size > SECRET_MAX:
            wrong = "data: Too long: may not be more than 1048576 bytes"
        if wrong:
            raise Refusal(422, "Invalid", f'Secret "{name}" is invalid: {wrong}')

    def _store(self, namespace: str, name: str, content: dict[str, Any]) -> dict[str, Any]:
        self._revision += 7  # not by one: nobody may count on that
        content["metadata"]["resourceVersion"] = str(self._revision)
        self.objects[(namespace, name)] = {"type": "Opaque", **content, "kind": "Secret", "apiVersion": "v1"}
        return self.objects[(namespace, name)]

    def _handler(fake) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # "self" is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            timeout = 30

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                fake.before(self.command, self.path)
                fake.answers.wait()
                with fake._lock:
                    try:
                        if fake.scripted and (code := fake.scripted.pop(0)):
                            raise Refusal(code, "InternalError", "scripted")  # noqa: TRY301
                        code, said = fake.answer(self.command, self.path, headers, body)
                    except Refusal as refusal:
                        code, said = refusal.code, {
                            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                            "message": refusal.message, "reason": refusal.reason, "code": refusal.code,
                        }  # fmt: skip
                    text = json.dumps(said).encode()
                    fake.requests.append(Request(self.command, self.path, code, body))
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's word
                """Say nothing."""

        return Handler
