"""``/v1/secrets``: what can be asked of the vault.

A path is taken from the request target letter by letter: nothing is decoded, so that no two targets name one secret. What is done
with a secret beside reading, writing and deleting it stands behind a colon, which no path has: ``PATH:undelete``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from aiohttp import hdrs, web

from broker import wire, wire_secrets
from broker.core.clock import rfc3339
from broker.core.errors import AuthRequired, BadRequest, NotFound, TooLarge
from broker.core.identity import UnverifiedRequest
from broker.issuing.ask import Ask
from broker.issuing.secrets import SecretDesk, Wanted
from broker.web.negotiate import ask_of

_T = TypeVar("_T")
_ONLY_ONE = "write each member of the query once, and no other than {}"


class Secrets:
    """The handlers."""

    def __init__(self, *, desk: SecretDesk) -> None:
        self._desk = desk

    async def get(self, request: web.Request) -> web.Response:
        """A secret; or, behind its path, what is known of it."""
        ask, _ = await _read(request)
        target = _target(request)
        if target.endswith(wire_secrets.VERSIONS):
            wanted, _ = _wanted(request, target.removesuffix(wire_secrets.VERSIONS))
            found = await self._desk.metadata(ask, wanted)
            return _answer(wire_secrets.metadata_body(found))
        wanted, version = _wanted(request, target, "version")
        read = await self._desk.read(ask, wanted, version=version)
        body = wire_secrets.version_body(
            path=wanted.path,
            version=read.number,
            fields={name: value.reveal() for name, value in read.fields.items()},
            made=None if read.made is None else rfc3339(read.made),
            lease_ends=None if read.lease_ends is None else rfc3339(read.lease_ends),
        )
        return _answer(body)

    async def put(self, request: web.Request) -> web.Response:
        """A new version."""
        ask, body = await _read(request)
        wanted, _ = _wanted(request, _target(request))
        if wanted.path.endswith(wire_secrets.VERSIONS):
            raise BadRequest("a reserved name", hint="no path ends with /versions: that is where versions are shown")
        new = await self._parsed(ask, wanted, "write", wire_secrets.parse_writing, body)
        number = await self._desk.write(ask, wanted, new)
        return _answer(wire_secrets.written_body(path=wanted.path, version=number))

    async def delete(self, request: web.Request) -> web.Response:
        """Away with the newest version, or those that the body names."""
        ask, body = await _read(request)
        wanted, _ = _wanted(request, _target(request))
        numbers = await self._parsed(ask, wanted, "delete", wire_secrets.parse_versions, body)
        await self._desk.delete(ask, wanted, versions=numbers)
        return _answer(wire_secrets.done_body(path=wanted.path, done="delete"))

    async def post(self, request: web.Request) -> web.Response:
        """What stands behind the colon."""
        ask, body = await _read(request)
        path, _, verb = _target(request).partition(":")
        if verb not in wire_secrets.VERBS:
            raise NotFound(hint=f"behind a path there can be one of :{', :'.join(wire_secrets.VERBS)}")
        wanted, _ = _wanted(request, path)
        await self._do(verb, ask, wanted, body)
        return _answer(wire_secrets.done_body(path=path, done=verb))

    async def listing(self, request: web.Request) -> web.Response:
        """The paths below a prefix, or those of them that are due for rotation."""
        ask, _ = await _read(request)
        given = _query(request, "prefix", "due", "reason")
        wanted = Wanted(path=given.get("prefix", ""), reason=given.get("reason"))
        if given.get("due") == "true":
            return _answer(wire_secrets.due_body(await self._desk.due(ask, wanted)))
        if "due" in given:
            raise BadRequest("a query that is none", hint="write ?due=true")
        return _answer(wire_secrets.list_body(await self._desk.listing(ask, wanted)))

    async def _do(self, verb: str, ask: Ask, wanted: Wanted, body: bytes) -> None:
        desk = self._desk
        if verb == "describe":
            new = await self._parsed(ask, wanted, verb, wire_secrets.parse_description, body)
            await desk.describe(ask, wanted, new)
        elif verb in ("undelete", "destroy"):
            numbers = await self._parsed(ask, wanted, verb, wire_secrets.parse_versions, body)
            await (desk.undelete if verb == "undelete" else desk.destroy)(ask, wanted, versions=numbers)
        else:
            await self._parsed(ask, wanted, verb, wire_secrets.parse_nothing, body)
            await {"archive": desk.archive, "unarchive": desk.unarchive, "purge": desk.purge}[verb](ask, wanted)

    async def _parsed(self, ask: Ask, wanted: Wanted, action: str, parse: Callable[[bytes], _T], body: bytes) -> _T:
        """The body read; one that cannot be is told to those alone who may do this there."""
        try:
            return parse(body)
        except ValueError as error:
            unread = BadRequest(str(error), reason="body_malformed", hint=str(error))
        await self._desk.misunderstood(ask, wanted, action, unread)
        raise unread


def _target(request: web.Request) -> str:
    """What the target says behind the prefix, letter by letter."""
    return request.raw_path.partition("?")[0].removeprefix(wire_secrets.PREFIX)


def _wanted(request: web.Request, path: str, *names: str) -> tuple[Wanted, str | None]:
    """The path with the query's reason; and the value of the other member that may be there."""
    given = _query(request, "reason", *names)
    return Wanted(path=path, reason=given.get("reason")), given.get(names[0]) if names else None


def _query(request: web.Request, *names: str) -> dict[str, str]:
    pairs = list(request.query.items())
    found = dict(pairs)
    if len(found) < len(pairs) or found.keys() - set(names):
        raise BadRequest("a query that is none", hint=_ONLY_ONE.format(", ".join(names)))
    reason = found.get("reason")
    if reason is not None and not (0 < len(reason) <= wire.REASON_LENGTH_MAX and reason.isprintable()):
        hint = f"a reason is 1 to {wire.REASON_LENGTH_MAX} printable characters"
        raise BadRequest("a reason that is none", hint=hint)
    return found


async def _read(request: web.Request) -> tuple[Ask, bytes]:
    """Who asks, with the whole request as a signature must cover it; and its body.

    Raises:
        AuthRequired: They show nothing, and nothing of theirs is read.
        TooLarge: The body is.
    """
    ask = ask_of(request)
    if ask.authorization is None:
        raise AuthRequired(reason="no_token")
    chunks = bytearray()
    async for chunk in request.content.iter_any():
        chunks += chunk
        if len(chunks) > wire_secrets.BODY_MAX:
            raise TooLarge(hint=f"send at most {wire_secrets.BODY_MAX} bytes")
    ask.request = UnverifiedRequest(
        method=request.method,
        # Guarded: the target is a path, and the Host header one of our names.
        url=f"{request.scheme}://{request.headers[hdrs.HOST]}{request.raw_path}",
        headers=tuple(request.headers.items()),
        body=bytes(chunks),
    )
    return ask, bytes(chunks)


def _answer(body: bytes) -> web.Response:
    """Every answer of the house is ``no-store`` (``guards.SECURITY_HEADERS``)."""
    return web.Response(body=body, content_type=wire.JSON)
