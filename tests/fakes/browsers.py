"""Two real browsers with a new profile each, headless: Debian's Chromium, and Debian's Firefox, both by Playwright.

A browser gets the variables of somebody's tickets, and is set up to use them for ``localhost`` or not at all. Its requests stay
on loopback and its console is silent, or the test fails. What the machine's administrator would put into ``/etc`` is laid over
it in a mount namespace of the browser's own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.fakes import firefox_relay

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUM_TRUST = "--auth-server-allowlist=localhost"
# A new profile fails its first Negotiate challenge (-339); this is what Chromium notes once it has seen one.
LOCAL_STATE = {"net": {"received_http_auth_negotiate_headers": True}}

FIREFOX_TRUST = {"network.negotiate-auth.trusted-uris": "localhost"}
_FIREFOX_PREFERENCES = {
    # Whatever it wants to tell its maker ends at a closed port; localhost never goes through a proxy.
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 1,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 1,
    "network.proxy.no_proxies_on": ".test",
    "browser.shell.checkDefaultBrowser": False,
}

# A loaded machine needs most of a minute for a browser that starts in two seconds.
_START_MILLISECONDS = 120_000
_LOOPBACK = ("localhost", "127.0.0.1", ".test")  # RFC 6761: a name that some test gave to this machine


@contextmanager
def chromium(
    profile: Path,
    env: Mapping[str, str],
    *,
    java_script: bool = True,
    trusts: bool = True,
    knows_negotiate: bool = True,
    etc: Path | None = None,
    **options: Any,
) -> Iterator[Page]:
    """A page of a Chromium of its own.

    Args:
        profile: A folder that is made where it is missing; one that is there is the profile as it was left.
        env: The variables of somebody's tickets, as ``Realm.kinit`` returns them.
        java_script: Whether pages may run scripts.
        trusts: Whether it is told on its command line that ``localhost`` may ask for tickets.
        knows_negotiate: Whether the profile has seen a challenge before; a new one has not.
        etc: A folder laid over ``/etc``.
        options: Further ones of Playwright, such as ``color_scheme="dark"`` or ``viewport``.
    """
    if not profile.exists():
        profile.mkdir()
        if knows_negotiate:
            (profile / "Local State").write_text(json.dumps(LOCAL_STATE))
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=_program(profile, CHROMIUM, etc=etc),
            args=[*CHROMIUM_ARGUMENTS, *([CHROMIUM_TRUST] if trusts else [])],
            env={"PATH": "/usr/bin:/bin", "HOME": str(profile), **env},
            java_script_enabled=java_script,
            timeout=_START_MILLISECONDS,
            **{"viewport": {"width": 1000, "height": 800}, **options},
        )
        _dismiss_prompts(context.pages[0])
        yield from _page(context)


@contextmanager
def firefox(
    profile: Path,
    env: Mapping[str, str],
    *,
    java_script: bool = True,
    trusts: bool = True,
    preferences: Mapping[str, Any] | None = None,
    etc: Path | None = None,
    **options: Any,
) -> Iterator[Page]:
    """A page of a Firefox of its own, as ``chromium``; ``preferences`` are those of ``about:config``.

    Playwright's colour scheme does not reach it; ``{"layout.css.prefers-color-scheme.content-override": 0}`` is dark.
    """
    profile.mkdir(exist_ok=True)
    chosen = {
        **_FIREFOX_PREFERENCES,
        **(FIREFOX_TRUST if trusts else {}),
        **({} if java_script else {"javascript.enabled": False}),
        **(preferences or {}),
    }
    with sync_playwright() as playwright:
        context = playwright.firefox.launch_persistent_context(
            str(profile),
            channel="moz-firefox",
            firefox_user_prefs=chosen,
            executable_path=_program(profile, sys.executable, "-I", firefox_relay.__file__, etc=etc),
            env={"PATH": "/usr/bin:/bin", "HOME": str(profile), **env},
            timeout=_START_MILLISECONDS,
            **{"viewport": {"width": 1000, "height": 800}, **options},
        )
        yield from _page(context)


def _dismiss_prompts(page: Page) -> None:
    """Press Cancel where Chromium asks for a name and a password, as it may where its user has no ticket.

    Otherwise the navigation ends there or does not, as the moment will have it, and the page behind the prompt is not seen.
    """
    session = page.context.new_cdp_session(page)

    def cancel(event: dict[str, Any]) -> None:
        answer = {"response": "CancelAuth"}
        session.send("Fetch.continueWithAuth", {"requestId": event["requestId"], "authChallengeResponse": answer})

    def go_on(event: dict[str, Any]) -> None:
        session.send("Fetch.continueRequest", {"requestId": event["requestId"]})

    session.on("Fetch.authRequired", cancel)
    session.on("Fetch.requestPaused", go_on)
    pages = [{"urlPattern": "http*", "resourceType": "Document"}]
    session.send("Fetch.enable", {"handleAuthRequests": True, "patterns": pages})


def _page(context: BrowserContext) -> Iterator[Page]:
    complaints: list[str] = []
    pages: set[str] = set()

    def seen(request: Request) -> None:
        address = urlsplit(request.url)
        if request.is_navigation_request():
            pages.add(request.url.partition("#")[0])
        if address.scheme in ("http", "https") and not (address.hostname or "").endswith(_LOOPBACK):
            complaints.append(request.url)

    def said(message: ConsoleMessage) -> None:
        # The status of a page itself is no complaint about it.
        if not (
            message.text.startswith("Failed to load resource") and message.location["url"].partition("#")[0] in pages
        ):
            complaints.append(message.text)

    try:
        context.on("request", seen)
        page = context.pages[0] if context.pages else context.new_page()
        page.on("console", said)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
    finally:
        context.close()
    assert not complaints, complaints


def _program(profile: Path, *command: str, etc: Path | None) -> str:
    """A program that is the browser, in a mount namespace of its own where something is laid over ``/etc``.

    Root uses its own right to make one, others a user namespace in which they keep their number.
    """
    script = profile / "browser"
    words = " ".join(f"'{word}'" for word in command)
    lines = ["#!/bin/sh", "set -e"]
    if etc is not None:
        lines += [
            'if [ "$1" != --laid ]; then',
            '  [ "$(id -u)" = 0 ] || own="--map-current-user --keep-caps"',
            '  exec unshare --mount $own "$0" --laid "$@"',
            "fi",
            "shift",
            f"mount -t overlay overlay -o 'lowerdir={etc}:/etc' /etc",
        ]
    script.write_text("\n".join([*lines, f'exec {words} "$@"', ""]))
    script.chmod(0o700)
    return str(script)
