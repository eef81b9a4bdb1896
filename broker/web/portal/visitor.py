"""Which browser asks, on what, so that its reader is shown one way in and not seven.

A guess from what the browser says of itself, for the choice of words alone: nothing is allowed or refused by it, and every other
way stands folded below.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import hdrs

_Found = TypeVar("_Found")


class Browser(enum.Enum):
    """The kinds that are set up differently; others of Chromium's family count as Chrome, whose places most of them read."""

    CHROME = "Chrome"
    CHROMIUM = "Chromium"
    EDGE = "Edge"
    FIREFOX = "Firefox"
    SAFARI = "Safari"
    OTHER = "your browser"


class Platform(enum.Enum):
    """The systems that are set up differently."""

    LINUX = "Linux"
    WINDOWS = "Windows"
    MACOS = "macOS"
    PHONE = "a phone or tablet"


# Of Chromium's family: where each reads its policies on Linux, and under which name it keeps its settings on macOS.
FAMILY = {
    Browser.CHROME: ("/etc/opt/chrome/policies/managed", "com.google.Chrome"),
    Browser.CHROMIUM: ("/etc/chromium/policies/managed", "org.chromium.Chromium"),
    Browser.EDGE: ("/etc/opt/edge/policies/managed", "com.microsoft.Edge"),
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who reads the page, as far as words go."""

    browser: Browser
    platform: Platform

    @property
    def learns_negotiate(self) -> bool:
        """Whether this browser may fail the very first challenge of a new profile, and not the second.

        Chromium loads the Kerberos library only where a challenge has been seen before, which it notes while it refuses the
        first one (net error -339); on Linux alone.
        """
        return self.browser in FAMILY and self.platform is Platform.LINUX


# What is shown to everybody, the likeliest first; for Chrome's family they differ in a place alone.
EVERY = (
    *((browser, Platform.LINUX) for browser in FAMILY),
    (Browser.CHROME, Platform.WINDOWS),
    (Browser.EDGE, Platform.WINDOWS),
    *((browser, Platform.MACOS) for browser in FAMILY),
    *((Browser.FIREFOX, platform) for platform in (Platform.LINUX, Platform.WINDOWS, Platform.MACOS)),
    (Browser.SAFARI, Platform.MACOS),
    (Browser.OTHER, Platform.PHONE),
)
# The first that stands in User-Agent; each browser of a row claims to be those below as well.
_BROWSERS = (
    ("Firefox/", Browser.FIREFOX),
    ("Edg/", Browser.EDGE),
    ("Chrome/", Browser.CHROME),
    ("Version/", Browser.SAFARI),
)
# The first that stands in the client hint, which names all that a browser is; Chromium alone is nothing else.
_BRANDED = (("Microsoft Edge", Browser.EDGE), ("Google Chrome", Browser.CHROME), ("Chromium", Browser.CHROMIUM))
_PLATFORMS = (
    ("Android", Platform.PHONE),
    ("iPhone", Platform.PHONE),
    ("iPad", Platform.PHONE),
    ("Windows", Platform.WINDOWS),
    ("macOS", Platform.MACOS),
    ("Macintosh", Platform.MACOS),
)
_BRANDS = "Sec-CH-UA"
_PLATFORM = "Sec-CH-UA-Platform"


def visitor_of(headers: Mapping[str, str]) -> Visitor:
    """What the browser says of itself: client hints, which only Chromium sends, before User-Agent."""
    agent = headers.get(hdrs.USER_AGENT, "")
    brands = headers.get(_BRANDS, "")
    browser = _first(_BRANDED, brands) or _first(_BROWSERS, agent) or Browser.OTHER
    return Visitor(browser, _first(_PLATFORMS, headers.get(_PLATFORM, "") or agent) or Platform.LINUX)


def _first(marks: Sequence[tuple[str, _Found]], text: str) -> _Found | None:
    return next((found for mark, found in marks if mark in text), None)
