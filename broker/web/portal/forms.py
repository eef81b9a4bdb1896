"""Forms of our own page, read: for whom they were made, and what was filled in.

A form is believed on three accounts, each of which would do: the guards have seen that our own origin sends it; the cookie is
``SameSite=Strict``; and it carries a token that can be made only of the session in whose page it stood. The session is a secret
of the browser that no script reads, so there is nothing to store and no key to keep, and each session has its own token.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import web

from broker.core.errors import AuthRequired, BadRequest, CrossSiteBlocked
from broker.issuing.ask import Ask
from broker.web.negotiate import ask_of

TOKEN = "form"  # noqa: S105  the name of a field
# Fields of the largest of our forms, and as many again.
_FIELDS_MAX = 16
_LABEL = b"zerotrust/page-form/v1"


@dataclass(frozen=True, slots=True)
class Form:
    """Who sends it, its fields, and the token that the forms of the answer carry."""

    ask: Ask
    fields: dict[str, str]
    token: str


def token_of(session: str) -> str:
    """What a form in a page of this session carries; the session cannot be told from it."""
    return hmac.new(session.encode(), _LABEL, hashlib.sha256).hexdigest()


async def read(request: web.Request, *names: str) -> Form:
    """Who sends a form, by their session alone, and its fields; those that were left empty are left out.

    Raises:
        AuthRequired: There is no session. A ticket beside the form says nothing: it may be somebody else's by now.
        CrossSiteBlocked: The form was not in a page of this session.
        BadRequest: It has other fields than these, or one twice.
    """
    ask = ask_of(request)
    ask.authorization = None
    if ask.cookie is None:
        raise AuthRequired(reason="no_session")
    fields = _fields(await request.read(), names)
    token = token_of(ask.cookie)
    if not hmac.compare_digest(fields.pop(TOKEN, "").encode(), token.encode()):
        raise CrossSiteBlocked(reason="form_token", hint="open the broker's page yourself, and do it there")
    return Form(ask, {name: value for name, value in fields.items() if value}, token)


def _fields(body: bytes, names: tuple[str, ...]) -> dict[str, str]:
    hint = "open the page anew, and use its own buttons"
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError as error:
        raise BadRequest("a form that is none", hint=hint) from error
    fields = {name: value.strip() for name, value in pairs}
    if len(fields) < len(pairs) or not set(fields) <= {TOKEN, *names}:
        raise BadRequest("a form that is not of our page", hint=hint)
    return fields
