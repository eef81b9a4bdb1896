"""From templates to answers, with the headers that a page of ours needs beside those of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files

import jinja2
from aiohttp import hdrs, web
from markupsafe import Markup

from broker.core.clock import rfc3339

_HERE = files(__package__ or "broker.web.portal")

# One script of ours and one style sheet; nothing inline, nothing from elsewhere, and no script writes markup. Forms go to
# ourselves alone: a browser opens AWS's console by a refresh, because Chromium holds form-action against redirects too.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# "no-referrer" would make the browser send `Origin: null` with our own forms (Fetch, "append a request Origin header").
REFERRER = "same-origin"

_PAGES = (
    *("home.html", "keys.html", "opening.html", "over.html", "signed_out.html", "setup.html"),
    *("refused.html", "welcome.html", "ntlm.html", "ticket.html", "failure.html", "failures.html"),
)

# Pieces of a template between two looks at other requests. The longest, a role with all its forms, takes a tenth of a
# millisecond.
_AT_ONCE = 50

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


class Templates:
    """All of them, read once."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(text),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"rfc3339": rfc3339, "utc": utc, "in_words": in_words}
        self._environment.filters |= {"sentence": sentence, "marked": marked}
        for name in _PAGES:
            # A page that does not parse is found at the start, and nobody waits for it to be compiled.
            self._environment.get_template(name)

    def html(self, name: str, **values: object) -> str:
        """One of them, filled in; whatever is put in stays text."""
        return self._environment.get_template(name).render(values)

    def page(
        self, name: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
    ) -> web.Response:
        """An answer that may have forms and our script."""
        return _answer(self.html(name, **values), status=status, headers=headers)

    async def long_page(self, name: str, **values: object) -> web.Response:
        """The same of one that grows with what there is: others are served between its pieces."""
        pieces = []
        for number, piece in enumerate(self._environment.get_template(name).generate(values), start=1):
            pieces.append(piece)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return _answer("".join(pieces), status=200, headers=None)


def _answer(html: str, *, status: int, headers: Mapping[str, str] | None) -> web.Response:
    own = {"Content-Security-Policy": POLICY, "Referrer-Policy": REFERRER, **(headers or {})}
    return web.Response(text=html, status=status, headers=own, content_type="text/html", charset="utf-8")


def text(name: str) -> str:
    """A file of this folder."""
    return _HERE.joinpath(name).read_text(encoding="utf-8")


def asset(name: str, content_type: str) -> web.Response:
    """A file of this folder, the same for everybody."""
    return web.Response(body=_bytes(name), headers={hdrs.CONTENT_TYPE: content_type})


@cache
def _bytes(name: str) -> bytes:
    """Anybody may ask for it, so the disk is asked once."""
    return _HERE.joinpath(name).read_bytes()


def utc(moment: datetime) -> str:
    """``2026-01-31 12:34 UTC``; our script writes it by the reader's own clock."""
    return rfc3339(moment)[:-4].replace("T", " ") + " UTC"


def in_words(span: timedelta) -> str:
    """``9 h 58 min``, in whole minutes; two units at the most."""
    if span <= timedelta(0):
        return "no time"
    if span < _MINUTE:
        return "less than a minute"
    days, rest = divmod(span, _DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes = rest // _MINUTE
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def marked(sentence: str) -> Markup:
    """A sentence of ours whose commands stand in backticks."""
    pieces = sentence.split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(piece) if at % 2 else piece for at, piece in enumerate(pieces)
    )


def sentence(hint: str) -> str:
    """A hint with a capital letter in front; names within it keep theirs."""
    return hint[:1].upper() + hint[1:]
