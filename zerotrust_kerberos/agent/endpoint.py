"""What the AWS SDKs ask on loopback: the container provider's URL, and IMDSv2 where it was asked for.

Everybody on the machine can connect to a port of loopback, and so can every page in a browser on it. So credentials leave only
for a process of our own user, by the kernel's word; for who holds the token of this endpoint; under the one name that we printed
(a page that rebinds its own name to 127.0.0.1 sends that name); and for no request that a browser or a proxy had a hand in.
There is no answer 200 without credentials in it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
from collections.abc import Awaitable, Callable

from zerotrust_kerberos.agent.http import Reply, Request
from zerotrust_kerberos.credential_process import members_of
from zerotrust_kerberos.failures import (
    EXIT_APPROVAL,
    EXIT_DENIED,
    EXIT_THROTTLED,
    EXIT_TICKET,
    Failure,
    Place,
    line,
)

CONTAINER_PATH = "/v1/container/"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
_TOKEN_PATH = "/latest/api/token"  # noqa: S105
_ROLES_PATH = "/latest/meta-data/iam/security-credentials/"
_TTL_HEADER, _TOKEN_HEADER = "x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"
_TTL_MAX = 21600  # seconds; six hours, as there

_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain"
_MEMBERS = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId", "RoleArn")

# The client's own reasons; the SDKs try 5xx again.
_STATUS = {EXIT_TICKET: 401, EXIT_DENIED: 403, EXIT_APPROVAL: 403, EXIT_THROTTLED: 429}
_ELSE = 503


class Endpoint:
    """One role's. ``token`` opens the container's URL."""

    def __init__(
        self,
        *,
        role: str,
        credentials: Callable[[], Awaitable[bytes]],
        place: Place,
        host: str,
        has_imds: bool,
        is_neighbour: Callable[[socket.socket], bool],
        now: Callable[[], float],
        told: Callable[[str], None],
    ) -> None:
        """Take the parts.

        Args:
            role: Its name.
            credentials: The broker's body, or a Failure.
            place: What the lines for the user talk about.
            host: The Host header that counts: address and port, as printed.
            has_imds: Whether to be an instance's metadata service too.
            is_neighbour: Whether who is at the other end sees the files that we see.
            now: Seconds that never go back.
            told: Gets each line that says why there are no credentials.
        """
        self.token = os.urandom(32).hex()
        self._role = role
        self._credentials = credentials
        self._place = place
        self._host = host
        self._has_imds = has_imds
        self._is_neighbour = is_neighbour
        self._now = now
        self._told = told
        self._key = os.urandom(32)

    async def answer(self, request: Request) -> Reply:
        """Answer one request of a process of our own user."""
        return self._refused(request) or await self._routed(request)

    def _refused(self, request: Request) -> Reply | None:
        if request.headers.get("host") != self._host:
            return _no(403, "host_not_allowed", "this endpoint does not go by this name")
        if request.is_foreign:
            return _no(403, "cross_site_blocked", "this endpoint is for programs, not for browsers or proxies")
        return None

    async def _routed(self, request: Request) -> Reply:
        method, path = request.method, request.path
        if path == CONTAINER_PATH + self._role:
            return await self._container(request) if method == "GET" else _no(405, "method_not_allowed", "GET only")
        if self._has_imds:
            if path == _TOKEN_PATH:
                return self._given(request) if method == "PUT" else _no(405, "method_not_allowed", "PUT only")
            if path.startswith(_ROLES_PATH[:-1]):
                return await self._imds(request) if method == "GET" else _no(405, "method_not_allowed", "GET only")
        return _no(404, "not_found", "there is nothing here")

    async def _container(self, request: Request) -> Reply:
        if not _same(request.headers.get("authorization", ""), self.token):
            return _no(401, "auth_required", "the token of this endpoint is missing or another one's")
        return await self._members(lambda found: found)

    # ---- IMDSv2 ----

    def _given(self, request: Request) -> Reply:
        ttl = request.headers.get(_TTL_HEADER, "")
        if not (ttl.isascii() and ttl.isdigit() and len(ttl) <= len(str(_TTL_MAX)) and 1 <= int(ttl) <= _TTL_MAX):
            return _no(400, "bad_request", f"{_TTL_HEADER} is 1 to {_TTL_MAX}")
        # Nothing that is asked for here is a secret, so a container that has our uid and network would get it.
        if request.connection is None or not self._is_neighbour(request.connection):
            return _no(
                403, "access_denied", "not for containers: they need AWS_CONTAINER_CREDENTIALS_FULL_URI and its token"
            )
        ends = f"{int(self._now()) + int(ttl):x}"
        return Reply(200, f"{ends}.{self._mac(ends)}".encode(), kind=_TEXT, headers={_TTL_HEADER: ttl})

    async def _imds(self, request: Request) -> Reply:
        ends, _, mac = request.headers.get(_TOKEN_HEADER, "").partition(".")
        # The mac first: what is behind it is ours, and a number.
        if not _same(mac, self._mac(ends)) or int(ends, 16) <= self._now():
            return _no(401, "auth_required", "a token of PUT /latest/api/token is needed (IMDSv2)")
        if request.path in {_ROLES_PATH, _ROLES_PATH[:-1]}:
            return Reply(200, self._role.encode("ascii"), kind=_TEXT)
        if request.path == _ROLES_PATH + self._role:
            # Shape of an instance's own. LastUpdated is nobody's reading, and a clock of ours would only be a second opinion.
            return await self._members(lambda found: {"Code": "Success", "Type": "AWS-HMAC"} | found)
        return _no(404, "not_found", "there is nothing here")

    def _mac(self, ends: str) -> str:
        return hmac.new(self._key, ends.encode("latin-1", "replace"), hashlib.sha256).hexdigest()

    # ---- both ----

    async def _members(self, shaped: Callable[[dict[str, str]], dict[str, str]]) -> Reply:
        try:
            found = members_of(await self._credentials(), _MEMBERS)
        except Failure as failure:
            said = line(failure, self._place)
            self._told(said)
            # botocore prints the body of what is no 200; JavaScript's SDK reads these two members.
            return _problem(_STATUS.get(failure.exit_status, _ELSE), failure.code, said)
        return Reply(200, json.dumps(shaped(found)).encode(), kind=_JSON)


def _no(status: int, code: str, said: str) -> Reply:
    return _problem(status, code, said)


def _problem(status: int, code: str, said: str) -> Reply:
    body = json.dumps({"Code": code, "Message": said}, ensure_ascii=False)
    return Reply(status, body.encode(), kind=_JSON)


def _same(given: str, ours: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), ours.encode("ascii"))
