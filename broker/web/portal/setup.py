"""``/setup``: files that tell a browser that it may show its user's ticket to this broker, ready to be put in place.

Each is made of one host name and nothing else, so it is the same for everybody and needs nobody's ticket. The name is one of
the configured ones, the one that the visitor came by; what a Host header says otherwise goes into no file. None of them
allows delegation: the broker wants to see the ticket, never to use it.
"""

from __future__ import annotations

import json
import plistlib
import uuid
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from aiohttp import hdrs, web

from broker.core.errors import NotFound
from broker.web import guards
from broker.web.portal.render import Templates
from broker.web.portal.visitor import EVERY, FAMILY, visitor_of

# RFC 9562 section 5.5: the same name gives the same identifier, so that a profile installed again replaces itself.
_PROFILES = uuid.UUID("8f4e1f0c-6f2b-5a51-9a0b-3f1a6f6f2a10")
# Edge and Chromium read the same keys as Chrome, in places of their own.
_WINDOWS_FAMILY = (r"Google\Chrome", "Chromium", r"Microsoft\Edge")
_MACOS_FAMILY = ("com.google.Chrome", "org.chromium.Chromium", "com.microsoft.Edge")
_REG = "Windows Registry Editor Version 5.00"
_ZONES = r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Internet Settings\ZoneMap\Domains"
_INTRANET = 1


def chromium(host: str) -> bytes:
    """``AuthServerAllowlist`` as a managed policy of Chrome, Chromium and Edge on Linux: host names, of any scheme and port."""
    return _json({"AuthServerAllowlist": host})


def firefox(host: str) -> bytes:
    """``policies.json`` of Firefox on every system."""
    return _json({"policies": {"Authentication": {"SPNEGO": [trusted_uri(host)]}}})


def trusted_uri(host: str) -> str:
    """What stands in Firefox's list: with a scheme, so that nobody in between gets a ticket by answering over plain HTTP.

    Names of the machine itself go without: there is nobody in between, and demonstrations have no certificate.
    """
    return host if host == "localhost" or host.endswith(".localhost") else f"https://{host}"


def windows(host: str) -> bytes:
    """The same policy in the registry, for all users of the machine."""
    keys = (rf"[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\{name}]" for name in _WINDOWS_FAMILY)
    return _registry(*(line for key in keys for line in (key, f'"AuthServerAllowlist"="{host}"', "")))


def intranet(host: str) -> bytes:
    """The local intranet zone of one user, which Chrome and Edge go by where no policy names servers; needs no administrator."""
    return _registry(rf"[{_ZONES}\{host}]", f'"https"=dword:{_INTRANET:08x}', "")


def macos(host: str) -> bytes:
    """A configuration profile for Chrome, Chromium, Edge and Firefox."""
    settings: dict[str, dict[str, object]] = {name: {"AuthServerAllowlist": host} for name in _MACOS_FAMILY}
    settings["org.mozilla.firefox"] = {
        "EnterprisePoliciesEnabled": True,
        "Authentication": {"SPNEGO": [trusted_uri(host)]},
    }
    parts = [_payload(host, kind, f"Kerberos sign-in to {host}", **values) for kind, values in settings.items()]
    title = f"Kerberos sign-in to {host}"
    return plistlib.dumps(_payload(host, "Configuration", title, PayloadScope="User", PayloadContent=parts))


FILES: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "zerotrust.json": ("application/json", chromium),
    "policies.json": ("application/json", firefox),
    "zerotrust.reg": ("application/octet-stream", windows),
    "zerotrust-intranet.reg": ("application/octet-stream", intranet),
    "zerotrust.mobileconfig": ("application/x-apple-aspen-config", macos),
}


class Setup:
    """The handlers."""

    def __init__(self, *, names: Sequence[str], templates: Templates) -> None:
        """``names`` are the configured host names, the first of them the one to send people to."""
        self._names = [name for name in names if not _is_address(name)]
        self._templates = templates

    def name_for(self, request: web.Request) -> str | None:
        """The host name to set a browser up for: the one it came by, or the first; None where only addresses are served."""
        asked = guards.host_of(request)
        return asked if asked in self._names else next(iter(self._names), None)

    def words(self, request: web.Request) -> dict[str, Any]:
        """What the templates tell this visitor's ways in with."""
        host = self.name_for(request)
        uri = trusted_uri(host) if host else None
        return {"host": host, "uri": uri, "visitor": visitor_of(request.headers), "places": FAMILY, "every": EVERY}

    async def show(self, request: web.Request) -> web.Response:
        """Every way for every browser, for whoever sets up others'."""
        self._name(request)
        return self._templates.page("setup.html", **self.words(request))

    async def file(self, request: web.Request) -> web.Response:
        """One of them, to be saved."""
        found = FILES.get(request.match_info["file"])
        if found is None:
            raise NotFound(hint="/setup shows which files there are")
        media_type, made_of = found
        disposition = f'attachment; filename="{request.match_info["file"]}"'
        headers = {hdrs.CONTENT_TYPE: media_type, hdrs.CONTENT_DISPOSITION: disposition}
        return web.Response(body=made_of(self._name(request)), headers=headers)

    def _name(self, request: web.Request) -> str:
        name = self.name_for(request)
        if name is None:
            raise NotFound(hint="this broker is known by address alone, and Kerberos needs a name: server.hostnames")
        return name


def _payload(host: str, kind: str, title: str, **values: object) -> dict[str, object]:
    """A dictionary of Apple's "Configuration Profile Reference"."""
    identifier = f"zerotrust.{host}.{kind}"
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(uuid.uuid5(_PROFILES, identifier)).upper(),
        "PayloadDisplayName": title,
        **values,
    }


def _registry(*lines: str) -> bytes:
    # UTF-16 with its mark is what the header of version 5 promises.
    return "\r\n".join((_REG, "", *lines)).encode("utf-16")


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
