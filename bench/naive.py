"""A broker as a competent developer would first write it, on the libraries that ours uses too: the peer of goal 4.

What it does with each request: accepts the ticket with python-gssapi's ``SecurityContext``, or checks the session, a JWT that
PyJWT signed with HS256; looks up whether the principal may have the role; asks Redis with redis-py for the credentials and
opens them (AES-GCM); signs an audit event (Ed25519), writes it and waits for ``fdatasync`` before it answers. What is not in
Redis comes from STS by boto3. All of it is in one process on asyncio's own event loop.

It works no more than that takes: the acceptor's credentials, the keys, the connections and the open file are kept, Redis's
answers are parsed by hiredis, there is no access log, and the short write to the disk has no hop to a thread.

What it does not do, and ours does: limits, revocation, a guard against replay but for MIT's own file, rules about groups,
networks and times, request ids and metrics, a chain of its records, sessions that end before they expire, rotation of keys.

    python bench/naive.py SETTINGS.json
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import gssapi
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from gssapi.raw.misc import GSSError
from redis.asyncio import Redis

COOKIE = "session"
_SCHEME = "Negotiate "
_ALGORITHM = "HS256"
_SESSION_SECONDS = 8 * 3600
_CREDENTIALS_SECONDS = 3600
# So much of an hour is left at least when somebody gets them from the cache.
_KEPT_SECONDS = _CREDENTIALS_SECONDS - 600
_NONCE_BYTES = 12  # NIST SP 800-38D, section 5.2.1.1


@dataclass(frozen=True, slots=True)
class Settings:
    """What the settings file holds.

    Attributes:
        redis: A URL with the password.
        sts: The endpoint of STS.
        roles: Name to chain; a hop has ``arn`` and ``external_id``.
        rules: Principal to the names of the roles it may have.
    """

    port: int
    keytab: str
    redis: str
    sts: str
    region: str
    audit: str
    roles: Mapping[str, list[dict[str, str]]]
    rules: Mapping[str, list[str]]


class Broker:
    """The handlers, and what they keep between requests."""

    def __init__(self, settings: Settings, *, redis: Redis) -> None:
        self._settings = settings
        self._redis = redis
        self._acceptor = gssapi.Credentials(usage="accept", store={"keytab": settings.keytab})
        self._session_key = secrets.token_bytes(32)
        self._cipher = AESGCM(secrets.token_bytes(32))
        self._signer = Ed25519PrivateKey.generate()
        self._audit = os.open(settings.audit, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._record(event="started", public_key=self._signer.public_key().public_bytes_raw().hex())

    async def open_session(self, request: web.Request) -> web.Response:
        """A session for a ticket."""
        principal, headers = self._by_ticket(request)
        claims = {"sub": principal, "exp": int(time.time()) + _SESSION_SECONDS}
        response = web.Response(status=204, headers=headers)
        token = jwt.encode(claims, self._session_key, _ALGORITHM)
        response.set_cookie(COOKIE, token, max_age=_SESSION_SECONDS, httponly=True, secure=True, samesite="Strict")
        return response

    async def credentials(self, request: web.Request) -> web.Response:
        """Credentials for a ticket or a session."""
        cookie = request.cookies.get(COOKIE)
        principal, headers = self._by_ticket(request) if cookie is None else (self._by_session(cookie), {})
        try:
            role = (await request.json())["role"]
        except (ValueError, KeyError, TypeError) as error:
            raise web.HTTPBadRequest(text="a JSON object with the member role is needed") from error
        address = request.remote
        if role not in self._settings.rules.get(principal, ()):
            self._record(event="denied", principal=principal, role=role, address=address)
            raise web.HTTPForbidden(text=f"{principal} may not have this role")
        found = await self._cached(principal, role)
        self._record(event="issued", principal=principal, role=role, address=address, key_id=found["AccessKeyId"])
        return web.json_response(found, headers=headers)

    def _by_ticket(self, request: web.Request) -> tuple[str, dict[str, str]]:
        """Who asks, and the headers that prove us to them (RFC 4559)."""
        authorization = request.headers.get("Authorization", "")
        if not authorization.startswith(_SCHEME):
            raise _unauthorized("a Kerberos ticket or a session is needed")
        context = gssapi.SecurityContext(usage="accept", creds=self._acceptor)
        try:
            answer = context.step(base64.b64decode(authorization.removeprefix(_SCHEME), validate=True))
            # Where there is a token that tells the client of an error, python-gssapi raises it here only.
            is_complete = context.complete
        except (binascii.Error, GSSError) as error:
            raise _unauthorized("the ticket was not accepted") from error
        if not is_complete:
            raise _unauthorized("the ticket needs a second step")
        principal = str(context.initiator_name)
        return principal, {"WWW-Authenticate": _SCHEME + base64.b64encode(answer).decode()} if answer else {}

    def _by_session(self, cookie: str) -> str:
        try:
            principal: str = jwt.decode(cookie, self._session_key, [_ALGORITHM])["sub"]
        except jwt.InvalidTokenError as error:
            raise _unauthorized("the session is not valid or has ended") from error
        return principal

    async def _cached(self, principal: str, role: str) -> dict[str, Any]:
        name = f"credentials:{role}:{principal}"
        sealed = await self._redis.get(name)
        if isinstance(sealed, bytes):
            nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            found: dict[str, Any] = json.loads(self._cipher.decrypt(nonce, text, name.encode()))
            return found
        made = await asyncio.to_thread(self._assume, principal, role)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, json.dumps(made).encode(), name.encode())
        await self._redis.set(name, sealed, ex=_KEPT_SECONDS)
        return made

    def _assume(self, principal: str, role: str) -> dict[str, Any]:
        """Walk the chain; the first hop with the process's own keys."""
        user = principal.partition("@")[0]
        keys: dict[str, str] = {}
        for hop in self._settings.roles[role]:
            sts = boto3.client("sts", region_name=self._settings.region, endpoint_url=self._settings.sts, **keys)
            made = sts.assume_role(
                RoleArn=hop["arn"], ExternalId=hop["external_id"], RoleSessionName=user, SourceIdentity=user
            )["Credentials"]
            keys = {
                "aws_access_key_id": made["AccessKeyId"],
                "aws_secret_access_key": made["SecretAccessKey"],
                "aws_session_token": made["SessionToken"],
            }
        return {"Version": 1, **made, "Expiration": made["Expiration"].isoformat()}

    def _record(self, **event: str | None) -> None:
        """On the disk when this returns: the event, a tab, its signature."""
        text = json.dumps({"time": time.time(), **event})
        signature = base64.b64encode(self._signer.sign(text.encode())).decode()
        os.write(self._audit, f"{text}\t{signature}\n".encode())
        os.fdatasync(self._audit)


def _unauthorized(text: str) -> web.HTTPUnauthorized:
    return web.HTTPUnauthorized(text=text, headers={"WWW-Authenticate": "Negotiate"})


async def _application(settings: Settings) -> web.Application:
    broker = Broker(settings, redis=Redis.from_url(settings.redis))
    application = web.Application()
    application.router.add_post("/v1/sessions", broker.open_session)
    application.router.add_post("/v1/credentials", broker.credentials)
    return application


def main() -> None:
    """See the module."""
    settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
    web.run_app(_application(settings), host="127.0.0.1", port=settings.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
